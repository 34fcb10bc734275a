/* Blocks whose root has a codebook of its own: smaller where nearly all symbols go one way, never larger by
 * more than nothing, and refused where no encoder writes them. */
#include "codec/pivot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/histogram.h"
#include "codec/pivot_kernels.h"
#include "random.h"

#define SIZE 65536

/* Symbol 7 with this many chances in 256, else one of 32. */
static void fill_skewed(uint8_t *symbols, size_t size, unsigned chances, struct random *random)
{
    for (size_t i = 0; i < size; i++)
        symbols[i] = random_below(random, 256) < chances ? 7 : (uint8_t)random_below(random, 32);
}

struct codes {
    uint8_t lengths[ENTRO_N_SYMBOLS];
    uint8_t root_lengths[ENTRO_N_SYMBOLS];
    bool has_root;
    struct entro_pivot *plain;
    struct entro_pivot *with_root; /* NULL without */
};

static struct codes codes_of(const uint8_t *symbols, size_t size)
{
    struct codes codes = {.with_root = NULL};
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    entro_histogram(symbols, size, counts);
    assert_true(entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, codes.lengths));
    codes.has_root = entro_pivot_root_lengths(codes.lengths, counts, symbols, size, codes.root_lengths);
    assert_int_equal(entro_pivot_create(&codes.plain, codes.lengths), ENTRO_OK);
    if (codes.has_root)
        assert_int_equal(entro_pivot_create_with_root(&codes.with_root, codes.lengths, codes.root_lengths),
                         ENTRO_OK);
    return codes;
}

static void free_codes(struct codes *codes)
{
    entro_pivot_free(codes->plain);
    entro_pivot_free(codes->with_root);
}

static enum entro_error decode(const struct entro_pivot *pivot, const uint8_t *coded, size_t coded_bytes,
                               uint8_t *symbols, size_t size, struct entro_pivot_scratch *scratch)
{
    uint8_t *stored = malloc(coded_bytes + ENTRO_READ_SLOP_BYTES);
    assert_non_null(stored);
    memcpy(stored, coded, coded_bytes);
    memset(stored + coded_bytes, 0xa5, ENTRO_READ_SLOP_BYTES);
    enum entro_error error = entro_pivot_decode(pivot, stored, coded_bytes, symbols, size, scratch);
    free(stored);
    return error;
}

static void skewed_blocks_round_trip_below_a_bit_a_symbol(void **state)
{
    (void)state;
    static uint8_t symbols[SIZE], first[SIZE], coded[SIZE], decoded[SIZE];
    struct random random = random_from(71);
    for (unsigned chances = 256 - 64; chances < 256; chances += 9) {
        fill_skewed(symbols, SIZE, chances, &random);
        struct codes codes = codes_of(symbols, SIZE);
        assert_true(codes.has_root);
        size_t first_bytes = 0;
        const struct entro_pivot_kernels *kernels;
        for (unsigned i = 0; (kernels = entro_pivot_kernels_at(i)) != NULL; i++) {
            struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(kernels);
            assert_non_null(scratch);
            for (size_t size = SIZE; size > 0; size /= 3) {
                size_t n = entro_pivot_encode(codes.with_root, symbols, size, coded, sizeof coded, scratch);
                assert_true(n > 0);
                assert_int_equal(decode(codes.with_root, coded, n, decoded, size, scratch), ENTRO_OK);
                assert_memory_equal(decoded, symbols, size);
                if (size < SIZE)
                    continue;
                assert_true(n < entro_pivot_encode(codes.plain, symbols, size, decoded, SIZE, scratch));
                if (chances > 240)
                    assert_true(8 * n < SIZE);
                if (i == 0) {
                    memcpy(first, coded, n);
                    first_bytes = n;
                }
                assert_int_equal(n, first_bytes);
                assert_memory_equal(coded, first, n);
                /* The capacity is exact. */
                assert_int_equal(entro_pivot_encode(codes.with_root, symbols, size, coded, n, scratch), n);
                assert_memory_equal(coded, first, n);
                assert_int_equal(entro_pivot_encode(codes.with_root, symbols, size, coded, n - 1, scratch),
                                 0);
            }
            entro_pivot_scratch_free(scratch);
        }
        free_codes(&codes);
    }
}

static void the_estimate_of_a_root_is_what_blocks_come_to(void **state)
{
    (void)state;
    static uint8_t symbols[SIZE], coded[SIZE];
    struct random random = random_from(73);
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    assert_non_null(scratch);
    for (unsigned chances = 0; chances < 256; chances += 15) {
        fill_skewed(symbols, SIZE, chances, &random);
        struct codes codes = codes_of(symbols, SIZE);
        uint64_t counts[ENTRO_N_SYMBOLS] = {0};
        entro_histogram(symbols, SIZE, counts);
        double first_bit = entro_pivot_root_bits(codes.lengths, counts), bits = 0;
        for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
            if (counts[symbol] > 0)
                bits += (double)counts[symbol] * (first_bit + codes.lengths[symbol] - 1);
        size_t n = entro_pivot_encode(codes.has_root ? codes.with_root : codes.plain, symbols, SIZE, coded,
                                      sizeof coded, scratch);
        /* Leaves' counts come on top. And a codebook that is judged by one block is refused where one for a
         * plane would just pay. */
        if ((double)n < 0.99 * bits / 8 || (double)n > 1.015 * bits / 8 + 64)
            fail_msg("%u chances: %zu bytes, estimated %.0f", chances, n, bits / 8);
        free_codes(&codes);
    }
    entro_pivot_scratch_free(scratch);
}

static void a_root_that_its_codebook_does_not_shorten_is_stored_as_it_is(void **state)
{
    (void)state;
    static uint8_t symbols[SIZE], other[SIZE], plain[SIZE], coded[SIZE], decoded[SIZE];
    struct random random = random_from(72);
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    fill_skewed(symbols, SIZE, 240, &random);
    fill_skewed(other, SIZE, 128, &random);
    struct codes codes = codes_of(symbols, SIZE);
    size_t n = entro_pivot_encode(codes.with_root, other, SIZE, coded, sizeof coded, scratch);
    assert_int_equal(n, entro_pivot_encode(codes.plain, other, SIZE, plain, sizeof plain, scratch));
    assert_memory_equal(coded, plain, n);
    assert_int_equal(decode(codes.with_root, coded, n, decoded, SIZE, scratch), ENTRO_OK);
    assert_memory_equal(decoded, other, SIZE);
    free_codes(&codes);
    entro_pivot_scratch_free(scratch);
}

/*
 * A root's block that only just pays: when the encoder comes to a node all of whose symbols go one way, fewer
 * bytes are left than that node's bits would take.
 */
static void a_coded_root_that_is_hardly_shorter_round_trips(void **state)
{
    (void)state;
    enum { N_BYTES = SIZE / 8 };
    static uint8_t symbols[SIZE], coded[SIZE], decoded[SIZE];
    /* Symbol 0 left, 1 and 2 right: the root's bitmap is any bytes. Of these, 0 goes left twice, and 201 to
     * 212 are a chain far to the right. */
    static const uint8_t lengths[ENTRO_N_SYMBOLS] = {1, 2, 2};
    uint8_t root_lengths[ENTRO_N_SYMBOLS] = {[0] = 2, [201] = 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15};
    static const struct {
        unsigned n, length;
    } flat[] = {{8, 5}, {16, 6}, {32, 8}, {64, 10}};
    static const uint8_t once[] = {9, 25, 57, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210};
    for (unsigned i = 0, symbol = 1; i < sizeof flat / sizeof flat[0]; symbol += flat[i++].n)
        memset(root_lengths + symbol, (int)flat[i].length, flat[i].n);
    struct entro_pivot *pivot;
    struct random random = random_from(76);
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    assert_int_equal(entro_pivot_create_with_root(&pivot, lengths, root_lengths), ENTRO_OK);
    unsigned n_coded = 0;
    for (unsigned n_deep = N_BYTES * 40 / 100; n_deep < N_BYTES / 2; n_deep += 7) {
        uint8_t bitmap[N_BYTES] = {0};
        for (unsigned i = 0; i < n_deep; i++) /* no node on the right has all of its symbols on one side */
            bitmap[2 * i] = i < sizeof once ? once[i] : (uint8_t)(211 + random_below(&random, 2));
        size_t n_ones = 0;
        for (size_t i = 0; i < SIZE; i++) {
            symbols[i] = bitmap[i / 8] >> i % 8 & 1;
            n_ones += symbols[i];
        }
        size_t n = entro_pivot_encode(pivot, symbols, SIZE, coded, sizeof coded, scratch);
        n_coded += n < N_BYTES + (n_ones + 7) / 8;
        assert_int_equal(decode(pivot, coded, n, decoded, SIZE, scratch), ENTRO_OK);
        assert_memory_equal(decoded, symbols, SIZE);
    }
    assert_true(n_coded > 0);
    entro_pivot_free(pivot);
    entro_pivot_scratch_free(scratch);
}

static void the_coded_root_of_the_specification_is_encoded_and_decoded(void **state)
{
    (void)state;
    static const uint8_t lengths[ENTRO_N_SYMBOLS] = {['a'] = 1, ['b'] = 2, ['c'] = 2};
    static const uint8_t root_lengths[ENTRO_N_SYMBOLS] = {1, 1};
    static const uint8_t stored[] = {0x3f, 0x01, 0x00, 0x08, 0x04};
    static const uint8_t plain[] = {0x3f, 0x01, 0x00, 0, 0, 1, 0, 0, 0, 0, 0};
    static const uint8_t too_many_ones[] = {0x3f, 0x01, 0x00, 0x08, 0x06};
    uint8_t symbols[64], coded[64], decoded[64];
    struct entro_pivot *pivot;
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    memset(symbols, 'a', sizeof symbols);
    symbols[16] = 'b';
    assert_int_equal(entro_pivot_create_with_root(&pivot, lengths, root_lengths), ENTRO_OK);
    assert_int_equal(entro_pivot_encode(pivot, symbols, 64, coded, sizeof coded, scratch), sizeof stored);
    assert_memory_equal(coded, stored, sizeof stored);
    assert_int_equal(decode(pivot, stored, sizeof stored, decoded, 64, scratch), ENTRO_OK);
    assert_memory_equal(decoded, symbols, 64);
    assert_int_equal(decode(pivot, plain, sizeof plain, decoded, 64, scratch), ENTRO_OK);
    assert_memory_equal(decoded, symbols, 64);
    assert_int_equal(decode(pivot, too_many_ones, sizeof too_many_ones, decoded, 64, scratch),
                     ENTRO_ERROR_FORMAT);
    entro_pivot_free(pivot);
    entro_pivot_scratch_free(scratch);
}

/* What is decoded is a record: the bits behind its last symbol are 0 in either form. */
static void unused_bits_of_a_root_are_refused(void **state)
{
    (void)state;
    static const uint8_t lengths[ENTRO_N_SYMBOLS] = {['a'] = 1, ['b'] = 2, ['c'] = 2};
    uint8_t root_lengths[ENTRO_N_SYMBOLS] = {[0x00] = 1, [0x81] = 2, [0x01] = 2};
    /* Three bytes, 20 symbols: 0x80 in the last byte sets a bit that is no symbol's. */
    static const uint8_t plain[] = {19, 1, 0x00, 0x01, 0, 0}, plain_bad[] = {19, 1, 0x00, 0x01, 0, 0x80};
    uint8_t decoded[40];
    struct entro_pivot *pivot;
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    assert_int_equal(entro_pivot_create_with_root(&pivot, lengths, root_lengths), ENTRO_OK);
    assert_int_equal(decode(pivot, plain, sizeof plain, decoded, 20, scratch), ENTRO_OK);
    assert_int_equal(decode(pivot, plain_bad, sizeof plain_bad, decoded, 20, scratch), ENTRO_ERROR_FORMAT);
    /* 36 symbols, five bytes of which four are 00: counts 4 and 1, the numbers within {01, 81}, and which
     * byte is one of them: the last, or the first. */
    static const uint8_t coded_bad[] = {35, 1, 0x00, 4, 1, 0x01, 0x10};
    static const uint8_t coded[] = {35, 1, 0x00, 4, 1, 0x00, 0x01};
    assert_int_equal(decode(pivot, coded, sizeof coded, decoded, 36, scratch), ENTRO_OK);
    assert_int_equal(decoded[0], 'b');
    assert_int_equal(decode(pivot, coded_bad, sizeof coded_bad, decoded, 36, scratch), ENTRO_ERROR_FORMAT);
    entro_pivot_free(pivot);
    entro_pivot_scratch_free(scratch);
}

static void blocks_without_a_root_need_no_codebook_for_it(void **state)
{
    (void)state;
    static uint8_t symbols[SIZE], coded[SIZE], decoded[SIZE];
    struct random random = random_from(73);
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    fill_skewed(symbols, SIZE, 240, &random);
    struct codes codes = codes_of(symbols, SIZE);
    for (uint8_t symbol = 7; symbol < 9; symbol++) {
        memset(symbols, symbol, SIZE);
        size_t n = entro_pivot_encode(codes.with_root, symbols, SIZE, coded, sizeof coded, scratch);
        assert_in_range(n, 1, SIZE - 1);
        assert_int_equal(decode(codes.with_root, coded, n, decoded, SIZE, scratch), ENTRO_OK);
        assert_memory_equal(decoded, symbols, SIZE);
    }
    free_codes(&codes);
    entro_pivot_scratch_free(scratch);
}

static void damaged_roots_are_refused_or_decoded_within_their_bounds(void **state)
{
    (void)state;
    enum { SMALL = 3000 };
    static uint8_t symbols[SIZE];
    uint8_t coded[2 * SMALL], bad[2 * SMALL], *decoded = malloc(SMALL);
    struct random random = random_from(74);
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    assert_non_null(decoded);
    fill_skewed(symbols, SIZE, 243, &random);
    struct codes codes = codes_of(symbols, SIZE);
    size_t n = entro_pivot_encode(codes.with_root, symbols, SMALL, coded, sizeof coded, scratch);
    unsigned n_refused = 0;
    for (size_t i = 0; i < 8 * n; i++) {
        memcpy(bad, coded, n);
        bad[i / 8] ^= (uint8_t)(1 << i % 8);
        n_refused += decode(codes.with_root, bad, n, decoded, SMALL, scratch) != ENTRO_OK;
    }
    assert_true(n_refused > n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(decode(codes.with_root, coded, i, decoded, SMALL, scratch), ENTRO_ERROR_FORMAT);
    memcpy(bad, coded, n);
    bad[n] = 0;
    assert_int_equal(decode(codes.with_root, bad, n + 1, decoded, SMALL, scratch), ENTRO_ERROR_FORMAT);
    /* Without the codebook, the root's record is too short. */
    assert_int_equal(decode(codes.plain, coded, n, decoded, SMALL, scratch), ENTRO_ERROR_FORMAT);
    free_codes(&codes);
    entro_pivot_scratch_free(scratch);
    free(decoded);
}

static void a_root_of_even_bits_gets_no_codebook(void **state)
{
    (void)state;
    static uint8_t symbols[SIZE];
    struct random random = random_from(75);
    for (size_t i = 0; i < SIZE; i++)
        symbols[i] = (uint8_t)random_below(&random, 64);
    struct codes codes = codes_of(symbols, SIZE);
    assert_false(codes.has_root);
    free_codes(&codes);
    /* Nor does a plane that is too small to pay for it. */
    fill_skewed(symbols, 256, 240, &random);
    codes = codes_of(symbols, 256);
    assert_false(codes.has_root);
    free_codes(&codes);
}

static void a_tree_that_is_one_leaf_takes_no_codebook_for_its_root(void **state)
{
    (void)state;
    uint8_t lengths[ENTRO_N_SYMBOLS], skewed[ENTRO_N_SYMBOLS] = {1, 2, 2}, none[ENTRO_N_SYMBOLS] = {0};
    struct entro_pivot *pivot;
    memset(lengths, 8, sizeof lengths);
    assert_int_equal(entro_pivot_create_with_root(&pivot, lengths, skewed), ENTRO_ERROR_FORMAT);
    assert_null(pivot);
    assert_int_equal(entro_pivot_create_with_root(&pivot, skewed, none), ENTRO_ERROR_FORMAT);
    assert_null(pivot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(skewed_blocks_round_trip_below_a_bit_a_symbol),
        cmocka_unit_test(the_estimate_of_a_root_is_what_blocks_come_to),
        cmocka_unit_test(a_root_that_its_codebook_does_not_shorten_is_stored_as_it_is),
        cmocka_unit_test(a_coded_root_that_is_hardly_shorter_round_trips),
        cmocka_unit_test(the_coded_root_of_the_specification_is_encoded_and_decoded),
        cmocka_unit_test(unused_bits_of_a_root_are_refused),
        cmocka_unit_test(blocks_without_a_root_need_no_codebook_for_it),
        cmocka_unit_test(damaged_roots_are_refused_or_decoded_within_their_bounds),
        cmocka_unit_test(a_root_of_even_bits_gets_no_codebook),
        cmocka_unit_test(a_tree_that_is_one_leaf_takes_no_codebook_for_its_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
