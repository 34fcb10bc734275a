/* The kernels for AVX-512 (F, BW, VL, DQ). Tails are masked loads, which touch nothing behind the row's last
 * element. */
#include "runner/kernels_internal.h"

#ifdef __x86_64__
#include <immintrin.h>

/* The low n bits set; n <= 16. */
static inline __mmask16 first(size_t n)
{
    return (__mmask16)((1U << n) - 1);
}

static inline __m512 load16_u8(const uint8_t *row)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)row)));
}

static inline __m512 load_some_u8(const uint8_t *row, __mmask16 mask)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, row)));
}

static inline __m512 load16_f32(const uint8_t *row)
{
    return _mm512_castsi512_ps(_mm512_loadu_si512(row));
}

static inline __m512 load_some_f32(const uint8_t *row, __mmask16 mask)
{
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi32(mask, row));
}

static inline __m512 load16_f16(const uint8_t *row)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)row));
}

static inline __m512 load_some_f16(const uint8_t *row, __mmask16 mask)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row));
}

static inline __m512 widen_bf16(__m256i halves)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

static inline __m512 load16_bf16(const uint8_t *row)
{
    return widen_bf16(_mm256_loadu_si256((const void *)row));
}

static inline __m512 load_some_bf16(const uint8_t *row, __mmask16 mask)
{
    return widen_bf16(_mm256_maskz_loadu_epi16(mask, row));
}

static inline float sum_lanes(__m512 a, __m512 b, __m512 c, __m512 d)
{
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));
}

/* Four sums hide the latency of the multiply-add. */
#define DEFINE_DOT(suffix, bytes)                                                                            \
    static float dot_##suffix(const uint8_t *row, const float *x, size_t n)                                  \
    {                                                                                                        \
        __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;                                                 \
        size_t i = 0;                                                                                        \
        for (; n - i >= 64; i += 64) {                                                                       \
            a = _mm512_fmadd_ps(load16_##suffix(row + (i + 0) * (bytes)), _mm512_loadu_ps(x + i), a);        \
            b = _mm512_fmadd_ps(load16_##suffix(row + (i + 16) * (bytes)), _mm512_loadu_ps(x + i + 16), b);  \
            c = _mm512_fmadd_ps(load16_##suffix(row + (i + 32) * (bytes)), _mm512_loadu_ps(x + i + 32), c);  \
            d = _mm512_fmadd_ps(load16_##suffix(row + (i + 48) * (bytes)), _mm512_loadu_ps(x + i + 48), d);  \
        }                                                                                                    \
        for (; n - i >= 16; i += 16)                                                                         \
            a = _mm512_fmadd_ps(load16_##suffix(row + i * (bytes)), _mm512_loadu_ps(x + i), a);              \
        if (i < n) {                                                                                         \
            __mmask16 rest = first(n - i);                                                                   \
            b = _mm512_fmadd_ps(load_some_##suffix(row + i * (bytes), rest),                                 \
                                _mm512_maskz_loadu_ps(rest, x + i), b);                                      \
        }                                                                                                    \
        return sum_lanes(a, b, c, d);                                                                        \
    }

DEFINE_DOT(u8, 1)
DEFINE_DOT(f32, 4)
DEFINE_DOT(f16, 2)
DEFINE_DOT(bf16, 2)

/* Spreads 16 bytes of two codes each over two vectors of 16 codes, in order. */
static inline void split_nibbles(__m128i bytes, __m512 *low_half, __m512 *high_half)
{
    const __m128i low_mask = _mm_set1_epi8(15);
    __m128i even = _mm_and_si128(bytes, low_mask);
    __m128i odd = _mm_and_si128(_mm_srli_epi16(bytes, 4), low_mask);
    *low_half = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd)));
    *high_half = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_unpackhi_epi8(even, odd)));
}

static float dot_u4(const uint8_t *row, const float *x, size_t n)
{
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    __m512 low, high;
    size_t i = 0;
    for (; n - i >= 64; i += 64) {
        split_nibbles(_mm_loadu_si128((const void *)(row + i / 2)), &low, &high);
        a = _mm512_fmadd_ps(low, _mm512_loadu_ps(x + i), a);
        b = _mm512_fmadd_ps(high, _mm512_loadu_ps(x + i + 16), b);
        split_nibbles(_mm_loadu_si128((const void *)(row + i / 2 + 16)), &low, &high);
        c = _mm512_fmadd_ps(low, _mm512_loadu_ps(x + i + 32), c);
        d = _mm512_fmadd_ps(high, _mm512_loadu_ps(x + i + 48), d);
    }
    while (i < n) {
        size_t n_here = n - i < 32 ? n - i : 32;
        /* The unused high nibble of an odd row's last byte meets an x of zero. */
        split_nibbles(_mm_maskz_loadu_epi8(first((n_here + 1) / 2), row + i / 2), &low, &high);
        size_t n_low = n_here < 16 ? n_here : 16;
        a = _mm512_fmadd_ps(low, _mm512_maskz_loadu_ps(first(n_low), x + i), a);
        b = _mm512_fmadd_ps(high, _mm512_maskz_loadu_ps(first(n_here - n_low), x + i + n_low), b);
        i += n_here;
    }
    return sum_lanes(a, b, c, d);
}

static void add_f16(float *y, float factor, const uint8_t *row, size_t n)
{
    __m512 factors = _mm512_set1_ps(factor);
    size_t i = 0;
    for (; n - i >= 16; i += 16)
        _mm512_storeu_ps(y + i, _mm512_fmadd_ps(factors, load16_f16(row + 2 * i), _mm512_loadu_ps(y + i)));
    if (i < n) {
        __mmask16 rest = first(n - i);
        __m512 sum =
            _mm512_fmadd_ps(factors, load_some_f16(row + 2 * i, rest), _mm512_maskz_loadu_ps(rest, y + i));
        _mm512_mask_storeu_ps(y + i, rest, sum);
    }
}

#define COMMON                                                                                               \
    .dot_u8 = dot_u8, .dot_u4 = dot_u4, .dot_f32 = dot_f32, .dot_f16 = dot_f16, .dot_bf16 = dot_bf16,        \
    .dot_q8_0 = entro_avx2_dot_q8_0, .dot_q4_0 = entro_avx2_dot_q4_0, .dot_q4_1 = entro_avx2_dot_q4_1,       \
    .add_f16 = add_f16, .widen_u8 = entro_avx512_widen_u8, .widen_u4 = entro_avx512_widen_u4,                \
    .widen_f16 = entro_avx512_widen_f16, .widen_bf16 = entro_avx512_widen_bf16,                              \
    .transpose_tile = entro_avx512_transpose_tile, .multiply_f32 = entro_avx512_multiply_f32

const struct entro_kernels entro_kernels_avx512 = {.name = "avx512", COMMON};

/* With whole-number kernels beside them. */
const struct entro_kernels entro_kernels_vnni = {.name = "vnni", COMMON, .fixed = &entro_fixed_vnni};
const struct entro_kernels entro_kernels_amx = {.name = "amx", COMMON, .fixed = &entro_fixed_amx};
#else
/* ISO C wants a declaration in every file. */
typedef int entro_no_avx512_here;
#endif
