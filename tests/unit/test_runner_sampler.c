/* The sampler: greedy, filters, seeds, and logits that are no numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runner/sampler.h"

#define N 1000

/* Token i has the logit -(i * 617 mod N): token 0 is the likeliest, and the order is no simple one. */
static void fill(float logits[N])
{
    for (size_t i = 0; i < N; i++)
        logits[i] = -(float)(i * 617 % N);
}

static struct entro_sampler *create(struct entro_sampling sampling, size_t n)
{
    struct entro_sampler *sampler;
    assert_int_equal(entro_sampler_create(&sampler, &sampling, n), ENTRO_OK);
    return sampler;
}

static uint32_t pick(struct entro_sampler *sampler, const float *logits)
{
    uint32_t token;
    struct entro_message message;
    assert_int_equal(entro_sampler_pick(sampler, logits, &token, &message), ENTRO_OK);
    return token;
}

static void temperature_zero_takes_the_likeliest_and_of_equals_the_first(void **state)
{
    (void)state;
    float logits[N] = {0};
    struct entro_sampler *sampler = create((struct entro_sampling){.temperature = 0}, N);
    assert_int_equal(pick(sampler, logits), 0);
    logits[700] = logits[300] = 5;
    assert_int_equal(pick(sampler, logits), 300);
    entro_sampler_free(sampler);
}

static void the_same_seed_gives_the_same_tokens(void **state)
{
    (void)state;
    float logits[N];
    for (size_t i = 0; i < N; i++)
        logits[i] = (float)(i % 7);
    struct entro_sampling sampling = {.temperature = 1, .top_p = 1, .seed = 42};
    struct entro_sampler *a = create(sampling, N), *b = create(sampling, N);
    sampling.seed = 43;
    struct entro_sampler *c = create(sampling, N);
    size_t n_different = 0;
    for (int i = 0; i < 100; i++) {
        uint32_t token = pick(a, logits);
        assert_int_equal(token, pick(b, logits));
        n_different += token != pick(c, logits);
    }
    assert_true(n_different > 50);
    entro_sampler_free(a);
    entro_sampler_free(b);
    entro_sampler_free(c);
}

static void top_k_keeps_the_k_likeliest(void **state)
{
    (void)state;
    float logits[N];
    fill(logits);
    /* A temperature so high that all that are left are equally likely. */
    struct entro_sampler *sampler =
        create((struct entro_sampling){.temperature = 1e6F, .top_k = 5, .top_p = 1, .seed = 1}, N);
    int seen[5] = {0};
    for (int i = 0; i < 500; i++) {
        float logit = logits[pick(sampler, logits)];
        assert_true(logit > -5);
        seen[(int)-logit]++;
    }
    for (int i = 0; i < 5; i++)
        assert_in_range(seen[i], 60, 140);
    entro_sampler_free(sampler);
}

static void top_p_keeps_the_fewest_with_that_probability(void **state)
{
    (void)state;
    /* Probabilities 0.5, 0.3, 0.15, 0.05. */
    const float logits[] = {logf(0.05F), logf(0.5F), logf(0.15F), logf(0.3F)};
    struct entro_sampler *sampler =
        create((struct entro_sampling){.temperature = 1, .top_p = 0.75F, .seed = 3}, 4);
    int seen[4] = {0};
    for (int i = 0; i < 1000; i++)
        seen[pick(sampler, logits)]++;
    assert_int_equal(seen[0] + seen[2], 0);
    assert_in_range(seen[1], 570, 680); /* 0.5 of 0.8 */
    entro_sampler_free(sampler);
    sampler = create((struct entro_sampling){.temperature = 1, .top_p = 0, .seed = 3}, 4);
    for (int i = 0; i < 20; i++)
        assert_int_equal(pick(sampler, logits), 1);
    entro_sampler_free(sampler);
}

static void min_p_drops_what_is_much_less_likely_than_the_best(void **state)
{
    (void)state;
    const float logits[] = {logf(0.05F), logf(0.5F), logf(0.15F), logf(0.3F)};
    struct entro_sampler *sampler =
        create((struct entro_sampling){.temperature = 1, .top_p = 1, .min_p = 0.4F, .seed = 3}, 4);
    for (int i = 0; i < 200; i++)
        assert_int_equal(pick(sampler, logits) % 2, 1);
    entro_sampler_free(sampler);
}

static void frequencies_follow_the_temperature(void **state)
{
    (void)state;
    const float logits[] = {0, 1};
    for (int i = 0; i < 3; i++) {
        float temperature = i == 0 ? 0.5F : i == 1 ? 1.0F : 4.0F;
        struct entro_sampler *sampler =
            create((struct entro_sampling){.temperature = temperature, .top_p = 1, .seed = 9}, 2);
        int n_ones = 0;
        for (int j = 0; j < 4000; j++)
            n_ones += (int)pick(sampler, logits);
        double expected = 1.0 / (1.0 + exp(-1.0 / (double)temperature));
        assert_true(fabs(n_ones / 4000.0 - expected) < 0.03);
        entro_sampler_free(sampler);
    }
}

static void recent_tokens_are_penalized_and_older_ones_are_not(void **state)
{
    (void)state;
    const float logits[] = {4, 3, -1, -3};
    struct entro_sampler *sampler =
        create((struct entro_sampling){.temperature = 0, .repeat_penalty = 2, .repeat_last_n = 2}, 4);
    assert_int_equal(pick(sampler, logits), 0);
    entro_sampler_accept(sampler, 0);
    assert_int_equal(pick(sampler, logits), 1); /* 2 3 -1 -3 */
    entro_sampler_accept(sampler, 0);           /* twice is no more than once */
    assert_int_equal(pick(sampler, logits), 1);
    entro_sampler_accept(sampler, 1);
    assert_int_equal(pick(sampler, logits), 0); /* 2 1.5 -1 -3 */
    entro_sampler_accept(sampler, 2);
    assert_int_equal(pick(sampler, logits), 0); /* 4 1.5 -2 -3 */
    entro_sampler_free(sampler);
    /* What is negative becomes more so. */
    const float negative[] = {-4, -3};
    sampler = create((struct entro_sampling){.temperature = 0, .repeat_penalty = 2, .repeat_last_n = 9}, 2);
    entro_sampler_accept(sampler, 1);
    assert_int_equal(pick(sampler, negative), 0);
    entro_sampler_free(sampler);
    /* Without a penalty nothing is kept. */
    sampler = create((struct entro_sampling){.temperature = 0, .repeat_penalty = 1, .repeat_last_n = 9}, 4);
    entro_sampler_accept(sampler, 0);
    assert_int_equal(pick(sampler, logits), 0);
    entro_sampler_free(sampler);
}

static void logits_that_are_no_numbers_are_an_error(void **state)
{
    (void)state;
    float logits[N];
    uint32_t token;
    struct entro_message message;
    struct entro_sampler *sampler =
        create((struct entro_sampling){.temperature = 0.8F, .top_k = 40, .top_p = 1}, N);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        fill(logits);
        logits[N - 1] = bad[i];
        assert_int_equal(entro_sampler_pick(sampler, logits, &token, &message), ENTRO_ERROR_FORMAT);
    }
    entro_sampler_free(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temperature_zero_takes_the_likeliest_and_of_equals_the_first),
        cmocka_unit_test(the_same_seed_gives_the_same_tokens),
        cmocka_unit_test(top_k_keeps_the_k_likeliest),
        cmocka_unit_test(top_p_keeps_the_fewest_with_that_probability),
        cmocka_unit_test(min_p_drops_what_is_much_less_likely_than_the_best),
        cmocka_unit_test(frequencies_follow_the_temperature),
        cmocka_unit_test(recent_tokens_are_penalized_and_older_ones_are_not),
        cmocka_unit_test(logits_that_are_no_numbers_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
