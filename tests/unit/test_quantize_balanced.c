/* Rounding with factors: nearest codes, and outliers instead of clipped weights. */
#include "codec/quantize_balanced.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "random.h"

#define N_ROWS    7
#define N_COLUMNS 301 /* odd: 4-bit rows begin in the middle of a byte */
#define N         (N_ROWS * N_COLUMNS)

struct matrix {
    float weights[N];
    uint16_t row[N_ROWS];
    double column[N_COLUMNS], inverse_column[N_COLUMNS];
    uint8_t codes[N + 1];
    uint8_t records[N * ENTRO_OUTLIER_BYTES];
    size_t n_records;
    struct entro_balanced_loss loss;
};

static void make(struct matrix *matrix, uint64_t seed)
{
    struct random random = random_from(seed);
    memset(matrix, 0, sizeof *matrix);
    for (size_t i = 0; i < N_ROWS; i++)
        matrix->row[i] = entro_f32_to_f16((float)(0.5 + 0.3 * (double)i));
    for (size_t j = 0; j < N_COLUMNS; j++) {
        matrix->column[j] = (double)entro_f16_to_f32(entro_f32_to_f16(0.25F + (float)j / 99));
        matrix->inverse_column[j] = 1 / matrix->column[j];
    }
    for (size_t i = 0; i < N; i++)
        matrix->weights[i] = (float)random_normal(&random);
}

static struct entro_balanced_grid grid_of(const struct matrix *matrix, unsigned bits, float scale)
{
    return (struct entro_balanced_grid){.bits = bits,
                                        .scale = scale,
                                        .largest = (double)FLT_MAX,
                                        .n_columns = N_COLUMNS,
                                        .row = matrix->row,
                                        .column = matrix->column,
                                        .inverse_column = matrix->inverse_column};
}

static int code_at(const struct matrix *matrix, unsigned bits, size_t i)
{
    return bits == 8 ? matrix->codes[i] : matrix->codes[i / 2] >> i % 2 * 4 & 15;
}

static void quantize(struct matrix *matrix, const struct entro_balanced_grid *grid)
{
    uint8_t *next = matrix->records;
    memset(matrix->codes, 0xee, sizeof matrix->codes);
    entro_quantize_balanced(grid, matrix->weights, matrix->weights, 0, N, matrix->codes, &next,
                            matrix->records + sizeof matrix->records, &matrix->loss);
    matrix->n_records = (size_t)(next - matrix->records) / ENTRO_OUTLIER_BYTES;
}

/* Every weight is within half a step of what its code says, or in the list with its exact value. */
static void assert_no_weight_is_clipped(struct matrix *matrix, const struct entro_balanced_grid *grid)
{
    size_t next = 0;
    double error_energy = 0;
    for (size_t i = 0; i < N; i++) {
        double step = (double)grid->scale * (double)entro_f16_to_f32(matrix->row[i / N_COLUMNS]) *
                      matrix->column[i % N_COLUMNS];
        double value = step * (code_at(matrix, grid->bits, i) - entro_balanced_zero_point(grid->bits));
        double error = fabs((double)matrix->weights[i] - value);
        const uint8_t *record = matrix->records + next * ENTRO_OUTLIER_BYTES;
        if (next < matrix->n_records && entro_load_u64(record) == i) {
            assert_int_equal(entro_load_u32(record + 8), entro_f32_bits(matrix->weights[i]));
            next++;
            continue;
        }
        assert_true(error <= step * 0.5000001);
        error_energy += error * error;
    }
    assert_int_equal(next, matrix->n_records);
    assert_int_equal(matrix->loss.n_outliers, matrix->n_records);
    assert_true(fabs(matrix->loss.error_energy - error_energy) <= 1e-9 * error_energy);
}

static void weights_get_the_nearest_code_or_are_outliers(void **state)
{
    (void)state;
    static struct matrix matrix;
    for (unsigned bits = 4; bits <= 8; bits += 4)
        for (int size = 0; size < 4; size++) {
            make(&matrix, (uint64_t)size);
            struct entro_balanced_grid grid = grid_of(&matrix, bits, 0x1p-6F * (float)(1 << 2 * size));
            quantize(&matrix, &grid);
            assert_no_weight_is_clipped(&matrix, &grid);
            assert_true(size > 0 || matrix.n_records > 0);
        }
}

static void parts_give_the_same_as_the_whole(void **state)
{
    (void)state;
    static struct matrix whole, part;
    for (unsigned bits = 4; bits <= 8; bits += 4) {
        make(&whole, 5);
        make(&part, 5);
        struct entro_balanced_grid grid = grid_of(&whole, bits, 0x1p-5F);
        quantize(&whole, &grid);
        uint8_t *next = part.records;
        for (size_t first = 0, n; first < N; first += n) {
            n = first + 258 < N ? 258 : N - first;
            entro_quantize_balanced(&grid, part.weights + first, part.weights + first, first, n,
                                    part.codes + first * bits / 8, &next, part.records + sizeof part.records,
                                    &part.loss);
        }
        assert_memory_equal(whole.codes, part.codes, bits == 8 ? N : (N + 1) / 2);
        assert_int_equal(next - part.records, whole.n_records * ENTRO_OUTLIER_BYTES);
        assert_memory_equal(whole.records, part.records, whole.n_records * ENTRO_OUTLIER_BYTES);
    }
}

static void an_odd_last_4_bit_code_is_alone_in_its_byte(void **state)
{
    (void)state;
    static struct matrix matrix;
    make(&matrix, 6);
    struct entro_balanced_grid grid = grid_of(&matrix, 4, 1);
    quantize(&matrix, &grid);
    assert_int_equal(N % 2, 1);
    assert_int_equal(matrix.codes[N / 2] >> 4, 0);
    assert_int_equal(matrix.codes[N / 2 + 1], 0xee);
}

static void outliers_without_room_are_counted_all_the_same(void **state)
{
    (void)state;
    static struct matrix matrix;
    make(&matrix, 7);
    struct entro_balanced_grid grid = grid_of(&matrix, 4, 0x1p-4F);
    struct entro_balanced_loss counted = {0}, cut = {0};
    entro_quantize_balanced(&grid, matrix.weights, matrix.weights, 0, N, matrix.codes, NULL, NULL, &counted);
    assert_true(counted.n_outliers > 10);
    uint8_t *next = matrix.records;
    entro_quantize_balanced(&grid, matrix.weights, matrix.weights, 0, N, matrix.codes, &next,
                            matrix.records + 3 * ENTRO_OUTLIER_BYTES, &cut);
    assert_int_equal(cut.n_outliers, counted.n_outliers);
    assert_int_equal(next - matrix.records, 3 * ENTRO_OUTLIER_BYTES);
}

static void what_the_dtype_cannot_show_is_an_outlier(void **state)
{
    (void)state;
    static struct matrix matrix;
    make(&matrix, 8);
    for (size_t i = 0; i < N; i++)
        matrix.weights[i] = 65504;
    struct entro_balanced_grid grid = grid_of(&matrix, 8, 700);
    grid.largest = 65504;
    quantize(&matrix, &grid);
    assert_true(matrix.n_records > 0 && matrix.n_records < N);
    for (size_t i = 0, next = 0; i < N; i++) {
        const uint8_t *record = matrix.records + next * ENTRO_OUTLIER_BYTES;
        if (next < matrix.n_records && entro_load_u64(record) == i) {
            next++;
            continue;
        }
        double step =
            700 * (double)entro_f16_to_f32(matrix.row[i / N_COLUMNS]) * matrix.column[i % N_COLUMNS];
        assert_true(step * (code_at(&matrix, 8, i) - 128) <= 65504);
    }
}

static void extreme_weights_are_outliers_and_no_undefined_behaviour(void **state)
{
    (void)state;
    static struct matrix matrix;
    make(&matrix, 9);
    matrix.weights[0] = FLT_MAX;
    matrix.weights[1] = -FLT_MAX;
    matrix.weights[2] = FLT_TRUE_MIN;
    struct entro_balanced_grid grid = grid_of(&matrix, 8, FLT_MIN);
    quantize(&matrix, &grid);
    assert_no_weight_is_clipped(&matrix, &grid);
    assert_true(matrix.loss.largest >= 0.999 * (double)FLT_MAX);
}

static void a_scale_has_so_few_bits_that_steps_are_exact(void **state)
{
    (void)state;
    struct random random = random_from(10);
    for (int i = 0; i < 1000; i++) {
        double wanted =
            exp2((double)random_below(&random, 60) - 30) * (1 + (double)random_below(&random, 1000) / 999);
        double scale = entro_balanced_scale(wanted);
        assert_true(fabs(scale / wanted - 1) <= 0x1p-12);
        for (int code = -255; code <= 255; code += 17)
            assert_true((double)(float)(scale * code) == scale * code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_get_the_nearest_code_or_are_outliers),
        cmocka_unit_test(parts_give_the_same_as_the_whole),
        cmocka_unit_test(an_odd_last_4_bit_code_is_alone_in_its_byte),
        cmocka_unit_test(outliers_without_room_are_counted_all_the_same),
        cmocka_unit_test(what_the_dtype_cannot_show_is_an_outlier),
        cmocka_unit_test(extreme_weights_are_outliers_and_no_undefined_behaviour),
        cmocka_unit_test(a_scale_has_so_few_bits_that_steps_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
