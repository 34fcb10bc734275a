/* Grids and rounding: no weight is clipped, whatever the tensor. */
#include "codec/quantize.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"

#define MAX_WEIGHTS 1000

static struct entro_range range_of(const float *weights, size_t n)
{
    struct entro_range range = ENTRO_RANGE_EMPTY;
    entro_range_add(&range, weights, n);
    return range;
}

static unsigned code_at(const struct entro_grid *grid, const uint8_t *codes, size_t index)
{
    if (grid->bits == 8)
        return codes[index];
    return codes[index / 2] >> index % 2 * 4 & 0xf;
}

/* Trailing zero bits of a float's significand tell its significant bits. */
static bool has_significant_bits(float value, unsigned bits)
{
    int exponent;
    double mantissa = ldexp(frexp(value, &exponent), (int)bits);
    return mantissa == floor(mantissa);
}

/* All that the header promises of a grid and its codes. */
static void assert_quantizes_well(const float *weights, size_t n, unsigned bits, unsigned scale_bits)
{
    struct entro_range range = range_of(weights, n);
    struct entro_grid grid;
    assert_true(entro_grid_mixed(&grid, &range, bits, scale_bits));
    int top = (1 << bits) - 1;
    assert_int_equal(grid.bits, bits);
    assert_in_range(grid.zero_point, 0, top);
    assert_true(isnormal(grid.scale) && grid.scale > 0);
    assert_true(has_significant_bits(grid.scale, scale_bits));
    bool one_signed = range.min >= 0 || range.max <= 0;
    assert_int_equal(grid.scheme, one_signed ? ENTRO_SCHEME_UNSIGNED : ENTRO_SCHEME_ASYMMETRIC);
    if (one_signed)
        assert_true(grid.zero_point == 0 || grid.zero_point == top);

    size_t n_bytes = bits == 8 ? n : (n + 1) / 2;
    uint8_t *codes = malloc(n_bytes);
    assert_non_null(codes);
    double energy = 1000, expected_energy = 0, expected_error = 0;
    double error = entro_quantize(&grid, weights, n, codes, &energy);
    for (size_t i = 0; i < n; i++) {
        double step = (double)((int)code_at(&grid, codes, i) - grid.zero_point);
        double difference = weights[i] - grid.scale * step;
        assert_true(fabs(difference) <= grid.scale * 0.5 * (1 + 1e-12));
        assert_true(step == nearbyint((double)weights[i] / (double)grid.scale));
        expected_error += difference * difference;
        expected_energy += (double)weights[i] * weights[i];
    }
    assert_true(error == expected_error);
    assert_true(energy == 1000 + expected_energy);
    assert_true(entro_quantize(&grid, weights, n, codes, NULL) == error);
    if (bits == 4 && n % 2 == 1)
        assert_int_equal(codes[n / 2] >> 4, 0);
    free(codes);
}

static void assert_quantizes_well_everywhere(const float *weights, size_t n)
{
    static const unsigned scale_bits[] = {1, 2, 7, 11, 24};
    for (unsigned i = 0; i < sizeof scale_bits / sizeof scale_bits[0]; i++) {
        assert_quantizes_well(weights, n, 8, scale_bits[i]);
        assert_quantizes_well(weights, n, 4, scale_bits[i]);
    }
}

static void random_tensors_are_never_clipped(void **state)
{
    (void)state;
    struct random random = random_from(21);
    float weights[MAX_WEIGHTS];
    for (unsigned trial = 0; trial < 300; trial++) {
        size_t n = 1 + random_below(&random, trial < 100 ? 5 : MAX_WEIGHTS);
        double offset = trial % 3 == 0 ? 0 : random_normal(&random);
        double size = ldexp(1, (int)random_below(&random, 60) - 30);
        for (size_t i = 0; i < n; i++)
            weights[i] = (float)(size * (offset + random_normal(&random)));
        assert_quantizes_well_everywhere(weights, n);
    }
}

static void tensors_of_one_sign_have_their_zero_at_the_edge(void **state)
{
    (void)state;
    struct random random = random_from(22);
    float weights[MAX_WEIGHTS];
    struct entro_grid grid;
    for (unsigned trial = 0; trial < 40; trial++) {
        size_t n = 1 + random_below(&random, MAX_WEIGHTS);
        bool negative = trial % 2 == 1;
        for (size_t i = 0; i < n; i++) {
            float weight = trial % 5 == 0 && i % 2 == 0 ? 0 : (float)fabs(random_normal(&random));
            weights[i] = negative ? -weight : weight;
        }
        weights[0] = negative ? -1 : 1;
        assert_quantizes_well_everywhere(weights, n);
        struct entro_range range = range_of(weights, n);
        assert_true(entro_grid_mixed(&grid, &range, 8, 7));
        assert_int_equal(grid.zero_point, negative ? 255 : 0);
    }
}

static void constants_and_single_weights_quantize(void **state)
{
    (void)state;
    static const float values[] = {1, -1, 0.1F, -3e10F, 7e-30F, 255, 1.0F / 3};
    float weights[33];
    for (unsigned v = 0; v < sizeof values / sizeof values[0]; v++) {
        for (size_t i = 0; i < 33; i++)
            weights[i] = values[v];
        assert_quantizes_well_everywhere(weights, 33);
        assert_quantizes_well_everywhere(weights, 1);
        assert_quantizes_well_everywhere(weights, 2);
    }
}

static void zeros_get_scale_1(void **state)
{
    (void)state;
    static const float weights[5] = {0, -0.0F, 0, 0, -0.0F};
    struct entro_range range = range_of(weights, 5);
    struct entro_grid grid;
    uint8_t codes[5];
    assert_true(entro_grid_mixed(&grid, &range, 8, 7));
    assert_true(grid.scale == 1);
    assert_int_equal(grid.zero_point, 0);
    assert_int_equal(grid.scheme, ENTRO_SCHEME_UNSIGNED);
    assert_true(entro_quantize(&grid, weights, 5, codes, NULL) == 0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(codes[i], 0);
    assert_quantizes_well_everywhere(weights, 5);
}

/* Ranges where both ends round away from zero need one code more than min and max alone suggest: the scale
 * grows until they fit. */
static void ends_that_both_round_outwards_still_fit(void **state)
{
    (void)state;
    unsigned n_grown = 0;
    for (int i = 1; i < 255; i++) {
        float weights[2] = {-(float)i - 0.5F, 254.5F - (float)i};
        assert_quantizes_well(weights, 2, 8, 24);
        assert_quantizes_well(weights, 2, 8, 7);
        struct entro_range range = range_of(weights, 2);
        struct entro_grid grid;
        assert_true(entro_grid_mixed(&grid, &range, 8, 24));
        n_grown += grid.scale > 1;
    }
    assert_int_equal(n_grown, 127); /* the odd ones */
}

static void huge_weights_quantize_or_are_refused_but_never_overflow(void **state)
{
    (void)state;
    struct entro_grid grid;
    static const float fractions[] = {1, 0.999F, 0.75F, 0.5F, 0.3F};
    unsigned n_refused = 0;
    for (unsigned a = 0; a < sizeof fractions / sizeof fractions[0]; a++) {
        for (unsigned b = 0; b < sizeof fractions / sizeof fractions[0]; b++) {
            float weights[3] = {-FLT_MAX * fractions[a], 1, FLT_MAX * fractions[b]};
            struct entro_range range = range_of(weights, 3);
            for (unsigned bits = 4; bits <= 8; bits += 4) {
                if (!entro_grid_mixed(&grid, &range, bits, 7)) {
                    n_refused++;
                    continue;
                }
                uint8_t codes[3];
                entro_quantize(&grid, weights, 3, codes, NULL);
                for (size_t i = 0; i < 3; i++) {
                    float value = grid.scale * (float)((int)code_at(&grid, codes, i) - grid.zero_point);
                    assert_true(isfinite(value));
                    assert_true(fabs((double)value - weights[i]) <= grid.scale * 0.5 * (1 + 1e-12));
                }
            }
        }
    }
    assert_true(n_refused > 0 && n_refused < 50);
}

static void scales_below_the_normal_numbers_are_refused(void **state)
{
    (void)state;
    struct entro_grid grid;
    struct entro_range range = {.min = 0, .max = FLT_TRUE_MIN};
    assert_false(entro_grid_mixed(&grid, &range, 8, 7));
    range.max = FLT_MIN * 254;
    assert_false(entro_grid_mixed(&grid, &range, 8, 24));
    range.max = FLT_MIN * 256;
    assert_true(entro_grid_mixed(&grid, &range, 8, 24));
    range.max = FLT_MIN * 16;
    assert_true(entro_grid_mixed(&grid, &range, 4, 7));
    float weights[3] = {FLT_MIN * 300, FLT_TRUE_MIN, -FLT_TRUE_MIN};
    assert_quantizes_well(weights, 3, 8, 7);
}

static void nan_infinity_and_nothing_are_refused(void **state)
{
    (void)state;
    struct entro_grid grid;
    struct entro_range empty = ENTRO_RANGE_EMPTY;
    assert_false(entro_grid_mixed(&grid, &empty, 8, 7));
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (unsigned b = 0; b < 3; b++) {
        for (size_t at = 0; at < 20; at++) {
            float weights[20];
            for (size_t i = 0; i < 20; i++)
                weights[i] = (float)i - 5;
            weights[at] = bad[b];
            struct entro_range range = range_of(weights, 20), merged = ENTRO_RANGE_EMPTY;
            assert_true(range.has_nonfinite);
            assert_true(range.min == (at == 0 ? -4 : -5) && range.max == (at == 19 ? 13 : 14));
            assert_false(entro_grid_mixed(&grid, &range, 8, 7));
            entro_range_merge(&merged, &range);
            assert_false(entro_grid_mixed(&grid, &merged, 8, 7));
        }
    }
    struct entro_range good = {.min = -1, .max = 1};
    assert_false(entro_grid_mixed(&grid, &good, 5, 7));
    assert_false(entro_grid_mixed(&grid, &good, 8, 0));
    assert_false(entro_grid_mixed(&grid, &good, 8, 25));
    assert_true(entro_grid_mixed(&grid, &good, 8, 24));
}

static void the_range_of_parts_is_the_range_of_the_whole(void **state)
{
    (void)state;
    struct random random = random_from(23);
    float weights[MAX_WEIGHTS];
    for (size_t i = 0; i < MAX_WEIGHTS; i++)
        weights[i] = (float)random_normal(&random);
    struct entro_range whole = range_of(weights, MAX_WEIGHTS);
    for (size_t cut = 0; cut <= MAX_WEIGHTS; cut += 3) {
        struct entro_range first = range_of(weights, cut),
                           second = range_of(weights + cut, MAX_WEIGHTS - cut);
        entro_range_merge(&first, &second);
        assert_true(first.min == whole.min && first.max == whole.max && !first.has_nonfinite);
    }
}

static void a_part_quantizes_as_it_does_within_the_whole(void **state)
{
    (void)state;
    struct random random = random_from(24);
    float weights[MAX_WEIGHTS];
    for (size_t i = 0; i < MAX_WEIGHTS; i++)
        weights[i] = (float)random_normal(&random);
    struct entro_range range = range_of(weights, MAX_WEIGHTS);
    for (unsigned bits = 4; bits <= 8; bits += 4) {
        struct entro_grid grid;
        uint8_t whole[MAX_WEIGHTS], parts[MAX_WEIGHTS] = {0};
        assert_true(entro_grid_mixed(&grid, &range, bits, 7));
        entro_quantize(&grid, weights, MAX_WEIGHTS, whole, NULL);
        size_t cut = 2 * 123;
        entro_quantize(&grid, weights, cut, parts, NULL);
        entro_quantize(&grid, weights + cut, MAX_WEIGHTS - cut, parts + cut * bits / 8, NULL);
        assert_memory_equal(parts, whole, MAX_WEIGHTS * bits / 8);
    }
}

static void ties_go_to_the_even_code(void **state)
{
    (void)state;
    struct entro_grid grid = {.scheme = ENTRO_SCHEME_ASYMMETRIC, .bits = 8, .scale = 0.5F, .zero_point = 100};
    static const float weights[] = {0.25F, 0.75F, 1.25F, -0.25F, -0.75F, 0.2500001F};
    static const uint8_t expected[] = {100, 102, 102, 100, 98, 101};
    uint8_t codes[6];
    entro_quantize(&grid, weights, 6, codes, NULL);
    assert_memory_equal(codes, expected, sizeof expected);
}

static void weights_outside_the_grid_get_codes_of_its_ends(void **state)
{
    (void)state;
    struct entro_grid grid = {.scheme = ENTRO_SCHEME_ASYMMETRIC, .bits = 4, .scale = 1, .zero_point = 8};
    static const float weights[] = {1e30F, -1e30F, INFINITY, -INFINITY, 100, NAN};
    uint8_t codes[3];
    entro_quantize(&grid, weights, 6, codes, NULL);
    assert_int_equal(codes[0], 0x0f);
    assert_int_equal(codes[1], 0x0f);
    assert_int_equal(codes[2] & 0xf, 0xf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_tensors_are_never_clipped),
        cmocka_unit_test(tensors_of_one_sign_have_their_zero_at_the_edge),
        cmocka_unit_test(constants_and_single_weights_quantize),
        cmocka_unit_test(zeros_get_scale_1),
        cmocka_unit_test(ends_that_both_round_outwards_still_fit),
        cmocka_unit_test(huge_weights_quantize_or_are_refused_but_never_overflow),
        cmocka_unit_test(scales_below_the_normal_numbers_are_refused),
        cmocka_unit_test(nan_infinity_and_nothing_are_refused),
        cmocka_unit_test(the_range_of_parts_is_the_range_of_the_whole),
        cmocka_unit_test(a_part_quantizes_as_it_does_within_the_whole),
        cmocka_unit_test(ties_go_to_the_even_code),
        cmocka_unit_test(weights_outside_the_grid_get_codes_of_its_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
