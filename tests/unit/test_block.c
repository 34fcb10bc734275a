/* Blocks: the method chosen is the cheapest, and what was stored is checked before it is decoded. */
#include "codec/block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "random.h"

#define SIZE 5000

struct fixture {
    struct entro_pivot *pivot;
    struct entro_pivot_scratch *scratch;
    uint8_t bytes[SIZE]; /* skewed */
    uint8_t *stored;     /* SIZE bytes and the slop */
    uint8_t *decoded;    /* SIZE bytes exactly */
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    if (fixture == NULL)
        return -1;
    *state = fixture;
    struct random random = random_from(11);
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    for (size_t i = 0; i < SIZE; i++) {
        fixture->bytes[i] = (uint8_t)(int)(128.5 + 5 * random_normal(&random));
        counts[fixture->bytes[i]]++;
    }
    uint8_t lengths[ENTRO_N_SYMBOLS];
    fixture->scratch = entro_pivot_scratch_create(NULL);
    fixture->stored = malloc(SIZE + ENTRO_READ_SLOP_BYTES);
    fixture->decoded = malloc(SIZE);
    if (!entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, lengths) ||
        entro_pivot_create(&fixture->pivot, lengths) != ENTRO_OK || fixture->scratch == NULL ||
        fixture->stored == NULL || fixture->decoded == NULL)
        return -1;
    memset(fixture->stored, 0xee, SIZE + ENTRO_READ_SLOP_BYTES);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    entro_pivot_free(fixture->pivot);
    entro_pivot_scratch_free(fixture->scratch);
    free(fixture->stored);
    free(fixture->decoded);
    free(fixture);
    return 0;
}

static struct entro_block encode(struct fixture *fixture, bool with_pivot, const uint8_t *bytes, size_t size)
{
    return entro_block_encode(with_pivot ? fixture->pivot : NULL, bytes, size, fixture->stored,
                              fixture->scratch);
}

static enum entro_error decode(struct fixture *fixture, bool with_pivot, struct entro_block block,
                               size_t size)
{
    return entro_block_decode(with_pivot ? fixture->pivot : NULL, block, fixture->stored, fixture->decoded,
                              size, fixture->scratch);
}

static void skewed_bytes_are_coded(void **state)
{
    struct fixture *fixture = *state;
    struct entro_block block = encode(fixture, true, fixture->bytes, SIZE);
    assert_int_equal(block.method, ENTRO_METHOD_CODED);
    assert_true(block.stored_bytes < SIZE * 6 / 8);
    assert_true(block.xxh3_64 == XXH3_64bits(fixture->stored, block.stored_bytes));
    assert_int_equal(decode(fixture, true, block, SIZE), ENTRO_OK);
    assert_memory_equal(fixture->decoded, fixture->bytes, SIZE);
}

static void without_a_pivot_bytes_are_stored_raw(void **state)
{
    struct fixture *fixture = *state;
    struct entro_block block = encode(fixture, false, fixture->bytes, SIZE);
    assert_int_equal(block.method, ENTRO_METHOD_RAW);
    assert_int_equal(block.stored_bytes, SIZE);
    assert_memory_equal(fixture->stored, fixture->bytes, SIZE);
    assert_int_equal(decode(fixture, false, block, SIZE), ENTRO_OK);
    assert_memory_equal(fixture->decoded, fixture->bytes, SIZE);
}

static void bytes_that_do_not_code_shorter_are_stored_raw(void **state)
{
    struct fixture *fixture = *state;
    uint8_t uniform[SIZE];
    uint64_t counts[ENTRO_N_SYMBOLS];
    for (size_t i = 0; i < SIZE; i++)
        uniform[i] = (uint8_t)(i * 7);
    uint8_t lengths[ENTRO_N_SYMBOLS];
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
        counts[symbol] = 1;
    assert_true(entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, lengths));
    struct entro_pivot *pivot = NULL;
    assert_int_equal(entro_pivot_create(&pivot, lengths), ENTRO_OK);
    struct entro_block block = entro_block_encode(pivot, uniform, SIZE, fixture->stored, fixture->scratch);
    entro_pivot_free(pivot);
    assert_int_equal(block.method, ENTRO_METHOD_RAW);
    assert_memory_equal(fixture->stored, uniform, SIZE);
}

static void a_symbol_that_the_codebook_lacks_is_stored_raw(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[SIZE];
    memcpy(bytes, fixture->bytes, SIZE);
    bytes[SIZE - 1] = 3;
    struct entro_block block = encode(fixture, true, bytes, SIZE);
    assert_int_equal(block.method, ENTRO_METHOD_RAW);
    assert_int_equal(decode(fixture, true, block, SIZE), ENTRO_OK);
    assert_memory_equal(fixture->decoded, bytes, SIZE);
}

static void equal_bytes_are_stored_as_one(void **state)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {1, 2, 17, SIZE};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t bytes[SIZE];
        memset(bytes, 200, SIZE);
        struct entro_block block = encode(fixture, i % 2 == 0, bytes, sizes[i]);
        assert_int_equal(block.method, ENTRO_METHOD_CONSTANT);
        assert_int_equal(block.stored_bytes, 1);
        assert_int_equal(decode(fixture, false, block, sizes[i]), ENTRO_OK);
        assert_memory_equal(fixture->decoded, bytes, sizes[i]);
    }
}

static void small_blocks_never_grow(void **state)
{
    struct fixture *fixture = *state;
    for (size_t size = 1; size <= 70; size++) {
        struct entro_block block = encode(fixture, true, fixture->bytes + size, size);
        assert_true(block.stored_bytes <= size);
        assert_true(block.method != ENTRO_METHOD_CODED || block.stored_bytes < size);
        assert_int_equal(decode(fixture, true, block, size), ENTRO_OK);
        assert_memory_equal(fixture->decoded, fixture->bytes + size, size);
    }
}

static void assert_range(struct fixture *fixture, bool with_pivot, struct entro_block block,
                         const uint8_t *bytes, size_t first, size_t n)
{
    memset(fixture->decoded, 0xee, SIZE);
    assert_int_equal(entro_block_decode_range(with_pivot ? fixture->pivot : NULL, block, fixture->stored,
                                              SIZE, first, n, fixture->decoded, fixture->scratch),
                     ENTRO_OK);
    assert_memory_equal(fixture->decoded, bytes + first, n);
    for (size_t i = n; i < SIZE; i++)
        assert_int_equal(fixture->decoded[i], 0xee);
}

static void ranges_of_blocks_of_all_methods_are_those_of_the_whole(void **state)
{
    struct fixture *fixture = *state;
    uint8_t equal[SIZE];
    memset(equal, 200, SIZE);
    static const struct {
        size_t first, n;
    } ranges[] = {{0, SIZE}, {0, 1}, {SIZE - 1, 1}, {SIZE, 0}, {8, 100}, {1234, 567}, {3, SIZE - 3}};
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        size_t first = ranges[i].first, n = ranges[i].n;
        struct entro_block block = encode(fixture, true, fixture->bytes, SIZE);
        assert_int_equal(block.method, ENTRO_METHOD_CODED);
        assert_range(fixture, true, block, fixture->bytes, first, n);
        block = encode(fixture, false, fixture->bytes, SIZE);
        assert_int_equal(block.method, ENTRO_METHOD_RAW);
        assert_range(fixture, false, block, fixture->bytes, first, n);
        block = encode(fixture, false, equal, SIZE);
        assert_int_equal(block.method, ENTRO_METHOD_CONSTANT);
        assert_range(fixture, false, block, equal, first, n);
    }
}

static void ranges_of_damaged_blocks_are_refused_wherever_the_damage_is(void **state)
{
    struct fixture *fixture = *state;
    struct entro_block block = encode(fixture, true, fixture->bytes, SIZE);
    for (size_t at = 0; at < block.stored_bytes; at += 37) {
        fixture->stored[at] ^= 16;
        assert_int_equal(entro_block_decode_range(fixture->pivot, block, fixture->stored, SIZE, 40, 1,
                                                  fixture->decoded, fixture->scratch),
                         ENTRO_ERROR_CHECKSUM);
        fixture->stored[at] ^= 16;
    }
    assert_int_equal(entro_block_decode_range(fixture->pivot, block, fixture->stored, SIZE, SIZE, 1,
                                              fixture->decoded, fixture->scratch),
                     ENTRO_ERROR_ARGUMENT);
    assert_int_equal(entro_block_decode_range(NULL, block, fixture->stored, SIZE, 0, 1, fixture->decoded,
                                              fixture->scratch),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(entro_block_decode_range(fixture->pivot, block, fixture->stored, SIZE - 1, 0, 1,
                                              fixture->decoded, fixture->scratch),
                     ENTRO_ERROR_FORMAT);
}

static void a_flipped_bit_is_a_checksum_error(void **state)
{
    struct fixture *fixture = *state;
    struct entro_block block = encode(fixture, true, fixture->bytes, SIZE);
    for (size_t bit = 0; bit < (size_t)8 * block.stored_bytes; bit += 13) {
        fixture->stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(decode(fixture, true, block, SIZE), ENTRO_ERROR_CHECKSUM);
        fixture->stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    struct entro_block wrong = block;
    wrong.xxh3_64 ^= 1;
    assert_int_equal(decode(fixture, true, wrong, SIZE), ENTRO_ERROR_CHECKSUM);
    wrong = block;
    wrong.stored_bytes--;
    assert_int_equal(decode(fixture, true, wrong, SIZE), ENTRO_ERROR_CHECKSUM);
}

static struct entro_block rehashed(const struct fixture *fixture, enum entro_method method,
                                   uint32_t stored_bytes)
{
    return (struct entro_block){.method = method,
                                .stored_bytes = stored_bytes,
                                .xxh3_64 = XXH3_64bits(fixture->stored, stored_bytes)};
}

static void sizes_that_do_not_fit_the_method_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct entro_block block = encode(fixture, true, fixture->bytes, SIZE);
    uint32_t n = block.stored_bytes;
    assert_int_equal(decode(fixture, true, rehashed(fixture, ENTRO_METHOD_CODED, n), SIZE), ENTRO_OK);
    assert_int_equal(decode(fixture, true, rehashed(fixture, ENTRO_METHOD_CODED, n), SIZE - 1),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(decode(fixture, true, rehashed(fixture, ENTRO_METHOD_CODED, n - 1), SIZE),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(decode(fixture, true, rehashed(fixture, ENTRO_METHOD_CODED, n + 1), SIZE),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(decode(fixture, true, rehashed(fixture, ENTRO_METHOD_CODED, 0), SIZE),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(decode(fixture, true, rehashed(fixture, ENTRO_METHOD_CODED, SIZE), SIZE),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(decode(fixture, false, rehashed(fixture, ENTRO_METHOD_CODED, n), SIZE),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(decode(fixture, true, rehashed(fixture, ENTRO_METHOD_RAW, SIZE - 1), SIZE),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(decode(fixture, true, rehashed(fixture, ENTRO_METHOD_RAW, 0), SIZE), ENTRO_ERROR_FORMAT);
    assert_int_equal(decode(fixture, true, rehashed(fixture, ENTRO_METHOD_CONSTANT, 0), SIZE),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(decode(fixture, true, rehashed(fixture, ENTRO_METHOD_CONSTANT, 2), SIZE),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(decode(fixture, true, rehashed(fixture, (enum entro_method)3, 1), SIZE),
                     ENTRO_ERROR_FORMAT);
}

static void a_coded_block_as_long_as_raw_is_refused(void **state)
{
    /* Two symbols of one bit each: a block of two is two counts and a byte, which an encoder would store raw.
     */
    struct fixture *fixture = *state;
    uint8_t lengths[ENTRO_N_SYMBOLS] = {[1] = 1, [2] = 2, [3] = 2};
    struct entro_pivot *pivot = NULL;
    assert_int_equal(entro_pivot_create(&pivot, lengths), ENTRO_OK);
    uint8_t symbols[3] = {1, 2, 1};
    size_t n = entro_pivot_encode(pivot, symbols, 3, fixture->stored, 100, fixture->scratch);
    assert_true(n >= 3);
    struct entro_block block = rehashed(fixture, ENTRO_METHOD_CODED, (uint32_t)n);
    assert_int_equal(entro_block_decode(pivot, block, fixture->stored, fixture->decoded, 3, fixture->scratch),
                     ENTRO_ERROR_FORMAT);
    entro_pivot_free(pivot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(skewed_bytes_are_coded, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_pivot_bytes_are_stored_raw, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_that_do_not_code_shorter_are_stored_raw, setup, teardown),
        cmocka_unit_test_setup_teardown(a_symbol_that_the_codebook_lacks_is_stored_raw, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_bytes_are_stored_as_one, setup, teardown),
        cmocka_unit_test_setup_teardown(small_blocks_never_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(ranges_of_blocks_of_all_methods_are_those_of_the_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(ranges_of_damaged_blocks_are_refused_wherever_the_damage_is, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_flipped_bit_is_a_checksum_error, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes_that_do_not_fit_the_method_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_coded_block_as_long_as_raw_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
