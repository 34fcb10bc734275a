/* Products with quantized matrices; see matrix.h. */
#include "runner/matrix.h"

#include <stdbool.h>

#include "codec/bytes.h"
#include "codec/ggml_blocks.h"
#include "codec/half.h"

/* Elements that are dequantized at a time where no kernel reads a type as it is: a multiple of every block,
 * small enough for the L1 cache. */
#define PIECE 1024

struct entro_matrix_input entro_matrix_input(const struct entro_matrix *matrix, const float *x,
                                             float *scratch)
{
    struct entro_matrix_input input = {.x = x, .scaled_x = x};
    if (matrix->encoding == ENTRO_MATRIX_DTYPE)
        return input;
    if (matrix->column_scale != NULL) {
        for (size_t j = 0; j < matrix->n_columns; j++)
            scratch[j] = matrix->column_scale[j] * x[j];
        input.scaled_x = scratch;
    }
    /* The sum meets a large zero point: F64 keeps it exact enough for any width. */
    double sum = 0;
    for (size_t j = 0; j < matrix->n_columns; j++)
        sum += (double)input.scaled_x[j];
    input.sum = (float)sum;
    return input;
}

static unsigned code_at(const struct entro_matrix *matrix, size_t element)
{
    if (matrix->encoding == ENTRO_MATRIX_U8)
        return matrix->data[element];
    return matrix->data[element / 2] >> (element % 2 * 4) & 15U;
}

/* Without the column factor, which x' has already. */
static float row_factor(const struct entro_matrix *matrix, size_t row)
{
    return matrix->row_scale == NULL ? matrix->scale : matrix->scale * matrix->row_scale[row];
}

static uint64_t outlier_index(const struct entro_matrix *matrix, size_t i)
{
    return entro_load_u64(matrix->outliers + i * ENTRO_OUTLIER_BYTES);
}

static float outlier_value(const struct entro_matrix *matrix, size_t i)
{
    return entro_load_f32(matrix->outliers + i * ENTRO_OUTLIER_BYTES + 8);
}

/* The first outlier whose index is not below `element`. */
static size_t first_outlier(const struct entro_matrix *matrix, uint64_t element)
{
    size_t low = 0, high = matrix->n_outliers;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (outlier_index(matrix, middle) < element)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static float dot_codes(const struct entro_matrix *matrix, const struct entro_kernels *kernels, size_t row,
                       const float *x)
{
    size_t n = matrix->n_columns, start = row * n;
    if (matrix->encoding == ENTRO_MATRIX_U8)
        return kernels->dot_u8(matrix->data + start, x, n);
    if (start % 2 == 0)
        return kernels->dot_u4(matrix->data + start / 2, x, n);
    /* The row's first code is a high nibble: take it out, and the rest starts with a low one. */
    float first = (float)code_at(matrix, start) * x[0];
    return first + kernels->dot_u4(matrix->data + start / 2 + 1, x + 1, n - 1);
}

/* An outlier's value takes the place of what its code stands for. */
static float outliers_share(const struct entro_matrix *matrix, const struct entro_matrix_input *input,
                            size_t row, size_t *next)
{
    float share = 0;
    uint64_t start = (uint64_t)row * matrix->n_columns;
    for (; *next < matrix->n_outliers && outlier_index(matrix, *next) - start < matrix->n_columns; ++*next) {
        size_t column = (size_t)(outlier_index(matrix, *next) - start);
        float coded =
            row_factor(matrix, row) * ((float)code_at(matrix, (size_t)start + column) - matrix->zero_point);
        share += outlier_value(matrix, *next) * input->x[column] - coded * input->scaled_x[column];
    }
    return share;
}

static void times_codes(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                        const struct entro_matrix_input *input, size_t first, size_t n, float *y)
{
    float correction = matrix->zero_point * input->sum;
    size_t next = first_outlier(matrix, (uint64_t)first * matrix->n_columns);
    for (size_t i = first; i < first + n; i++) {
        float dot = dot_codes(matrix, kernels, i, input->scaled_x);
        y[i] = row_factor(matrix, i) * (dot - correction);
        if (matrix->n_outliers != 0)
            y[i] += outliers_share(matrix, input, i, &next);
    }
}

static size_t row_bytes(const struct entro_matrix *matrix)
{
    const struct entro_dtype_info *info = entro_dtype_info(matrix->dtype);
    return matrix->n_columns / info->block_elements * info->block_bytes;
}

/* Any type that codec can dequantize, piece by piece. */
static float dot_blocks(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                        const uint8_t *row, const float *x)
{
    float piece[PIECE];
    float sum = 0;
    const struct entro_dtype_info *info = entro_dtype_info(matrix->dtype);
    for (size_t j = 0; j < matrix->n_columns; j += PIECE) {
        size_t n = matrix->n_columns - j < PIECE ? matrix->n_columns - j : PIECE;
        entro_dequantize_f32(matrix->dtype, row + j / info->block_elements * info->block_bytes, n, piece);
        sum += kernels->dot_f32((const uint8_t *)piece, x + j, n);
    }
    return sum;
}

static void times_dtype(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                        const float *x, size_t first, size_t n, float *y)
{
    size_t stride = row_bytes(matrix);
    bool has_kernel = true;
    entro_dot_function *dot = kernels->dot_f32;
    if (matrix->dtype == ENTRO_DTYPE_F16)
        dot = kernels->dot_f16;
    else if (matrix->dtype == ENTRO_DTYPE_BF16)
        dot = kernels->dot_bf16;
    else
        has_kernel = matrix->dtype == ENTRO_DTYPE_F32;
    for (size_t i = first; i < first + n; i++) {
        const uint8_t *row = matrix->data + i * stride;
        y[i] = has_kernel ? dot(row, x, matrix->n_columns) : dot_blocks(matrix, kernels, row, x);
    }
}

void entro_matrix_times(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                        const struct entro_matrix_input *input, size_t first, size_t n, float *y)
{
    if (matrix->encoding == ENTRO_MATRIX_DTYPE)
        times_dtype(matrix, kernels, input->x, first, n, y);
    else
        times_codes(matrix, kernels, input, first, n, y);
}

void entro_matrix_row(const struct entro_matrix *matrix, size_t row, float *out)
{
    if (matrix->encoding == ENTRO_MATRIX_DTYPE) {
        entro_dequantize_f32(matrix->dtype, matrix->data + row * row_bytes(matrix), matrix->n_columns, out);
        return;
    }
    size_t start = row * matrix->n_columns;
    for (size_t j = 0; j < matrix->n_columns; j++) {
        float column = matrix->column_scale == NULL ? 1.0F : matrix->column_scale[j];
        out[j] = row_factor(matrix, row) * column * ((float)code_at(matrix, start + j) - matrix->zero_point);
    }
    for (size_t i = first_outlier(matrix, start); i < matrix->n_outliers; i++) {
        uint64_t column = outlier_index(matrix, i) - start;
        if (column >= matrix->n_columns)
            break;
        out[column] = outlier_value(matrix, i);
    }
}
