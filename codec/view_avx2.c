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

/* Whether a product that is rounded to F32 may be a tie of the 16-bit type: only then can rounding it again
 * go wrong. F16: also its subnormal numbers' ties end in twelve zeros; 0 is none of them. */
static inline __m256i may_be_ties(__m256 products, enum entro_dtype dtype)
{
    const __m256i bits = _mm256_castps_si256(products), zero = _mm256_setzero_si256();
    if (dtype == ENTRO_DTYPE_BF16)
        return _mm256_cmpeq_epi32(_mm256_slli_epi32(bits, 16), _mm256_set1_epi32(INT32_MIN));
    __m256i no_tail = _mm256_cmpeq_epi32(_mm256_slli_epi32(bits, 20), zero);
    return _mm256_andnot_si256(_mm256_cmpeq_epi32(_mm256_add_epi32(bits, bits), zero), no_tail);
}

/* How four exact products compare with what they were rounded to, in magnitude: all bits set in `above` or
 * `below` where they differ. */
static inline void compare_exact(__m128 a, __m128 b, __m128 rounded, __m256 *above, __m256 *below)
{
    const __m256d sign = _mm256_set1_pd(-0.0);
    __m256d exact = _mm256_andnot_pd(sign, _mm256_mul_pd(_mm256_cvtps_pd(a), _mm256_cvtps_pd(b)));
    __m256d near = _mm256_andnot_pd(sign, _mm256_cvtps_pd(rounded));
    *above = _mm256_castpd_ps(_mm256_cmp_pd(exact, near, _CMP_GT_OQ));
    *below = _mm256_castpd_ps(_mm256_cmp_pd(exact, near, _CMP_LT_OQ));
}

/* Of two times four masks of 64 bits, eight of 32 in order. */
static inline __m256i narrow(__m256 low, __m256 high)
{
    __m256 mixed = _mm256_shuffle_ps(low, high, 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(mixed), 0xd8);
}

/* The product rounded to odd: an inexact one that was rounded to an even number becomes the neighbour on the
 * exact one's side. F64 holds it exactly. */
static __m256 multiply_to_odd(__m256 a, __m256 b, __m256 rounded)
{
    __m256 above[2], below[2];
    compare_exact(_mm256_castps256_ps128(a), _mm256_castps256_ps128(b), _mm256_castps256_ps128(rounded),
                  &above[0], &below[0]);
    compare_exact(_mm256_extractf128_ps(a, 1), _mm256_extractf128_ps(b, 1), _mm256_extractf128_ps(rounded, 1),
                  &above[1], &below[1]);
    __m256i bits = _mm256_castps_si256(rounded), one = _mm256_set1_epi32(1);
    __m256i step = _mm256_sub_epi32(narrow(below[0], below[1]), narrow(above[0], above[1]));
    __m256i odd = _mm256_cmpeq_epi32(_mm256_and_si256(bits, one), one);
    return _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_andnot_si256(odd, step)));
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
        __m256 low_values = values_of(step, scale, zero_point);
        __m256 high_values = values_of(_mm_srli_si128(step, 8), scale, zero_point);
        __m256 low_products = _mm256_mul_ps(low_values, low);
        __m256 high_products = _mm256_mul_ps(high_values, high);
        if (dtype != ENTRO_DTYPE_F32) {
            __m256i ties =
                _mm256_or_si256(may_be_ties(low_products, dtype), may_be_ties(high_products, dtype));
            if (__builtin_expect(!_mm256_testz_si256(ties, ties), 0)) {
                low_products = multiply_to_odd(low_values, low, low_products);
                high_products = multiply_to_odd(high_values, high, high_products);
            }
        }
        store(target + i * element_bytes, low_products, high_products, dtype);
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
