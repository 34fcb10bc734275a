/* Joint code lengths: complete codes at a bounded price in size, with fewer leaves and merges; near the best
 * that there is; the same every time and everywhere. */
#include "codec/joint_lengths.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "codec/pivot.h"
#include "codec/pivot_plan.h"
#include "random.h"

#define BLOCK_BYTES 65536

/* What a code comes to, from the plan that decoders use. */
struct outcome {
    double bits;   /* a symbol, with counts of leaves and padding */
    double merges; /* a symbol */
    double time;   /* ns a symbol, with the costs that the optimizer assumes */
    unsigned n_leaves;
};

static double subtree_share(const struct entro_pivot *pivot, const uint64_t counts[ENTRO_N_SYMBOLS],
                            unsigned from, unsigned to, double total)
{
    double sum = 0;
    for (unsigned leaf = from; leaf < to; leaf++)
        for (unsigned i = 0; i < 1u << pivot->leaves[leaf].width; i++)
            sum += (double)counts[pivot->symbol_of_rank[pivot->leaves[leaf].first_rank + i]];
    return sum / total;
}

static struct outcome outcome_of(const uint64_t counts[ENTRO_N_SYMBOLS],
                                 const uint8_t lengths[ENTRO_N_SYMBOLS])
{
    static const double unpack[9] = {0, .0170, .0190, .0190, .0190, .0190, .0190, .0220, .0270};
    struct entro_pivot *pivot;
    assert_int_equal(entro_pivot_create(&pivot, lengths), ENTRO_OK);
    struct outcome outcome = {.n_leaves = pivot->n_leaves};
    double total = 0;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
        total += (double)counts[symbol];
    const double n = fmin(total, BLOCK_BYTES); /* symbols a block */
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
        outcome.bits += (double)counts[symbol] * lengths[symbol] / total;
    for (unsigned leaf = 0; leaf < pivot->n_leaves; leaf++) {
        double expected = n * subtree_share(pivot, counts, leaf, leaf + 1, total);
        outcome.bits += 8.0 * (expected < 128 ? 1 : expected < 16384 ? 2 : 3) / n;
        outcome.time += 2.0 / n;
    }
    for (unsigned i = 0; i < pivot->n_steps; i++) {
        const struct entro_pivot_step *step = &pivot->steps[i];
        double share = subtree_share(pivot, counts, step->first_leaf, step->end_leaf, total);
        double occurs = fmin(share * n, 1);
        outcome.bits += 3.5 * occurs / n;
        outcome.time += 10.0 * occurs / n;
        if (step->is_leaf) {
            outcome.time += share * unpack[pivot->leaves[step->first_leaf].width];
            continue;
        }
        bool has_constant = step->left == ENTRO_PIVOT_NO_STEP || step->right == ENTRO_PIVOT_NO_STEP;
        outcome.merges += share;
        outcome.time += share * (has_constant ? .0190 : .0250);
    }
    entro_pivot_free(pivot);
    return outcome;
}

static void assert_complete(const uint64_t counts[ENTRO_N_SYMBOLS], const uint8_t lengths[ENTRO_N_SYMBOLS])
{
    uint32_t kraft = 0;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        assert_int_equal(lengths[symbol] > 0, counts[symbol] > 0);
        assert_true(lengths[symbol] <= ENTRO_MAX_CODE_LENGTH);
        if (lengths[symbol] > 0)
            kraft += 1u << (ENTRO_MAX_CODE_LENGTH - lengths[symbol]);
    }
    assert_int_equal(kraft, 1u << ENTRO_MAX_CODE_LENGTH);
}

/* Counts of a bell over 0 to 255 whose values have this deviation, scaled to `total`, at least 1 within
 * `reach` deviations. power 2: normal; lower: heavier tails. */
static void bell(uint64_t counts[ENTRO_N_SYMBOLS], double deviation, double power, double total, double reach)
{
    double sum = 0, weights[ENTRO_N_SYMBOLS];
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        double x = fabs((double)symbol - 128) / deviation;
        weights[symbol] = x > reach ? 0 : exp(-pow(x, power) / 2);
        sum += weights[symbol];
    }
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
        counts[symbol] = weights[symbol] > 0 ? (uint64_t)(weights[symbol] / sum * total) + 1 : 0;
}

static void any_counts(struct random *random, uint64_t counts[ENTRO_N_SYMBOLS])
{
    unsigned n = 2 + random_below(random, 255), kind = random_below(random, 5);
    memset(counts, 0, ENTRO_N_SYMBOLS * sizeof counts[0]);
    for (unsigned i = 0; i < n; i++) {
        uint64_t *count = &counts[i * 37 % ENTRO_N_SYMBOLS];
        unsigned shift = 13 + random_below(random, 50);
        switch (kind) {
        case 0:
            *count = 1;
            break;
        case 1:
            *count = 1 + random_below(random, 1000);
            break;
        case 2:
            *count = 1 + (random_next(random) >> shift);
            break;
        case 3:
            *count = 1 + ((uint64_t)1 << 50 >> (i < 50 ? i : 50));
            break;
        default:
            *count = i == 0 ? (uint64_t)1 << 58 : 1 + random_below(random, 3);
        }
    }
}

static void codes_are_complete_and_hardly_larger_than_optimal_ones(void **state)
{
    (void)state;
    struct random random = random_from(1);
    for (unsigned trial = 0; trial < 300; trial++) {
        uint64_t counts[ENTRO_N_SYMBOLS];
        uint8_t lengths[ENTRO_N_SYMBOLS], optimal[ENTRO_N_SYMBOLS];
        any_counts(&random, counts);
        assert_true(entro_joint_lengths(counts, BLOCK_BYTES, lengths));
        assert_complete(counts, lengths);
        assert_true(entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, optimal));
        assert_true(outcome_of(counts, lengths).bits <= 1.0028 * outcome_of(counts, optimal).bits);
    }
}

static void any_size_of_blocks_will_do(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4095, 4096, 131072, 131073, SIZE_MAX};
    uint64_t counts[ENTRO_N_SYMBOLS];
    bell(counts, 12, 2, 1e8, 10);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t lengths[ENTRO_N_SYMBOLS];
        assert_true(entro_joint_lengths(counts, sizes[i], lengths));
        assert_complete(counts, lengths);
    }
}

static void codes_of_quantized_weights_decode_with_fewer_leaves_and_merges(void **state)
{
    (void)state;
    static const struct {
        double deviation, power, merges, leaves; /* at most so much of the optimal code's */
    } sets[] = {{4, 2, .80, .65}, {12.6, 2, .93, .60}, {22, 2, .93, .55}, {12, 1.2, .90, .60}};
    for (unsigned i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        uint64_t counts[ENTRO_N_SYMBOLS];
        uint8_t lengths[ENTRO_N_SYMBOLS], optimal[ENTRO_N_SYMBOLS];
        bell(counts, sets[i].deviation, sets[i].power, 1e8, 10);
        assert_true(entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, optimal));
        assert_true(entro_joint_lengths(counts, BLOCK_BYTES, lengths));
        struct outcome joint = outcome_of(counts, lengths), least = outcome_of(counts, optimal);
        assert_true(joint.merges <= sets[i].merges * least.merges);
        assert_true(joint.n_leaves <= sets[i].leaves * least.n_leaves);
    }
}

static void rare_symbols_of_a_large_tensor_share_few_leaves(void **state)
{
    (void)state;
    uint64_t counts[ENTRO_N_SYMBOLS];
    uint8_t lengths[ENTRO_N_SYMBOLS], without[ENTRO_N_SYMBOLS];
    bell(counts, 4, 2, 4e8, 5);
    assert_true(entro_joint_lengths(counts, BLOCK_BYTES, without));
    struct random random = random_from(4);
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        if (counts[symbol] == 0)
            counts[symbol] = 1 + random_below(&random, 10);
    }
    assert_true(entro_joint_lengths(counts, BLOCK_BYTES, lengths));
    struct outcome with_tail = outcome_of(counts, lengths), no_tail = outcome_of(counts, without);
    assert_true(with_tail.n_leaves <= no_tail.n_leaves + 3);
    assert_true(entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, without));
    assert_true(with_tail.bits <= 1.0025 * outcome_of(counts, without).bits);
    assert_true(with_tail.time <= 1.03 * no_tail.time);
}

/* Goes through all complete codes of n symbols that get no shorter codes as they get rarer. */
struct exhaustion {
    const uint64_t *counts; /* of all symbols: the first n, falling */
    unsigned n;
    double allowed_bits;
    double price; /* ns a bit */
    double best;
    uint8_t lengths[ENTRO_N_SYMBOLS];
};

static void exhaust(struct exhaustion *all, unsigned placed, unsigned length, unsigned n_free)
{
    if (placed == all->n) {
        struct outcome outcome = outcome_of(all->counts, all->lengths);
        double cost = outcome.time + all->price * outcome.bits;
        if (outcome.bits <= all->allowed_bits && cost < all->best)
            all->best = cost;
        return;
    }
    unsigned n_rest = all->n - placed;
    if (length > ENTRO_MAX_CODE_LENGTH || n_free > n_rest)
        return;
    for (unsigned n = 0; n <= n_free; n++) {
        if (n == n_free && n < n_rest)
            break;
        if (n > 0)
            all->lengths[placed + n - 1] = (uint8_t)length;
        exhaust(all, placed + n, length + 1, 2 * (n_free - n));
    }
}

static void small_alphabets_get_a_code_near_the_best_that_exists(void **state)
{
    (void)state;
    struct random random = random_from(5);
    for (unsigned trial = 0; trial < 60; trial++) {
        uint64_t counts[ENTRO_N_SYMBOLS] = {0};
        uint8_t lengths[ENTRO_N_SYMBOLS], optimal[ENTRO_N_SYMBOLS];
        unsigned n = 3 + random_below(&random, 12);
        double falls = 0.5 + 0.5 * (double)random_below(&random, 1000) / 1000;
        for (unsigned i = 0; i < n; i++)
            counts[i] = (uint64_t)(1e7 * pow(falls, i)) + 1;
        assert_true(entro_joint_lengths(counts, BLOCK_BYTES, lengths));
        assert_true(entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, optimal));
        struct outcome joint = outcome_of(counts, lengths), least = outcome_of(counts, optimal);
        struct exhaustion all = {
            .counts = counts, .n = n, .allowed_bits = 1.0025 * least.bits, .price = .3, .best = INFINITY};
        exhaust(&all, 0, 1, 2);
        assert_true(joint.time + .3 * joint.bits <= all.best + .04 * joint.time);
    }
}

static void fewer_than_two_symbols_have_no_code(void **state)
{
    (void)state;
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    uint8_t lengths[ENTRO_N_SYMBOLS], none[ENTRO_N_SYMBOLS] = {0};
    memset(lengths, 1, sizeof lengths);
    assert_false(entro_joint_lengths(counts, BLOCK_BYTES, lengths));
    assert_memory_equal(lengths, none, sizeof none);
    counts[7] = 5;
    memset(lengths, 1, sizeof lengths);
    assert_false(entro_joint_lengths(counts, BLOCK_BYTES, lengths));
    assert_memory_equal(lengths, none, sizeof none);
}

/* FNV-1a over the lengths of counts that are themselves the same everywhere. Changes with the optimizer, but
 * never from one machine, compiler or run to another. */
static void lengths_are_the_same_everywhere(void **state)
{
    (void)state;
    uint64_t hash = 0xcbf29ce484222325;
    struct random random = random_from(6);
    for (unsigned trial = 0; trial < 60; trial++) {
        uint64_t counts[ENTRO_N_SYMBOLS];
        uint8_t lengths[ENTRO_N_SYMBOLS];
        any_counts(&random, counts);
        if (trial % 2 == 1) {
            memset(counts, 0, sizeof counts);
            for (unsigned i = 0; i < 20000; i++)
                counts[(128 + (int)(random_normal(&random) * trial / 2)) & 0xff]++;
        }
        assert_true(entro_joint_lengths(counts, BLOCK_BYTES, lengths));
        for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
            hash = (hash ^ lengths[symbol]) * 0x100000001b3;
    }
    assert_int_equal(hash, 0x82a4af4a63de8924);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_complete_and_hardly_larger_than_optimal_ones),
        cmocka_unit_test(any_size_of_blocks_will_do),
        cmocka_unit_test(codes_of_quantized_weights_decode_with_fewer_leaves_and_merges),
        cmocka_unit_test(rare_symbols_of_a_large_tensor_share_few_leaves),
        cmocka_unit_test(small_alphabets_get_a_code_near_the_best_that_exists),
        cmocka_unit_test(fewer_than_two_symbols_have_no_code),
        cmocka_unit_test(lengths_are_the_same_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
