/*
 * Views with AVX-512 (BW, VL, VBMI): 16-bit types without factors by lookup, 64 elements at a time, in the
 * table of codes held in registers; everything else by arithmetic. See view_kernels.h. Empty on other
 * processors.
 */
#include "codec/view_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "codec/bytes.h"

#define STEP        16 /* elements of arithmetic */
#define LOOKUP_STEP 64 /* elements of lookups */
#define WIDE        64 /* elements of products for a 16-bit type */

/* The codes of STEP elements, a byte each. */
static inline __m128i load_codes(const uint8_t *codes, unsigned bits)
{
    if (bits == 8)
        return _mm_loadu_si128((const __m128i *)codes);
    __m128i words = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)codes));
    return _mm_and_si128(_mm_or_si128(words, _mm_slli_epi16(words, 4)), _mm_set1_epi8(15));
}

/* The codes of LOOKUP_STEP elements, a byte each. */
static inline __m512i load_many_codes(const uint8_t *codes, unsigned bits)
{
    if (bits == 8)
        return _mm512_loadu_si512(codes);
    __m512i words = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)codes));
    return _mm512_and_si512(_mm512_or_si512(words, _mm512_slli_epi16(words, 4)), _mm512_set1_epi8(15));
}

/* One byte of each code's half: 256 bytes in four registers. */
struct byte_table {
    __m512i part[4];
};

static struct byte_table load_table(const uint16_t *halves, unsigned shift)
{
    uint8_t bytes[256];
    struct byte_table table;
    for (unsigned i = 0; i < 256; i++)
        bytes[i] = (uint8_t)(halves[i] >> shift);
    for (unsigned i = 0; i < 4; i++)
        table.part[i] = _mm512_loadu_si512(bytes + 64 * i);
    return table;
}

static inline __m512i look_up(const struct byte_table *table, __m512i codes, unsigned bits)
{
    if (bits == 4)
        return _mm512_permutexvar_epi8(codes, table->part[0]);
    __m512i low = _mm512_permutex2var_epi8(table->part[0], codes, table->part[1]);
    __m512i high = _mm512_permutex2var_epi8(table->part[2], codes, table->part[3]);
    return _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(codes), high);
}

static inline size_t convert_by_lookup(const struct entro_view_grid *grid, const uint8_t *codes,
                                       size_t n_elements, uint8_t *target, unsigned bits)
{
    /* Interleaving works within 128 bits: it gives the right order when the codes' words are in this one. */
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    size_t i = 0;
    if (n_elements < LOOKUP_STEP)
        return 0;
    const struct byte_table low = load_table(grid->halves, 0), high = load_table(grid->halves, 8);
    for (; i + LOOKUP_STEP <= n_elements; i += LOOKUP_STEP) {
        __m512i step = _mm512_permutexvar_epi64(order, load_many_codes(codes + i * bits / 8, bits));
        __m512i lows = look_up(&low, step, bits), highs = look_up(&high, step, bits);
        _mm512_storeu_si512(target + 2 * i, _mm512_unpacklo_epi8(lows, highs));
        _mm512_storeu_si512(target + 2 * i + 64, _mm512_unpackhi_epi8(lows, highs));
    }
    return i;
}

static inline __m512 values_of(__m128i codes, __m512 scale, __m512i zero_point)
{
    __m512i difference = _mm512_sub_epi32(_mm512_cvtepu8_epi32(codes), zero_point);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(difference), scale);
}

/* Rounded to BF16, ties to even. No NaN comes here. */
static inline __m256i round_to_bf16(__m512 values)
{
    __m512i bits = _mm512_castps_si512(values);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    bits = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16));
}

static inline void store(uint8_t *target, __m512 values, enum entro_dtype dtype)
{
    if (dtype == ENTRO_DTYPE_F32)
        _mm512_storeu_ps(target, values);
    else if (dtype == ENTRO_DTYPE_F16)
        _mm256_storeu_si256((__m256i *)(void *)target, _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
    else
        _mm256_storeu_si256((__m256i *)(void *)target, round_to_bf16(values));
}

/* Whether a product that is rounded to F32 may be a tie of the 16-bit type: only then can rounding it again
 * go wrong. F16: also its subnormal numbers' ties end in twelve zeros; 0 is none of them. */
static inline bool may_be_ties(__m512i products, enum entro_dtype dtype)
{
    if (dtype == ENTRO_DTYPE_BF16)
        return _mm512_mask_cmpeq_epi16_mask(0x55555555U, products, _mm512_set1_epi16(INT16_MIN)) != 0;
    __mmask16 nonzero = _mm512_test_epi32_mask(products, _mm512_set1_epi32(0x7fffffff));
    return _mm512_mask_testn_epi32_mask(nonzero, products, _mm512_set1_epi32(0xfff)) != 0;
}

/* The product rounded to odd: the neighbour of smaller magnitude, with its last bit set if it is inexact. */
static inline __m512 multiply_to_odd(__m512 a, __m512 b)
{
    __m512i down = _mm512_castps_si512(_mm512_mul_round_ps(a, b, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
    __m512i up = _mm512_castps_si512(_mm512_mul_round_ps(a, b, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC));
    __m512i low = _mm512_min_epu32(down, up);
    return _mm512_castsi512_ps(
        _mm512_mask_or_epi32(low, _mm512_cmpneq_epi32_mask(down, up), low, _mm512_set1_epi32(1)));
}

static inline size_t convert_singles(const struct entro_view_grid *grid, const uint8_t *codes,
                                     size_t n_elements, uint8_t *target, unsigned bits)
{
    const __m512 scale = _mm512_set1_ps(grid->scale);
    const __m512i zero_point = _mm512_set1_epi32(grid->zero_point);
    size_t i = 0;
    for (; i + STEP <= n_elements; i += STEP)
        _mm512_storeu_ps(target + 4 * i,
                         values_of(load_codes(codes + i * bits / 8, bits), scale, zero_point));
    return i;
}

static inline __m512 factors_of(__m512 rows, const float *columns, size_t i)
{
    return columns == NULL ? rows : _mm512_mul_ps(rows, _mm512_loadu_ps(columns + i));
}

/* Product number k of the WIDE elements whose codes are given, 16 at a time. A code becomes a number as a
 * byte of 2^15 + code, from which 2^15 + zero point is subtracted. */
static inline __m512 wide_values(__m512i codes, unsigned k, __m512 scale, __m512 offset)
{
    /* Byte 1 of each 32 bits is a code, the others are those of 2^15. */
    const __m512i spread = _mm512_setr_epi32(0x000, 0x100, 0x200, 0x300, 0x400, 0x500, 0x600, 0x700, 0x800,
                                             0x900, 0xa00, 0xb00, 0xc00, 0xd00, 0xe00, 0xf00);
    __m512i index = _mm512_add_epi32(spread, _mm512_set1_epi32((int)(k << 12)));
    __m512i bits =
        _mm512_mask_permutexvar_epi8(_mm512_set1_epi32(0x47000000), 0x2222222222222222U, index, codes);
    return _mm512_mul_ps(_mm512_sub_ps(_mm512_castsi512_ps(bits), offset), scale);
}

/* Two times 16 numbers, none of them a tie, rounded to BF16. */
static inline __m512i round_pair_to_bf16(__m512i first, __m512i second)
{
    const __m512i order = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28,
                                           26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i mixed = _mm512_mask_blend_epi16(0xaaaaaaaaU, _mm512_srli_epi32(first, 16), second);
    return _mm512_permutexvar_epi16(order, mixed);
}

/*
 * WIDE elements at a time: without ties, BF16 is rounded by an addition, and the ties of all are looked for
 * together.
 */
static inline size_t scale_wide(const struct entro_view_grid *grid, const uint8_t *codes, size_t n_elements,
                                const float *columns, float row, uint8_t *target, unsigned bits,
                                enum entro_dtype dtype)
{
    const __m512 scale = _mm512_set1_ps(grid->scale), rows = _mm512_set1_ps(row);
    const __m512 offset = _mm512_set1_ps(32768.0F + (float)grid->zero_point);
    const __m512i zero = _mm512_set1_epi8((char)grid->zero_point);
    const bool has_zero = grid->zero_point >= 0 && grid->zero_point < 1 << bits;
    size_t i = 0;
    for (; i + WIDE <= n_elements; i += WIDE) {
        __m512i step = load_many_codes(codes + i * bits / 8, bits);
        __m512 values[4], factors[4], products[4];
#pragma GCC unroll 4
        for (unsigned k = 0; k < 4; k++) {
            values[k] = wide_values(step, k, scale, offset);
            factors[k] = factors_of(rows, columns, i + STEP * k);
            products[k] = _mm512_mul_ps(values[k], factors[k]);
        }
        if (dtype == ENTRO_DTYPE_BF16) {
            __m512i sums[4];
#pragma GCC unroll 4
            for (unsigned k = 0; k < 4; k++)
                sums[k] = _mm512_add_epi32(_mm512_castps_si512(products[k]), _mm512_set1_epi32(0x8000));
            __m512i least =
                _mm512_min_epu16(_mm512_min_epu16(sums[0], sums[1]), _mm512_min_epu16(sums[2], sums[3]));
            if (__builtin_expect(_mm512_mask_testn_epi16_mask(0x55555555U, least, least) == 0, 1)) {
                _mm512_storeu_si512(target + 2 * i, round_pair_to_bf16(sums[0], sums[1]));
                _mm512_storeu_si512(target + 2 * i + 64, round_pair_to_bf16(sums[2], sums[3]));
                continue;
            }
        }
        if (dtype == ENTRO_DTYPE_F16) {
            uint64_t ends_in_zeros = 0;
#pragma GCC unroll 4
            for (unsigned k = 0; k < 4; k++)
                ends_in_zeros |= (uint64_t)_mm512_testn_epi32_mask(_mm512_castps_si512(products[k]),
                                                                   _mm512_set1_epi32(0xfff))
                                 << 16 * k;
            /* A code at the zero point is 0, often, and no tie. */
            if (has_zero)
                ends_in_zeros &= _mm512_cmpneq_epi8_mask(step, zero);
            if (__builtin_expect(ends_in_zeros == 0, 1)) {
#pragma GCC unroll 4
                for (unsigned k = 0; k < 4; k++)
                    store(target + 2 * (i + STEP * k), products[k], dtype);
                continue;
            }
        }
#pragma GCC unroll 4
        for (unsigned k = 0; k < 4; k++) {
            if (__builtin_expect(may_be_ties(_mm512_castps_si512(products[k]), dtype), 0))
                products[k] = multiply_to_odd(values[k], factors[k]);
            store(target + 2 * (i + STEP * k), products[k], dtype);
        }
    }
    return i;
}

static inline size_t convert_scaled(const struct entro_view_grid *grid, const uint8_t *codes,
                                    size_t n_elements, const float *columns, float row, uint8_t *target,
                                    unsigned bits, enum entro_dtype dtype)
{
    const __m512 scale = _mm512_set1_ps(grid->scale), rows = _mm512_set1_ps(row);
    const __m512i zero_point = _mm512_set1_epi32(grid->zero_point);
    size_t element_bytes = dtype == ENTRO_DTYPE_F32 ? 4 : 2, i = 0;
    if (dtype != ENTRO_DTYPE_F32)
        i = scale_wide(grid, codes, n_elements, columns, row, target, bits, dtype);
    for (; i + STEP <= n_elements; i += STEP) {
        __m512 factors = factors_of(rows, columns, i);
        __m512 values = values_of(load_codes(codes + i * bits / 8, bits), scale, zero_point);
        __m512 products = _mm512_mul_ps(values, factors);
        if (dtype != ENTRO_DTYPE_F32 &&
            __builtin_expect(may_be_ties(_mm512_castps_si512(products), dtype), 0))
            products = multiply_to_odd(values, factors);
        store(target + i * element_bytes, products, dtype);
    }
    return i;
}

/* One loop for each combination: what is constant in it costs nothing. */
static size_t convert_any(const struct entro_view_grid *grid, const uint8_t *codes, size_t n_elements,
                          uint8_t *target)
{
    if (grid->dtype == ENTRO_DTYPE_F32)
        return grid->bits == 8 ? convert_singles(grid, codes, n_elements, target, 8)
                               : convert_singles(grid, codes, n_elements, target, 4);
    return grid->bits == 8 ? convert_by_lookup(grid, codes, n_elements, target, 8)
                           : convert_by_lookup(grid, codes, n_elements, target, 4);
}

static size_t scale_any(const struct entro_view_grid *grid, const uint8_t *codes, size_t n_elements,
                        const float *columns, float row, uint8_t *target)
{
#define CALL(bits, dtype) convert_scaled(grid, codes, n_elements, columns, row, target, bits, dtype)
    switch (grid->dtype) {
    case ENTRO_DTYPE_F32:
        return grid->bits == 8 ? CALL(8, ENTRO_DTYPE_F32) : CALL(4, ENTRO_DTYPE_F32);
    case ENTRO_DTYPE_F16:
        return grid->bits == 8 ? CALL(8, ENTRO_DTYPE_F16) : CALL(4, ENTRO_DTYPE_F16);
    default:
        return grid->bits == 8 ? CALL(8, ENTRO_DTYPE_BF16) : CALL(4, ENTRO_DTYPE_BF16);
    }
#undef CALL
}

const struct entro_view_kernels entro_view_avx512 = {
    .name = "avx512", .convert = convert_any, .scale = scale_any};
#else
typedef int entro_no_view_avx512; /* a translation unit must not be empty */
#endif
