/* A range of a block, decoded alone, is what the whole block has there; of damaged blocks it is an error or
 * bytes within the bounds. By all kernels. */
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

#define SIZE ENTRO_BLOCK_MAX_BYTES

/* How symbols are chosen. */
enum shape {
    UNIFORM,      /* of 256: one flat leaf */
    TWO,          /* symbols: constants on both sides */
    GAUSSIAN,     /* leaves of all widths */
    SKEWED,       /* one symbol nearly always: a root with a codebook pays */
    GEOMETRIC,    /* a deep tree, with constants */
    STARTS_ALIKE, /* gaussian behind a run of one symbol: empty ranges */
    N_SHAPES
};

static uint8_t draw(enum shape shape, size_t i, struct random *random)
{
    uint8_t symbol = 0;
    switch (shape) {
    case UNIFORM:
        return (uint8_t)random_next(random);
    case TWO:
        return random_below(random, 5) == 0 ? 200 : 100;
    case SKEWED:
        return random_below(random, 40) > 0 ? 7 : (uint8_t)random_below(random, 100);
    case GEOMETRIC:
        while (symbol < 14 && random_below(random, 2) == 0)
            symbol++;
        return symbol;
    case STARTS_ALIKE:
        if (i < 30000)
            return 128;
        break;
    default:
        break;
    }
    return (uint8_t)(int)(128.5 + 11 * random_normal(random));
}

struct codes {
    struct entro_pivot *plain;
    struct entro_pivot *with_root; /* NULL without */
};

static struct codes codes_of(const uint8_t *symbols, size_t size)
{
    struct codes codes = {.with_root = NULL};
    uint8_t lengths[ENTRO_N_SYMBOLS], root_lengths[ENTRO_N_SYMBOLS];
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    entro_histogram(symbols, size, counts);
    assert_true(entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, lengths));
    assert_int_equal(entro_pivot_create(&codes.plain, lengths), ENTRO_OK);
    if (entro_pivot_root_lengths(lengths, counts, symbols, size, root_lengths))
        assert_int_equal(entro_pivot_create_with_root(&codes.with_root, lengths, root_lengths), ENTRO_OK);
    return codes;
}

static void free_codes(struct codes *codes)
{
    entro_pivot_free(codes->plain);
    entro_pivot_free(codes->with_root);
}

/* A coded block in a heap block of its own, with noise for slop. */
struct coded {
    uint8_t *bytes;
    size_t n_bytes;
};

static struct coded encode(const struct entro_pivot *pivot, const uint8_t *symbols, size_t size,
                           struct entro_pivot_scratch *scratch)
{
    static uint8_t room[2 * SIZE + 1024];
    struct coded coded = {.n_bytes = entro_pivot_encode(pivot, symbols, size, room, sizeof room, scratch)};
    assert_true(coded.n_bytes > 0);
    coded.bytes = malloc(coded.n_bytes + ENTRO_READ_SLOP_BYTES);
    assert_non_null(coded.bytes);
    memcpy(coded.bytes, room, coded.n_bytes);
    memset(coded.bytes + coded.n_bytes, 0xa5, ENTRO_READ_SLOP_BYTES);
    return coded;
}

static void assert_range(const struct entro_pivot *pivot, struct coded coded, const uint8_t *symbols,
                         size_t size, size_t first, size_t n, struct entro_pivot_scratch *scratch)
{
    uint8_t *target = malloc(n > 0 ? n : 1); /* exact: the sanitizer sees a byte too far */
    assert_non_null(target);
    memset(target, 0xee, n > 0 ? n : 1);
    assert_int_equal(
        entro_pivot_decode_range(pivot, coded.bytes, coded.n_bytes, size, first, n, target, scratch),
        ENTRO_OK);
    if (n == 0)
        assert_int_equal(target[0], 0xee);
    else
        assert_memory_equal(target, symbols + first, n);
    free(target);
}

static void assert_ranges(const struct entro_pivot *pivot, const uint8_t *symbols, size_t size,
                          unsigned n_ranges, struct random *random)
{
    const struct entro_pivot_kernels *kernels;
    for (unsigned v = 0; (kernels = entro_pivot_kernels_at(v)) != NULL; v++) {
        struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(kernels);
        assert_non_null(scratch);
        struct coded coded = encode(pivot, symbols, size, scratch);
        assert_range(pivot, coded, symbols, size, 0, size, scratch);
        assert_range(pivot, coded, symbols, size, size, 0, scratch);
        assert_range(pivot, coded, symbols, size, size - 1, 1, scratch);
        assert_range(pivot, coded, symbols, size, 0, 1, scratch);
        for (unsigned i = 0; i < n_ranges; i++) {
            uint32_t first = random_below(random, (uint32_t)size);
            uint32_t longest = (uint32_t)size - first;
            if (i % 2 == 0 && longest > 300)
                longest = 300;
            assert_range(pivot, coded, symbols, size, first, random_below(random, longest + 1), scratch);
        }
        free(coded.bytes);
        entro_pivot_scratch_free(scratch);
    }
}

static void ranges_of_blocks_of_all_shapes_are_those_of_the_whole(void **state)
{
    (void)state;
    static uint8_t symbols[SIZE];
    struct random random = random_from(81);
    unsigned n_roots = 0;
    for (enum shape shape = 0; shape < N_SHAPES; shape++) {
        for (size_t i = 0; i < SIZE; i++)
            symbols[i] = draw(shape, i, &random);
        struct codes codes = codes_of(symbols, SIZE);
        for (size_t size = SIZE; size > 0; size = size * 2 / 5) {
            size_t from = shape == STARTS_ALIKE ? 30000 - 30000 * size / SIZE : 0;
            assert_ranges(codes.plain, symbols + from, size, 30, &random);
            if (codes.with_root != NULL)
                assert_ranges(codes.with_root, symbols + from, size, 30, &random);
        }
        n_roots += codes.with_root != NULL;
        free_codes(&codes);
    }
    assert_true(n_roots > 0);
}

static void every_range_of_a_small_block_is_that_of_the_whole(void **state)
{
    (void)state;
    enum { SMALL = 45 };
    uint8_t symbols[SMALL];
    struct random random = random_from(82);
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    assert_non_null(scratch);
    for (enum shape shape = 0; shape < N_SHAPES; shape++) {
        for (size_t i = 0; i < SMALL; i++)
            symbols[i] = draw(shape, shape == STARTS_ALIKE ? 30000 + i : i, &random);
        symbols[0] = (uint8_t)(symbols[1] + 1); /* two at least */
        struct codes codes = codes_of(symbols, SMALL);
        struct coded coded = encode(codes.plain, symbols, SMALL, scratch);
        for (size_t first = 0; first <= SMALL; first++)
            for (size_t n = 0; n <= SMALL - first; n++)
                assert_range(codes.plain, coded, symbols, SMALL, first, n, scratch);
        free(coded.bytes);
        free_codes(&codes);
    }
    entro_pivot_scratch_free(scratch);
}

/* Few of the leaves have symbols, or one has all. */
static void ranges_of_blocks_with_empty_leaves_are_those_of_the_whole(void **state)
{
    (void)state;
    static uint8_t symbols[SIZE], few[SIZE];
    struct random random = random_from(83);
    for (enum shape shape = 0; shape < N_SHAPES; shape++) {
        for (size_t i = 0; i < SIZE; i++)
            symbols[i] = draw(shape, i, &random);
        struct codes codes = codes_of(symbols, SIZE);
        const struct entro_pivot *pivot = codes.with_root != NULL ? codes.with_root : codes.plain;
        for (unsigned n_kinds = 1; n_kinds <= 4; n_kinds++) {
            uint8_t kinds[4];
            for (unsigned k = 0; k < n_kinds; k++)
                kinds[k] = symbols[random_below(&random, SIZE)];
            for (size_t i = 0; i < SIZE; i++)
                few[i] = kinds[random_below(&random, n_kinds)];
            assert_ranges(pivot, few, SIZE, 10, &random);
            assert_ranges(pivot, few, 1 + random_below(&random, 5000), 10, &random);
        }
        free_codes(&codes);
    }
}

static void a_range_beyond_the_block_is_refused(void **state)
{
    (void)state;
    uint8_t symbols[100], target[100];
    for (unsigned i = 0; i < sizeof symbols; i++)
        symbols[i] = (uint8_t)(i % 7);
    struct codes codes = codes_of(symbols, sizeof symbols);
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    struct coded coded = encode(codes.plain, symbols, sizeof symbols, scratch);
    static const struct {
        size_t first, n;
    } bad[] = {{101, 0}, {100, 1}, {0, 101}, {50, 51}, {1, SIZE_MAX}, {SIZE_MAX, 2}, {SIZE_MAX, SIZE_MAX}};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(entro_pivot_decode_range(codes.plain, coded.bytes, coded.n_bytes, sizeof symbols,
                                                  bad[i].first, bad[i].n, target, scratch),
                         ENTRO_ERROR_ARGUMENT);
    assert_int_equal(entro_pivot_decode_range(codes.plain, coded.bytes, coded.n_bytes, sizeof symbols + 1, 0,
                                              1, target, scratch),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(
        entro_pivot_decode_range(codes.plain, coded.bytes, coded.n_bytes, 0, 0, 0, target, scratch),
        ENTRO_ERROR_FORMAT);
    assert_int_equal(
        entro_pivot_decode_range(codes.plain, coded.bytes, coded.n_bytes, SIZE + 1, 0, 1, target, scratch),
        ENTRO_ERROR_FORMAT);
    free(coded.bytes);
    free_codes(&codes);
    entro_pivot_scratch_free(scratch);
}

static void truncated_blocks_are_refused_whatever_the_range(void **state)
{
    (void)state;
    enum { SMALL = 2000 };
    static uint8_t symbols[SIZE];
    uint8_t target[SMALL];
    struct random random = random_from(84);
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    for (size_t i = 0; i < SIZE; i++)
        symbols[i] = draw(GAUSSIAN, i, &random);
    struct codes codes = codes_of(symbols, SIZE);
    struct coded coded = encode(codes.plain, symbols, SMALL, scratch);
    for (size_t n_bytes = 0; n_bytes < coded.n_bytes; n_bytes++)
        assert_int_equal(entro_pivot_decode_range(codes.plain, coded.bytes, n_bytes, SMALL,
                                                  random_below(&random, SMALL), 1, target, scratch),
                         ENTRO_ERROR_FORMAT);
    assert_int_equal(
        entro_pivot_decode_range(codes.plain, coded.bytes, coded.n_bytes + 1, SMALL, 5, 1, target, scratch),
        ENTRO_ERROR_FORMAT);
    free(coded.bytes);
    free_codes(&codes);
    entro_pivot_scratch_free(scratch);
}

/* All kernels agree on damaged blocks too; whoever finds nothing wrong with the whole has the same range. */
static void damaged_blocks_give_an_error_or_the_same_bytes_by_all_kernels(void **state)
{
    (void)state;
    enum { SMALL = 3000 };
    static uint8_t symbols[SIZE], whole[SMALL], expected[SMALL];
    struct random random = random_from(85);
    unsigned n_refused = 0, n_decoded = 0;
    for (enum shape shape = 0; shape < N_SHAPES; shape++) {
        for (size_t i = 0; i < SIZE; i++)
            symbols[i] = draw(shape, i, &random);
        struct codes codes = codes_of(symbols, SIZE);
        const struct entro_pivot *pivot = codes.with_root != NULL ? codes.with_root : codes.plain;
        struct entro_pivot_scratch *scratches[8];
        const struct entro_pivot_kernels *kernels;
        unsigned n_variants = 0;
        while ((kernels = entro_pivot_kernels_at(n_variants)) != NULL) {
            scratches[n_variants] = entro_pivot_scratch_create(kernels);
            assert_non_null(scratches[n_variants++]);
        }
        struct coded coded = encode(pivot, symbols, SMALL, scratches[0]);
        for (unsigned round = 0; round < 400; round++) {
            size_t at = random_below(&random, (uint32_t)coded.n_bytes);
            uint8_t was = coded.bytes[at];
            coded.bytes[at] ^= (uint8_t)(1 << random_below(&random, 8));
            size_t first = random_below(&random, SMALL), n = random_below(&random, SMALL - (uint32_t)first);
            bool is_good =
                entro_pivot_decode(pivot, coded.bytes, coded.n_bytes, whole, SMALL, scratches[0]) == ENTRO_OK;
            bool is_decoded = false;
            for (unsigned v = 0; v < n_variants; v++) {
                uint8_t *target = malloc(n > 0 ? n : 1);
                assert_non_null(target);
                bool decoded = entro_pivot_decode_range(pivot, coded.bytes, coded.n_bytes, SMALL, first, n,
                                                        target, scratches[v]) == ENTRO_OK;
                if (v == 0) {
                    is_decoded = decoded;
                    if (decoded)
                        memcpy(expected, target, n);
                }
                assert_int_equal(decoded, is_decoded);
                if (is_good)
                    assert_true(decoded && memcmp(target, whole + first, n) == 0);
                if (decoded)
                    assert_memory_equal(target, expected, n);
                free(target);
            }
            n_refused += !is_decoded;
            n_decoded += is_decoded;
            coded.bytes[at] = was;
        }
        for (unsigned v = 0; v < n_variants; v++)
            entro_pivot_scratch_free(scratches[v]);
        free(coded.bytes);
        free_codes(&codes);
    }
    assert_true(n_refused > 0 && n_decoded > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_of_blocks_of_all_shapes_are_those_of_the_whole),
        cmocka_unit_test(every_range_of_a_small_block_is_that_of_the_whole),
        cmocka_unit_test(ranges_of_blocks_with_empty_leaves_are_those_of_the_whole),
        cmocka_unit_test(a_range_beyond_the_block_is_refused),
        cmocka_unit_test(truncated_blocks_are_refused_whatever_the_range),
        cmocka_unit_test(damaged_blocks_give_an_error_or_the_same_bytes_by_all_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
