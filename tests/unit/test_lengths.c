/* Code lengths: optimal, complete, within the limit, the same every time. */
#include "codec/lengths.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"

static uint64_t cost(const uint64_t counts[ENTRO_N_SYMBOLS], const uint8_t lengths[ENTRO_N_SYMBOLS])
{
    uint64_t bits = 0;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
        bits += counts[symbol] * lengths[symbol];
    return bits;
}

/* Cost of Huffman's code without a limit: the sum of all merged weights. */
static uint64_t huffman_cost(const uint64_t counts[ENTRO_N_SYMBOLS])
{
    uint64_t weights[ENTRO_N_SYMBOLS];
    unsigned n = 0;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        if (counts[symbol] > 0)
            weights[n++] = counts[symbol];
    }
    uint64_t bits = 0;
    for (; n > 1; n--) {
        for (unsigned least = 0; least < 2; least++) {
            for (unsigned i = least + 1; i < n; i++) {
                if (weights[i] < weights[least]) {
                    uint64_t swapped = weights[i];
                    weights[i] = weights[least];
                    weights[least] = swapped;
                }
            }
        }
        weights[0] += weights[1];
        bits += weights[0];
        weights[1] = weights[n - 1];
    }
    return bits;
}

static void assert_complete(const uint64_t counts[ENTRO_N_SYMBOLS], const uint8_t lengths[ENTRO_N_SYMBOLS],
                            unsigned limit)
{
    uint32_t kraft = 0;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        assert_int_equal(lengths[symbol] > 0, counts[symbol] > 0);
        assert_true(lengths[symbol] <= limit);
        if (lengths[symbol] > 0)
            kraft += 1u << (ENTRO_MAX_CODE_LENGTH - lengths[symbol]);
    }
    assert_int_equal(kraft, 1u << ENTRO_MAX_CODE_LENGTH);
}

/* The least cost over all lengths of n symbols whose Kraft sum is at most 1. */
static uint64_t brute_force(const uint64_t *counts, unsigned n, unsigned limit, uint32_t kraft_left)
{
    if (n == 0)
        return 0;
    uint64_t best = UINT64_MAX;
    for (unsigned length = 1; length <= limit; length++) {
        uint32_t share = 1u << (limit - length);
        if (share > kraft_left)
            continue;
        uint64_t rest = brute_force(counts + 1, n - 1, limit, kraft_left - share);
        if (rest != UINT64_MAX && rest + counts[0] * length < best)
            best = rest + counts[0] * length;
    }
    return best;
}

static void small_alphabets_get_the_best_lengths_that_exist(void **state)
{
    (void)state;
    struct random random = random_from(1);
    for (unsigned trial = 0; trial < 3000; trial++) {
        unsigned n = 2 + random_below(&random, 5), limit = 3 + random_below(&random, 2);
        uint64_t counts[ENTRO_N_SYMBOLS] = {0}, dense[6];
        for (unsigned i = 0; i < n; i++) {
            dense[i] = 1 + (random_next(&random) & 0xffff) % (1u << random_below(&random, 12));
            counts[i * 37 % ENTRO_N_SYMBOLS] = dense[i];
        }
        uint8_t lengths[ENTRO_N_SYMBOLS];
        assert_true(entro_code_lengths(counts, limit, lengths));
        assert_complete(counts, lengths, limit);
        assert_int_equal(cost(counts, lengths), brute_force(dense, n, limit, 1u << limit));
    }
}

static void lengths_cost_what_huffman_costs_where_the_limit_does_not_bind(void **state)
{
    (void)state;
    struct random random = random_from(2);
    for (unsigned trial = 0; trial < 200; trial++) {
        uint64_t counts[ENTRO_N_SYMBOLS] = {0};
        unsigned n = 2 + random_below(&random, 255);
        for (unsigned symbol = 0; symbol < n; symbol++)
            counts[symbol] = 1 + random_below(&random, 60);
        uint8_t lengths[ENTRO_N_SYMBOLS];
        assert_true(entro_code_lengths(counts, 15, lengths));
        assert_complete(counts, lengths, 15);
        assert_int_equal(cost(counts, lengths), huffman_cost(counts));
    }
}

static void fibonacci_counts_are_held_to_the_limit(void **state)
{
    (void)state;
    uint64_t counts[ENTRO_N_SYMBOLS] = {0}, a = 1, b = 1;
    for (unsigned symbol = 0; symbol < 40; symbol++) {
        counts[symbol] = a;
        uint64_t next = a + b;
        a = b;
        b = next;
    }
    uint64_t cost_before = UINT64_MAX;
    for (unsigned limit = 6; limit <= 15; limit++) {
        uint8_t lengths[ENTRO_N_SYMBOLS];
        assert_true(entro_code_lengths(counts, limit, lengths));
        assert_complete(counts, lengths, limit);
        assert_int_equal(lengths[0], limit);
        assert_true(cost(counts, lengths) < cost_before);
        cost_before = cost(counts, lengths);
    }
    assert_true(cost_before > huffman_cost(counts));
}

static void heavier_symbols_never_get_longer_codes(void **state)
{
    (void)state;
    struct random random = random_from(3);
    for (unsigned trial = 0; trial < 50; trial++) {
        uint64_t counts[ENTRO_N_SYMBOLS];
        for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
            counts[symbol] = random_next(&random) >> (20 + random_below(&random, 44));
        counts[0] = counts[1] = 1;
        uint8_t lengths[ENTRO_N_SYMBOLS];
        assert_true(entro_code_lengths(counts, 15, lengths));
        assert_complete(counts, lengths, 15);
        for (unsigned a = 0; a < ENTRO_N_SYMBOLS; a++) {
            for (unsigned b = 0; b < ENTRO_N_SYMBOLS; b++) {
                if (counts[a] > counts[b] && counts[b] > 0)
                    assert_true(lengths[a] <= lengths[b]);
            }
        }
    }
}

static void equal_counts_of_256_symbols_get_8_bits_each(void **state)
{
    (void)state;
    uint64_t counts[ENTRO_N_SYMBOLS];
    uint8_t lengths[ENTRO_N_SYMBOLS];
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
        counts[symbol] = 1000;
    for (unsigned limit = 8; limit <= 15; limit++) {
        assert_true(entro_code_lengths(counts, limit, lengths));
        for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
            assert_int_equal(lengths[symbol], 8);
    }
}

static void what_has_no_code_is_refused_with_all_lengths_zero(void **state)
{
    (void)state;
    static const uint8_t zero[ENTRO_N_SYMBOLS];
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    uint8_t lengths[ENTRO_N_SYMBOLS];

    memset(lengths, 1, sizeof lengths);
    assert_false(entro_code_lengths(counts, 15, lengths));
    assert_memory_equal(lengths, zero, sizeof zero);

    counts[77] = 5;
    assert_false(entro_code_lengths(counts, 15, lengths));
    counts[78] = 5;
    assert_true(entro_code_lengths(counts, 1, lengths));
    counts[79] = 5;
    assert_false(entro_code_lengths(counts, 1, lengths));
    assert_memory_equal(lengths, zero, sizeof zero);
    assert_false(entro_code_lengths(counts, 0, lengths));
    assert_false(entro_code_lengths(counts, 16, lengths));
}

static void entropy_is_shannons(void **state)
{
    (void)state;
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    assert_true(entro_entropy_bits(counts) == 0);
    counts[9] = 12;
    assert_true(entro_entropy_bits(counts) == 0);
    counts[0] = 12;
    assert_true(fabs(entro_entropy_bits(counts) - 1) < 1e-12);
    counts[1] = 24;
    assert_true(fabs(entro_entropy_bits(counts) - 1.5) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_alphabets_get_the_best_lengths_that_exist),
        cmocka_unit_test(lengths_cost_what_huffman_costs_where_the_limit_does_not_bind),
        cmocka_unit_test(fibonacci_counts_are_held_to_the_limit),
        cmocka_unit_test(heavier_symbols_never_get_longer_codes),
        cmocka_unit_test(equal_counts_of_256_symbols_get_8_bits_each),
        cmocka_unit_test(what_has_no_code_is_refused_with_all_lengths_zero),
        cmocka_unit_test(entropy_is_shannons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
