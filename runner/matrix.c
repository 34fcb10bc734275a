/*
 * Products of matrices with few vectors, by dot products; see matrix.h. Many vectors are matrix_panels.c's
 * business.
 */
#include "runner/matrix.h"

#include "codec/ggml_blocks.h"
#include "codec/half.h"
#include "runner/matrix_internal.h"

/* Elements that are dequantized at a time where no kernel reads a type as it is: a multiple of every block,
 * small enough for the L1 cache. */
#define PIECE 1024

/* From so many tokens on it pays to unpack a tile of weights for all of them. */
#define MIN_PANEL_TOKENS 4

#define LINE_FLOATS (64 / sizeof(float))

static size_t whole_lines(size_t n_floats)
{
    return (n_floats + LINE_FLOATS - 1) / LINE_FLOATS * LINE_FLOATS;
}

size_t entro_matrix_scratch_bytes(size_t n_columns, size_t n_tokens)
{
    /* The larger of the methods' needs: a token's factored input and its sum, or its digits and blocks. */
    uint64_t n_bytes;
    if (n_columns > SIZE_MAX / 64)
        return SIZE_MAX;
    size_t floats = (whole_lines(n_columns) + 1) * sizeof(float);
    size_t fixed =
        entro_fixed_stride(n_columns) + entro_fixed_n_blocks(n_columns) * sizeof(struct entro_fixed_block);
    if (!entro_mul_u64(floats > fixed ? floats : fixed, n_tokens, &n_bytes) || n_bytes > SIZE_MAX - 128)
        return SIZE_MAX;
    return whole_lines((size_t)n_bytes / sizeof(float) + 1) * sizeof(float) + 64;
}

void entro_matrix_prepare_begin(struct entro_matrix_input *input, const struct entro_matrix *matrix,
                                const struct entro_kernels *kernels, const float *x, size_t x_stride,
                                size_t n_tokens, void *scratch)
{
    *input = (struct entro_matrix_input){
        .x = x, .x_stride = x_stride, .n_tokens = n_tokens, .matrix = matrix, .kernels = kernels};
    if (kernels->fixed != NULL && entro_matrix_can_be_fixed(matrix)) {
        input->method = ENTRO_MATRIX_FIXED;
        input->n_blocks = entro_fixed_n_blocks(matrix->n_columns);
        input->digits = scratch;
        input->digits_stride = entro_fixed_stride(matrix->n_columns);
        input->blocks = (void *)(input->digits + n_tokens * input->digits_stride);
        return;
    }
    input->method = n_tokens >= MIN_PANEL_TOKENS ? ENTRO_MATRIX_PANELS : ENTRO_MATRIX_DOTS;
    if (input->method != ENTRO_MATRIX_DOTS || matrix->encoding == ENTRO_MATRIX_DTYPE)
        return;
    input->sums = scratch;
    if (matrix->column_scale != NULL) {
        input->scaled = (float *)scratch + whole_lines(n_tokens);
        input->scaled_stride = whole_lines(matrix->n_columns);
    }
}

void entro_matrix_prepare_tokens(struct entro_matrix_input *input, size_t first_token, size_t n_tokens)
{
    const struct entro_matrix *matrix = input->matrix;
    for (size_t t = first_token; t < first_token + n_tokens && input->method == ENTRO_MATRIX_FIXED; t++)
        entro_matrix_fix_token(input, t);
    if (input->sums == NULL)
        return;
    for (size_t t = first_token; t < first_token + n_tokens; t++) {
        const float *x = input->x + t * input->x_stride;
        if (input->scaled != NULL) {
            float *scaled = input->scaled + t * input->scaled_stride;
            for (size_t j = 0; j < matrix->n_columns; j++)
                scaled[j] = matrix->column_scale[j] * x[j];
            x = scaled;
        }
        /* The sum meets a large zero point: F64 keeps it exact enough for any width. */
        double sum = 0;
        for (size_t j = 0; j < matrix->n_columns; j++)
            sum += (double)x[j];
        input->sums[t] = (float)sum;
    }
}

bool entro_matrix_shares_input(const struct entro_matrix *a, const struct entro_matrix *b)
{
    return a->n_columns == b->n_columns && a->encoding == b->encoding && a->column_scale == b->column_scale &&
           entro_matrix_can_be_fixed(a) == entro_matrix_can_be_fixed(b);
}

size_t entro_first_outlier(const struct entro_matrix *matrix, uint64_t element)
{
    size_t low = 0, high = matrix->n_outliers;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (entro_outlier_index(matrix, middle) < element)
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
    float first = (float)entro_matrix_code(matrix, start) * x[0];
    return first + kernels->dot_u4(matrix->data + start / 2 + 1, x + 1, n - 1);
}

/* An outlier's value takes the place of what its code stands for. x and scaled_x are one token's. */
static float outliers_share(const struct entro_matrix *matrix, const float *x, const float *scaled_x,
                            size_t row, size_t *next)
{
    float share = 0;
    uint64_t start = (uint64_t)row * matrix->n_columns;
    for (; *next < matrix->n_outliers && entro_outlier_index(matrix, *next) - start < matrix->n_columns;
         ++*next) {
        size_t column = (size_t)(entro_outlier_index(matrix, *next) - start);
        float coded = entro_matrix_row_factor(matrix, row) *
                      ((float)entro_matrix_code(matrix, (size_t)start + column) - matrix->zero_point);
        share += entro_outlier_value(matrix, *next) * x[column] - coded * scaled_x[column];
    }
    return share;
}

static void times_codes(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                        const struct entro_matrix_input *input, size_t token, size_t first, size_t n,
                        float *y)
{
    const float *x = input->x + token * input->x_stride;
    const float *scaled = input->scaled == NULL ? x : input->scaled + token * input->scaled_stride;
    float correction = matrix->zero_point * input->sums[token];
    size_t next = entro_first_outlier(matrix, (uint64_t)first * matrix->n_columns);
    for (size_t i = first; i < first + n; i++) {
        y[i] = entro_matrix_row_factor(matrix, i) * (dot_codes(matrix, kernels, i, scaled) - correction);
        if (matrix->n_outliers != 0)
            y[i] += outliers_share(matrix, x, scaled, i, &next);
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

/* NULL where no kernel reads the type as it is. */
static entro_dot_function *dot_of(const struct entro_kernels *kernels, enum entro_dtype dtype)
{
    switch ((int)dtype) {
    case ENTRO_DTYPE_F32:
        return kernels->dot_f32;
    case ENTRO_DTYPE_F16:
        return kernels->dot_f16;
    case ENTRO_DTYPE_BF16:
        return kernels->dot_bf16;
    case ENTRO_DTYPE_Q8_0:
        return kernels->dot_q8_0;
    case ENTRO_DTYPE_Q4_0:
        return kernels->dot_q4_0;
    case ENTRO_DTYPE_Q4_1:
        return kernels->dot_q4_1;
    default:
        return NULL;
    }
}

static void times_dtype(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                        const float *x, size_t first, size_t n, float *y)
{
    size_t stride = row_bytes(matrix);
    entro_dot_function *dot = dot_of(kernels, matrix->dtype);
    for (size_t i = first; i < first + n; i++) {
        const uint8_t *row = matrix->data + i * stride;
        y[i] = dot != NULL ? dot(row, x, matrix->n_columns) : dot_blocks(matrix, kernels, row, x);
    }
}

void entro_matrix_times(const struct entro_matrix *matrix, const struct entro_kernels *kernels,
                        const struct entro_matrix_input *input, size_t first, size_t n, float *y,
                        size_t y_stride)
{
    if (input->method == ENTRO_MATRIX_PANELS) {
        entro_matrix_times_panels(matrix, kernels, input, first, n, y, y_stride);
        return;
    }
    if (input->method == ENTRO_MATRIX_FIXED) {
        entro_matrix_times_fixed(matrix, kernels, input, first, n, y, y_stride);
        return;
    }
    for (size_t t = 0; t < input->n_tokens; t++) {
        if (matrix->encoding == ENTRO_MATRIX_DTYPE)
            times_dtype(matrix, kernels, input->x + t * input->x_stride, first, n, y + t * y_stride);
        else
            times_codes(matrix, kernels, input, t, first, n, y + t * y_stride);
    }
}

static void piece_of_codes(const struct entro_matrix *matrix, const struct entro_kernels *kernels, size_t row,
                           size_t column, size_t n, float *out)
{
    const uint8_t *codes;
    float factor = entro_matrix_row_factor(matrix, row), zero_point = matrix->zero_point;
    const float *columns = matrix->column_scale == NULL ? NULL : matrix->column_scale + column;
    size_t start = row * matrix->n_columns + column, n_done = 0;
    if (entro_matrix_codes_at(matrix, start, &codes)) {
        out[0] = factor * (columns == NULL ? 1.0F : columns[0]) * ((float)(*codes++ >> 4) - zero_point);
        n_done = 1;
        columns = columns == NULL ? NULL : columns + 1;
    }
    if (matrix->encoding == ENTRO_MATRIX_U8)
        kernels->widen_u8(codes, n, zero_point, factor, columns, out);
    else
        kernels->widen_u4(codes, n - n_done, zero_point, factor, columns, out + n_done);
    for (size_t i = entro_first_outlier(matrix, start); i < matrix->n_outliers; i++) {
        uint64_t place = entro_outlier_index(matrix, i) - start;
        if (place >= n)
            break;
        out[place] = entro_outlier_value(matrix, i);
    }
}

void entro_matrix_piece(const struct entro_matrix *matrix, const struct entro_kernels *kernels, size_t row,
                        size_t column, size_t n, float *out)
{
    if (matrix->encoding != ENTRO_MATRIX_DTYPE) {
        piece_of_codes(matrix, kernels, row, column, n, out);
        return;
    }
    const struct entro_dtype_info *info = entro_dtype_info(matrix->dtype);
    const uint8_t *source =
        matrix->data + row * row_bytes(matrix) + column / info->block_elements * info->block_bytes;
    if (matrix->dtype == ENTRO_DTYPE_F16)
        kernels->widen_f16(source, n, out);
    else if (matrix->dtype == ENTRO_DTYPE_BF16)
        kernels->widen_bf16(source, n, out);
    else
        entro_dequantize_f32(matrix->dtype, source, n, out);
}

void entro_matrix_row(const struct entro_matrix *matrix, size_t row, float *out)
{
    entro_matrix_piece(matrix, &entro_kernels_portable, row, 0, matrix->n_columns, out);
}
