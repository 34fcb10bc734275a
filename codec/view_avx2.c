/* Views with AVX2 and F16C, eight elements at a time by arithmetic; see view_kernels.h. Empty on other
 * processors. */
#include "codec/view_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "codec/bytes.h"

#define STEP 16 /* elements: whole bytes of u4 codes */

/* Codes of eight elements, from their bytes in order. */
static inline __m256 values_of(__m128i codes, __m256 scale, __m256i zero_point)
{
    __m256i difference = _mm256_sub_epi32(_mm256_cvtepu8_epi32(codes), zero_point);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(difference), scale);
}

/* The codes of STEP elements, a byte each. */
static inline __m128i load_codes(const uint8_t *codes, unsigned bits)
{
    if (bits == 8)
        return _mm_loadu_si128((const __m128i *)codes);
    __m128i words = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)codes));
    return _mm_and_si128(_mm_or_si128(words, _mm_slli_epi16(words, 4)), _mm_set1_epi8(15));
}

/* Rounded to BF16, ties to even, in the low halves. No NaN comes here. */
static inline __m256i round_to_bf16(__m256 values)
{
    __m256i bits = _mm256_castps_si256(values);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    bits = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff));
    return _mm256_srli_epi32(bits, 16);
}

static inline void store(uint8_t *target, __m256 low, __m256 high, enum entro_dtype dtype)
{
    if (dtype == ENTRO_DTYPE_F32) {
        _mm256_storeu_ps((float *)(void *)target, low);
        _mm256_storeu_ps((float *)(void *)(target + 32), high);
    } else if (dtype == ENTRO_DTYPE_F16) {
        _mm_storeu_si128((__m128i *)(void *)target, _mm256_cvtps_ph(low, _MM_FROUND_TO_NEAREST_INT));
        _mm_storeu_si128((__m128i *)(void *)(target + 16), _mm256_cvtps_ph(high, _MM_FROUND_TO_NEAREST_INT));
    } else {
        __m256i halves = _mm256_packus_epi32(round_to_bf16(low), round_to_bf16(high));
        _mm256_storeu_si256((__m256i *)(void *)target, _mm256_permute4x64_epi64(halves, 0xd8));
    }
}

static inline size_t convert(const struct entro_view_grid *grid, const uint8_t *codes, size_t n_elements,
                             uint8_t *target, unsigned bits, enum entro_dtype dtype)
{
    const __m256 scale = _mm256_set1_ps(grid->scale);
    const __m256i zero_point = _mm256_set1_epi32(grid->zero_point);
    size_t element_bytes = dtype == ENTRO_DTYPE_F32 ? 4 : 2, i = 0;
    for (; i + STEP <= n_elements; i += STEP) {
        __m128i step = load_codes(codes + i * bits / 8, bits);
        store(target + i * element_bytes, values_of(step, scale, zero_point),
              values_of(_mm_srli_si128(step, 8), scale, zero_point), dtype);
    }
    return i;
}

static inline size_t convert_scaled(const struct entro_view_grid *grid, const uint8_t *codes,
                                    size_t n_elements, const float *columns, float row, uint8_t *target,
                                    unsigned bits, enum entro_dtype dtype)
{
    const __m256 scale = _mm256_set1_ps(grid->scale), rows = _mm256_set1_ps(row);
    const __m256i zero_point = _mm256_set1_epi32(grid->zero_point);
    size_t element_bytes = dtype == ENTRO_DTYPE_F32 ? 4 : 2, i = 0;
    for (; i + STEP <= n_elements; i += STEP) {
        __m128i step = load_codes(codes + i * bits / 8, bits);
        __m256 low = rows, high = rows;
        if (columns != NULL) {
            low = _mm256_mul_ps(rows, _mm256_loadu_ps(columns + i));
            high = _mm256_mul_ps(rows, _mm256_loadu_ps(columns + i + 8));
        }
        store(target + i * element_bytes, _mm256_mul_ps(values_of(step, scale, zero_point), low),
              _mm256_mul_ps(values_of(_mm_srli_si128(step, 8), scale, zero_point), high), dtype);
    }
    return i;
}

/* One loop for each combination: what is constant in it costs nothing. */
#define FOR_EACH_KIND(call)                                                                                  \
    switch (grid->dtype) {                                                                                   \
    case ENTRO_DTYPE_F32:                                                                                    \
        return grid->bits == 8 ? call(8, ENTRO_DTYPE_F32) : call(4, ENTRO_DTYPE_F32);                        \
    case ENTRO_DTYPE_F16:                                                                                    \
        return grid->bits == 8 ? call(8, ENTRO_DTYPE_F16) : call(4, ENTRO_DTYPE_F16);                        \
    default:                                                                                                 \
        return grid->bits == 8 ? call(8, ENTRO_DTYPE_BF16) : call(4, ENTRO_DTYPE_BF16);                      \
    }

static size_t convert_any(const struct entro_view_grid *grid, const uint8_t *codes, size_t n_elements,
                          uint8_t *target)
{
#define CALL(bits, dtype) convert(grid, codes, n_elements, target, bits, dtype)
    FOR_EACH_KIND(CALL)
#undef CALL
}

static size_t scale_any(const struct entro_view_grid *grid, const uint8_t *codes, size_t n_elements,
                        const float *columns, float row, uint8_t *target)
{
#define CALL(bits, dtype) convert_scaled(grid, codes, n_elements, columns, row, target, bits, dtype)
    FOR_EACH_KIND(CALL)
#undef CALL
}

const struct entro_view_kernels entro_view_avx2 = {
    .name = "avx2", .convert = convert_any, .scale = scale_any};
#else
typedef int entro_no_view_avx2; /* a translation unit must not be empty */
#endif
