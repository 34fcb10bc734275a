/* The kernels for AVX2, FMA and F16C that unpack tiles of weights and multiply them with many vectors. */
#include "runner/kernels_internal.h"

#ifdef __x86_64__
#include <immintrin.h>

#include "codec/bytes.h"
#include "codec/half.h"

#define WIDTH 8

static inline void store_codes(__m128i codes, float zero_point, float factor, const float *column, float *out)
{
    __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes));
    __m256 factors = _mm256_set1_ps(factor);
    if (column != NULL)
        factors = _mm256_mul_ps(factors, _mm256_loadu_ps(column));
    values = _mm256_mul_ps(factors, _mm256_sub_ps(values, _mm256_set1_ps(zero_point)));
    _mm256_storeu_ps(out, values);
}

static inline float one_code(unsigned code, float zero_point, float factor, const float *column)
{
    return factor * (column == NULL ? 1.0F : *column) * ((float)code - zero_point);
}

void entro_avx2_widen_u8(const uint8_t *row, size_t n, float zero_point, float factor, const float *column,
                         float *out)
{
    size_t i = 0;
    for (; n - i >= WIDTH; i += WIDTH)
        store_codes(_mm_loadu_si64(row + i), zero_point, factor, column == NULL ? NULL : column + i, out + i);
    for (; i < n; i++)
        out[i] = one_code(row[i], zero_point, factor, column == NULL ? NULL : column + i);
}

void entro_avx2_widen_u4(const uint8_t *row, size_t n, float zero_point, float factor, const float *column,
                         float *out)
{
    const __m128i low_mask = _mm_set1_epi8(15);
    size_t i = 0;
    for (; n - i >= 2 * WIDTH; i += 2 * WIDTH) {
        __m128i bytes = _mm_loadu_si64(row + i / 2);
        __m128i codes = _mm_unpacklo_epi8(_mm_and_si128(bytes, low_mask),
                                          _mm_and_si128(_mm_srli_epi16(bytes, 4), low_mask));
        store_codes(codes, zero_point, factor, column == NULL ? NULL : column + i, out + i);
        store_codes(_mm_srli_si128(codes, 8), zero_point, factor, column == NULL ? NULL : column + i + WIDTH,
                    out + i + WIDTH);
    }
    for (; i < n; i++)
        out[i] =
            one_code(row[i / 2] >> (i % 2 * 4) & 15U, zero_point, factor, column == NULL ? NULL : column + i);
}

void entro_avx2_widen_f16(const uint8_t *row, size_t n, float *out)
{
    size_t i = 0;
    for (; n - i >= WIDTH; i += WIDTH)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(row + 2 * i))));
    for (; i < n; i++)
        out[i] = entro_f16_to_f32(entro_load_u16(row + 2 * i));
}

void entro_avx2_widen_bf16(const uint8_t *row, size_t n, float *out)
{
    size_t i = 0;
    for (; n - i >= WIDTH; i += WIDTH) {
        __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(row + 2 * i)));
        _mm256_storeu_si256((void *)(out + i), _mm256_slli_epi32(words, 16));
    }
    for (; i < n; i++)
        out[i] = entro_bf16_to_f32(entro_load_u16(row + 2 * i));
}

static inline void transpose_8x8(const float *rows, size_t stride, float *panel)
{
    __m256 v[WIDTH], w[WIDTH];
    for (size_t r = 0; r < WIDTH; r++)
        v[r] = _mm256_loadu_ps(rows + r * stride);
    for (size_t i = 0; i < WIDTH; i += 2) {
        w[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        w[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (size_t i = 0; i < WIDTH; i += 4) {
        v[i] = _mm256_shuffle_ps(w[i], w[i + 2], 0x44);
        v[i + 1] = _mm256_shuffle_ps(w[i], w[i + 2], 0xee);
        v[i + 2] = _mm256_shuffle_ps(w[i + 1], w[i + 3], 0x44);
        v[i + 3] = _mm256_shuffle_ps(w[i + 1], w[i + 3], 0xee);
    }
    for (size_t k = 0; k < 4; k++) {
        _mm256_store_ps(panel + k * ENTRO_TILE_ROWS, _mm256_permute2f128_ps(v[k], v[k + 4], 0x20));
        _mm256_store_ps(panel + (k + 4) * ENTRO_TILE_ROWS, _mm256_permute2f128_ps(v[k], v[k + 4], 0x31));
    }
}

void entro_avx2_transpose_tile(const void *rows, size_t stride, size_t n, void *panel)
{
    const float *source = rows;
    float *target = panel;
    size_t j = 0;
    for (; n - j >= WIDTH; j += WIDTH)
        for (size_t r = 0; r < ENTRO_TILE_ROWS; r += WIDTH)
            transpose_8x8(source + r * stride + j, stride, target + j * ENTRO_TILE_ROWS + r);
    for (; j < n; j++)
        for (size_t r = 0; r < ENTRO_TILE_ROWS; r++)
            target[j * ENTRO_TILE_ROWS + r] = source[r * stride + j];
}

/* Half a tile's rows. `n_tokens` is a constant wherever this is inlined: the sums are registers, two a
 * token. */
static inline __attribute__((always_inline)) void multiply_tokens(const float *panel, size_t n,
                                                                  const float *x, size_t x_stride,
                                                                  size_t n_tokens, float *y, size_t y_stride,
                                                                  bool add)
{
    __m256 low[6], high[6];
#pragma GCC unroll 6
    for (size_t t = 0; t < n_tokens; t++) {
        low[t] = add ? _mm256_loadu_ps(y + t * y_stride) : _mm256_setzero_ps();
        high[t] = add ? _mm256_loadu_ps(y + t * y_stride + WIDTH) : _mm256_setzero_ps();
    }
    for (size_t j = 0; j < n; j++) {
        __m256 first = _mm256_load_ps(panel + j * ENTRO_TILE_ROWS);
        __m256 second = _mm256_load_ps(panel + j * ENTRO_TILE_ROWS + WIDTH);
#pragma GCC unroll 6
        for (size_t t = 0; t < n_tokens; t++) {
            __m256 element = _mm256_set1_ps(x[t * x_stride + j]);
            low[t] = _mm256_fmadd_ps(first, element, low[t]);
            high[t] = _mm256_fmadd_ps(second, element, high[t]);
        }
    }
#pragma GCC unroll 6
    for (size_t t = 0; t < n_tokens; t++) {
        _mm256_storeu_ps(y + t * y_stride, low[t]);
        _mm256_storeu_ps(y + t * y_stride + WIDTH, high[t]);
    }
}

void entro_avx2_multiply_f32(const float *panel, size_t n, const float *x, size_t x_stride, size_t n_tokens,
                             float *y, size_t y_stride, bool add)
{
    for (size_t half = 0; half < ENTRO_TILE_ROWS; half += 2 * WIDTH) {
        size_t t = 0;
        for (; n_tokens - t >= 6; t += 6)
            multiply_tokens(panel + half, n, x + t * x_stride, x_stride, 6, y + t * y_stride + half, y_stride,
                            add);
        for (; n_tokens - t >= 2; t += 2)
            multiply_tokens(panel + half, n, x + t * x_stride, x_stride, 2, y + t * y_stride + half, y_stride,
                            add);
        if (t < n_tokens)
            multiply_tokens(panel + half, n, x + t * x_stride, x_stride, 1, y + t * y_stride + half, y_stride,
                            add);
    }
}
#else
/* ISO C wants a declaration in every file. */
typedef int entro_no_avx2_batch_here;
#endif
