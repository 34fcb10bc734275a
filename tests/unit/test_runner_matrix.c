/*
 * Products of matrices in every encoding with one vector and with many, by every variant of the kernels,
 * against the formula in F64. Odd widths put 4-bit rows in the middle of a byte; blocks are exactly as large
 * as the matrix, so that AddressSanitizer sees a read behind it.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/bytes.h"
#include "codec/ggml_blocks.h"
#include "codec/half.h"
#include "runner/matrix.h"

static const char *const variants[] = {"portable", "avx2", "avx512", "vnni", "amx", "neon"};
#define N_VARIANTS (sizeof variants / sizeof variants[0])

/* Results lie with a gap between tokens, filled with this. */
#define UNTOUCHED 42.0F
#define GAP       3

enum extras { PLAIN, FACTORS, OUTLIERS, FACTORS_AND_OUTLIERS, N_EXTRAS };

struct fixture {
    struct entro_matrix matrix;
    uint8_t *data;
    float *row_scale, *column_scale;
    uint8_t *outliers;
    double *weights; /* [n_rows][n_columns] what the matrix stands for */
    size_t n_tokens, x_stride;
    float *x;
    double *expected, *magnitude; /* [n_tokens][n_rows]: results, sums of absolute products */
};

static uint32_t random_u32(void)
{
    static uint64_t state = 7;
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(state >> 33);
}

static float random_float(void)
{
    return (float)random_u32() / (float)(1U << 30) - 1.0F;
}

static void *allocate(size_t size_bytes)
{
    void *memory = malloc(size_bytes == 0 ? 1 : size_bytes);
    assert_non_null(memory);
    return memory;
}

static void add_outlier(struct fixture *f, size_t element)
{
    struct entro_matrix *matrix = &f->matrix;
    uint8_t *record = f->outliers + matrix->n_outliers * ENTRO_OUTLIER_BYTES;
    float value = 3.0F + 5.0F * random_float();
    if (matrix->n_outliers != 0 && entro_load_u64(record - ENTRO_OUTLIER_BYTES) >= element)
        return;
    entro_store_u64(record, element);
    entro_store_f32(record + 8, value);
    f->weights[element] = (double)value;
    matrix->n_outliers++;
}

static void fill_codes(struct fixture *f, unsigned bits, enum extras extras)
{
    struct entro_matrix *matrix = &f->matrix;
    size_t n = matrix->n_rows * matrix->n_columns, n_bytes = bits == 8 ? n : (n + 1) / 2;
    matrix->encoding = bits == 8 ? ENTRO_MATRIX_U8 : ENTRO_MATRIX_U4;
    matrix->scale = 0.015625F;
    matrix->zero_point = bits == 8 ? 131 : 6;
    f->data = allocate(n_bytes);
    f->row_scale = allocate(matrix->n_rows * sizeof(float));
    f->column_scale = allocate(matrix->n_columns * sizeof(float));
    f->outliers = allocate((n / 64 + 8) * ENTRO_OUTLIER_BYTES);
    for (size_t i = 0; i < n_bytes; i++)
        f->data[i] = (uint8_t)random_u32();
    bool with_factors = extras == FACTORS || extras == FACTORS_AND_OUTLIERS;
    for (size_t i = 0; i < matrix->n_rows; i++)
        f->row_scale[i] = with_factors ? 0.5F + (float)(i % 7) : 1;
    for (size_t j = 0; j < matrix->n_columns; j++)
        f->column_scale[j] = with_factors ? 1.5F - (float)(j % 5) * 0.25F : 1;
    if (with_factors) { /* the first and the last element may be outliers, which have no factors */
        f->column_scale[0] = 0;
        f->column_scale[matrix->n_columns - 1] = 0x1p-24F;
    }
    for (size_t e = 0; e < n; e++) {
        unsigned code = bits == 8 ? f->data[e] : f->data[e / 2] >> (e % 2 * 4) & 15U;
        f->weights[e] = (double)matrix->scale * (double)f->row_scale[e / matrix->n_columns] *
                        (double)f->column_scale[e % matrix->n_columns] *
                        ((double)code - (double)matrix->zero_point);
    }
    matrix->data = f->data;
    if (with_factors) {
        matrix->row_scale = f->row_scale;
        matrix->column_scale = f->column_scale;
    }
    if (extras < OUTLIERS)
        return;
    matrix->outliers = f->outliers;
    add_outlier(f, 0);
    for (size_t e = 100; e + 1 < n; e += 100 + random_u32() % 50)
        add_outlier(f, e);
    add_outlier(f, n - 1);
}

static void fill_dtype(struct fixture *f, enum entro_dtype dtype)
{
    struct entro_matrix *matrix = &f->matrix;
    const struct entro_dtype_info *info = entro_dtype_info(dtype);
    size_t n = matrix->n_rows * matrix->n_columns, n_bytes = n / info->block_elements * info->block_bytes;
    float *values = allocate(n * sizeof(float));
    matrix->encoding = ENTRO_MATRIX_DTYPE;
    matrix->dtype = dtype;
    f->data = allocate(n_bytes);
    if (info->block_elements == 1)
        for (size_t i = 0; i < n; i++) {
            float value = random_float();
            if (dtype == ENTRO_DTYPE_F32)
                entro_store_f32(f->data + 4 * i, value);
            else
                entro_store_u16(f->data + 2 * i, dtype == ENTRO_DTYPE_F16 ? entro_f32_to_f16(value)
                                                                          : entro_f32_to_bf16(value));
        }
    else
        for (size_t i = 0; i < n_bytes; i++) {
            /* Steps and offsets, where blocks begin, are small F16 numbers; codes are anything. */
            size_t at = i % info->block_bytes, n_heads = dtype == ENTRO_DTYPE_Q4_1 ? 4 : 2;
            f->data[i] = (uint8_t)random_u32();
            if (at < n_heads)
                f->data[i] = at % 2 == 0 ? f->data[i] : (uint8_t)(0x20 + random_u32() % 8);
        }
    entro_dequantize_f32(dtype, f->data, n, values);
    for (size_t i = 0; i < n; i++)
        f->weights[i] = (double)values[i];
    matrix->data = f->data;
    free(values);
}

/* Call one of the two above next, then fill_input. */
static void begin(struct fixture *f, size_t n_rows, size_t n_columns)
{
    *f = (struct fixture){.matrix = {.name = "m", .n_rows = n_rows, .n_columns = n_columns}};
    f->weights = allocate(n_rows * n_columns * sizeof(double));
}

static void fill_input(struct fixture *f, size_t n_tokens)
{
    size_t n_rows = f->matrix.n_rows, n_columns = f->matrix.n_columns;
    f->n_tokens = n_tokens;
    f->x_stride = n_columns + n_tokens % 3;
    f->x = allocate(((n_tokens - 1) * f->x_stride + n_columns) * sizeof(float));
    f->expected = allocate(n_tokens * n_rows * sizeof(double));
    f->magnitude = allocate(n_tokens * n_rows * sizeof(double));
    for (size_t i = 0; i < (n_tokens - 1) * f->x_stride + n_columns; i++)
        f->x[i] = random_float();
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t i = 0; i < n_rows; i++) {
            double sum = 0, magnitude = 0;
            for (size_t j = 0; j < n_columns; j++) {
                double term = f->weights[i * n_columns + j] * (double)f->x[t * f->x_stride + j];
                sum += term;
                magnitude += fabs(term);
            }
            f->expected[t * n_rows + i] = sum;
            f->magnitude[t * n_rows + i] = magnitude;
        }
}

static void free_input(struct fixture *f)
{
    free(f->x);
    free(f->expected);
    free(f->magnitude);
}

static void free_matrix(struct fixture *f)
{
    free(f->data);
    free(f->row_scale);
    free(f->column_scale);
    free(f->outliers);
    free(f->weights);
}

/* The product by one variant, input and rows in two pieces as threads would: [n_tokens][n_rows + GAP]; the
 * caller frees. */
static float *multiply(const struct fixture *f, const struct entro_kernels *kernels)
{
    size_t n_rows = f->matrix.n_rows, y_stride = n_rows + GAP, first = n_rows / 3;
    size_t scratch_bytes = entro_matrix_scratch_bytes(f->matrix.n_columns, f->n_tokens);
    void *scratch = aligned_alloc(64, (scratch_bytes + 63) / 64 * 64);
    float *y = allocate(f->n_tokens * y_stride * sizeof(float));
    assert_non_null(scratch);
    for (size_t i = 0; i < f->n_tokens * y_stride; i++)
        y[i] = UNTOUCHED;
    struct entro_matrix_input input;
    size_t later = f->n_tokens / 2;
    entro_matrix_prepare_begin(&input, &f->matrix, kernels, f->x, f->x_stride, f->n_tokens, scratch);
    entro_matrix_prepare_tokens(&input, later, f->n_tokens - later);
    entro_matrix_prepare_tokens(&input, 0, later);
    entro_matrix_times(&f->matrix, kernels, &input, first, n_rows - first, y, y_stride);
    entro_matrix_times(&f->matrix, kernels, &input, 0, first, y, y_stride);
    free(scratch);
    return y;
}

static void check_product(const struct fixture *f, const char *variant)
{
    const struct entro_kernels *kernels = entro_kernels_by_name(variant);
    size_t n_rows = f->matrix.n_rows;
    if (kernels == NULL)
        return;
    float *y = multiply(f, kernels);
    for (size_t t = 0; t < f->n_tokens; t++) {
        for (size_t i = 0; i < n_rows; i++) {
            double got = (double)y[t * (n_rows + GAP) + i], expected = f->expected[t * n_rows + i];
            /* What F32 leaves of terms whose zero points cancel. */
            double allowed = 2e-5 * f->magnitude[t * n_rows + i] + 1e-5;
            if (!(fabs(got - expected) <= allowed))
                fail_msg("%s, %zu x %zu, encoding %d, %zu tokens: row %zu of token %zu is %g, not %g",
                         variant, n_rows, f->matrix.n_columns, (int)f->matrix.encoding, f->n_tokens, i, t,
                         got, expected);
        }
        for (size_t i = n_rows; i < n_rows + GAP; i++)
            assert_true(y[t * (n_rows + GAP) + i] == UNTOUCHED);
    }
    free(y);
}

static void check(struct fixture *f, size_t n_tokens)
{
    fill_input(f, n_tokens);
    for (size_t v = 0; v < N_VARIANTS; v++)
        check_product(f, variants[v]);
    free_input(f);
}

static void check_codes(unsigned bits, size_t n_rows, size_t n_columns, enum extras extras,
                        const size_t *tokens, size_t n)
{
    struct fixture f;
    begin(&f, n_rows, n_columns);
    fill_codes(&f, bits, extras);
    for (size_t i = 0; i < n; i++)
        check(&f, tokens[i]);
    float *row = allocate(n_columns * sizeof(float));
    for (size_t i = 0; i < n_rows; i++) {
        entro_matrix_row(&f.matrix, i, row);
        for (size_t j = 0; j < n_columns; j++)
            assert_float_equal(row[j], (float)f.weights[i * n_columns + j], 1e-5);
    }
    free(row);
    free_matrix(&f);
}

static void narrow_products_of_codes_follow_the_formula(void **state)
{
    (void)state;
    static const size_t tokens[] = {1, 3, 4, 17};
    for (unsigned bits = 4; bits <= 8; bits += 4)
        for (size_t n_columns = 1; n_columns <= 70; n_columns++)
            for (int extras = 0; extras < N_EXTRAS; extras++)
                check_codes(bits, 7, n_columns, (enum extras)extras, tokens, 4);
}

static void any_number_of_tokens_is_taken(void **state)
{
    (void)state;
    size_t tokens[33];
    for (size_t i = 0; i < 33; i++)
        tokens[i] = i + 1;
    for (unsigned bits = 4; bits <= 8; bits += 4) {
        check_codes(bits, 70, 129, FACTORS_AND_OUTLIERS, tokens, 33);
        check_codes(bits, 32, 192, PLAIN, tokens, 33);
    }
}

/* More than one panel, more than one group of tokens. */
static void wide_products_of_codes_follow_the_formula(void **state)
{
    (void)state;
    static const size_t tokens[] = {1, 2, 40};
    static const size_t widths[] = {576, 577, 1536, 2048, 2049, 4173};
    for (unsigned bits = 4; bits <= 8; bits += 4)
        for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
            check_codes(bits, 37, widths[i], i % 2 == 0 ? FACTORS_AND_OUTLIERS : PLAIN, tokens, 3);
}

static void products_of_float_types_are_exact_to_rounding(void **state)
{
    (void)state;
    static const enum entro_dtype dtypes[] = {ENTRO_DTYPE_F32, ENTRO_DTYPE_F16, ENTRO_DTYPE_BF16};
    static const size_t tokens[] = {1, 2, 5, 33};
    for (size_t d = 0; d < 3; d++)
        for (size_t n_columns = 1; n_columns <= 1100; n_columns += n_columns < 70 ? 1 : 343) {
            struct fixture f;
            begin(&f, 35, n_columns);
            fill_dtype(&f, dtypes[d]);
            for (size_t i = 0; i < 4; i++)
                check(&f, tokens[i]);
            free_matrix(&f);
        }
}

static void block_types_are_read_as_they_are(void **state)
{
    (void)state;
    static const size_t tokens[] = {1, 4, 21};
    static const size_t widths[] = {32, 64, 544, 2240};
    static const enum entro_dtype dtypes[] = {ENTRO_DTYPE_Q8_0, ENTRO_DTYPE_Q4_0, ENTRO_DTYPE_Q4_1};
    for (size_t i = 0; i < 12; i++) {
        struct fixture f;
        begin(&f, 34, widths[i / 3]);
        fill_dtype(&f, dtypes[i % 3]);
        for (size_t t = 0; t < 3; t++)
            check(&f, tokens[t]);
        free_matrix(&f);
    }
}

static void a_zero_point_need_not_be_an_integer_or_a_code(void **state)
{
    (void)state;
    static const float zero_points[] = {7.5F, -3.0F, 300.0F, 0.0F};
    for (size_t z = 0; z < 4; z++)
        for (unsigned bits = 4; bits <= 8; bits += 4) {
            struct fixture f;
            begin(&f, 33, 160);
            fill_codes(&f, bits, PLAIN);
            for (size_t e = 0; e < 33 * 160; e++)
                f.weights[e] +=
                    (double)f.matrix.scale * ((double)f.matrix.zero_point - (double)zero_points[z]);
            f.matrix.zero_point = zero_points[z];
            check(&f, 1);
            check(&f, 18);
            free_matrix(&f);
        }
}

/* One element that is no number spoils its token and no other. */
static void a_value_that_is_no_number_is_not_swallowed(void **state)
{
    (void)state;
    for (unsigned bits = 4; bits <= 8; bits += 4)
        for (size_t n_tokens = 1; n_tokens <= 20; n_tokens += 19)
            for (size_t v = 0; v < N_VARIANTS; v++)
                for (int infinite = 0; infinite < 2; infinite++) {
                    const struct entro_kernels *kernels = entro_kernels_by_name(variants[v]);
                    struct fixture f;
                    if (kernels == NULL)
                        continue;
                    begin(&f, 40, 100);
                    fill_codes(&f, bits, FACTORS);
                    fill_input(&f, n_tokens);
                    f.x[(n_tokens - 1) * f.x_stride + 57] = infinite ? INFINITY : NAN;
                    float *y = multiply(&f, kernels);
                    for (size_t t = 0; t < n_tokens; t++)
                        for (size_t i = 0; i < 40; i++)
                            assert_int_equal(isfinite(y[t * (40 + GAP) + i]) != 0, t + 1 != n_tokens);
                    free(y);
                    free_input(&f);
                    free_matrix(&f);
                }
}

/* Values of very different sizes, as residual streams have them. */
static void small_elements_survive_beside_large_ones(void **state)
{
    (void)state;
    for (size_t v = 0; v < N_VARIANTS; v++) {
        const struct entro_kernels *kernels = entro_kernels_by_name(variants[v]);
        struct fixture f;
        if (kernels == NULL)
            continue;
        begin(&f, 33, 256);
        fill_codes(&f, 8, PLAIN);
        /* The large element meets a weight of zero. */
        for (size_t i = 0; i < 33; i++)
            f.data[i * 256 + 11] = 131;
        fill_input(&f, 20);
        for (size_t t = 0; t < 20; t++)
            f.x[t * f.x_stride + 11] = 1000;
        float *y = multiply(&f, kernels);
        for (size_t t = 0; t < 20; t++)
            for (size_t i = 0; i < 33; i++) {
                double sum = 0;
                for (size_t j = 0; j < 256; j++)
                    if (j != 11)
                        sum += f.weights[i * 256 + j] * (double)f.x[t * f.x_stride + j];
                assert_float_equal(y[t * (33 + GAP) + i], sum, 5e-3);
            }
        free(y);
        free_input(&f);
        free_matrix(&f);
    }
}

static void a_scratch_size_that_is_no_size_is_said(void **state)
{
    (void)state;
    assert_true(entro_matrix_scratch_bytes(SIZE_MAX / 2, 1) == SIZE_MAX);
    assert_true(entro_matrix_scratch_bytes(SIZE_MAX / 64, 64) == SIZE_MAX);
    assert_true(entro_matrix_scratch_bytes(1, SIZE_MAX) == SIZE_MAX);
    assert_int_equal(entro_matrix_scratch_bytes(576, 1) % 64, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrow_products_of_codes_follow_the_formula),
        cmocka_unit_test(any_number_of_tokens_is_taken),
        cmocka_unit_test(wide_products_of_codes_follow_the_formula),
        cmocka_unit_test(products_of_float_types_are_exact_to_rounding),
        cmocka_unit_test(block_types_are_read_as_they_are),
        cmocka_unit_test(a_zero_point_need_not_be_an_integer_or_a_code),
        cmocka_unit_test(a_value_that_is_no_number_is_not_swallowed),
        cmocka_unit_test(small_elements_survive_beside_large_ones),
        cmocka_unit_test(a_scratch_size_that_is_no_size_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
