/*
 * Dot products with rows of GGUF's simple block types for AVX2, FMA and F16C, on which wider vectors gain
 * nothing: a block's step is multiplied with the sum of its 32 products. Layouts as in codec/ggml_blocks.h.
 */
#include "runner/kernels_internal.h"

#ifdef __x86_64__
#include <immintrin.h>

#include "codec/bytes.h"
#include "codec/half.h"

#define BLOCK 32

static inline __m256 step_of(const uint8_t *half)
{
    return _mm256_set1_ps(_cvtsh_ss(entro_load_u16(half)));
}

static inline float sum_lanes(__m256 sum)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

/* The sum, lane by lane, of 32 signed bytes times x. */
static inline __m256 block_products(__m256i codes, const float *x)
{
    __m128i low = _mm256_castsi256_si128(codes), high = _mm256_extracti128_si256(codes, 1);
    __m256 a = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)), _mm256_loadu_ps(x));
    __m256 b = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high)), _mm256_loadu_ps(x + 16));
    a = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(low, 8))),
                        _mm256_loadu_ps(x + 8), a);
    b = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(high, 8))),
                        _mm256_loadu_ps(x + 24), b);
    return _mm256_add_ps(a, b);
}

/* 16 bytes: the low nibbles are the first 16 codes, the high ones the others. */
static inline __m256i nibbles(const uint8_t *bytes)
{
    __m128i both = _mm_loadu_si128((const void *)bytes);
    __m256i codes = _mm256_set_m128i(_mm_srli_epi16(both, 4), both);
    return _mm256_and_si256(codes, _mm256_set1_epi8(15));
}

float entro_avx2_dot_q8_0(const uint8_t *row, const float *x, size_t n)
{
    __m256 sum = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += BLOCK, row += 34) {
        __m256i codes = _mm256_loadu_si256((const void *)(row + 2));
        sum = _mm256_fmadd_ps(step_of(row), block_products(codes, x + i), sum);
    }
    return sum_lanes(sum);
}

float entro_avx2_dot_q4_0(const uint8_t *row, const float *x, size_t n)
{
    __m256 sum = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += BLOCK, row += 18) {
        __m256i codes = _mm256_sub_epi8(nibbles(row + 2), _mm256_set1_epi8(8));
        sum = _mm256_fmadd_ps(step_of(row), block_products(codes, x + i), sum);
    }
    return sum_lanes(sum);
}

float entro_avx2_dot_q4_1(const uint8_t *row, const float *x, size_t n)
{
    __m256 sum = _mm256_setzero_ps(), offsets = sum;
    for (size_t i = 0; i < n; i += BLOCK, row += 20) {
        __m256 inputs =
            _mm256_add_ps(_mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(x + i + 8)),
                          _mm256_add_ps(_mm256_loadu_ps(x + i + 16), _mm256_loadu_ps(x + i + 24)));
        sum = _mm256_fmadd_ps(step_of(row), block_products(nibbles(row + 4), x + i), sum);
        offsets = _mm256_fmadd_ps(step_of(row + 2), inputs, offsets);
    }
    return sum_lanes(_mm256_add_ps(sum, offsets));
}
#else
/* ISO C wants a declaration in every file. */
typedef int entro_no_avx2_blocks_here;
#endif
