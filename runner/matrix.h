/*
 * One matrix of weights as its raw file holds it, and its products with F32 vectors:
 * y[i] = scale * row[i] * (sum q[i][j]*column[j]*x[j] - zero_point * sum column[j]*x[j]) + what the outliers
 * add. The matrix borrows all its memory; weights.h owns it.
 */
#ifndef ENTRO_RUNNER_MATRIX_H
#define ENTRO_RUNNER_MATRIX_H

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

/* The input of a product: x, and what every row needs of it. Made once a matrix by entro_matrix_input. */
struct entro_matrix_input {
    const float *x;        /* [n_columns] */
    const float *scaled_x; /* [n_columns], column*x; x itself where the matrix has no column factors */
    float sum;             /* of scaled_x */
};

/* Prepares x; `scratch` has room for n_columns floats, is used where the matrix has column factors and lives
 * as long as the input. */
struct entro_matrix_input entro_matrix_input(const struct entro_matrix *matrix, const float *x,
                                             float *scratch);

/* y[i] for the rows first..first+n-1, written to y[first..]. Thread-safe for rows that do not overlap. */
void entro_matrix_times(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                        const struct entro_matrix_input *input, size_t first, size_t n, float *y);

/* The weights of one row as F32: [n_columns]. */
void entro_matrix_row(const struct entro_matrix *matrix, size_t row, float *out);

#endif
