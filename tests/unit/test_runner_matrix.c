/* Products with matrices of codes, factors and outliers, against the formula in F64; odd widths put 4-bit
 * rows in the middle of a byte. */
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
#include "codec/half.h"
#include "runner/matrix.h"

#define ROWS        7
#define MAX_COLUMNS 67
#define OUTLIERS    4

struct fixture {
    uint8_t data[ROWS * MAX_COLUMNS * 4];
    float row_scale[ROWS], column_scale[MAX_COLUMNS];
    uint8_t outliers[OUTLIERS * ENTRO_OUTLIER_BYTES];
    double weights[ROWS * MAX_COLUMNS]; /* what the matrix stands for */
    float x[MAX_COLUMNS];
    struct entro_matrix matrix;
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

static void fill_codes(struct fixture *f, unsigned bits, size_t n_columns, bool with_factors,
                       bool with_outliers)
{
    *f = (struct fixture){0};
    f->matrix = (struct entro_matrix){.name = "m",
                                      .n_rows = ROWS,
                                      .n_columns = n_columns,
                                      .encoding = bits == 8 ? ENTRO_MATRIX_U8 : ENTRO_MATRIX_U4,
                                      .data = f->data,
                                      .scale = 0.015625F,
                                      .zero_point = bits == 8 ? 131 : 6};
    for (size_t i = 0; i < ROWS; i++)
        f->row_scale[i] = with_factors ? 0.5F + (float)i : 1;
    for (size_t j = 0; j < n_columns; j++) {
        f->column_scale[j] = with_factors ? 1.5F - (float)(j % 5) * 0.25F : 1;
        f->x[j] = random_float();
    }
    for (size_t e = 0; e < ROWS * n_columns; e++) {
        unsigned code = random_u32() % (bits == 8 ? 256 : 16);
        if (bits == 8)
            f->data[e] = (uint8_t)code;
        else
            f->data[e / 2] |= (uint8_t)(code << (e % 2 * 4));
        f->weights[e] = (double)f->matrix.scale * (double)f->row_scale[e / n_columns] *
                        (double)f->column_scale[e % n_columns] *
                        ((double)code - (double)f->matrix.zero_point);
    }
    if (with_factors) {
        f->matrix.row_scale = f->row_scale;
        f->matrix.column_scale = f->column_scale;
    }
    if (!with_outliers)
        return;
    /* The first and the last element, and two in a row of their own. */
    const size_t indices[OUTLIERS] = {0, 3 * n_columns, 4 * n_columns - 1, ROWS * n_columns - 1};
    for (size_t i = 0; i < OUTLIERS; i++) {
        float value = 10.0F + (float)i;
        if (i > 0 && indices[i] == indices[i - 1])
            continue;
        entro_store_u64(f->outliers + f->matrix.n_outliers * ENTRO_OUTLIER_BYTES, indices[i]);
        entro_store_f32(f->outliers + f->matrix.n_outliers++ * ENTRO_OUTLIER_BYTES + 8, value);
        f->weights[indices[i]] = (double)value;
    }
    f->matrix.outliers = f->outliers;
}

static void check(const struct fixture *f)
{
    static const char *const variants[] = {"portable", "avx2", "avx512"};
    size_t n_columns = f->matrix.n_columns;
    float scratch[MAX_COLUMNS], row[MAX_COLUMNS];
    struct entro_matrix_input input = entro_matrix_input(&f->matrix, f->x, scratch);
    for (size_t v = 0; v < 3; v++) {
        const struct entro_kernels *kernels = entro_kernels_by_name(variants[v]);
        float y[ROWS + 1];
        if (kernels == NULL)
            continue;
        y[ROWS] = 42;
        /* In two pieces, as threads would. */
        entro_matrix_times(&f->matrix, kernels, &input, 3, ROWS - 3, y);
        entro_matrix_times(&f->matrix, kernels, &input, 0, 3, y);
        assert_true(y[ROWS] == 42);
        for (size_t i = 0; i < ROWS; i++) {
            double sum = 0, magnitude = 1;
            for (size_t j = 0; j < n_columns; j++) {
                sum += f->weights[i * n_columns + j] * (double)f->x[j];
                magnitude += fabs(f->weights[i * n_columns + j] * (double)f->x[j]);
            }
            if (fabs((double)y[i] - sum) > 1e-5 * magnitude)
                fail_msg("%s, %zu columns, row %zu: %g instead of %g", variants[v], n_columns, i,
                         (double)y[i], sum);
        }
    }
    for (size_t i = 0; i < ROWS; i++) {
        entro_matrix_row(&f->matrix, i, row);
        for (size_t j = 0; j < n_columns; j++)
            assert_float_equal(row[j], (float)f->weights[i * n_columns + j], 1e-5);
    }
}

static void products_of_codes_follow_the_formula(void **state)
{
    (void)state;
    static struct fixture fixture;
    for (unsigned bits = 4; bits <= 8; bits += 4)
        for (size_t n_columns = 1; n_columns <= MAX_COLUMNS; n_columns++)
            for (int kind = 0; kind < 4; kind++) {
                fill_codes(&fixture, bits, n_columns, kind % 2 != 0, kind / 2 != 0);
                check(&fixture);
            }
}

static void products_of_float_types_are_exact_to_rounding(void **state)
{
    (void)state;
    static struct fixture fixture;
    static const enum entro_dtype dtypes[] = {ENTRO_DTYPE_F32, ENTRO_DTYPE_F16, ENTRO_DTYPE_BF16};
    for (size_t d = 0; d < 3; d++)
        for (size_t n_columns = 1; n_columns <= MAX_COLUMNS; n_columns++) {
            struct fixture *f = &fixture;
            *f = (struct fixture){0};
            f->matrix = (struct entro_matrix){.name = "m",
                                              .n_rows = ROWS,
                                              .n_columns = n_columns,
                                              .encoding = ENTRO_MATRIX_DTYPE,
                                              .dtype = dtypes[d],
                                              .data = f->data};
            for (size_t j = 0; j < n_columns; j++)
                f->x[j] = random_float();
            for (size_t e = 0; e < ROWS * n_columns; e++) {
                float value = random_float();
                if (d == 0) {
                    entro_store_f32(f->data + 4 * e, value);
                } else if (d == 1) {
                    entro_store_u16(f->data + 2 * e, entro_f32_to_f16(value));
                    value = entro_f16_to_f32(entro_f32_to_f16(value));
                } else {
                    entro_store_u16(f->data + 2 * e, entro_f32_to_bf16(value));
                    value = entro_bf16_to_f32(entro_f32_to_bf16(value));
                }
                f->weights[e] = (double)value;
            }
            check(f);
        }
}

static void block_types_are_dequantized_piece_by_piece(void **state)
{
    (void)state;
    /* Q8_0: a block of 32 is an F16 step and 32 signed bytes. Wide enough for more than one piece. */
    enum { BLOCKS = 70, COLUMNS = BLOCKS * 32 };
    static uint8_t data[2 * BLOCKS * 34];
    static float x[COLUMNS], row[COLUMNS];
    double sums[2] = {0};
    for (size_t block = 0; block < 2 * BLOCKS; block++) {
        float step = 0.25F / (float)(1 + block % 3 * 3);
        uint16_t half = entro_f32_to_f16(step);
        entro_store_u16(data + block * 34, half);
        for (size_t i = 0; i < 32; i++) {
            size_t column = block % BLOCKS * 32 + i;
            uint8_t byte = (uint8_t)random_u32();
            data[block * 34 + 2 + i] = byte;
            if (block < BLOCKS)
                x[column] = random_float();
            sums[block / BLOCKS] +=
                (double)entro_f16_to_f32(half) * (double)(byte < 128 ? byte : byte - 256) * (double)x[column];
        }
    }
    const struct entro_matrix matrix = {.name = "m",
                                        .n_rows = 2,
                                        .n_columns = COLUMNS,
                                        .encoding = ENTRO_MATRIX_DTYPE,
                                        .dtype = ENTRO_DTYPE_Q8_0,
                                        .data = data};
    struct entro_matrix_input input = entro_matrix_input(&matrix, x, NULL);
    float y[2];
    entro_matrix_times(&matrix, entro_kernels_best(), &input, 0, 2, y);
    entro_matrix_row(&matrix, 1, row);
    double sum = 0;
    for (size_t j = 0; j < COLUMNS; j++)
        sum += (double)row[j] * (double)x[j];
    for (size_t i = 0; i < 2; i++)
        assert_true(fabs((double)y[i] - sums[i]) < 0.01);
    assert_true(fabs(sum - sums[1]) < 0.01);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_codes_follow_the_formula),
        cmocka_unit_test(products_of_float_types_are_exact_to_rounding),
        cmocka_unit_test(block_types_are_dequantized_piece_by_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
