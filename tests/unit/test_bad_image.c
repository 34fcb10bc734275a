/* Damaged images: refused, or (in a block) an error of that block alone. Invented ones are
 * test_bad_records.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include "bad_image_fixture.h"

static void an_image_that_is_whole_opens(void **state)
{
    struct entro_message message;
    assert_int_equal(bad_image_open(*state, &message), ENTRO_OK);
}

static void a_truncated_image_is_refused(void **state)
{
    const struct bad_image *bad = *state;
    uint64_t index_offset = bad->superblock.index_offset;
    size_t places[64] = {0,
                         1,
                         7,
                         8,
                         9,
                         4087,
                         4088,
                         4095,
                         4096,
                         4097,
                         5000,
                         index_offset - 1,
                         index_offset,
                         index_offset + 1,
                         bad->size - 8,
                         bad->size - 1};
    size_t n_places = 16;
    for (size_t i = 1; i < 40; i++)
        places[n_places++] = bad->size * i / 40;
    for (size_t i = 0; i < n_places; i++) {
        struct entro_message message;
        fixture_store(bad->folder.image, bad->bytes, places[i]);
        assert_int_equal(bad_image_open(bad, &message), ENTRO_ERROR_FORMAT);
        if (places[i] >= 8)
            assert_non_null(strstr(message.text, "it looks truncated"));
    }
}

static void an_image_that_grew_is_refused(void **state)
{
    const struct bad_image *bad = *state;
    struct entro_message message;
    uint8_t *longer = malloc(bad->size + 4096);
    assert_non_null(longer);
    memset(longer, 0, bad->size + 4096);
    memcpy(longer, bad->bytes, bad->size);
    for (size_t more = 1; more <= 4096; more *= 64) {
        fixture_store(bad->folder.image, longer, bad->size + more);
        assert_int_equal(bad_image_open(bad, &message), ENTRO_ERROR_FORMAT);
        assert_non_null(strstr(message.text, "something follows the image"));
    }
    free(longer);
}

static void what_is_no_image_is_refused(void **state)
{
    const struct bad_image *bad = *state;
    struct entro_message message;
    uint8_t noise[8192];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 2654435761U >> 13);
    fixture_store(bad->folder.image, noise, sizeof noise);
    assert_int_equal(bad_image_open(bad, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "not an entrofs image"));

    struct entro_image *image;
    assert_int_equal(entro_image_open(&image, bad->folder.path, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "not a regular file"));
    assert_int_equal(entro_image_open(&image, "/nonexistent/image", &message), ENTRO_ERROR_IO);
    assert_non_null(strstr(message.text, "No such file"));
}

static void every_flipped_byte_of_superblock_and_index_is_refused(void **state)
{
    const struct bad_image *bad = *state;
    int fd = open(bad->folder.image, O_WRONLY | O_CLOEXEC);
    assert_return_code(fd, 0);
    for (size_t i = 0; i < bad->size; i++) {
        struct entro_message message;
        if (i == ENTRO_SUPERBLOCK_BYTES)
            i = bad->superblock.index_offset;
        uint8_t flipped = bad->bytes[i] ^ (uint8_t)(1 << i % 8);
        assert_int_equal(pwrite(fd, &flipped, 1, (off_t)i), 1);
        enum entro_error error = bad_image_open(bad, &message);
        if (error != ENTRO_ERROR_CHECKSUM && !(i < 8 && error == ENTRO_ERROR_FORMAT))
            fail_msg("byte %zu: %s", i, entro_error_name(error));
        assert_int_equal(pwrite(fd, &bad->bytes[i], 1, (off_t)i), 1);
    }
    close(fd);
    struct entro_message message;
    assert_int_equal(bad_image_open(bad, &message), ENTRO_OK);
}

/* Decodes all blocks of all streams; *n_failed counts those that fail, which must do so with `expected`; the
 * last one is in *failed. */
static void decode_all(const struct entro_image *image, enum entro_error expected, uint64_t *n_failed,
                       uint64_t *failed)
{
    struct entro_decoder *decoder = entro_decoder_create();
    uint8_t *target = malloc(ENTRO_BLOCK_MAX_BYTES);
    struct entro_message message;
    assert_non_null(decoder);
    assert_non_null(target);
    *n_failed = 0;
    for (uint32_t i = 0; i < entro_image_info(image)->n_streams; i++) {
        const struct entro_stream *stream = entro_image_stream(image, i);
        for (unsigned k = 0; k < stream->layout->n_fields; k++)
            for (uint64_t block = 0; block < stream->planes[k].n_blocks; block++) {
                enum entro_error error =
                    entro_image_decode_block(image, &stream->planes[k], block, target, decoder, &message);
                if (error == ENTRO_OK)
                    continue;
                assert_int_equal(error, expected);
                ++*n_failed;
                *failed = stream->planes[k].first_block + block;
            }
    }
    free(target);
    entro_decoder_free(decoder);
}

static struct entro_disk_block block_record(const struct bad_image *bad, uint64_t block)
{
    struct entro_disk_block disk;
    memcpy(&disk,
           bad->bytes + bad->superblock.index_offset + bad->superblock.tables[ENTRO_TABLE_BLOCKS].offset +
               block * sizeof disk,
           sizeof disk);
    return disk;
}

static void a_flipped_byte_in_a_block_is_an_error_of_that_block_alone(void **state)
{
    const struct bad_image *bad = *state;
    struct entro_image *image;
    struct entro_message message;
    int fd = open(bad->folder.image, O_WRONLY | O_CLOEXEC);
    assert_return_code(fd, 0);
    assert_int_equal(entro_image_open(&image, bad->folder.image, &message), ENTRO_OK);
    uint64_t n_blocks = entro_image_info(image)->n_blocks, n_failed, failed = 0;
    assert_true(n_blocks > 50);
    decode_all(image, ENTRO_OK, &n_failed, &failed);
    assert_int_equal(n_failed, 0);
    for (uint64_t block = 0; block < n_blocks; block++) {
        struct entro_disk_block disk = block_record(bad, block);
        uint64_t offset = ENTRO_BLOCK_OFFSET(disk.place) + block * 7919 % ENTRO_BLOCK_SIZE(disk.place);
        uint8_t flipped = bad->bytes[offset] ^ 0x40;
        assert_int_equal(pwrite(fd, &flipped, 1, (off_t)offset), 1);
        decode_all(image, ENTRO_ERROR_CHECKSUM, &n_failed, &failed);
        assert_int_equal(n_failed, 1);
        assert_int_equal(failed, block);
        assert_int_equal(pwrite(fd, &bad->bytes[offset], 1, (off_t)offset), 1);
    }
    entro_image_close(image);
    close(fd);
}

/* Two blocks that are stored raw in the same number of bytes. */
static void find_twins(const struct bad_image *bad, struct entro_disk_block twins[2])
{
    uint64_t n_blocks = bad->superblock.tables[ENTRO_TABLE_BLOCKS].count;
    for (uint64_t i = 0; i < n_blocks; i++)
        for (uint64_t k = i + 1; k < n_blocks; k++) {
            twins[0] = block_record(bad, i);
            twins[1] = block_record(bad, k);
            if (ENTRO_BLOCK_METHOD(twins[0].place) == ENTRO_METHOD_RAW &&
                ENTRO_BLOCK_METHOD(twins[1].place) == ENTRO_METHOD_RAW &&
                ENTRO_BLOCK_SIZE(twins[0].place) == ENTRO_BLOCK_SIZE(twins[1].place))
                return;
        }
    fail_msg("no two raw blocks of one size");
}

static void swapped_blocks_are_errors(void **state)
{
    const struct bad_image *bad = *state;
    struct entro_image *image;
    struct entro_message message;
    struct entro_disk_block twins[2];
    uint64_t n_failed, failed;
    find_twins(bad, twins);
    uint64_t first = ENTRO_BLOCK_OFFSET(twins[0].place), second = ENTRO_BLOCK_OFFSET(twins[1].place);
    uint8_t *swapped = malloc(bad->size);
    assert_non_null(swapped);
    memcpy(swapped, bad->bytes, bad->size);
    memcpy(swapped + first, bad->bytes + second, ENTRO_BLOCK_SIZE(twins[0].place));
    memcpy(swapped + second, bad->bytes + first, ENTRO_BLOCK_SIZE(twins[0].place));
    fixture_store(bad->folder.image, swapped, bad->size);
    free(swapped);
    assert_int_equal(entro_image_open(&image, bad->folder.image, &message), ENTRO_OK);
    decode_all(image, ENTRO_ERROR_CHECKSUM, &n_failed, &failed);
    assert_int_equal(n_failed, 2);
    entro_image_close(image);
}

static void an_image_truncated_while_it_is_open_gives_errors_and_no_signal(void **state)
{
    const struct bad_image *bad = *state;
    struct entro_image *image;
    struct entro_message message;
    uint64_t n_failed, failed;
    assert_int_equal(entro_image_open(&image, bad->folder.image, &message), ENTRO_OK);
    assert_return_code(truncate(bad->folder.image, 30000), 0);
    decode_all(image, ENTRO_ERROR_IO, &n_failed, &failed);
    assert_true(n_failed > 10);
    assert_true(n_failed < entro_image_info(image)->n_blocks);
    entro_image_close(image);
}

/* A coded block whose checksum is that of the damaged bytes: the decoder must notice or give some bytes, and
 * touch nothing else. */
static void a_malformed_coded_block_with_a_good_checksum_does_no_harm(void **state)
{
    const struct bad_image *bad = *state;
    uint64_t n_refused = 0;
    uint8_t *bytes = malloc(bad->size);
    assert_non_null(bytes);
    memcpy(bytes, bad->bytes, bad->size);
    for (uint64_t block = 0; block < bad->superblock.tables[ENTRO_TABLE_BLOCKS].count; block++) {
        struct entro_disk_block disk = block_record(bad, block);
        if (ENTRO_BLOCK_METHOD(disk.place) != ENTRO_METHOD_CODED)
            continue;
        uint64_t offset = ENTRO_BLOCK_OFFSET(disk.place);
        uint32_t size = ENTRO_BLOCK_SIZE(disk.place);
        for (unsigned attempt = 0; attempt < 8; attempt++) {
            struct entro_image *image;
            struct entro_message message;
            uint64_t n_failed, failed;
            /* The counts at the start, the records after them, and the last byte. */
            uint64_t at = attempt < 5 ? attempt : attempt < 7 ? size / 2 + attempt : size - 1;
            bytes[offset + at] ^= (uint8_t)(1 << attempt);
            struct entro_disk_block mended = disk;
            mended.xxh3_64 = XXH3_64bits(bytes + offset, size);
            uint8_t *record = bytes + bad->superblock.index_offset +
                              bad->superblock.tables[ENTRO_TABLE_BLOCKS].offset + block * sizeof mended;
            memcpy(record, &mended, sizeof mended);
            fixture_reseal(bytes, bad->size);
            fixture_store(bad->folder.image, bytes, bad->size);
            assert_int_equal(entro_image_open(&image, bad->folder.image, &message), ENTRO_OK);
            decode_all(image, ENTRO_ERROR_FORMAT, &n_failed, &failed);
            assert_true(n_failed == 0 || (n_failed == 1 && failed == block));
            n_refused += n_failed;
            entro_image_close(image);
            bytes[offset + at] ^= (uint8_t)(1 << attempt);
            memcpy(record, &disk, sizeof disk);
        }
    }
    assert_true(n_refused > 20);
    free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bad_image_set_up, bad_image_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_image_that_is_whole_opens),
        TEST(a_truncated_image_is_refused),
        TEST(an_image_that_grew_is_refused),
        TEST(what_is_no_image_is_refused),
        TEST(every_flipped_byte_of_superblock_and_index_is_refused),
        TEST(a_flipped_byte_in_a_block_is_an_error_of_that_block_alone),
        TEST(swapped_blocks_are_errors),
        TEST(an_image_truncated_while_it_is_open_gives_errors_and_no_signal),
        TEST(a_malformed_coded_block_with_a_good_checksum_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
