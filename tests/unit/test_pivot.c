/*
 * The pivot coder: round trips, the bytes of the specification, and blocks that no encoder writes. Whatever
 * is coded here is coded by every variant of the kernels that runs on this machine: they must agree.
 */
#include "codec/pivot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/pivot_kernels.h"
#include "random.h"

static struct entro_pivot_scratch *scratches[8]; /* one a variant of the kernels, the portable one first */
static unsigned n_variants;

static int create_scratches(void **state)
{
    (void)state;
    const struct entro_pivot_kernels *kernels;
    for (; (kernels = entro_pivot_kernels_at(n_variants)) != NULL; n_variants++) {
        scratches[n_variants] = entro_pivot_scratch_create(kernels);
        if (scratches[n_variants] == NULL)
            return -1;
    }
    return 0;
}

static int free_scratches(void **state)
{
    (void)state;
    for (unsigned v = 0; v < n_variants; v++)
        entro_pivot_scratch_free(scratches[v]);
    return 0;
}

static struct entro_pivot *pivot_of_lengths(const uint8_t lengths[ENTRO_N_SYMBOLS])
{
    struct entro_pivot *pivot = NULL;
    assert_int_equal(entro_pivot_create(&pivot, lengths), ENTRO_OK);
    assert_non_null(pivot);
    return pivot;
}

static struct entro_pivot *pivot_of_counts(const uint64_t counts[ENTRO_N_SYMBOLS], unsigned max_length)
{
    uint8_t lengths[ENTRO_N_SYMBOLS];
    assert_true(entro_code_lengths(counts, max_length, lengths));
    return pivot_of_lengths(lengths);
}

/* Decodes from and into heap blocks of the exact size, so that a sanitizer sees every byte too far. */
static enum entro_error decode(const struct entro_pivot *pivot, const uint8_t *stored, size_t stored_bytes,
                               uint8_t *target, size_t size)
{
    uint8_t *source = malloc(stored_bytes + ENTRO_READ_SLOP_BYTES);
    uint8_t *decoded = malloc(size);
    assert_non_null(source);
    assert_non_null(decoded);
    memcpy(source, stored, stored_bytes);
    memset(source + stored_bytes, 0xa5, ENTRO_READ_SLOP_BYTES);
    enum entro_error error = entro_pivot_decode(pivot, source, stored_bytes, decoded, size, scratches[0]);
    if (error == ENTRO_OK)
        memcpy(target, decoded, size);
    for (unsigned v = 1; v < n_variants; v++) {
        memset(decoded, 0x5a, size);
        assert_int_equal(entro_pivot_decode(pivot, source, stored_bytes, decoded, size, scratches[v]), error);
        if (error == ENTRO_OK)
            assert_memory_equal(decoded, target, size);
    }
    free(decoded);
    free(source);
    return error;
}

/* Encodes into a heap block of the exact capacity; the caller frees *coded. */
static size_t encode(const struct entro_pivot *pivot, const uint8_t *symbols, size_t size, size_t capacity,
                     uint8_t **coded)
{
    *coded = malloc(capacity > 0 ? capacity : 1);
    assert_non_null(*coded);
    size_t coded_bytes = entro_pivot_encode(pivot, symbols, size, *coded, capacity, scratches[0]);
    for (unsigned v = 1; v < n_variants; v++) {
        uint8_t *same = malloc(capacity > 0 ? capacity : 1);
        assert_non_null(same);
        assert_int_equal(entro_pivot_encode(pivot, symbols, size, same, capacity, scratches[v]), coded_bytes);
        assert_memory_equal(same, *coded, coded_bytes);
        free(same);
    }
    return coded_bytes;
}

static void assert_round_trip(const struct entro_pivot *pivot, const uint8_t *symbols, size_t size)
{
    uint8_t *coded, *again, *decoded = malloc(size);
    assert_non_null(decoded);
    size_t coded_bytes = encode(pivot, symbols, size, 4 * size + 1024, &coded);
    assert_true(coded_bytes > 0);
    assert_int_equal(decode(pivot, coded, coded_bytes, decoded, size), ENTRO_OK);
    assert_memory_equal(decoded, symbols, size);

    /* A capacity that just suffices changes nothing; one byte less is refused. */
    assert_int_equal(encode(pivot, symbols, size, coded_bytes, &again), coded_bytes);
    assert_memory_equal(again, coded, coded_bytes);
    free(again);
    assert_int_equal(encode(pivot, symbols, size, coded_bytes - 1, &again), 0);
    free(again);
    free(coded);
    free(decoded);
}

static void count_symbols(const uint8_t *symbols, size_t size, uint64_t counts[ENTRO_N_SYMBOLS])
{
    memset(counts, 0, ENTRO_N_SYMBOLS * sizeof counts[0]);
    for (size_t i = 0; i < size; i++)
        counts[symbols[i]]++;
}

/* Normal codes around 128; a deviation of 0.3 to 80 goes from nearly constant to nearly uniform. */
static void fill_normal(uint8_t *symbols, size_t size, double deviation, struct random *random)
{
    for (size_t i = 0; i < size; i++)
        symbols[i] = (uint8_t)(int)(1024.5 + 128 + deviation * random_normal(random));
}

static void blocks_of_every_small_size_round_trip(void **state)
{
    (void)state;
    struct random random = random_from(1);
    uint8_t training[4096], symbols[600];
    uint64_t counts[ENTRO_N_SYMBOLS];
    static const double deviations[] = {0.4, 1, 3, 10, 40, 100};
    for (unsigned d = 0; d < sizeof deviations / sizeof deviations[0]; d++) {
        fill_normal(training, sizeof training, deviations[d], &random);
        count_symbols(training, sizeof training, counts);
        struct entro_pivot *pivot = pivot_of_counts(counts, 15);
        for (size_t size = 1; size <= sizeof symbols; size += size < 140 ? 1 : 37) {
            for (size_t i = 0; i < size; i++)
                symbols[i] = training[random_below(&random, sizeof training)];
            assert_round_trip(pivot, symbols, size);
        }
        entro_pivot_free(pivot);
    }
}

static void blocks_of_the_greatest_size_round_trip(void **state)
{
    (void)state;
    struct random random = random_from(2);
    uint8_t *symbols = malloc(ENTRO_BLOCK_MAX_BYTES);
    assert_non_null(symbols);
    uint64_t counts[ENTRO_N_SYMBOLS];
    static const double deviations[] = {0.3, 2, 16, 90};
    for (unsigned d = 0; d < sizeof deviations / sizeof deviations[0]; d++) {
        fill_normal(symbols, ENTRO_BLOCK_MAX_BYTES, deviations[d], &random);
        count_symbols(symbols, ENTRO_BLOCK_MAX_BYTES, counts);
        struct entro_pivot *pivot = pivot_of_counts(counts, 15);
        assert_round_trip(pivot, symbols, ENTRO_BLOCK_MAX_BYTES);
        assert_round_trip(pivot, symbols, ENTRO_BLOCK_MAX_BYTES - 1);
        uint8_t coded[1];
        assert_int_equal(entro_pivot_encode(pivot, symbols, (size_t)ENTRO_BLOCK_MAX_BYTES + 1, coded,
                                            sizeof coded, scratches[0]),
                         0);
        entro_pivot_free(pivot);
    }
    free(symbols);
}

/* Every shape of tree: lengths from random counts, with the limit binding or not, and blocks that use part of
 * the alphabet. */
static void random_codebooks_and_blocks_round_trip(void **state)
{
    (void)state;
    struct random random = random_from(3);
    for (unsigned trial = 0; trial < 400; trial++) {
        uint64_t counts[ENTRO_N_SYMBOLS] = {0};
        uint8_t alphabet[ENTRO_N_SYMBOLS], symbols[3000];
        unsigned n_symbols = 2 + random_below(&random, 255), shift = random_below(&random, 40);
        for (unsigned i = 0; i < n_symbols; i++)
            counts[i * 167 % ENTRO_N_SYMBOLS] =
                1 + (random_next(&random) >> 24 >> random_below(&random, shift + 1));
        unsigned n_used = 0;
        for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
            if (counts[symbol] > 0 && random_below(&random, 4) < 1 + trial % 4)
                alphabet[n_used++] = (uint8_t)symbol;
        }
        if (n_used == 0)
            continue;
        struct entro_pivot *pivot = pivot_of_counts(counts, n_symbols > 128 ? 8 + trial % 8 : 7 + trial % 9);
        size_t size = 1 + random_below(&random, sizeof symbols);
        for (size_t i = 0; i < size; i++)
            symbols[i] = alphabet[random_below(&random, 1 + random_below(&random, n_used))];
        assert_round_trip(pivot, symbols, size);
        entro_pivot_free(pivot);
    }
}

static void fibonacci_counts_make_the_deepest_tree_and_round_trip(void **state)
{
    (void)state;
    uint64_t counts[ENTRO_N_SYMBOLS] = {0}, a = 1, b = 1;
    uint8_t symbols[30000];
    struct random random = random_from(4);
    for (unsigned symbol = 0; symbol < 24; symbol++) {
        counts[symbol] = a;
        uint64_t next = a + b;
        a = b;
        b = next;
    }
    for (size_t i = 0; i < sizeof symbols; i++) {
        unsigned symbol = 23;
        while (symbol > 0 && random_below(&random, 100) < 38)
            symbol--;
        symbols[i] = (uint8_t)symbol;
    }
    for (unsigned limit = 5; limit <= 15; limit++) {
        struct entro_pivot *pivot = pivot_of_counts(counts, limit);
        assert_round_trip(pivot, symbols, sizeof symbols);
        entro_pivot_free(pivot);
    }
}

static void a_chain_of_fifteen_single_leaves_round_trips(void **state)
{
    (void)state;
    uint8_t lengths[ENTRO_N_SYMBOLS] = {0}, symbols[1000];
    struct random random = random_from(5);
    for (unsigned i = 0; i < 14; i++)
        lengths[200 - i] = (uint8_t)(i + 1);
    lengths[3] = lengths[7] = 15;
    struct entro_pivot *pivot = pivot_of_lengths(lengths);
    for (size_t i = 0; i < sizeof symbols; i++) {
        unsigned k = random_below(&random, 16);
        symbols[i] = k == 14 ? 3 : k == 15 ? 7 : (uint8_t)(200 - k);
    }
    assert_round_trip(pivot, symbols, sizeof symbols);
    entro_pivot_free(pivot);
}

/* Nodes all of whose symbols go one way, and leaves and subtrees that have none. */
static void any_leaves_may_be_empty(void **state)
{
    (void)state;
    struct random random = random_from(8);
    uint8_t lengths[ENTRO_N_SYMBOLS] = {0}, symbols[300];
    enum { N_LEAVES = 7 };
    static const uint8_t length_of_leaf[N_LEAVES] = {3, 3, 4, 5, 5, 7, 7};
    static const uint8_t width_of_leaf[N_LEAVES] = {2, 1, 0, 1, 0, 3, 2};
    uint8_t first_of_leaf[N_LEAVES];
    unsigned n_symbols = 0;
    for (unsigned leaf = 0; leaf < N_LEAVES; leaf++) {
        first_of_leaf[leaf] = (uint8_t)n_symbols;
        for (unsigned i = 0; i < 1u << width_of_leaf[leaf]; i++)
            lengths[n_symbols++] = length_of_leaf[leaf];
    }
    struct entro_pivot *pivot = pivot_of_lengths(lengths);
    for (unsigned used = 1; used < 1u << N_LEAVES; used++) {
        for (unsigned trial = 0; trial < 4; trial++) {
            size_t size = 1 + random_below(&random, sizeof symbols);
            for (size_t i = 0; i < size; i++) {
                unsigned leaf = random_below(&random, N_LEAVES);
                while (!(used >> leaf & 1))
                    leaf = (leaf + 1) % N_LEAVES;
                symbols[i] =
                    (uint8_t)(first_of_leaf[leaf] + random_below(&random, 1u << width_of_leaf[leaf]));
            }
            assert_round_trip(pivot, symbols, size);
        }
    }
    entro_pivot_free(pivot);
}

static void uniform_lengths_make_one_flat_leaf_of_each_width(void **state)
{
    (void)state;
    struct random random = random_from(6);
    for (unsigned width = 1; width <= 8; width++) {
        uint8_t lengths[ENTRO_N_SYMBOLS] = {0}, symbols[777];
        for (unsigned i = 0; i < 1u << width; i++)
            lengths[i * 93 % ENTRO_N_SYMBOLS] = (uint8_t)width;
        struct entro_pivot *pivot = pivot_of_lengths(lengths);
        for (size_t i = 0; i < sizeof symbols; i++)
            symbols[i] = (uint8_t)(random_below(&random, 1u << width) * 93);
        assert_round_trip(pivot, symbols, sizeof symbols);

        uint8_t *coded;
        size_t coded_bytes = encode(pivot, symbols, sizeof symbols, 1000, &coded);
        assert_int_equal(coded_bytes, 2 + (sizeof symbols * width + 7) / 8);
        free(coded);
        entro_pivot_free(pivot);
    }
}

static void a_block_of_one_symbol_costs_its_counts_only(void **state)
{
    (void)state;
    uint8_t lengths[ENTRO_N_SYMBOLS] = {[10] = 1, [20] = 2, [30] = 3, [40] = 3}, symbols[500], coded[16];
    struct entro_pivot *pivot = pivot_of_lengths(lengths);
    memset(symbols, 20, sizeof symbols);
    assert_round_trip(pivot, symbols, sizeof symbols);
    static const uint8_t expected[] = {0, 0xf4, 0x03, 0};
    assert_int_equal(entro_pivot_encode(pivot, symbols, sizeof symbols, coded, sizeof coded, scratches[0]),
                     sizeof expected);
    assert_memory_equal(coded, expected, sizeof expected);
    entro_pivot_free(pivot);
}

/*
 * By hand from the specification. Leaves as made: {a} at depth 2; of the five symbols of length 3 {b c d e}
 * at depth 1 of width 2, then {f} at depth 3; of length 4 {g h} at depth 3 of width 1. Sorted by depth: {b c
 * d e} 0, a 10, f 110, {g h} 111. Tree: root({b c d e}, x(a, y(f, {g h}))). Records in post-order: {b c d e},
 * {g h}, y, x, root.
 */
static const uint8_t golden_lengths[ENTRO_N_SYMBOLS] = {
    ['a'] = 2, ['b'] = 3, ['c'] = 3, ['d'] = 3, ['e'] = 3, ['f'] = 3, ['g'] = 4, ['h'] = 4};
static const uint8_t golden_symbols[17] = "cabfegdhacfbheacc";
static const uint8_t golden_coded[] = {
    9,    3,    2,    3, /* {b c d e}, a, f, {g h} */
    0xb1, 0x71, 0x01,    /* c b e d | c b e c | c: 1 0 3 2 | 1 0 3 1 | 1 */
    0x06,                /* g h h: 0 1 1 */
    0x16,                /* f g h f h: 0 1 1 0 1 */
    0x6e,                /* a f g h a f h a: 0 1 1 1 0 1 1 0 */
    0xaa, 0x55, 0x00,    /* c a b f e g d h | a c f b h e a c | c: 0 1 0 1 0 1 0 1 | 1 0 1 0 1 0 1 0 | 0 */
};

static void a_block_has_the_bytes_of_the_specification(void **state)
{
    (void)state;
    struct entro_pivot *pivot = pivot_of_lengths(golden_lengths);
    uint8_t coded[64], decoded[sizeof golden_symbols];
    assert_int_equal(
        entro_pivot_encode(pivot, golden_symbols, sizeof golden_symbols, coded, sizeof coded, scratches[0]),
        sizeof golden_coded);
    assert_memory_equal(coded, golden_coded, sizeof golden_coded);
    assert_int_equal(decode(pivot, golden_coded, sizeof golden_coded, decoded, sizeof decoded), ENTRO_OK);
    assert_memory_equal(decoded, golden_symbols, sizeof decoded);
    entro_pivot_free(pivot);
}

static void the_example_of_the_specification_has_its_bytes(void **state)
{
    (void)state;
    static const uint8_t lengths[ENTRO_N_SYMBOLS] = {
        ['a'] = 1, ['b'] = 3, ['c'] = 3, ['d'] = 3, ['e'] = 4, ['f'] = 4};
    static const uint8_t symbols[12] = "abacadaebafa";
    static const uint8_t expected[] = {0x06, 0x03, 0x01, 0x02, 0x02, 0x02, 0x06, 0x2c, 0xaa, 0x05};
    struct entro_pivot *pivot = pivot_of_lengths(lengths);
    uint8_t coded[64], decoded[sizeof symbols];
    assert_int_equal(entro_pivot_encode(pivot, symbols, sizeof symbols, coded, sizeof coded, scratches[0]),
                     sizeof expected);
    assert_memory_equal(coded, expected, sizeof expected);
    assert_int_equal(decode(pivot, expected, sizeof expected, decoded, sizeof decoded), ENTRO_OK);
    assert_memory_equal(decoded, symbols, sizeof decoded);
    entro_pivot_free(pivot);
}

static void a_symbol_without_a_code_is_not_encoded(void **state)
{
    (void)state;
    struct entro_pivot *pivot = pivot_of_lengths(golden_lengths);
    uint8_t symbols[] = {'a', 'b', 'i', 'a'}, coded[64];
    assert_int_equal(entro_pivot_encode(pivot, symbols, sizeof symbols, coded, sizeof coded, scratches[0]),
                     0);
    entro_pivot_free(pivot);
}

static void refuse(const struct entro_pivot *pivot, const uint8_t *stored, size_t stored_bytes, size_t size)
{
    uint8_t decoded[64];
    assert_true(size <= sizeof decoded);
    assert_int_equal(decode(pivot, stored, stored_bytes, decoded, size), ENTRO_ERROR_FORMAT);
}

static void blocks_that_no_encoder_writes_are_refused(void **state)
{
    (void)state;
    struct entro_pivot *pivot = pivot_of_lengths(golden_lengths);
    size_t size = sizeof golden_symbols, n = sizeof golden_coded;
    uint8_t bytes[64];

    /* Another size than the counts' sum. */
    refuse(pivot, golden_coded, n, size - 1);
    refuse(pivot, golden_coded, n, size + 1);
    /* A byte too many or too few. */
    memcpy(bytes, golden_coded, n);
    bytes[n] = 0;
    refuse(pivot, bytes, n + 1, size);
    for (size_t shorter = 0; shorter < n; shorter++)
        refuse(pivot, golden_coded, shorter, size);
    /* Counts that add up, but for which the records are of another size or the bitmaps disagree. */
    memcpy(bytes, golden_coded, n);
    bytes[0]++;
    bytes[1]--;
    refuse(pivot, bytes, n, size);
    /* Unused bits of a flat leaf's and of an inner node's last byte. */
    for (size_t at = 4; at < n; at++) {
        if (at == 4 || at == 5 || (at >= 9 && at <= 11)) /* full bytes */
            continue;
        memcpy(bytes, golden_coded, n);
        bytes[at] |= 0x80;
        refuse(pivot, bytes, n, size);
    }
    entro_pivot_free(pivot);
}

static void counts_in_other_than_the_shortest_form_are_refused(void **state)
{
    (void)state;
    struct entro_pivot *pivot = pivot_of_lengths(golden_lengths);
    static const uint8_t good[] = {0, 0, 5, 0};
    static const uint8_t padded[] = {0x80, 0x00, 0, 5, 0};
    static const uint8_t padded_five[] = {0, 0, 0x85, 0x80, 0x00, 0};
    static const uint8_t beyond_32_bits[] = {0, 0, 0x85, 0x80, 0x80, 0x80, 0x10, 0};
    static const uint8_t six_bytes[] = {0, 0, 0x85, 0x80, 0x80, 0x80, 0x80, 0x01, 0};
    static const uint8_t wraps_to_five[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 1, 5, 0};
    static const uint8_t unfinished[] = {0, 0, 5, 0x80};
    uint8_t decoded[5];
    assert_int_equal(decode(pivot, good, sizeof good, decoded, 5), ENTRO_OK);
    assert_memory_equal(decoded, "fffff", 5);
    refuse(pivot, padded, sizeof padded, 5);
    refuse(pivot, padded_five, sizeof padded_five, 5);
    refuse(pivot, beyond_32_bits, sizeof beyond_32_bits, 5);
    refuse(pivot, six_bytes, sizeof six_bytes, 5);
    refuse(pivot, wraps_to_five, sizeof wraps_to_five, 5);
    refuse(pivot, unfinished, sizeof unfinished, 5);
    entro_pivot_free(pivot);
}

static void sizes_of_zero_and_beyond_a_block_are_refused(void **state)
{
    (void)state;
    struct entro_pivot *pivot = pivot_of_lengths(golden_lengths);
    static const uint8_t none[4 + ENTRO_READ_SLOP_BYTES] = {0};
    static const uint8_t too_many[6 + ENTRO_READ_SLOP_BYTES] = {0x81, 0x80, 0x08, 0, 0, 0};
    uint8_t target[1];
    assert_int_equal(entro_pivot_decode(pivot, none, 4, target, 0, scratches[0]), ENTRO_ERROR_FORMAT);
    assert_int_equal(
        entro_pivot_decode(pivot, too_many, 6, target, (size_t)ENTRO_BLOCK_MAX_BYTES + 1, scratches[0]),
        ENTRO_ERROR_FORMAT);
    entro_pivot_free(pivot);
}

/* A changed bit gives an error, or other symbols, and never a byte out of bounds; and decoding is the exact
 * inverse of encoding. */
static void every_flipped_bit_and_every_truncation_is_safe(void **state)
{
    (void)state;
    struct random random = random_from(7);
    static const double deviations[] = {1, 6, 30};
    for (unsigned d = 0; d < sizeof deviations / sizeof deviations[0]; d++) {
        uint8_t symbols[300], decoded[sizeof symbols], *coded, *again;
        uint64_t counts[ENTRO_N_SYMBOLS];
        fill_normal(symbols, sizeof symbols, deviations[d], &random);
        count_symbols(symbols, sizeof symbols, counts);
        struct entro_pivot *pivot = pivot_of_counts(counts, 15);
        size_t n = encode(pivot, symbols, sizeof symbols, 1000, &coded);
        assert_true(n > 0);
        for (size_t shorter = 0; shorter < n; shorter++)
            assert_int_equal(decode(pivot, coded, shorter, decoded, sizeof decoded), ENTRO_ERROR_FORMAT);
        unsigned n_refused = 0;
        for (size_t bit = 0; bit < 8 * n; bit++) {
            coded[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (decode(pivot, coded, n, decoded, sizeof decoded) == ENTRO_OK) {
                assert_int_equal(encode(pivot, decoded, sizeof decoded, n, &again), n);
                assert_memory_equal(again, coded, n);
                free(again);
            } else {
                n_refused++;
            }
            coded[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_true(n_refused > 0);
        free(coded);
        entro_pivot_free(pivot);
    }
}

static void lengths_that_make_no_complete_code_are_refused(void **state)
{
    (void)state;
    struct entro_pivot *pivot;
    static const struct {
        uint8_t lengths[ENTRO_N_SYMBOLS];
    } bad[] = {
        {{0}},
        {{[5] = 1}},
        {{[5] = 1, [6] = 2}},
        {{[5] = 1, [6] = 1, [7] = 1}},
        {{[5] = 1, [6] = 1, [7] = 15}},
        {{[5] = 1, [6] = 2, [7] = 16, [8] = 16}},
        {{[5] = 1, [6] = 1, [7] = 255}},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pivot = (struct entro_pivot *)scratches;
        assert_int_equal(entro_pivot_create(&pivot, bad[i].lengths), ENTRO_ERROR_FORMAT);
        assert_null(pivot);
    }
    entro_pivot_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_every_small_size_round_trip),
        cmocka_unit_test(blocks_of_the_greatest_size_round_trip),
        cmocka_unit_test(random_codebooks_and_blocks_round_trip),
        cmocka_unit_test(fibonacci_counts_make_the_deepest_tree_and_round_trip),
        cmocka_unit_test(a_chain_of_fifteen_single_leaves_round_trips),
        cmocka_unit_test(any_leaves_may_be_empty),
        cmocka_unit_test(uniform_lengths_make_one_flat_leaf_of_each_width),
        cmocka_unit_test(a_block_of_one_symbol_costs_its_counts_only),
        cmocka_unit_test(a_block_has_the_bytes_of_the_specification),
        cmocka_unit_test(the_example_of_the_specification_has_its_bytes),
        cmocka_unit_test(a_symbol_without_a_code_is_not_encoded),
        cmocka_unit_test(blocks_that_no_encoder_writes_are_refused),
        cmocka_unit_test(counts_in_other_than_the_shortest_form_are_refused),
        cmocka_unit_test(sizes_of_zero_and_beyond_a_block_are_refused),
        cmocka_unit_test(every_flipped_bit_and_every_truncation_is_safe),
        cmocka_unit_test(lengths_that_make_no_complete_code_are_refused),
    };
    return cmocka_run_group_tests(tests, create_scratches, free_scratches);
}
