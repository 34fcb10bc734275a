/* Rotary embedding in both layouts, against hand-made rotations. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runner/rope.h"

#define PAIRS 4

static void rotate(float head[2 * PAIRS], size_t position, bool interleaved)
{
    float frequencies[PAIRS], cosines[PAIRS], sines[PAIRS];
    entro_rope_frequencies(&(struct entro_rope){.theta = 10000.0F}, NULL, PAIRS, frequencies);
    entro_rope_angles(frequencies, PAIRS, position, cosines, sines);
    entro_rope_rotate(head, PAIRS, cosines, sines, interleaved);
}

static void position_zero_changes_nothing(void **state)
{
    (void)state;
    float head[2 * PAIRS] = {1, 2, 3, 4, 5, 6, 7, 8};
    rotate(head, 0, false);
    rotate(head, 0, true);
    for (int i = 0; i < 2 * PAIRS; i++)
        assert_true(head[i] == (float)(i + 1));
}

static void the_half_split_form_pairs_i_with_i_plus_half(void **state)
{
    (void)state;
    for (size_t pair = 0; pair < PAIRS; pair++) {
        float head[2 * PAIRS] = {0};
        head[pair] = 1;
        rotate(head, 3, false);
        double angle = 3 * pow(10000.0, -(double)pair / (double)PAIRS);
        for (size_t i = 0; i < 2 * PAIRS; i++) {
            double expected = i == pair ? cos(angle) : i == pair + PAIRS ? sin(angle) : 0.0;
            assert_true(fabs((double)head[i] - expected) < 1e-6);
        }
    }
}

static void the_interleaved_form_is_the_same_on_permuted_rows(void **state)
{
    (void)state;
    float split[2 * PAIRS], interleaved[2 * PAIRS];
    for (size_t i = 0; i < PAIRS; i++) {
        split[i] = interleaved[2 * i] = (float)i - 1.5F;
        split[i + PAIRS] = interleaved[2 * i + 1] = 0.25F * (float)i + 1;
    }
    rotate(split, 77, false);
    rotate(interleaved, 77, true);
    for (size_t i = 0; i < PAIRS; i++) {
        assert_true(split[i] == interleaved[2 * i]);
        assert_true(split[i + PAIRS] == interleaved[2 * i + 1]);
    }
}

static void products_depend_on_the_distance_of_positions_alone(void **state)
{
    (void)state;
    float products[2] = {0};
    for (size_t shift = 0; shift < 2; shift++) {
        float query[2 * PAIRS] = {1, -2, 3, 0.5F, 2, 1, -1, 4}, key[2 * PAIRS] = {0.5F, 1, 1, -2, 3, 0, 2, 1};
        rotate(query, 20 + 100 * shift, false);
        rotate(key, 13 + 100 * shift, false);
        for (int i = 0; i < 2 * PAIRS; i++)
            products[shift] += query[i] * key[i];
    }
    assert_float_equal(products[0], products[1], 1e-4);
}

static void linear_scaling_divides_all_frequencies(void **state)
{
    (void)state;
    float plain[PAIRS], scaled[PAIRS];
    entro_rope_frequencies(&(struct entro_rope){.theta = 10000.0F}, NULL, PAIRS, plain);
    entro_rope_frequencies(
        &(struct entro_rope){.theta = 10000.0F, .scaling = ENTRO_ROPE_LINEAR, .factor = 8.0F}, NULL, PAIRS,
        scaled);
    for (size_t i = 0; i < PAIRS; i++)
        assert_true(scaled[i] == plain[i] / 8.0F);
}

static void llama3_scaling_leaves_short_waves_and_stretches_long_ones(void **state)
{
    (void)state;
    float plain[32], scaled[32];
    size_t n_same = 0, n_stretched = 0, n_between = 0;
    const struct entro_rope rope = {.theta = 500000.0F,
                                    .scaling = ENTRO_ROPE_LLAMA3,
                                    .factor = 8.0F,
                                    .low_factor = 1.0F,
                                    .high_factor = 4.0F,
                                    .original_context = 8192.0F};
    entro_rope_frequencies(&(struct entro_rope){.theta = 500000.0F}, NULL, 32, plain);
    entro_rope_frequencies(&rope, NULL, 32, scaled);
    for (size_t i = 0; i < 32; i++) {
        double turns = 8192 * (double)plain[i] / (2 * acos(-1.0));
        bool same = scaled[i] == plain[i], stretched = scaled[i] == plain[i] / 8.0F;
        n_same += same;
        n_stretched += stretched;
        n_between += !same && !stretched;
        assert_int_equal(same, turns > 4);
        assert_int_equal(stretched, turns < 1);
        assert_true(scaled[i] <= plain[i] && scaled[i] >= plain[i] / 8.0F);
    }
    assert_true(n_same > 0 && n_stretched > 0 && n_between > 0);
}

static void factors_divide_frequencies_one_by_one(void **state)
{
    (void)state;
    const float factors[PAIRS] = {1, 2, 4, 8};
    float plain[PAIRS], divided[PAIRS];
    const struct entro_rope rope = {.theta = 10000.0F};
    entro_rope_frequencies(&rope, NULL, PAIRS, plain);
    entro_rope_frequencies(&rope, factors, PAIRS, divided);
    for (size_t i = 0; i < PAIRS; i++)
        assert_true(divided[i] == plain[i] / factors[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(position_zero_changes_nothing),
        cmocka_unit_test(the_half_split_form_pairs_i_with_i_plus_half),
        cmocka_unit_test(the_interleaved_form_is_the_same_on_permuted_rows),
        cmocka_unit_test(products_depend_on_the_distance_of_positions_alone),
        cmocka_unit_test(linear_scaling_divides_all_frequencies),
        cmocka_unit_test(llama3_scaling_leaves_short_waves_and_stretches_long_ones),
        cmocka_unit_test(factors_divide_frequencies_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
