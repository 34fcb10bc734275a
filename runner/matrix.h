/*
 * One matrix of weights as its raw file holds it, and its products with F32 vectors:
 * y[i] = scale * row[i] * (sum q[i][j]*column[j]*x[j] - zero_point * sum column[j]*x[j]) + what the outliers
 * add. The matrix borrows all its memory; weights.h owns it.
 */
#ifndef ENTRO_RUNNER_MATRIX_H
#define ENTRO_RUNNER_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "runner/kernels.h"

enum entro_matrix_encoding {
    ENTRO_MATRIX_U8,    /* codes, a byte each */
    ENTRO_MATRIX_U4,    /* codes, two a byte; a row may start in the middle of one */
    ENTRO_MATRIX_DTYPE, /* `dtype`, which entro_can_dequantize */
};

/* A packed outlier record: u64 element index (row-major), F32 exact value. */
#define ENTRO_OUTLIER_BYTES 12

struct entro_matrix {
    const char *name;
    size_t n_rows;    /* outputs */
    size_t n_columns; /* inputs */
    enum entro_matrix_encoding encoding;
    enum entro_dtype dtype; /* of ENTRO_MATRIX_DTYPE */
    const uint8_t *data;
    /* Codes only: */
    float scale;
    float zero_point;
    const float *row_scale;    /* [n_rows], NULL: all 1 */
    const float *column_scale; /* [n_columns], NULL: all 1 */
    const uint8_t
        *outliers; /* [n_outliers] records, sorted by index, each index once and inside the matrix */
    size_t n_outliers;
};

/* How a product reads its input; entro_matrix_prepare chooses. */
enum entro_matrix_method {
    ENTRO_MATRIX_DOTS,   /* few tokens: dot products with column*x */
    ENTRO_MATRIX_PANELS, /* many: tiles of weights become F32 once for all tokens, the input is x itself */
    ENTRO_MATRIX_FIXED,  /* codes: in whole numbers, see kernels_fixed.h */
};

/*
 * The input of a product: n_tokens vectors, and what every row needs of them. Made by entro_matrix_prepare
 * for one matrix; another matrix may use it where entro_matrix_shares_input says so. The fields behind
 * n_tokens are for the products alone.
 */
struct entro_matrix_input {
    const float *x;  /* [n_tokens][n_columns] */
    size_t x_stride; /* floats from one token to the next */
    size_t n_tokens;
    enum entro_matrix_method method;
    const struct entro_matrix *matrix; /* that it was made for */
    const struct entro_kernels *kernels;
    float *sums;   /* [n_tokens] of column*x; codes by dot products only */
    float *scaled; /* [n_tokens][n_columns] column*x, or NULL where that is x itself */
    size_t scaled_stride;
    int8_t *digits; /* [n_tokens] of ENTRO_MATRIX_FIXED */
    size_t digits_stride;
    struct entro_fixed_block *blocks; /* [n_tokens][n_blocks] */
    size_t n_blocks;
};

/* A product is fastest where each call takes a multiple of so many rows. */
#define ENTRO_MATRIX_TILE_ROWS ENTRO_TILE_ROWS

/* What entro_matrix_prepare_begin needs for any matrix of so many columns; SIZE_MAX where that is no size. */
size_t entro_matrix_scratch_bytes(size_t n_columns, size_t n_tokens);

/*
 * Prepares n_tokens >= 1 vectors at x, x + x_stride, ... for products with `matrix`. `scratch` is aligned to
 * 64 bytes, has entro_matrix_scratch_bytes and, like x, must live and stay as it is as long as the input.
 * `begin` once, then `tokens` for every token exactly once, in any order and by any threads, before the first
 * product. A token by itself is thread-safe.
 */
void entro_matrix_prepare_begin(struct entro_matrix_input *input, const struct entro_matrix *matrix,
                                const struct entro_kernels *kernels, const float *x, size_t x_stride,
                                size_t n_tokens, void *scratch);
void entro_matrix_prepare_tokens(struct entro_matrix_input *input, size_t first_token, size_t n_tokens);

/* True where an input prepared for `a` serves products with `b` as well (query, key and value, say). */
bool entro_matrix_shares_input(const struct entro_matrix *a, const struct entro_matrix *b);

/*
 * y[t*y_stride + i] for all tokens t of the input and the rows i in first..first+n-1; nothing else is
 * written. Thread-safe for rows that do not overlap. The rows' results do not depend on how they are split
 * into calls.
 */
void entro_matrix_times(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                        const struct entro_matrix_input *input, size_t first, size_t n, float *y,
                        size_t y_stride);

/* The weights of one row as F32: [n_columns]. */
void entro_matrix_row(const struct entro_matrix *matrix, size_t row, float *out);

#endif
