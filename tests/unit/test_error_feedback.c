/* Error feedback against the dense solution that it must equal, and what it may not depend on. */
#include "codec/error_feedback_kernels.h"

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

#define N_ROWS       ((size_t)21) /* a whole group and a part of one */
#define N_COLUMNS    ((size_t)83) /* more than are turned at a time */
#define N_DIRECTIONS ((size_t)5)
#define N            (N_ROWS * N_COLUMNS)

struct problem {
    float directions[N_DIRECTIONS * N_COLUMNS], mean_squares[N_COLUMNS];
    double moments[N_COLUMNS][N_COLUMNS]; /* H */
    float weights[N], targets[N];
    uint16_t row[N_ROWS];
    double column[N_COLUMNS], inverse_column[N_COLUMNS];
    uint8_t codes[N];
    struct entro_balanced_grid grid;
};

/* H as error_feedback.h defines it. */
static void make_moments(struct problem *problem)
{
    double mean = 0;
    for (size_t j = 0; j < N_COLUMNS; j++)
        mean += (double)problem->mean_squares[j] / (double)N_COLUMNS;
    for (size_t i = 0; i < N_COLUMNS; i++)
        for (size_t j = 0; j < N_COLUMNS; j++) {
            double sum = 0;
            for (size_t k = 0; k < N_DIRECTIONS; k++)
                sum += (double)problem->directions[k * N_COLUMNS + i] *
                       (double)problem->directions[k * N_COLUMNS + j];
            problem->moments[i][j] = sum;
            if (i == j)
                problem->moments[i][j] += fmax((double)problem->mean_squares[j] - sum,
                                               ENTRO_FEEDBACK_MIN_REST * (double)problem->mean_squares[j]) +
                                          ENTRO_FEEDBACK_DAMPING * mean;
        }
}

static struct problem *make(unsigned bits, float scale)
{
    struct problem *problem = calloc(1, sizeof *problem);
    struct random random = random_from(11);
    assert_non_null(problem);
    for (size_t i = 0; i < N_DIRECTIONS * N_COLUMNS; i++)
        problem->directions[i] = (float)random_normal(&random);
    for (size_t j = 0; j < N_COLUMNS; j++) {
        problem->mean_squares[j] = (float)(j % 10 == 3 ? 0.5 : 5 + 5 * fabs(random_normal(&random)));
        problem->column[j] = (double)entro_f16_to_f32(entro_f32_to_f16(0.5F + (float)j / 99));
        problem->inverse_column[j] = 1 / problem->column[j];
    }
    for (size_t i = 0; i < N_ROWS; i++)
        problem->row[i] = entro_f32_to_f16(0.5F + 0.05F * (float)i);
    for (size_t i = 0; i < N; i++)
        problem->weights[i] = (float)random_normal(&random);
    problem->grid = (struct entro_balanced_grid){.bits = bits,
                                                 .scale = scale,
                                                 .largest = (double)FLT_MAX,
                                                 .n_columns = N_COLUMNS,
                                                 .row = problem->row,
                                                 .column = problem->column,
                                                 .inverse_column = problem->inverse_column};
    make_moments(problem);
    return problem;
}

static void find_targets(struct problem *problem, size_t rows_at_once)
{
    struct entro_error_feedback feedback;
    assert_true(entro_error_feedback_create(&feedback, problem->directions, problem->mean_squares, N_COLUMNS,
                                            N_DIRECTIONS));
    for (size_t row = 0; row < N_ROWS; row += rows_at_once)
        entro_error_feedback_targets(&feedback, &problem->grid, row,
                                     N_ROWS - row < rows_at_once ? N_ROWS - row : rows_at_once,
                                     problem->weights + row * N_COLUMNS, problem->targets + row * N_COLUMNS);
    entro_error_feedback_free(&feedback);
}

/* What the target of element i becomes; an outlier is the weight itself. */
static double value_of(const struct problem *problem, size_t i, double target)
{
    size_t j = i % N_COLUMNS;
    double step = (double)problem->grid.scale * (double)entro_f16_to_f32(problem->row[i / N_COLUMNS]) *
                  problem->column[j];
    double steps = rint(target / step), zero_point = entro_balanced_zero_point(problem->grid.bits);
    return steps < -zero_point || steps >= zero_point ? (double)problem->weights[i] : steps * step;
}

/* The errors of columns first.. that lose least, those before being as they are: a system of equations. */
static double best_error(const struct problem *problem, const double *errors, size_t first)
{
    static double a[N_COLUMNS][N_COLUMNS + 1];
    size_t n = N_COLUMNS - first;
    for (size_t i = 0; i < n; i++) {
        memcpy(a[i], problem->moments[first + i] + first, n * sizeof a[i][0]);
        a[i][n] = 0;
        for (size_t j = 0; j < first; j++)
            a[i][n] -= problem->moments[first + i][j] * errors[j];
    }
    /* From the last unknown to the first: H is positive definite, no pivots are needed. */
    for (size_t k = n - 1; k > 0; k--)
        for (size_t i = 0; i < k; i++) {
            double ratio = a[i][k] / a[k][k];
            for (size_t j = 0; j < k; j++)
                a[i][j] -= ratio * a[k][j];
            a[i][n] -= ratio * a[k][n];
        }
    return a[0][n] / a[0][0];
}

static void assert_targets_are_the_dense_ones(struct problem *problem)
{
    find_targets(problem, ENTRO_FEEDBACK_ROWS);
    for (size_t row = 0; row < N_ROWS; row++) {
        double errors[N_COLUMNS];
        for (size_t j = 0; j < N_COLUMNS; j++) {
            size_t i = row * N_COLUMNS + j;
            double target = (double)problem->targets[i];
            double expected = (double)problem->weights[i] + best_error(problem, errors, j);
            if (fabs(target - expected) > 2e-5)
                fail_msg("row %zu, column %zu: %g, expected %g", row, j, target, expected);
            errors[j] = value_of(problem, i, target) - (double)problem->weights[i];
        }
    }
}

static void targets_are_those_of_the_dense_solution(void **state)
{
    (void)state;
    struct problem *problem = make(8, 0.25F);
    assert_targets_are_the_dense_ones(problem);
    free(problem);
}

static void an_outlier_leaves_no_error(void **state)
{
    (void)state;
    struct problem *problem = make(4, 0.25F);
    size_t n_outliers = 0;
    for (size_t i = 0; i < N; i += 17)
        problem->weights[i] *= 9;
    assert_targets_are_the_dense_ones(problem);
    struct entro_balanced_loss loss = {0};
    entro_quantize_balanced(&problem->grid, problem->weights, problem->targets, 0, N, problem->codes, NULL,
                            NULL, &loss);
    for (size_t i = 0; i < N; i++)
        n_outliers += value_of(problem, i, (double)problem->targets[i]) == (double)problem->weights[i];
    assert_true(n_outliers > 20);
    assert_int_equal(loss.n_outliers, n_outliers);
    free(problem);
}

/* The sum over the rows of d^T H d. */
static double loss_of(const struct problem *problem, const float *targets)
{
    double loss = 0;
    for (size_t row = 0; row < N_ROWS; row++) {
        double errors[N_COLUMNS];
        for (size_t j = 0; j < N_COLUMNS; j++) {
            size_t i = row * N_COLUMNS + j;
            errors[j] = value_of(problem, i, (double)targets[i]) - (double)problem->weights[i];
        }
        for (size_t i = 0; i < N_COLUMNS; i++)
            for (size_t j = 0; j < N_COLUMNS; j++)
                loss += errors[i] * problem->moments[i][j] * errors[j];
    }
    return loss;
}

static void outputs_lose_less_than_by_rounding(void **state)
{
    (void)state;
    struct problem *problem = make(8, 0.25F);
    find_targets(problem, ENTRO_FEEDBACK_ROWS);
    assert_true(loss_of(problem, problem->targets) < 0.8 * loss_of(problem, problem->weights));
    free(problem);
}

static void inputs_without_directions_change_nothing(void **state)
{
    (void)state;
    struct problem *problem = make(8, 0.25F);
    memset(problem->directions, 0, sizeof problem->directions);
    find_targets(problem, ENTRO_FEEDBACK_ROWS);
    assert_memory_equal(problem->targets, problem->weights, sizeof problem->weights);
    free(problem);
}

static void a_row_does_not_depend_on_the_others(void **state)
{
    (void)state;
    struct problem *together = make(8, 0.25F), *alone = make(8, 0.25F);
    find_targets(together, ENTRO_FEEDBACK_ROWS);
    for (size_t rows_at_once = 1; rows_at_once < 8; rows_at_once += 3) {
        find_targets(alone, rows_at_once);
        assert_memory_equal(alone->targets, together->targets, sizeof together->targets);
    }
    free(alone);
    free(together);
}

static void every_variant_gives_the_same_bits(void **state)
{
    (void)state;
    struct problem *problem = make(8, 0.25F);
    struct entro_error_feedback feedback;
    float *targets = malloc(N * sizeof *targets);
    assert_non_null(targets);
    find_targets(problem, ENTRO_FEEDBACK_ROWS);
    assert_true(entro_error_feedback_create(&feedback, problem->directions, problem->mean_squares, N_COLUMNS,
                                            N_DIRECTIONS));
    entro_feedback_targets *find;
    unsigned n_variants = 0;
    for (; (find = entro_feedback_targets_at(n_variants)) != NULL; n_variants++) {
        find(&feedback, &problem->grid, 0, ENTRO_FEEDBACK_ROWS, problem->weights, targets);
        assert_memory_equal(targets, problem->targets, ENTRO_FEEDBACK_ROWS * N_COLUMNS * sizeof *targets);
    }
    assert_true(n_variants >= 1);
    entro_error_feedback_free(&feedback);
    free(targets);
    free(problem);
}

static void the_number_of_rows_is_not_exceeded(void **state)
{
    (void)state;
    struct problem *problem = make(8, 0.25F);
    struct entro_error_feedback feedback;
    float targets[2 * N_COLUMNS + 1];
    targets[2 * N_COLUMNS] = 77;
    assert_true(entro_error_feedback_create(&feedback, problem->directions, problem->mean_squares, N_COLUMNS,
                                            N_DIRECTIONS));
    entro_error_feedback_targets(&feedback, &problem->grid, N_ROWS - 2, 2,
                                 problem->weights + (N_ROWS - 2) * N_COLUMNS, targets);
    assert_true(targets[2 * N_COLUMNS] == 77);
    entro_error_feedback_free(&feedback);
    free(problem);
}

/* A matrix that was made up: the image grows, but every weight is what its code or its record says. */
static void directions_beyond_all_measure_make_outliers(void **state)
{
    (void)state;
    struct problem *problem = make(8, 0.25F);
    for (size_t i = 0; i < N_DIRECTIONS * N_COLUMNS; i++)
        problem->directions[i] *= i % N_COLUMNS < N_COLUMNS / 2 ? 1e18F : 1;
    find_targets(problem, ENTRO_FEEDBACK_ROWS);
    struct entro_balanced_loss loss = {0};
    uint8_t *records = calloc(N, ENTRO_OUTLIER_BYTES), *next = records;
    assert_non_null(records);
    entro_quantize_balanced(&problem->grid, problem->weights, problem->targets, 0, N, problem->codes, &next,
                            records + N * ENTRO_OUTLIER_BYTES, &loss);
    assert_true(loss.n_outliers > N / 4 && loss.n_outliers < N);
    assert_int_equal(next - records, loss.n_outliers * ENTRO_OUTLIER_BYTES);
    const uint8_t *record = records;
    for (size_t i = 0; i < N; i++) {
        size_t j = i % N_COLUMNS;
        double step = (double)problem->grid.scale * (double)entro_f16_to_f32(problem->row[i / N_COLUMNS]) *
                      problem->column[j];
        if (record < next && entro_load_u64(record) == i) {
            assert_int_equal(entro_load_u32(record + 8), entro_f32_bits(problem->weights[i]));
            record += ENTRO_OUTLIER_BYTES;
        } else {
            double value = step * ((double)problem->codes[i] - entro_balanced_zero_point(8));
            assert_true(fabs(value - (double)problem->targets[i]) <= 0.5001 * step);
        }
    }
    assert_ptr_equal(record, next);
    free(records);
    free(problem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_those_of_the_dense_solution),
        cmocka_unit_test(an_outlier_leaves_no_error),
        cmocka_unit_test(outputs_lose_less_than_by_rounding),
        cmocka_unit_test(inputs_without_directions_change_nothing),
        cmocka_unit_test(a_row_does_not_depend_on_the_others),
        cmocka_unit_test(every_variant_gives_the_same_bits),
        cmocka_unit_test(the_number_of_rows_is_not_exceeded),
        cmocka_unit_test(directions_beyond_all_measure_make_outliers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
