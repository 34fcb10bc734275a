/* The kernels for AVX2, FMA and F16C; compiled with those instructions enabled and called only where the
 * machine has them. */
#include "runner/kernels_internal.h"

#ifdef __x86_64__
#include <immintrin.h>

#include "codec/bytes.h"
#include "codec/half.h"

static inline float sum_lanes(__m256 a, __m256 b, __m256 c, __m256 d)
{
    __m256 sum = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    half = _mm_add_ss(half, _mm_movehdup_ps(half));
    return _mm_cvtss_f32(half);
}

/* Eight elements as F32, from the first of them on. */
static inline __m256 load8_u8(const uint8_t *row)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadu_si64(row)));
}

static inline __m256 load8_f32(const uint8_t *row)
{
    return _mm256_castsi256_ps(_mm256_loadu_si256((const void *)row));
}

static inline __m256 load8_f16(const uint8_t *row)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)row));
}

static inline __m256 load8_bf16(const uint8_t *row)
{
    __m256i halves = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)row));
    return _mm256_castsi256_ps(_mm256_slli_epi32(halves, 16));
}

static inline float load1_u8(const uint8_t *row)
{
    return (float)*row;
}

static inline float load1_f32(const uint8_t *row)
{
    return entro_load_f32(row);
}

static inline float load1_f16(const uint8_t *row)
{
    return entro_f16_to_f32(entro_load_u16(row));
}

static inline float load1_bf16(const uint8_t *row)
{
    return entro_bf16_to_f32(entro_load_u16(row));
}

/* Four sums hide the latency of the multiply-add. */
#define DEFINE_DOT(suffix, bytes)                                                                            \
    static float dot_##suffix(const uint8_t *row, const float *x, size_t n)                                  \
    {                                                                                                        \
        __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;                                                 \
        size_t i = 0;                                                                                        \
        for (; n - i >= 32; i += 32) {                                                                       \
            a = _mm256_fmadd_ps(load8_##suffix(row + (i + 0) * (bytes)), _mm256_loadu_ps(x + i), a);         \
            b = _mm256_fmadd_ps(load8_##suffix(row + (i + 8) * (bytes)), _mm256_loadu_ps(x + i + 8), b);     \
            c = _mm256_fmadd_ps(load8_##suffix(row + (i + 16) * (bytes)), _mm256_loadu_ps(x + i + 16), c);   \
            d = _mm256_fmadd_ps(load8_##suffix(row + (i + 24) * (bytes)), _mm256_loadu_ps(x + i + 24), d);   \
        }                                                                                                    \
        for (; n - i >= 8; i += 8)                                                                           \
            a = _mm256_fmadd_ps(load8_##suffix(row + i * (bytes)), _mm256_loadu_ps(x + i), a);               \
        float sum = sum_lanes(a, b, c, d);                                                                   \
        for (; i < n; i++)                                                                                   \
            sum += load1_##suffix(row + i * (bytes)) * x[i];                                                 \
        return sum;                                                                                          \
    }

DEFINE_DOT(u8, 1)
DEFINE_DOT(f32, 4)
DEFINE_DOT(f16, 2)
DEFINE_DOT(bf16, 2)

static inline __m256 widen8(__m128i codes)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes));
}

static float dot_u4(const uint8_t *row, const float *x, size_t n)
{
    const __m128i low_mask = _mm_set1_epi8(15);
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;
    for (; n - i >= 32; i += 32) {
        __m128i bytes = _mm_loadu_si128((const void *)(row + i / 2));
        __m128i low = _mm_and_si128(bytes, low_mask);
        __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), low_mask);
        __m128i first = _mm_unpacklo_epi8(low, high);
        __m128i second = _mm_unpackhi_epi8(low, high);
        a = _mm256_fmadd_ps(widen8(first), _mm256_loadu_ps(x + i), a);
        b = _mm256_fmadd_ps(widen8(_mm_srli_si128(first, 8)), _mm256_loadu_ps(x + i + 8), b);
        c = _mm256_fmadd_ps(widen8(second), _mm256_loadu_ps(x + i + 16), c);
        d = _mm256_fmadd_ps(widen8(_mm_srli_si128(second, 8)), _mm256_loadu_ps(x + i + 24), d);
    }
    float sum = sum_lanes(a, b, c, d);
    for (; i < n; i++)
        sum += (float)(row[i / 2] >> (i % 2 * 4) & 15) * x[i];
    return sum;
}

static void add_f16(float *y, float factor, const uint8_t *row, size_t n)
{
    __m256 factors = _mm256_set1_ps(factor);
    size_t i = 0;
    for (; n - i >= 8; i += 8)
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(factors, load8_f16(row + 2 * i), _mm256_loadu_ps(y + i)));
    for (; i < n; i++)
        y[i] += factor * load1_f16(row + 2 * i);
}

const struct entro_kernels entro_kernels_avx2 = {
    .name = "avx2",
    .dot_u8 = dot_u8,
    .dot_u4 = dot_u4,
    .dot_f32 = dot_f32,
    .dot_f16 = dot_f16,
    .dot_bf16 = dot_bf16,
    .dot_q8_0 = entro_avx2_dot_q8_0,
    .dot_q4_0 = entro_avx2_dot_q4_0,
    .dot_q4_1 = entro_avx2_dot_q4_1,
    .add_f16 = add_f16,
    .widen_u8 = entro_avx2_widen_u8,
    .widen_u4 = entro_avx2_widen_u4,
    .widen_f16 = entro_avx2_widen_f16,
    .widen_bf16 = entro_avx2_widen_bf16,
    .transpose_tile = entro_avx2_transpose_tile,
    .multiply_f32 = entro_avx2_multiply_f32,
};
#else
/* ISO C wants a declaration in every file. */
typedef int entro_no_avx2_here;
#endif
