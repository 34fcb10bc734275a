/* Elementwise functions of all variants against the C library in double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runner/kernels.h"
#include "runner/vector_math.h"

#define N 1000

/* Calls `check` with each variant that this machine runs, and lengths that do and do not fill vectors. */
static void for_all(void (*check)(const struct entro_vector_math *math, size_t n))
{
    static const char *const names[] = {"portable", "avx2", "avx512", "vnni", "amx", "neon"};
    static const size_t lengths[] = {0, 1, 15, 16, 17, 255, 256, 257, N};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (size_t j = 0; j < sizeof lengths / sizeof lengths[0] && entro_kernels_by_name(names[i]) != NULL;
             j++)
            check(entro_vector_math_for(names[i]), lengths[j]);
}

/* From -20 to 20, in no order, with the ends of the range among them. */
static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i * 7919 % 1009) / 25.225F - 20.0F;
    if (n > 20) {
        x[3] = 100.0F;
        x[17] = -100.0F;
        x[n - 1] = 0.0F;
    }
}

static void assert_near(double actual, double expected, double relative)
{
    if (!(fabs(actual - expected) <= relative * fabs(expected) + 1e-30))
        fail_msg("%.9g is not %.9g", actual, expected);
}

static void check_exp_sum(const struct entro_vector_math *math, size_t n)
{
    float x[N], y[N];
    double sum = 0;
    fill(x, n);
    fill(y, n);
    float result = math->exp_sum(y, 20.0F, n);
    for (size_t i = 0; i < n; i++) {
        double expected = exp((double)(x[i] - 20.0F));
        sum += expected;
        assert_near((double)y[i], expected, 1e-6);
    }
    assert_near((double)result, sum, 1e-5);
}

static void exponentials_and_their_sum_are_right(void **state)
{
    (void)state;
    for_all(check_exp_sum);
}

static void check_norm(const struct entro_vector_math *math, size_t n)
{
    float x[N] = {0}, weight[N] = {0}, out[N];
    double sum = 0;
    if (n == 0)
        return;
    fill(x, n);
    for (size_t i = 0; i < n; i++) {
        weight[i] = (float)(i % 5) - 1.5F;
        sum += (double)x[i] * (double)x[i];
    }
    math->rms_norm(x, weight, 1e-5F, n, out);
    math->rms_norm(x, weight, 1e-5F, n, x);
    for (size_t i = 0; i < n; i++)
        assert_true(x[i] == out[i]);
    fill(x, n);
    for (size_t i = 0; i < n; i++)
        assert_near((double)out[i], (double)x[i] / sqrt(sum / (double)n + 1e-5) * (double)weight[i], 1e-6);
}

static void norms_are_right(void **state)
{
    (void)state;
    for_all(check_norm);
}

static void check_largest(const struct entro_vector_math *math, size_t n)
{
    float x[N] = {0}, expected = -INFINITY;
    fill(x, n);
    for (size_t place = 0; place < n; place++) {
        float old = x[place];
        x[place] = 1000.0F;
        assert_true(math->largest(x, n) == 1000.0F);
        x[place] = old;
        expected = fmaxf(expected, old);
    }
    assert_true(math->largest(x, n) == expected);
}

static void the_largest_is_found_wherever_it_is(void **state)
{
    (void)state;
    for_all(check_largest);
}

static void check_gates(const struct entro_vector_math *math, size_t n)
{
    float x[N], silu[N], gelu[N], up[N] = {0};
    fill(x, n);
    fill(silu, n);
    fill(gelu, n);
    for (size_t i = 0; i < n; i++)
        up[i] = (float)(i % 7) - 3.0F;
    math->silu_times(silu, up, n);
    math->gelu_times(gelu, up, n);
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i], factor = (double)up[i];
        double expected = v / (1 + exp(-v)) * factor;
        if (!(fabs((double)silu[i] - expected) <= 1e-6 * fabs(expected) + 1e-30))
            fail_msg("silu(%g): %g is not %g", v, (double)silu[i], expected);
        expected = 0.5 * v * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v))) * factor;
        if (!(fabs((double)gelu[i] - expected) <= 1e-6 * (1 + fabs(expected))))
            fail_msg("gelu(%g): %g is not %g", v, (double)gelu[i], expected);
    }
}

static void activations_are_right(void **state)
{
    (void)state;
    for_all(check_gates);
}

static void what_is_no_number_stays_none(void **state)
{
    (void)state;
    const struct entro_vector_math *math = entro_vector_math_for(entro_kernels_best()->name);
    float x[40] = {0}, up[40] = {0};
    x[5] = x[39] = NAN;
    math->silu_times(x, up, 40);
    assert_true(isnan(x[5]) && isnan(x[39]) && !isnan(x[6]));
    float y[40] = {0};
    y[20] = NAN;
    assert_true(isnan(math->exp_sum(y, 0, 40)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponentials_and_their_sum_are_right), cmocka_unit_test(norms_are_right),
        cmocka_unit_test(the_largest_is_found_wherever_it_is),  cmocka_unit_test(activations_are_right),
        cmocka_unit_test(what_is_no_number_stays_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
