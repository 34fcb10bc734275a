/* The public library: what goes in comes out, frames have the bound that is promised, and damaged ones are
 * refused. */
#include "codec/entrocodec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/bytes.h"
#include "codec/checksum.h"
#include "golden.h"
#include "image_fixture.h"
#include "random.h"

static int setup(void **state)
{
    *state = entro_codec_create();
    return *state != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    entro_codec_free(*state);
    return 0;
}

static uint8_t *skewed(size_t size, double deviation)
{
    struct random random = random_from(size);
    uint8_t *bytes = malloc(size + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(int)(128.5 + deviation * random_normal(&random));
    return bytes;
}

/* The frame, in exactly its size of memory; the caller frees. */
static uint8_t *compress(struct entro_codec *codec, const struct entro_codebook *codebook,
                         const uint8_t *bytes, size_t size, size_t *frame_bytes)
{
    size_t bound = entro_compress_bound(size);
    uint8_t *target = malloc(bound);
    assert_non_null(target);
    assert_int_equal(entro_compress(codec, codebook, bytes, size, target, bound, frame_bytes),
                     ENTRO_CODEC_OK);
    assert_in_range(*frame_bytes, 32, bound);
    uint8_t *frame = realloc(target, *frame_bytes);
    assert_non_null(frame);
    return frame;
}

static void assert_comes_back(struct entro_codec *codec, const struct entro_codebook *codebook,
                              const uint8_t *bytes, size_t size)
{
    size_t frame_bytes, decoded_bytes;
    uint64_t told_bytes;
    uint8_t *frame = compress(codec, codebook, bytes, size, &frame_bytes);
    uint8_t *decoded = malloc(size > 0 ? size : 1);
    assert_non_null(decoded);
    assert_int_equal(entro_decompressed_size(frame, frame_bytes, &told_bytes), ENTRO_CODEC_OK);
    assert_int_equal(told_bytes, size);
    assert_int_equal(entro_decompress(codec, frame, frame_bytes, decoded, size, &decoded_bytes),
                     ENTRO_CODEC_OK);
    assert_int_equal(decoded_bytes, size);
    assert_memory_equal(decoded, bytes, size);
    if (size > 0)
        assert_int_equal(entro_decompress(codec, frame, frame_bytes, decoded, size - 1, &decoded_bytes),
                         ENTRO_CODEC_ARGUMENT);
    free(decoded);
    free(frame);
}

static void buffers_of_every_size_come_back(void **state)
{
    static const size_t sizes[] = {0,   1,    2,     3,     63,    64,     65,    127,
                                   255, 4095, 65535, 65536, 65537, 131072, 65600, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *bytes = skewed(sizes[i], 4);
        assert_comes_back(*state, NULL, bytes, sizes[i]);
        memset(bytes, 7, sizes[i]);
        assert_comes_back(*state, NULL, bytes, sizes[i]);
        struct random random = random_from(3);
        for (size_t k = 0; k < sizes[i]; k++)
            bytes[k] = (uint8_t)random_next(&random);
        assert_comes_back(*state, NULL, bytes, sizes[i]);
        free(bytes);
    }
}

static void skewed_bytes_shrink_to_nearly_their_entropy(void **state)
{
    size_t size = 300000, frame_bytes;
    uint8_t *bytes = skewed(size, 4); /* 4.05 bits */
    free(compress(*state, NULL, bytes, size, &frame_bytes));
    assert_in_range(frame_bytes, size * 4 / 8, size * 42 / 80);
    free(bytes);
}

/* Most bytes are alike, so that less than a bit each is enough. */
static void very_skewed_bytes_take_less_than_a_bit_each(void **state)
{
    size_t size = 1 << 20, frame_bytes;
    uint8_t *bytes = calloc(1, size);
    struct random random = random_from(9);
    assert_non_null(bytes);
    for (size_t i = 0; i < size / 50; i++)
        bytes[random_next(&random) % size] = (uint8_t)(random_next(&random) % 4);
    free(compress(*state, NULL, bytes, size, &frame_bytes));
    assert_in_range(frame_bytes, size / 100, size / 10);
    assert_comes_back(*state, NULL, bytes, size);
    free(bytes);
}

static void a_frame_that_does_not_fit_is_an_error(void **state)
{
    size_t size = 100000, frame_bytes, again_bytes;
    uint8_t *bytes = skewed(size, 4), *frame = compress(*state, NULL, bytes, size, &frame_bytes);
    for (size_t capacity = 0; capacity < frame_bytes; capacity += capacity < 200 ? 1 : 4999) {
        uint8_t *target = malloc(capacity > 0 ? capacity : 1);
        assert_non_null(target);
        assert_int_equal(entro_compress(*state, NULL, bytes, size, target, capacity, &again_bytes),
                         ENTRO_CODEC_ARGUMENT);
        free(target);
    }
    uint8_t *target = malloc(frame_bytes);
    assert_non_null(target);
    assert_int_equal(entro_compress(*state, NULL, bytes, size, target, frame_bytes, &again_bytes),
                     ENTRO_CODEC_OK);
    assert_int_equal(again_bytes, frame_bytes);
    assert_memory_equal(target, frame, frame_bytes);
    free(target);
    free(frame);
    free(bytes);
}

static void a_codebook_serves_other_buffers(void **state)
{
    struct entro_codebook *from_bytes, *from_counts;
    uint64_t counts[256] = {0};
    uint8_t *bytes = skewed(200000, 4), *other = skewed(70000, 4), *strange = skewed(70000, 30);
    for (size_t i = 0; i < 200000; i++)
        counts[bytes[i]]++;
    for (size_t i = 90; i < 170; i++)
        counts[i]++; /* so that all that the other buffer may have has a code */
    assert_int_equal(entro_codebook_from_bytes(&from_bytes, bytes, 200000), ENTRO_CODEC_OK);
    assert_int_equal(entro_codebook_from_counts(&from_counts, counts), ENTRO_CODEC_OK);
    assert_comes_back(*state, from_bytes, other, 70000);
    assert_comes_back(*state, from_counts, other, 70000);
    assert_comes_back(*state, from_counts, strange, 70000); /* bytes without a code: raw */
    assert_comes_back(*state, from_counts, other, 0);
    size_t frame_bytes;
    free(compress(*state, from_counts, other, 70000, &frame_bytes));
    assert_in_range(frame_bytes, 1, 70000 * 42 / 80);
    entro_codebook_free(from_bytes);
    entro_codebook_free(from_counts);
    free(bytes);
    free(other);
    free(strange);
}

static void counts_that_overflow_are_refused(void **state)
{
    (void)state;
    struct entro_codebook *codebook;
    uint64_t counts[256] = {[3] = (uint64_t)1 << 58, [200] = (uint64_t)1 << 58};
    assert_int_equal(entro_codebook_from_counts(&codebook, counts), ENTRO_CODEC_ARGUMENT);
    counts[3] = UINT64_MAX;
    assert_int_equal(entro_codebook_from_counts(&codebook, counts), ENTRO_CODEC_ARGUMENT);
}

static void a_bound_that_does_not_fit_is_told(void **state)
{
    (void)state;
    assert_int_equal(entro_compress_bound(SIZE_MAX), SIZE_MAX);
    assert_in_range(entro_compress_bound(0), 32, 400);
}

/* Decodes from memory of exactly that size, to memory of exactly the wanted size. */
static enum entro_codec_error decode(struct entro_codec *codec, const uint8_t *frame, size_t frame_bytes,
                                     size_t size)
{
    uint8_t *exact = malloc(frame_bytes > 0 ? frame_bytes : 1), *decoded = malloc(size);
    size_t decoded_bytes;
    assert_non_null(exact);
    assert_non_null(decoded);
    memcpy(exact, frame, frame_bytes);
    enum entro_codec_error error = entro_decompress(codec, exact, frame_bytes, decoded, size, &decoded_bytes);
    free(decoded);
    free(exact);
    return error;
}

static void a_frame_that_is_cut_short_or_too_long_is_refused(void **state)
{
    size_t size = 70000, frame_bytes;
    uint8_t *bytes = skewed(size, 4), *frame = compress(*state, NULL, bytes, size, &frame_bytes);
    for (size_t n = 0; n < frame_bytes; n += n < 300 ? 1 : 977)
        assert_int_not_equal(decode(*state, frame, n, size), ENTRO_CODEC_OK);
    uint8_t *longer = calloc(1, frame_bytes + 1);
    assert_non_null(longer);
    memcpy(longer, frame, frame_bytes);
    assert_int_equal(decode(*state, longer, frame_bytes + 1, size), ENTRO_CODEC_FORMAT);
    free(longer);
    free(frame);
    free(bytes);
}

static void every_changed_byte_is_noticed(void **state)
{
    size_t size = 70000, frame_bytes;
    uint8_t *bytes = skewed(size, 4), *frame = compress(*state, NULL, bytes, size, &frame_bytes);
    for (size_t i = 0; i < frame_bytes; i += i < 300 ? 1 : 499) {
        frame[i] ^= 0x10;
        assert_int_not_equal(decode(*state, frame, frame_bytes, size), ENTRO_CODEC_OK);
        frame[i] ^= 0x10;
    }
    assert_int_equal(decode(*state, frame, frame_bytes, size), ENTRO_CODEC_OK);
    free(frame);
    free(bytes);
}

/* Sets the head's checksum right again, for a frame of two blocks and one codebook. */
static void seal(uint8_t *frame)
{
    size_t checked_bytes = 24 + 128 + 2 * 12;
    entro_store_u64(frame + checked_bytes, entro_checksum64(frame, checked_bytes));
}

static void heads_that_no_writer_makes_are_refused_though_their_checksum_is_right(void **state)
{
    static const struct {
        size_t offset;
        uint8_t value;
    } changes[] = {
        {0, 0},          {8, 2},          {10, 11},         {10, 18},      {11, 3},
        {12, 1},         {15, 1},         {23, 1},          {16, 0x71},    {16, 0x6f},
        {24 + 64, 0},    {24 + 64, 0xff}, {24 + 0, 1},      {152 + 3, 0},  {152 + 3, 0x40},
        {152 + 3, 0xc0}, {152 + 2, 1},    {152 + 15, 0xc0}, {152 + 14, 1}, {152 + 0, 0},
    };
    size_t size = 70000, frame_bytes;
    uint8_t *bytes = skewed(size, 4), *frame = compress(*state, NULL, bytes, size, &frame_bytes);
    assert_int_equal(frame[11], 1);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        uint8_t *changed = malloc(frame_bytes);
        assert_non_null(changed);
        memcpy(changed, frame, frame_bytes);
        assert_int_not_equal(changed[changes[i].offset], changes[i].value);
        changed[changes[i].offset] = changes[i].value;
        seal(changed);
        enum entro_codec_error error = decode(*state, changed, frame_bytes, size);
        assert_true(error == ENTRO_CODEC_FORMAT || error == ENTRO_CODEC_ARGUMENT);
        free(changed);
    }
    free(frame);
    free(bytes);
}

/* The block of FORMAT.md's example, "abacadaebafa", as a frame made by hand. */
static void a_frame_made_from_the_specification_is_decoded(void **state)
{
    static const uint8_t head[24] = {0x89, 'E', 'N', 'T', 'R', 'O', 'F', 'R', 1, 0, 12, 1, [16] = 12};
    static const uint8_t stored[10] = {0x06, 0x03, 0x01, 0x02, 0x02, 0x02, 0x06, 0x2c, 0xaa, 0x05};
    uint8_t frame[24 + 128 + 12 + 8 + 10] = {0}, decoded[12];
    size_t decoded_bytes;
    memcpy(frame, head, sizeof head);
    frame[24 + 0x30] = 0x10; /* a: 1 */
    frame[24 + 0x31] = 0x33; /* b, c: 3 */
    frame[24 + 0x32] = 0x43; /* d: 3, e: 4 */
    frame[24 + 0x33] = 0x04; /* f: 4 */
    entro_store_u32(frame + 152, sizeof stored | (uint32_t)2 << 30);
    entro_store_u64(frame + 156, entro_checksum64(stored, sizeof stored));
    entro_store_u64(frame + 164, entro_checksum64(frame, 164));
    memcpy(frame + 172, stored, sizeof stored);
    assert_int_equal(entro_decompress(*state, frame, sizeof frame, decoded, sizeof decoded, &decoded_bytes),
                     ENTRO_CODEC_OK);
    assert_int_equal(decoded_bytes, 12);
    assert_memory_equal(decoded, "abacadaebafa", 12);
}

static void the_golden_frame_is_decoded(void **state)
{
    static uint8_t content[GOLDEN_FRAME_CONTENT_BYTES], decoded[GOLDEN_FRAME_CONTENT_BYTES];
    size_t frame_bytes, decoded_bytes;
    uint8_t *frame = fixture_load(ENTRO_TEST_GOLDEN "/golden-v1.frame", &frame_bytes);
    golden_frame_content(content);
    assert_int_equal(entro_decompress(*state, frame, frame_bytes, decoded, sizeof decoded, &decoded_bytes),
                     ENTRO_CODEC_OK);
    assert_int_equal(decoded_bytes, sizeof content);
    assert_memory_equal(decoded, content, sizeof content);
    free(frame);
}

static void errors_and_version_have_a_text(void **state)
{
    (void)state;
    assert_string_equal(entro_codec_error_text(ENTRO_CODEC_OK), "success");
    assert_string_equal(entro_codec_error_text(ENTRO_CODEC_CHECKSUM), "checksum mismatch");
    assert_true(strlen(entro_codec_version()) >= 5);
    entro_codec_free(NULL);
    entro_codebook_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(buffers_of_every_size_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(skewed_bytes_shrink_to_nearly_their_entropy, setup, teardown),
        cmocka_unit_test_setup_teardown(very_skewed_bytes_take_less_than_a_bit_each, setup, teardown),
        cmocka_unit_test_setup_teardown(a_frame_that_does_not_fit_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(a_codebook_serves_other_buffers, setup, teardown),
        cmocka_unit_test(counts_that_overflow_are_refused),
        cmocka_unit_test(a_bound_that_does_not_fit_is_told),
        cmocka_unit_test_setup_teardown(a_frame_that_is_cut_short_or_too_long_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_changed_byte_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(heads_that_no_writer_makes_are_refused_though_their_checksum_is_right,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_frame_made_from_the_specification_is_decoded, setup, teardown),
        cmocka_unit_test_setup_teardown(the_golden_frame_is_decoded, setup, teardown),
        cmocka_unit_test(errors_and_version_have_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
