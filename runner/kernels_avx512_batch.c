/* The kernels for AVX-512 that unpack tiles of weights and multiply them with many vectors. */
#include "runner/kernels_internal.h"

#ifdef __x86_64__
#include <immintrin.h>

#define WIDTH 16

/* The low bits set for what is left of a vector. */
static inline __mmask16 rest(size_t n)
{
    return (__mmask16)(n >= WIDTH ? 0xffffU : (1U << n) - 1);
}

static inline void store_codes(__m128i codes, size_t n, float zero_point, float factor, const float *column,
                               float *out)
{
    __m512 values = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes));
    __m512 factors = _mm512_set1_ps(factor);
    if (column != NULL)
        factors = _mm512_mul_ps(factors, _mm512_maskz_loadu_ps(rest(n), column));
    values = _mm512_mul_ps(factors, _mm512_sub_ps(values, _mm512_set1_ps(zero_point)));
    _mm512_mask_storeu_ps(out, rest(n), values);
}

void entro_avx512_widen_u8(const uint8_t *row, size_t n, float zero_point, float factor, const float *column,
                           float *out)
{
    for (size_t i = 0; i < n; i += WIDTH)
        store_codes(_mm_maskz_loadu_epi8(rest(n - i), row + i), n - i, zero_point, factor,
                    column == NULL ? NULL : column + i, out + i);
}

void entro_avx512_widen_u4(const uint8_t *row, size_t n, float zero_point, float factor, const float *column,
                           float *out)
{
    const __m128i low_mask = _mm_set1_epi8(15);
    for (size_t i = 0; i < n; i += 2 * WIDTH) {
        __m128i bytes = _mm_maskz_loadu_epi8(rest((n - i + 1) / 2), row + i / 2);
        __m128i even = _mm_and_si128(bytes, low_mask);
        __m128i odd = _mm_and_si128(_mm_srli_epi16(bytes, 4), low_mask);
        const float *columns = column == NULL ? NULL : column + i;
        store_codes(_mm_unpacklo_epi8(even, odd), n - i, zero_point, factor, columns, out + i);
        if (n - i > WIDTH)
            store_codes(_mm_unpackhi_epi8(even, odd), n - i - WIDTH, zero_point, factor,
                        columns == NULL ? NULL : columns + WIDTH, out + i + WIDTH);
    }
}

void entro_avx512_widen_f16(const uint8_t *row, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        __mmask16 some = rest(n - i);
        _mm512_mask_storeu_ps(out + i, some, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(some, row + 2 * i)));
    }
}

void entro_avx512_widen_bf16(const uint8_t *row, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        __mmask16 some = rest(n - i);
        __m512i words = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, row + 2 * i));
        _mm512_mask_storeu_epi32(out + i, some, _mm512_slli_epi32(words, 16));
    }
}

/* 16 rows of 16 dwords; afterwards v[j] holds dword j of every row. Four rounds of interleaving: of dwords,
 * of pairs, of quarters, of halves. */
static inline void transpose_16x16(__m512i v[WIDTH])
{
    __m512i w[WIDTH];
    for (int i = 0; i < WIDTH; i += 2) {
        w[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        w[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < WIDTH; i += 4) {
        v[i] = _mm512_unpacklo_epi64(w[i], w[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(w[i], w[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(w[i + 1], w[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(w[i + 1], w[i + 3]);
    }
    for (int i = 0; i < WIDTH; i += 8)
        for (int k = 0; k < 4; k++) {
            w[i + k] = _mm512_shuffle_i32x4(v[i + k], v[i + k + 4], 0x88);
            w[i + k + 4] = _mm512_shuffle_i32x4(v[i + k], v[i + k + 4], 0xdd);
        }
    for (int k = 0; k < 8; k++) {
        v[k] = _mm512_shuffle_i32x4(w[k], w[k + 8], 0x88);
        v[k + 8] = _mm512_shuffle_i32x4(w[k], w[k + 8], 0xdd);
    }
}

void entro_avx512_transpose_tile(const void *rows, size_t stride, size_t n, void *panel)
{
    const uint32_t *source = rows;
    uint32_t *target = panel;
    for (size_t half = 0; half < ENTRO_TILE_ROWS; half += WIDTH)
        for (size_t j = 0; j < n; j += WIDTH) {
            __m512i v[WIDTH];
            size_t n_here = n - j < WIDTH ? n - j : WIDTH;
            for (size_t r = 0; r < WIDTH; r++)
                v[r] = _mm512_maskz_loadu_epi32(rest(n_here), source + (half + r) * stride + j);
            transpose_16x16(v);
            for (size_t k = 0; k < n_here; k++)
                _mm512_store_si512(target + (j + k) * ENTRO_TILE_ROWS + half, v[k]);
        }
}

/* `n_tokens` is a constant wherever this is inlined: the sums are registers, two a token. */
static inline __attribute__((always_inline)) void multiply_tokens(const float *panel, size_t n,
                                                                  const float *x, size_t x_stride,
                                                                  size_t n_tokens, float *y, size_t y_stride,
                                                                  bool add)
{
    __m512 low[12], high[12];
#pragma GCC unroll 12
    for (size_t t = 0; t < n_tokens; t++) {
        low[t] = add ? _mm512_loadu_ps(y + t * y_stride) : _mm512_setzero_ps();
        high[t] = add ? _mm512_loadu_ps(y + t * y_stride + WIDTH) : _mm512_setzero_ps();
    }
    for (size_t j = 0; j < n; j++) {
        __m512 first = _mm512_load_ps(panel + j * ENTRO_TILE_ROWS);
        __m512 second = _mm512_load_ps(panel + j * ENTRO_TILE_ROWS + WIDTH);
#pragma GCC unroll 12
        for (size_t t = 0; t < n_tokens; t++) {
            __m512 element = _mm512_set1_ps(x[t * x_stride + j]);
            low[t] = _mm512_fmadd_ps(first, element, low[t]);
            high[t] = _mm512_fmadd_ps(second, element, high[t]);
        }
    }
#pragma GCC unroll 12
    for (size_t t = 0; t < n_tokens; t++) {
        _mm512_storeu_ps(y + t * y_stride, low[t]);
        _mm512_storeu_ps(y + t * y_stride + WIDTH, high[t]);
    }
}

void entro_avx512_multiply_f32(const float *panel, size_t n, const float *x, size_t x_stride, size_t n_tokens,
                               float *y, size_t y_stride, bool add)
{
    size_t t = 0;
    for (; n_tokens - t >= 12; t += 12)
        multiply_tokens(panel, n, x + t * x_stride, x_stride, 12, y + t * y_stride, y_stride, add);
    for (; n_tokens - t >= 4; t += 4)
        multiply_tokens(panel, n, x + t * x_stride, x_stride, 4, y + t * y_stride, y_stride, add);
    for (; t < n_tokens; t++)
        multiply_tokens(panel, n, x + t * x_stride, x_stride, 1, y + t * y_stride, y_stride, add);
}
#else
/* ISO C wants a declaration in every file. */
typedef int entro_no_avx512_batch_here;
#endif
