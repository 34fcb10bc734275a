/*
 * The whole-number kernels for AVX-512 with VNNI, whose vpdpbusd adds four products of an unsigned and a
 * signed byte to each 32-bit sum. Everything else is as in the variant for plain AVX-512.
 */
#include "runner/kernels_internal.h"

#ifdef __x86_64__
#include <float.h>
#include <immintrin.h>
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

/*
 * The digits of 64 numbers v: with 128 added at each of its digits, v's bytes are its digits, each more by
 * 128. planes[d] are those of the lowest value first.
 */
static inline void split_digits(const __m512i v[4], __m512i planes[ENTRO_FIXED_DIGITS])
{
    const __m512i halves = _mm512_set1_epi32(0x808080), signs = _mm512_set1_epi8((char)0x80);
    const __m512i by_digit =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    /* From the fours of each lane to those of each vector. */
    const __m512i in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i b[4];
    for (size_t k = 0; k < 4; k++)
        b[k] = _mm512_shuffle_epi8(_mm512_add_epi32(v[k], halves), by_digit);
    __m512i lower01 = _mm512_unpacklo_epi32(b[0], b[1]), lower23 = _mm512_unpacklo_epi32(b[2], b[3]);
    __m512i upper01 = _mm512_unpackhi_epi32(b[0], b[1]), upper23 = _mm512_unpackhi_epi32(b[2], b[3]);
    planes[0] = _mm512_unpacklo_epi64(lower01, lower23);
    planes[1] = _mm512_unpackhi_epi64(lower01, lower23);
    planes[2] = _mm512_unpacklo_epi64(upper01, upper23);
    for (size_t d = 0; d < ENTRO_FIXED_DIGITS; d++)
        planes[d] = _mm512_xor_si512(_mm512_permutexvar_epi32(in_order, planes[d]), signs);
}

static void fix(const float *x, const float *column, size_t n, enum entro_fixed_order order, int8_t *digits,
                struct entro_fixed_block *block)
{
    const size_t plane = entro_fixed_padded(n);
    float largest = largest_magnitude(x, column, n);
    float factor = largest >= SMALLEST && largest <= FLT_MAX ? LARGEST / largest : 0;
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i sums[ENTRO_FIXED_DIGITS] = {_mm512_setzero_si512(), _mm512_setzero_si512(),
                                        _mm512_setzero_si512()};
    for (size_t i = 0; i < plane; i += ENTRO_FIXED_STEP) {
        __m512i v[4];
        for (size_t k = 0; k < 4; k++) {
            size_t at = i + 16 * k, left = at < n ? n - at : 0;
            v[k] = _mm512_setzero_si512();
            if (left != 0 && factor != 0)
                v[k] = _mm512_cvtps_epi32(_mm512_mul_ps(
                    load_some(x + at, column == NULL ? NULL : column + at, left), _mm512_set1_ps(factor)));
        }
        if (order == ENTRO_FIXED_BY_NIBBLE) {
            split_parity(&v[0], &v[1]);
            split_parity(&v[2], &v[3]);
            __m512i odds = v[1];
            v[1] = v[2];
            v[2] = odds;
        }
        __m512i planes[ENTRO_FIXED_DIGITS];
        split_digits(v, planes);
        for (size_t d = 0; d < ENTRO_FIXED_DIGITS; d++) {
            __m512i digit = planes[ENTRO_FIXED_DIGITS - 1 - d];
            _mm512_storeu_si512(digits + d * plane + i, digit);
            sums[d] = _mm512_dpbusd_epi32(sums[d], ones, digit);
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

/* The low nibbles of 32 bytes, then their high ones. The unused nibble of an odd row's last byte meets an
 * input of zero. */
static inline __m512i load_u4(const uint8_t *row, size_t i, size_t n)
{
    const __m512i shifts = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
    __m256i bytes = _mm256_maskz_loadu_epi8((__mmask32)rest64((n - i + 1) / 2), row + i / 2);
    __m512i twice = _mm512_broadcast_i64x4(bytes);
    return _mm512_and_si512(_mm512_srlv_epi16(twice, shifts), _mm512_set1_epi8(15));
}

/* Four rows of a thousand columns are too many streams, and too short ones, for the processor to foresee. The
 * address may lie behind the matrix: a prefetch takes any. (As a function it would do nothing: GCC drops
 * calls that only prefetch.) */
#define BYTES_AHEAD     6144
#define PREFETCH(codes) _mm_prefetch((const void *)((uintptr_t)(codes) + BYTES_AHEAD), _MM_HINT_T0)

typedef __m512i load_function(const uint8_t *row, size_t i, size_t n);

/* Four rows at a time share the digits' loads; rows that are not there are the last one again. */
static inline __attribute__((always_inline)) void
dots(load_function *load, const uint8_t *rows, size_t stride, size_t n_rows, size_t n, const int8_t *digits,
     const struct entro_fixed_block *block, int32_t zero, float *y, bool add)
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

/* Four columns' digits of one token, for all rows. */
static inline __m512i four_digits(const int8_t *digits)
{
    int32_t four;
    memcpy(&four, digits, sizeof four);
    return _mm512_set1_epi32(four);
}

/* _mm512_dpbusd_epi32 in place: of the intrinsic GCC 12 makes a copy, and of 24 sums so many copies that it
 * stores them all in every step. */
static inline __attribute__((always_inline)) void add_products(__m512i *sums, __m512i codes, __m512i digits)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sums) : "v"(codes), "v"(digits));
}

/* One token's sums of each digit: of a tile's first and last 16 rows. */
struct token_sums {
    __m512i first_high, first_middle, first_low;
    __m512i last_high, last_middle, last_low;
};

static inline __attribute__((always_inline)) void add_four(struct token_sums *sums, __m512i first,
                                                           __m512i last, const int8_t *digits, size_t plane)
{
    __m512i high = four_digits(digits), middle = four_digits(digits + plane),
            low = four_digits(digits + 2 * plane);
    add_products(&sums->first_high, first, high);
    add_products(&sums->last_high, last, high);
    add_products(&sums->first_middle, first, middle);
    add_products(&sums->last_middle, last, middle);
    add_products(&sums->first_low, first, low);
    add_products(&sums->last_low, last, low);
}

static inline __attribute__((always_inline)) void store_sums(const struct token_sums *sums,
                                                             const struct entro_fixed_block *block,
                                                             int32_t zero, const float *factors,
                                                             const float *addend, float *y)
{
    __m512 first = entro_fixed_result(sums->first_high, sums->first_middle, sums->first_low, block, zero);
    __m512 last = entro_fixed_result(sums->last_high, sums->last_middle, sums->last_low, block, zero);
    entro_fixed_store(y, first, _mm512_loadu_ps(factors), addend);
    entro_fixed_store(y + 16, last, _mm512_loadu_ps(factors + 16), addend == NULL ? NULL : addend + 16);
}

static inline struct token_sums no_sums(void)
{
    __m512i zero = _mm512_setzero_si512();
    return (struct token_sums){zero, zero, zero, zero, zero, zero};
}

static void multiply_four(const uint8_t *panel, const struct entro_fixed_batch *batch, int32_t zero,
                          const float *factors, const float *addend, size_t addend_stride, float *y,
                          size_t y_stride)
{
    const size_t plane = entro_fixed_padded(batch->n_columns);
    const int8_t *a = batch->digits, *b = a + batch->stride, *c = b + batch->stride, *d = c + batch->stride;
    struct token_sums a_sums = no_sums(), b_sums = no_sums(), c_sums = no_sums(), d_sums = no_sums();
    for (size_t j = 0; j < plane; j += 4) {
        __m512i first = _mm512_load_si512(panel + j * ENTRO_TILE_ROWS);
        __m512i last = _mm512_load_si512(panel + j * ENTRO_TILE_ROWS + 64);
        add_four(&a_sums, first, last, a + j, plane);
        add_four(&b_sums, first, last, b + j, plane);
        add_four(&c_sums, first, last, c + j, plane);
        add_four(&d_sums, first, last, d + j, plane);
    }
    const struct entro_fixed_block *blocks = batch->blocks;
    store_sums(&a_sums, blocks, zero, factors, addend, y);
    blocks += batch->block_stride;
    store_sums(&b_sums, blocks, zero, factors, addend == NULL ? NULL : addend + addend_stride, y + y_stride);
    blocks += batch->block_stride;
    store_sums(&c_sums, blocks, zero, factors, addend == NULL ? NULL : addend + 2 * addend_stride,
               y + 2 * y_stride);
    blocks += batch->block_stride;
    store_sums(&d_sums, blocks, zero, factors, addend == NULL ? NULL : addend + 3 * addend_stride,
               y + 3 * y_stride);
}

static void multiply_one(const uint8_t *panel, const struct entro_fixed_batch *batch, int32_t zero,
                         const float *factors, const float *addend, float *y)
{
    const size_t plane = entro_fixed_padded(batch->n_columns);
    struct token_sums sums = no_sums();
    for (size_t j = 0; j < plane; j += 4)
        add_four(&sums, _mm512_load_si512(panel + j * ENTRO_TILE_ROWS),
                 _mm512_load_si512(panel + j * ENTRO_TILE_ROWS + 64), batch->digits + j, plane);
    store_sums(&sums, batch->blocks, zero, factors, addend, y);
}

static void multiply(const uint8_t *panel, const struct entro_fixed_batch *batch, int32_t zero,
                     const float *factors, const float *addend, size_t addend_stride, float *y,
                     size_t y_stride)
{
    struct entro_fixed_batch rest = *batch;
    while (rest.n_tokens != 0) {
        size_t n = rest.n_tokens >= 4 ? 4 : 1;
        if (n == 4)
            multiply_four(panel, &rest, zero, factors, addend, addend_stride, y, y_stride);
        else
            multiply_one(panel, &rest, zero, factors, addend, y);
        rest.digits += n * rest.stride;
        rest.blocks += n * rest.block_stride;
        rest.n_tokens -= n;
        y += n * y_stride;
        addend = addend == NULL ? NULL : addend + n * addend_stride;
    }
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
