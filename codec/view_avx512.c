/*
 * Views with AVX-512 (BW, VL, VBMI): 16-bit types without factors by lookup, 64 elements at a time, in the
 * table of codes held in registers; everything else by arithmetic. See view_kernels.h. Empty on other
 * processors.
 */
#include "codec/view_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "codec/bytes.h"

#define STEP        16 /* elements of arithmetic */
#define LOOKUP_STEP 64 /* elements of lookups */

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

static inline size_t convert_scaled(const struct entro_view_grid *grid, const uint8_t *codes,
                                    size_t n_elements, const float *columns, float row, uint8_t *target,
                                    unsigned bits, enum entro_dtype dtype)
{
    const __m512 scale = _mm512_set1_ps(grid->scale), rows = _mm512_set1_ps(row);
    const __m512i zero_point = _mm512_set1_epi32(grid->zero_point);
    size_t element_bytes = dtype == ENTRO_DTYPE_F32 ? 4 : 2, i = 0;
    for (; i + STEP <= n_elements; i += STEP) {
        __m512 factors = rows;
        if (columns != NULL)
            factors = _mm512_mul_ps(rows, _mm512_loadu_ps(columns + i));
        __m512 values = values_of(load_codes(codes + i * bits / 8, bits), scale, zero_point);
        store(target + i * element_bytes, _mm512_mul_ps(values, factors), dtype);
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
