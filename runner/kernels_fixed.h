/*
 * Products of codes in whole numbers. An input vector becomes fixed-point numbers of 24 bits, in three signed
 * digits to the base of 256, and a product three sums of byte products, which are exact: with the step at the
 * largest element's 2^-23, the result is as good as with F32 sums. Machines with an instruction for products
 * of unsigned and signed bytes get through more columns this way than with F32.
 */
#ifndef ENTRO_RUNNER_KERNELS_FIXED_H
#define ENTRO_RUNNER_KERNELS_FIXED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Columns that share a step: sums of so many byte products (255 * 128 each at most) and zero points of up to
 * ENTRO_FIXED_MAX_ZERO times their inputs fit in 32 bits. */
#define ENTRO_FIXED_COLUMNS  2048
#define ENTRO_FIXED_MAX_ZERO 4096
#define ENTRO_FIXED_DIGITS   3

/* Columns of a block are padded to a multiple of this with zeros. */
#define ENTRO_FIXED_STEP 64

static inline size_t entro_fixed_padded(size_t n_columns)
{
    return (n_columns + ENTRO_FIXED_STEP - 1) / ENTRO_FIXED_STEP * ENTRO_FIXED_STEP;
}

/*
 * Up to ENTRO_FIXED_COLUMNS elements of one vector: element j is scale * (65536*d[0][j] + 256*d[1][j] +
 * d[2][j]). The planes d[0], d[1], d[2] lie one behind the other, each of entro_fixed_padded(n) bytes.
 * Two orders: as the elements are, for u8; for u4, each 64 columns by their even, then their odd ones, as the
 * low and the high nibbles of the codes' bytes lie. NaN and infinities make `scale` NaN.
 */
struct entro_fixed_block {
    float scale;
    int32_t sums[ENTRO_FIXED_DIGITS]; /* of each plane */
};

enum entro_fixed_order { ENTRO_FIXED_IN_ORDER, ENTRO_FIXED_BY_NIBBLE };

/* A batch of vectors' blocks for the same columns. */
struct entro_fixed_batch {
    const int8_t *digits; /* of the first vector */
    size_t stride;        /* bytes to the next vector's */
    const struct entro_fixed_block *blocks;
    size_t block_stride; /* blocks to the next vector's */
    size_t n_columns;
    size_t n_tokens;
};

struct entro_fixed_kernels {
    /* Makes a block of n elements x, times column[j] unless `column` is NULL. */
    void (*fix)(const float *x, const float *column, size_t n, enum entro_fixed_order order, int8_t *digits,
                struct entro_fixed_block *block);

    /*
     * One vector: y[i] = the sum over j < n of (code[i][j] - zero) * x[j], added to what y holds where `add`
     * is true, for n_rows rows of codes that lie `stride` bytes apart. Rows need no alignment; nothing behind
     * a row's last byte is read. u4: the first code is a low nibble.
     */
    void (*dots_u8)(const uint8_t *rows, size_t stride, size_t n_rows, size_t n, const int8_t *digits,
                    const struct entro_fixed_block *block, int32_t zero, float *y, bool add);
    void (*dots_u4)(const uint8_t *rows, size_t stride, size_t n_rows, size_t n, const int8_t *digits,
                    const struct entro_fixed_block *block, int32_t zero, float *y, bool add);

    /* n u4 codes (the first a low nibble) as bytes in the order of their input, padded with zeros. */
    void (*split_u4)(const uint8_t *row, size_t n, uint8_t *codes);

    /*
     * Many vectors: y[t*y_stride + r] = factors[r] * the sum over j of (code[r][j] - zero) * x[t][j], plus
     * addend[t*addend_stride + r] unless `addend` is NULL, for r < ENTRO_TILE_ROWS. The addend may be y. The
     * codes lie as groups of 4 columns, rows innermost: panel[j / 4][r][j % 4], padded as the digits are,
     * aligned to 64 bytes.
     */
    void (*multiply)(const uint8_t *panel, const struct entro_fixed_batch *batch, int32_t zero,
                     const float *factors, const float *addend, size_t addend_stride, float *y,
                     size_t y_stride);
};

#endif
