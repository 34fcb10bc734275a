/* What steps cost, against what is known of a gaussian and against codes counted one by one. */
#include "codec/step_costs.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/lengths.h"
#include "random.h"

#define OUTLIER_BITS 46

#define N 200000

static float weights[N];
static struct entro_profile profile;
static struct entro_step_costs costs;

static int set_up(void **state)
{
    (void)state;
    struct random random = random_from(1);
    for (size_t i = 0; i < N; i++)
        weights[i] = (float)(3 * random_normal(&random));
    entro_profile_add(&profile, weights, 1.0 / 3, NULL, N);
    for (unsigned step = 0; step < ENTRO_N_STEPS; step++)
        entro_step_costs_at(&costs, &profile, OUTLIER_BITS, step);
    return 0;
}

static double entropy_at(double step)
{
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    for (size_t i = 0; i < N; i++)
        counts[128 + (int)fmin(fmax(rint((double)weights[i] / 3 / step), -128), 127)]++;
    return entro_entropy_bits(counts);
}

static void bits_are_those_of_the_codes(void **state)
{
    (void)state;
    const double steps[] = {0.05, 0.1, 0.25, 0.4};
    for (size_t i = 0; i < 4; i++) {
        double bits = (double)entro_step_cost(&costs, 8, log2(steps[i])).bits, entropy = entropy_at(steps[i]);
        assert_true(bits > entropy && bits < 1.02 * entropy);
    }
}

static void noise_is_a_twelfth_of_the_step_squared(void **state)
{
    (void)state;
    for (double step = 0.05; step < 0.5; step *= 1.3) {
        double noise = (double)entro_step_cost(&costs, 8, log2(step)).noise;
        assert_true(fabs(noise / (step * step / 12) - 1) < 0.03);
    }
}

static void pairs_of_4_bit_codes_cost_less_than_single_ones(void **state)
{
    (void)state;
    double single = (double)entro_step_cost(&costs, 8, 0).bits,
           pairs = (double)entro_step_cost(&costs, 4, 0).bits;
    assert_true(pairs < single);
    assert_true(pairs > entropy_at(1) && pairs < 1.03 * entropy_at(1));
}

static void weights_outside_of_the_codes_count_as_outliers(void **state)
{
    (void)state;
    double step = 0.3; /* 16 codes end at 2.25 */
    size_t n_outside = 0;
    for (size_t i = 0; i < N; i++) {
        double code = rint((double)weights[i] / 3 / step);
        n_outside += code < -8 || code > 7;
    }
    double outliers = (double)entro_step_cost(&costs, 4, log2(step)).outliers;
    assert_true(fabs(outliers * N / (double)n_outside - 1) < 0.1);
    assert_true(entro_step_cost(&costs, 8, log2(step)).outliers == 0);
}

static void finer_steps_cost_more_and_lose_less(void **state)
{
    (void)state;
    for (double step = ENTRO_STEP_LOG2_MIN; step < ENTRO_STEP_LOG2_MAX - 0.1; step += 0.1) {
        struct entro_step_cost fine = entro_step_cost(&costs, 8, step),
                               coarse = entro_step_cost(&costs, 8, step + 0.1);
        assert_true(fine.bits > coarse.bits);
        assert_true(fine.noise < coarse.noise);
    }
}

static void profiles_of_parts_add_up(void **state)
{
    (void)state;
    static struct entro_profile first, second;
    double inverse[4] = {1, 2, 4, 8};
    const float few[8] = {1, -1, 0.5F, 0, 1e30F, -1e30F, 0, 0};
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    entro_profile_add(&first, few, 1, inverse, 4);
    entro_profile_add(&second, few + 4, 1, NULL, 4);
    entro_profile_merge(&first, &second);
    uint64_t n = 0;
    for (size_t i = 0; i < ENTRO_PROFILE_BINS; i++)
        n += first.counts[i];
    assert_int_equal(n, 8);
    assert_int_equal(first.counts[0], 1);
    assert_int_equal(first.counts[ENTRO_PROFILE_BINS - 1], 1);
    assert_int_equal(first.counts[1 + 32 * 1024 + 1024], 1);
    assert_int_equal(first.counts[1 + 32 * 1024 + 2048], 1); /* 0.5 over a factor of a quarter */
    assert_int_equal(first.counts[1 + 32 * 1024], 3);
}

/* Huffman codes alone would spend a bit on each zero. */
static void zeros_that_are_most_of_all_cost_less_than_a_bit(void **state)
{
    (void)state;
    struct entro_profile *sparse = calloc(1, sizeof *sparse);
    struct entro_step_costs of_sparse;
    float zeros[9] = {0};
    assert_non_null(sparse);
    for (size_t i = 0; i < N / 10; i++) {
        entro_profile_add(sparse, &weights[i], 1.0 / 3, NULL, 1);
        entro_profile_add(sparse, zeros, 1, NULL, 9);
    }
    entro_step_costs_at(&of_sparse, sparse, OUTLIER_BITS, 20);
    double step = exp2(ENTRO_STEP_LOG2_MIN + 20.0 / ENTRO_STEPS_PER_OCTAVE);
    /* -0.1 log2 0.1 - 0.9 log2 0.9 bits tell zeros from the rest. */
    double least = 0.469 + 0.1 * log2(sqrt(2 * M_PI * M_E) / step);
    double bits = (double)of_sparse.u8[20].bits;
    assert_true(bits > 0.97 * least && bits < 1.06 * least);
    free(sparse);
}

static void a_constant_or_empty_tensor_costs_next_to_nothing(void **state)
{
    (void)state;
    static struct entro_profile constant;
    struct entro_step_costs of_constant;
    memset(&constant, 0, sizeof constant);
    memset(&of_constant, 0xff, sizeof of_constant);
    entro_step_costs_at(&of_constant, &constant, OUTLIER_BITS, 9);
    assert_true(of_constant.u8[9].bits == 0 && of_constant.u4[9].bits == 0);
    constant.counts[1 + 32 * 1024] = 1000;
    entro_step_costs_at(&of_constant, &constant, OUTLIER_BITS, 9);
    assert_true(of_constant.u8[9].bits == 0 && of_constant.u4[9].bits == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_those_of_the_codes),
        cmocka_unit_test(noise_is_a_twelfth_of_the_step_squared),
        cmocka_unit_test(pairs_of_4_bit_codes_cost_less_than_single_ones),
        cmocka_unit_test(weights_outside_of_the_codes_count_as_outliers),
        cmocka_unit_test(finer_steps_cost_more_and_lose_less),
        cmocka_unit_test(profiles_of_parts_add_up),
        cmocka_unit_test(zeros_that_are_most_of_all_cost_less_than_a_bit),
        cmocka_unit_test(a_constant_or_empty_tensor_costs_next_to_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
