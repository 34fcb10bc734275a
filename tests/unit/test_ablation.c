/* The ablation of matrices whose entropies and losses are known: mkentrofs/ablation.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mkentrofs/ablation.h"

#define PI 3.14159265358979323846

/* Of F32 weights in a file without a name. */
static struct entro_ablation measure(const float *weights, uint64_t n_rows, uint64_t n_columns,
                                     unsigned n_threads)
{
    static char name[] = "matrix";
    static const struct entro_monitor monitor = {0};
    char path[] = "/tmp/entrofs-ablation-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    size_t size = (size_t)(n_rows * n_columns) * sizeof *weights;
    assert_int_equal(write(fd, weights, size), size);
    struct entro_input input = {.fd = fd, .path = path, .identity.size_bytes = size, .monitor = &monitor};
    struct entro_source_tensor tensor = {.name = name,
                                         .dtype = ENTRO_DTYPE_F32,
                                         .rank = 2,
                                         .shape = {n_rows, n_columns},
                                         .n_elements = n_rows * n_columns,
                                         .size_bytes = size};
    struct entro_pool *pool;
    assert_int_equal(entro_pool_create(&pool, n_threads), ENTRO_OK);
    struct entro_ablation ablation;
    struct entro_message message = {""};
    assert_int_equal(entro_ablation_measure(&ablation, &input, &tensor, pool, &message), ENTRO_OK);
    entro_pool_free(pool);
    close(fd);
    return ablation;
}

static float *room(size_t n)
{
    float *weights = malloc(n * sizeof *weights);
    assert_non_null(weights);
    return weights;
}

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return ((double)(*state >> 33) + 0.5) / 2147483648.0;
}

/* Box and Muller's. */
static float gaussian(uint64_t *state)
{
    double radius = sqrt(-2 * log(uniform(state)));
    return (float)(radius * cos(2 * PI * uniform(state)));
}

static double snr_db(const struct entro_ablation *ablation, enum entro_granularity granularity,
                     unsigned which)
{
    return 10 * log10(ablation->energy / ablation->cells[granularity][which].error_energy);
}

static void rows_that_are_constant_need_no_codes_under_steps_of_their_own(void **state)
{
    (void)state;
    enum { ROWS = 16, COLUMNS = 257 };
    float *weights = room((size_t)ROWS * COLUMNS);
    for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++)
        weights[i] = (float)(i / COLUMNS + 1);
    struct entro_ablation ablation = measure(weights, ROWS, COLUMNS, 2);
    free(weights);
    assert_true(ablation.is_finite);
    for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++) {
        /* 16 values, each as often; 16 codes tell some of them apart. */
        double entropy = ablation.cells[ENTRO_PER_TENSOR][which].entropy_bits / (ROWS * COLUMNS);
        assert_true(which == ENTRO_ABLATION_8_BITS ? fabs(entropy - 4) < 1e-9 : entropy > 3 && entropy <= 4);
        for (unsigned granularity = ENTRO_PER_ROW; granularity <= ENTRO_PER_GROUP; granularity++) {
            assert_true(fabs(ablation.cells[granularity][which].entropy_bits) < 1e-6);
            assert_true(ablation.cells[granularity][which].error_energy < 1e-10 * ablation.energy);
        }
        assert_true(ablation.cells[ENTRO_PER_TENSOR][which].step_bits == 24);
        assert_true(ablation.cells[ENTRO_PER_ROW][which].step_bits == 24.0 * ROWS);
        /* 257 columns are two groups and one column. */
        assert_true(ablation.cells[ENTRO_PER_GROUP][which].step_bits == 24.0 * ROWS * 3);
    }
}

/* A gaussian under a fine uniform step has the entropy log2(sigma / step) + log2(sqrt(2 pi e)), and noise of
 * step^2 / 12. */
static void a_gaussian_has_its_entropy_and_its_noise(void **state)
{
    (void)state;
    enum { ROWS = 300, COLUMNS = 512 };
    const size_t n = (size_t)ROWS * COLUMNS;
    float *weights = room(n), low = 0, high = 0;
    uint64_t random = 7;
    double energy = 0;
    for (size_t i = 0; i < n; i++) {
        weights[i] = gaussian(&random);
        low = fminf(low, weights[i]);
        high = fmaxf(high, weights[i]);
        energy += (double)weights[i] * (double)weights[i];
    }
    struct entro_ablation ablation = measure(weights, ROWS, COLUMNS, 3);
    free(weights);
    double step = (double)(high - low) / 255, sigma = sqrt(energy / (double)n);
    double entropy = log2(sigma / step) + 0.5 * log2(2 * PI * exp(1));
    const struct entro_ablation_cell *cell = &ablation.cells[ENTRO_PER_TENSOR][ENTRO_ABLATION_8_BITS];
    assert_true(fabs(ablation.energy / energy - 1) < 1e-9);
    assert_true(fabs(cell->entropy_bits / (double)n - entropy) < 0.02);
    assert_true(fabs(cell->error_energy / (double)n / (step * step / 12) - 1) < 0.03);
    for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++) {
        assert_true(snr_db(&ablation, ENTRO_PER_ROW, which) > snr_db(&ablation, ENTRO_PER_TENSOR, which) + 2);
        assert_true(snr_db(&ablation, ENTRO_PER_GROUP, which) >
                    snr_db(&ablation, ENTRO_PER_ROW, which) + 0.5);
        assert_true(ablation.cells[ENTRO_PER_ROW][which].entropy_bits >
                    ablation.cells[ENTRO_PER_TENSOR][which].entropy_bits);
    }
}

/* Rows that are read in several pieces get one step each all the same; an odd last piece has odd codes. */
static void rows_longer_than_a_read_have_one_step_each(void **state)
{
    (void)state;
    enum { ROWS = 2, COLUMNS = 3 * 65536 + 1 };
    const size_t n = (size_t)ROWS * COLUMNS;
    float *weights = room(n);
    uint64_t random = 3;
    for (size_t i = 0; i < n; i++)
        weights[i] = gaussian(&random) * (i < COLUMNS ? 1 : 100);
    struct entro_ablation ablation = measure(weights, ROWS, COLUMNS, 2);
    float *reversed = room(n);
    for (size_t i = 0; i < n; i++)
        reversed[i] = weights[i < COLUMNS ? COLUMNS - 1 - i : i];
    struct entro_ablation other = measure(reversed, ROWS, COLUMNS, 1);
    free(reversed);
    free(weights);
    for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++) {
        const struct entro_ablation_cell *cell = &ablation.cells[ENTRO_PER_ROW][which];
        assert_true(cell->step_bits == 48);
        assert_true(cell->entropy_bits == other.cells[ENTRO_PER_ROW][which].entropy_bits);
        assert_true(fabs(cell->error_energy / other.cells[ENTRO_PER_ROW][which].error_energy - 1) < 1e-9);
    }
}

static void the_threads_do_not_matter(void **state)
{
    (void)state;
    enum { ROWS = 129, COLUMNS = 777 };
    float *weights = room((size_t)ROWS * COLUMNS);
    uint64_t random = 11;
    for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++)
        weights[i] = gaussian(&random);
    struct entro_ablation one = measure(weights, ROWS, COLUMNS, 1), four = measure(weights, ROWS, COLUMNS, 4);
    free(weights);
    assert_true(one.energy == four.energy);
    for (unsigned granularity = 0; granularity < ENTRO_N_GRANULARITIES; granularity++)
        for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++) {
            const struct entro_ablation_cell *a = &one.cells[granularity][which];
            const struct entro_ablation_cell *b = &four.cells[granularity][which];
            assert_true(a->entropy_bits == b->entropy_bits && a->error_energy == b->error_energy);
        }
}

static void weights_without_a_grid_are_not_measured(void **state)
{
    (void)state;
    float weights[256];
    for (unsigned i = 0; i < 256; i++)
        weights[i] = (float)i;
    weights[17] = INFINITY;
    assert_false(measure(weights, 2, 128, 1).is_finite);
    memset(weights, 0, sizeof weights);
    struct entro_ablation zeros = measure(weights, 2, 128, 1);
    assert_true(zeros.is_finite && zeros.energy == 0);
    assert_true(zeros.cells[ENTRO_PER_GROUP][ENTRO_ABLATION_4_BITS].entropy_bits == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_that_are_constant_need_no_codes_under_steps_of_their_own),
        cmocka_unit_test(a_gaussian_has_its_entropy_and_its_noise),
        cmocka_unit_test(rows_longer_than_a_read_have_one_step_each),
        cmocka_unit_test(the_threads_do_not_matter),
        cmocka_unit_test(weights_without_a_grid_are_not_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
