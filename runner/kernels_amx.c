/*
 * The whole-number product of a batch for Intel AMX: tiles of 16 vectors by 64 columns of digits times 64
 * columns by 16 rows of codes (tdpbsud: signed by unsigned bytes, as digits and codes are). The digits are
 * passed one after the other, so that two tiles of each kind meet in four tiles of sums, and each is loaded
 * half as often as it is used.
 */
#include "runner/kernels_internal.h"

#ifdef __x86_64__
#include <immintrin.h>

#include "runner/kernels_fixed_avx512.h"

/* Vectors at a time, in two tiles. */
#define GROUP 32

struct sums {
    _Alignas(64) int32_t of[ENTRO_FIXED_DIGITS][GROUP][ENTRO_TILE_ROWS];
};

/* The operand of ldtilecfg. */
struct tile_config {
    _Alignas(64) uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t n_rows[16];
};
_Static_assert(sizeof(struct tile_config) == 64, "ldtilecfg reads 64 bytes");

/* Tiles: 0 and 1 are sums of the first 16 vectors, 2 and 3 of the others; 4 and 5 their digits; 6 and 7
 * codes. */
static void configure(size_t n_tokens)
{
    size_t n_first = n_tokens < 16 ? n_tokens : 16, n_second = n_tokens - n_first;
    struct tile_config config = {.palette = 1};
    for (size_t i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.n_rows[i] = 16;
    }
    config.n_rows[0] = config.n_rows[1] = config.n_rows[4] = (uint8_t)n_first;
    /* A tile has a row, even where it is not used. */
    config.n_rows[2] = config.n_rows[3] = config.n_rows[5] = (uint8_t)(n_second == 0 ? 1 : n_second);
    /* GCC 12 takes ldtilecfg to read a pointer's size, and would leave out the rest of the stores. */
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

static void sum_both(const uint8_t *panel, const int8_t *digits, size_t stride, size_t n, int32_t *sums)
{
    const int8_t *others = digits + 16 * stride;
    const size_t sums_stride = ENTRO_TILE_ROWS * sizeof *sums;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t j = 0; j < n; j += ENTRO_FIXED_STEP) {
        _tile_loadd(6, panel + j * ENTRO_TILE_ROWS, 4 * ENTRO_TILE_ROWS);
        _tile_loadd(4, digits + j, stride);
        _tile_dpbsud(0, 4, 6);
        _tile_loadd(7, panel + j * ENTRO_TILE_ROWS + 64, 4 * ENTRO_TILE_ROWS);
        _tile_dpbsud(1, 4, 7);
        _tile_loadd(5, others + j, stride);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    _tile_stored(0, sums, sums_stride);
    _tile_stored(1, sums + 16, sums_stride);
    _tile_stored(2, sums + 16 * ENTRO_TILE_ROWS, sums_stride);
    _tile_stored(3, sums + 16 * ENTRO_TILE_ROWS + 16, sums_stride);
}

static void sum_first(const uint8_t *panel, const int8_t *digits, size_t stride, size_t n, int32_t *sums)
{
    const size_t sums_stride = ENTRO_TILE_ROWS * sizeof *sums;
    _tile_zero(0);
    _tile_zero(1);
    for (size_t j = 0; j < n; j += ENTRO_FIXED_STEP) {
        _tile_loadd(4, digits + j, stride);
        _tile_loadd(6, panel + j * ENTRO_TILE_ROWS, 4 * ENTRO_TILE_ROWS);
        _tile_dpbsud(0, 4, 6);
        _tile_loadd(7, panel + j * ENTRO_TILE_ROWS + 64, 4 * ENTRO_TILE_ROWS);
        _tile_dpbsud(1, 4, 7);
    }
    _tile_stored(0, sums, sums_stride);
    _tile_stored(1, sums + 16, sums_stride);
}

static inline __m512i load(const struct sums *sums, size_t digit, size_t token, size_t row)
{
    return _mm512_load_si512(&sums->of[digit][token][row]);
}

void entro_amx_multiply(const uint8_t *panel, const struct entro_fixed_batch *batch, int32_t zero,
                        const float *factors, const float *addend, size_t addend_stride, float *y,
                        size_t y_stride)
{
    const size_t plane = entro_fixed_padded(batch->n_columns);
    const __m512 upper_factors = _mm512_loadu_ps(factors), lower_factors = _mm512_loadu_ps(factors + 16);
    struct sums sums;
    size_t n_configured = 0;
    for (size_t first = 0; first < batch->n_tokens; first += GROUP) {
        size_t n_tokens = batch->n_tokens - first < GROUP ? batch->n_tokens - first : GROUP;
        const int8_t *digits = batch->digits + first * batch->stride;
        if (n_tokens != n_configured)
            configure(n_tokens);
        n_configured = n_tokens;
        for (size_t d = 0; d < ENTRO_FIXED_DIGITS; d++)
            (n_tokens > 16 ? sum_both : sum_first)(panel, digits + d * plane, batch->stride, plane,
                                                   sums.of[d][0]);
        for (size_t t = 0; t < n_tokens; t++) {
            const struct entro_fixed_block *block = batch->blocks + (first + t) * batch->block_stride;
            float *out = y + (first + t) * y_stride;
            const float *more = addend == NULL ? NULL : addend + (first + t) * addend_stride;
            entro_fixed_store(out,
                              entro_fixed_result(load(&sums, 0, t, 0), load(&sums, 1, t, 0),
                                                 load(&sums, 2, t, 0), block, zero),
                              upper_factors, more);
            entro_fixed_store(out + 16,
                              entro_fixed_result(load(&sums, 0, t, 16), load(&sums, 1, t, 16),
                                                 load(&sums, 2, t, 16), block, zero),
                              lower_factors, more == NULL ? NULL : more + 16);
        }
    }
    _tile_release();
}
#else
/* ISO C wants a declaration in every file. */
typedef int entro_no_amx_here;
#endif
