/* What the files of matrix.h share: rows of codes, and how their outliers are found. */
#ifndef ENTRO_RUNNER_MATRIX_INTERNAL_H
#define ENTRO_RUNNER_MATRIX_INTERNAL_H

#include "codec/bytes.h"
#include "runner/matrix.h"

static inline unsigned entro_matrix_code(const struct entro_matrix *matrix, size_t element)
{
    if (matrix->encoding == ENTRO_MATRIX_U8)
        return matrix->data[element];
    return matrix->data[element / 2] >> (element % 2 * 4) & 15U;
}

/* Without the column factor. */
static inline float entro_matrix_row_factor(const struct entro_matrix *matrix, size_t row)
{
    return matrix->row_scale == NULL ? matrix->scale : matrix->scale * matrix->row_scale[row];
}

static inline uint64_t entro_outlier_index(const struct entro_matrix *matrix, size_t i)
{
    return entro_load_u64(matrix->outliers + i * ENTRO_OUTLIER_BYTES);
}

static inline float entro_outlier_value(const struct entro_matrix *matrix, size_t i)
{
    return entro_load_f32(matrix->outliers + i * ENTRO_OUTLIER_BYTES + 8);
}

/* The first outlier whose index is not below `element`. */
size_t entro_first_outlier(const struct entro_matrix *matrix, uint64_t element);

/* Where the code of an element lies; true for a high nibble. */
static inline bool entro_matrix_codes_at(const struct entro_matrix *matrix, size_t element,
                                         const uint8_t **codes)
{
    bool is_u8 = matrix->encoding == ENTRO_MATRIX_U8;
    *codes = matrix->data + (is_u8 ? element : element / 2);
    return !is_u8 && element % 2 != 0;
}

/* The weights [row][column..column+n) as F32; `column` and, but for a row's end, n are multiples of the
 * dtype's block. */
void entro_matrix_piece(const struct entro_matrix *matrix, const struct entro_kernels *kernels, size_t row,
                        size_t column, size_t n, float *out);

/* entro_matrix_times by ENTRO_MATRIX_PANELS. */
void entro_matrix_times_panels(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                               const struct entro_matrix_input *input, size_t first, size_t n, float *y,
                               size_t y_stride);

/* By ENTRO_MATRIX_FIXED: where it can be used, its memory (bytes of a token's digits, blocks a token), the
 * preparation of one token and entro_matrix_times. */
bool entro_matrix_can_be_fixed(const struct entro_matrix *matrix);
size_t entro_fixed_stride(size_t n_columns);
size_t entro_fixed_n_blocks(size_t n_columns);
void entro_matrix_fix_token(struct entro_matrix_input *input, size_t token);
void entro_matrix_times_fixed(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                              const struct entro_matrix_input *input, size_t first, size_t n, float *y,
                              size_t y_stride);

#endif
