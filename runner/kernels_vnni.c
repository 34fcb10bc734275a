/*
 * The whole-number kernels for AVX-512 with VNNI, whose vpdpbusd adds four products of an unsigned and a signed
 * byte to each 32-bit sum. Everything else is as in the variant for plain AVX-512.
 */
#include "runner/kernels_internal.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "runner/kernels_fixed_avx512.h"

/* The largest fixed-point number: its digits, with their carries, stay within a signed byte. */
#define LARGEST 8300000.0F

/* Inputs below this count as 0: their steps would be no normal numbers. */
#define SMALLEST 1e-30F

static inline __mmask16 rest16(size_t n)
{
    return (__mmask16)(n >= 16 ? 0xffffU : (1U << n) - 1);
}

static inline __mmask64 rest64(size_t n)
{
    return n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
}

static inline __m512 load_some(const float *x, const float *column, size_t n)
{
    __m512 value = _mm512_maskz_loadu_ps(rest16(n), x);
    return column == NULL ? value : _mm512_mul_ps(value, _mm512_maskz_loadu_ps(rest16(n), column));
}

/* The largest magnitude; NaN and infinities, whose bits are larger than any number's, come out as such. */
static float largest_magnitude(const float *x, const float *column, size_t n)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i largest = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 16) {
        __m512i bits = _mm512_castps_si512(load_some(x + i, column == NULL ? NULL : column + i, n - i));
        largest = _mm512_max_epi32(largest, _mm512_and_si512(bits, magnitude));
    }
    return _mm512_cvtss_f32(_mm512_castsi512_ps(_mm512_set1_epi32(_mm512_reduce_max_epi32(largest))));
}

/* 32 numbers by their even, then their odd ones. */
static inline void split_parity(__m512i *first, __m512i *second)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    __m512i evens = _mm512_permutex2var_epi32(*first, even, *second);
    *second = _mm512_permutex2var_epi32(*first, odd, *second);
    *first = evens;
}

static void fix(const float *x, const float *column, size_t n, enum entro_fixed_order order, int8_t *digits,
                struct entro_fixed_block *block)
{
    const size_t plane = entro_fixed_padded(n);
    const __m512i half = _mm512_set1_epi32(128);
    float largest = largest_magnitude(x, column, n);
    float factor = largest >= SMALLEST && largest <= FLT_MAX ? LARGEST / largest : 0;
    __m512i sums[ENTRO_FIXED_DIGITS] = {_mm512_setzero_si512(), _mm512_setzero_si512(),
                                        _mm512_setzero_si512()};
    for (size_t i = 0; i < plane; i += ENTRO_FIXED_STEP) {
        __m512i v[4];
        for (size_t k = 0; k < 4; k++) {
            size_t at = i + 16 * k, left = at < n ? n - at : 0;
            v[k] = _mm512_setzero_si512();
            if (left != 0 && factor != 0)
                v[k] = _mm512_cvtps_epi32(
                    _mm512_mul_ps(load_some(x + at, column == NULL ? NULL : column + at, left),
                                  _mm512_set1_ps(factor)));
        }
        if (order == ENTRO_FIXED_BY_NIBBLE) {
            split_parity(&v[0], &v[1]);
            split_parity(&v[2], &v[3]);
            __m512i odds = v[1];
            v[1] = v[2];
            v[2] = odds;
        }
        for (size_t k = 0; k < 4; k++) {
            __m512i middle = _mm512_srai_epi32(_mm512_add_epi32(v[k], half), 8);
            __m512i high = _mm512_srai_epi32(_mm512_add_epi32(middle, half), 8);
            int8_t *out = digits + i + 16 * k;
            _mm_storeu_si128((void *)out, _mm512_cvtepi32_epi8(high));
            _mm_storeu_si128((void *)(out + plane), _mm512_cvtepi32_epi8(middle));
            _mm_storeu_si128((void *)(out + 2 * plane), _mm512_cvtepi32_epi8(v[k]));
            sums[0] = _mm512_add_epi32(sums[0], high);
            sums[1] = _mm512_add_epi32(sums[1], _mm512_sub_epi32(middle, _mm512_slli_epi32(high, 8)));
            sums[2] = _mm512_add_epi32(sums[2], _mm512_sub_epi32(v[k], _mm512_slli_epi32(middle, 8)));
        }
    }
    for (int d = 0; d < ENTRO_FIXED_DIGITS; d++)
        block->sums[d] = _mm512_reduce_add_epi32(sums[d]);
    block->scale = factor != 0 ? largest / LARGEST : largest <= FLT_MAX ? 0.0F : NAN;
}

/* Sums of the 16 numbers in each of four vectors. */
static inline __m128i sum_each(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* 64 codes, or as many as there are. */
static inline __m512i load_u8(const uint8_t *row, size_t i, size_t n)
{
    return _mm512_maskz_loadu_epi8(rest64(n - i), row + i);
}

/* The low nibbles of 32 bytes, then their high ones. The unused nibble of an odd row's last byte meets an input
 * of zero. */
static inline __m512i load_u4(const uint8_t *row, size_t i, size_t n)
{
    const __m512i shifts = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
    __m256i bytes = _mm256_maskz_loadu_epi8((__mmask32)rest64((n - i + 1) / 2), row + i / 2);
    __m512i twice = _mm512_broadcast_i64x4(bytes);
    return _mm512_and_si512(_mm512_srlv_epi16(twice, shifts), _mm512_set1_epi8(15));
}

/* Four rows of a thousand columns are too many streams, and too short ones, for the processor to foresee. The
 * address may lie behind the matrix: a prefetch takes any. (As a function it would do nothing: GCC drops calls
 * that only prefetch.) */
#define BYTES_AHEAD     6144
#define PREFETCH(codes) _mm_prefetch((const void *)((uintptr_t)(codes) + BYTES_AHEAD), _MM_HINT_T0)

typedef __m512i load_function(const uint8_t *row, size_t i, size_t n);

/* Four rows at a time share the digits' loads; rows that are not there are the last one again. */
static inline __attribute__((always_inline)) void dots(load_function *load, const uint8_t *rows,
                                                       size_t stride, size_t n_rows, size_t n,
                                                       const int8_t *digits,
                                                       const struct entro_fixed_block *block, int32_t zero,
                                                       float *y, bool add)
{
    const size_t plane = entro_fixed_padded(n);
    for (size_t first = 0; first < n_rows; first += 4) {
        const uint8_t *row[4];
        __m512i sums[ENTRO_FIXED_DIGITS][4];
        for (size_t r = 0; r < 4; r++) {
            row[r] = rows + (first + r < n_rows ? first + r : n_rows - 1) * stride;
            for (size_t d = 0; d < ENTRO_FIXED_DIGITS; d++)
                sums[d][r] = _mm512_setzero_si512();
        }
        for (size_t i = 0; i < n; i += ENTRO_FIXED_STEP) {
            __m512i high = _mm512_loadu_si512(digits + i), middle = _mm512_loadu_si512(digits + plane + i),
                    low = _mm512_loadu_si512(digits + 2 * plane + i);
#pragma GCC unroll 4
            for (size_t r = 0; r < 4; r++) {
                PREFETCH(row[r] + i);
                __m512i codes = load(row[r], i, n);
                sums[0][r] = _mm512_dpbusd_epi32(sums[0][r], codes, high);
                sums[1][r] = _mm512_dpbusd_epi32(sums[1][r], codes, middle);
                sums[2][r] = _mm512_dpbusd_epi32(sums[2][r], codes, low);
            }
        }
        __m128 value = _mm_setzero_ps();
        for (size_t d = 0; d < ENTRO_FIXED_DIGITS; d++) {
            __m128i exact = _mm_sub_epi32(sum_each(sums[d][0], sums[d][1], sums[d][2], sums[d][3]),
                                          _mm_set1_epi32(zero * block->sums[d]));
            value = _mm_fmadd_ps(value, _mm_set1_ps(256.0F), _mm_cvtepi32_ps(exact));
        }
        value = _mm_mul_ps(value, _mm_set1_ps(block->scale));
        __mmask8 there = (__mmask8)(rest16(n_rows - first) & 15);
        if (add)
            value = _mm_add_ps(value, _mm_maskz_loadu_ps(there, y + first));
        _mm_mask_storeu_ps(y + first, there, value);
    }
}

static void dots_u8(const uint8_t *rows, size_t stride, size_t n_rows, size_t n, const int8_t *digits,
                    const struct entro_fixed_block *block, int32_t zero, float *y, bool add)
{
    dots(load_u8, rows, stride, n_rows, n, digits, block, zero, y, add);
}

static void dots_u4(const uint8_t *rows, size_t stride, size_t n_rows, size_t n, const int8_t *digits,
                    const struct entro_fixed_block *block, int32_t zero, float *y, bool add)
{
    dots(load_u4, rows, stride, n_rows, n, digits, block, zero, y, add);
}

static void split_u4(const uint8_t *row, size_t n, uint8_t *codes)
{
    for (size_t i = 0; i < n; i += ENTRO_FIXED_STEP)
        _mm512_storeu_si512(codes + i, load_u4(row, i, n));
}

/* `n_tokens` is a constant wherever this is inlined: the sums are registers, six a token. */
static inline __attribute__((always_inline)) void
multiply_tokens(const uint8_t *panel, const struct entro_fixed_batch *batch, size_t first, size_t n_tokens,
                int32_t zero, const float *factors, const float *addend, size_t addend_stride, float *y,
                size_t y_stride)
{
    const size_t plane = entro_fixed_padded(batch->n_columns);
    const int8_t *digits = batch->digits + first * batch->stride;
    __m512i low[4][ENTRO_FIXED_DIGITS], high[4][ENTRO_FIXED_DIGITS];
#pragma GCC unroll 4
    for (size_t t = 0; t < n_tokens; t++)
#pragma GCC unroll 3
        for (size_t d = 0; d < ENTRO_FIXED_DIGITS; d++)
            low[t][d] = high[t][d] = _mm512_setzero_si512();
    for (size_t j = 0; j < plane; j += 4) {
        __m512i upper_rows = _mm512_load_si512(panel + j * 32), lower_rows =
                                                                    _mm512_load_si512(panel + j * 32 + 64);
#pragma GCC unroll 4
        for (size_t t = 0; t < n_tokens; t++)
#pragma GCC unroll 3
            for (size_t d = 0; d < ENTRO_FIXED_DIGITS; d++) {
                int32_t four;
                memcpy(&four, digits + t * batch->stride + d * plane + j, sizeof four);
                __m512i inputs = _mm512_set1_epi32(four);
                low[t][d] = _mm512_dpbusd_epi32(low[t][d], upper_rows, inputs);
                high[t][d] = _mm512_dpbusd_epi32(high[t][d], lower_rows, inputs);
            }
    }
    __m512 upper_factors = _mm512_loadu_ps(factors), lower_factors = _mm512_loadu_ps(factors + 16);
#pragma GCC unroll 4
    for (size_t t = 0; t < n_tokens; t++) {
        const struct entro_fixed_block *block = batch->blocks + (first + t) * batch->block_stride;
        float *out = y + (first + t) * y_stride;
        const float *more = addend == NULL ? NULL : addend + (first + t) * addend_stride;
        entro_fixed_store(out, entro_fixed_result(low[t], block, zero), upper_factors, more);
        entro_fixed_store(out + 16, entro_fixed_result(high[t], block, zero), lower_factors,
                          more == NULL ? NULL : more + 16);
    }
}

static void multiply(const uint8_t *panel, const struct entro_fixed_batch *batch, int32_t zero,
                     const float *factors, const float *addend, size_t addend_stride, float *y,
                     size_t y_stride)
{
    size_t t = 0;
    for (; batch->n_tokens - t >= 4; t += 4)
        multiply_tokens(panel, batch, t, 4, zero, factors, addend, addend_stride, y, y_stride);
    for (; t < batch->n_tokens; t++)
        multiply_tokens(panel, batch, t, 1, zero, factors, addend, addend_stride, y, y_stride);
}

const struct entro_fixed_kernels entro_fixed_vnni = {
    .fix = fix,
    .dots_u8 = dots_u8,
    .dots_u4 = dots_u4,
    .split_u4 = split_u4,
    .multiply = multiply,
};

/* AMX is no help with one vector: it would use one row of a tile. */
const struct entro_fixed_kernels entro_fixed_amx = {
    .fix = fix,
    .dots_u8 = dots_u8,
    .dots_u4 = dots_u4,
    .split_u4 = split_u4,
    .multiply = entro_amx_multiply,
};
#else
/* ISO C wants a declaration in every file. */
typedef int entro_no_vnni_here;
#endif
