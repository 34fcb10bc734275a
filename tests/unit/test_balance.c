/* Balancing: rows and columns of equal RMS, whatever the matrix. */
#include "codec/balance.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/half.h"
#include "random.h"

#define N_ROWS    24
#define N_COLUMNS 37

static double rms_of_row(const float *weights, const double *rows, const double *columns, size_t row)
{
    double sum = 0;
    for (size_t j = 0; j < N_COLUMNS; j++)
        sum += pow((double)weights[row * N_COLUMNS + j] / rows[row] / columns[j], 2);
    return sqrt(sum / N_COLUMNS);
}

static double rms_of_column(const float *weights, const double *rows, const double *columns, size_t column)
{
    double sum = 0;
    for (size_t i = 0; i < N_ROWS; i++)
        sum += pow((double)weights[i * N_COLUMNS + column] / rows[i] / columns[column], 2);
    return sqrt(sum / N_ROWS);
}

static void iterate(const float *weights, double *rows, double *columns, unsigned n_iterations)
{
    double energies[N_COLUMNS] = {0}, inverse[N_COLUMNS];
    for (unsigned iteration = 0; iteration < n_iterations; iteration++) {
        for (size_t j = 0; j < N_COLUMNS; j++)
            inverse[j] = 1 / columns[j];
        for (size_t i = 0; i < N_ROWS; i++) {
            const float *row = weights + i * N_COLUMNS;
            rows[i] = sqrt(entro_row_energy(row, inverse, N_COLUMNS) / N_COLUMNS);
            entro_column_energies_add(energies, row, inverse, 1 / (rows[i] * rows[i]), N_COLUMNS);
        }
        entro_columns_update(columns, energies, N_COLUMNS);
    }
}

static void iterations_give_all_rows_and_columns_one_rms(void **state)
{
    (void)state;
    float weights[N_ROWS * N_COLUMNS];
    double rows[N_ROWS], columns[N_COLUMNS];
    struct random random = random_from(1);
    for (size_t i = 0; i < N_ROWS * N_COLUMNS; i++)
        weights[i] = (float)(random_normal(&random) * exp(0.1 * (double)(i / N_COLUMNS)) /
                             (1 + (double)(i % N_COLUMNS)));
    for (size_t j = 0; j < N_COLUMNS; j++)
        columns[j] = 1;
    iterate(weights, rows, columns, 30);
    for (size_t i = 0; i < N_ROWS; i++)
        assert_true(fabs(rms_of_row(weights, rows, columns, i) - 1) < 1e-6);
    for (size_t j = 0; j < N_COLUMNS; j++)
        assert_true(fabs(rms_of_column(weights, rows, columns, j) - 1) < 1e-6);
}

static void an_energy_is_that_of_all_weights(void **state)
{
    (void)state;
    float weights[N_COLUMNS];
    double inverse[N_COLUMNS], plain = 0, scaled = 0;
    for (size_t j = 0; j < N_COLUMNS; j++) {
        weights[j] = (float)j - 11;
        inverse[j] = 1 + (double)j / 8;
        plain += (double)(weights[j] * weights[j]);
        scaled += pow((double)weights[j] * inverse[j], 2);
    }
    for (size_t n = 0; n < 9; n++)
        assert_true(entro_row_energy(weights, NULL, n) <= plain);
    assert_true(entro_row_energy(weights, NULL, N_COLUMNS) == plain);
    assert_true(fabs(entro_row_energy(weights, inverse, N_COLUMNS) / scaled - 1) < 1e-12);
}

static void a_weight_that_is_no_number_shows_in_the_energy(void **state)
{
    (void)state;
    float weights[16] = {0};
    weights[9] = NAN;
    assert_false(isfinite(entro_row_energy(weights, NULL, 16)));
    weights[9] = -INFINITY;
    assert_false(isfinite(entro_row_energy(weights, NULL, 16)));
    weights[9] = 3e38F; /* its square is more than any F32 */
    assert_true(isfinite(entro_row_energy(weights, NULL, 16)));
}

static void columns_of_zeros_keep_their_factor(void **state)
{
    (void)state;
    double columns[4] = {1, 1, 1, 1}, energies[4] = {4, 0, 4, 0};
    assert_true(entro_columns_update(columns, energies, 4) == 0);
    for (int j = 0; j < 4; j++) {
        assert_true(columns[j] == 1);
        assert_true(energies[j] == 0);
    }
    assert_true(entro_columns_update(columns, energies, 4) == 0); /* and of zeros alone */
}

static void factors_are_rounded_to_normal_f16_around_one(void **state)
{
    (void)state;
    const double factors[6] = {3e-7, 1e-7, 2e-7, 0, 1e-30, 1e30};
    uint16_t halves[6];
    double unit;
    entro_factors_round(factors, 3, halves, &unit);
    assert_true(unit > 0 && log2(unit) == rint(log2(unit)));
    for (int i = 0; i < 3; i++) {
        double rounded = (double)entro_f16_to_f32(halves[i]);
        assert_true(rounded > 0.25 && rounded < 4);
        assert_true(fabs(rounded * unit / factors[i] - 1) < 0x1p-11);
    }
    entro_factors_round(factors, 6, halves, &unit);
    for (int i = 0; i < 6; i++) {
        float rounded = entro_f16_to_f32(halves[i]);
        assert_true(isnormal(rounded) && rounded >= 0x1p-14F && rounded <= 65504);
    }
    assert_true(entro_f16_to_f32(halves[3]) == 1);
    entro_factors_round(factors + 3, 1, halves, &unit); /* of a matrix of zeros */
    assert_true(unit == 1 && entro_f16_to_f32(halves[0]) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iterations_give_all_rows_and_columns_one_rms),
        cmocka_unit_test(an_energy_is_that_of_all_weights),
        cmocka_unit_test(a_weight_that_is_no_number_shows_in_the_energy),
        cmocka_unit_test(columns_of_zeros_keep_their_factor),
        cmocka_unit_test(factors_are_rounded_to_normal_f16_around_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
