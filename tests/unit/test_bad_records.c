/* Invented images: their checksums are right, so that only validation can refuse them. Damaged ones are
 * test_bad_image.c's. */
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

#include "bad_image_fixture.h"
#include "codec/image_rules.h"

#define SUPERBLOCK ENTRO_N_TABLES
#define AT(type, member)                                                                                     \
    offsetof(struct entro_disk_##type, member), sizeof(((struct entro_disk_##type *)NULL)->member)

/* One field of one record changed, and what the refusal speaks of. Records of the golden image, by number. */
static const struct corruption {
    unsigned table;
    uint32_t record;
    size_t offset, size;
    uint64_t value;
    const char *words;
} corruptions[] = {
    {SUPERBLOCK, 0, AT(superblock, version), 2, "format version 2 is not supported"},
    {SUPERBLOCK, 0, AT(superblock, version), 0, "format version 0 is not supported"},
    {SUPERBLOCK, 0, AT(superblock, incompatible), 1, "features"},
    {SUPERBLOCK, 0, AT(superblock, incompatible), UINT64_C(1) << 63, "features"},
    {SUPERBLOCK, 0, AT(superblock, superblock_bytes), 8192, "superblock"},
    {SUPERBLOCK, 0, AT(superblock, image_bytes), UINT64_C(1) << 44, "truncated"},
    {SUPERBLOCK, 0, AT(superblock, image_bytes), UINT64_MAX, "truncated"},
    {SUPERBLOCK, 0, AT(superblock, image_bytes), 4096, "something follows"},
    {SUPERBLOCK, 0, AT(superblock, index_offset), 0, "index"},
    {SUPERBLOCK, 0, AT(superblock, index_offset), UINT64_MAX - 4095, "index"},
    {SUPERBLOCK, 0, AT(superblock, index_bytes), UINT64_MAX, "index"},
    {SUPERBLOCK, 0, AT(superblock, index_bytes), 0, "index"},
    {SUPERBLOCK, 0, AT(superblock, source), 0, "source"},
    {SUPERBLOCK, 0, AT(superblock, source), 4, "source"},
    {SUPERBLOCK, 0, AT(superblock, reserved), 1, "reserved"},
    {SUPERBLOCK, 0, AT(superblock, tables[0].offset), 8, "table 0"},
    {SUPERBLOCK, 0, AT(superblock, tables[1].offset), 0, "table 1"},
    {SUPERBLOCK, 0, AT(superblock, tables[3].offset), UINT64_MAX - 7, "table 3"},
    {SUPERBLOCK, 0, AT(superblock, tables[0].count), UINT64_MAX, "table 0"},
    {SUPERBLOCK, 0, AT(superblock, tables[0].count), 1, "table 1"},
    {SUPERBLOCK, 0, AT(superblock, tables[2].count), UINT64_C(1) << 60, "table 2"},
    {SUPERBLOCK, 0, AT(superblock, tables[8].count), UINT64_C(1) << 60, "table 8"},
    {SUPERBLOCK, 0, AT(superblock, tables[8].count), 1, "its tables end"},
    {SUPERBLOCK, 0, 224, 1, 1, "reserved"},
    {SUPERBLOCK, 0, 4087, 1, 1, "reserved"},

    {ENTRO_TABLE_FILES, 0, AT(file, path_offset), 1, "string"},
    {ENTRO_TABLE_FILES, 1, AT(file, path_offset), 0, "string"},
    {ENTRO_TABLE_FILES, 1, AT(file, path_offset), UINT32_MAX, "string"},
    {ENTRO_TABLE_FILES, 0, AT(file, path_bytes), 0, "string"},
    {ENTRO_TABLE_FILES, 0, AT(file, path_bytes), UINT32_MAX, "paths"},
    {ENTRO_TABLE_FILES, 10, AT(file, path_bytes), 11, "string"},
    {ENTRO_TABLE_FILES, 0, AT(file, first_extent), 1, "extents"},
    {ENTRO_TABLE_FILES, 0, AT(file, n_extents), 0, "extents"},
    {ENTRO_TABLE_FILES, 0, AT(file, n_extents), UINT32_MAX, "extents"},
    {ENTRO_TABLE_FILES, 10, AT(file, n_extents), 0, "0"},
    {ENTRO_TABLE_FILES, 2, AT(file, size_bytes), 1, "its extents 0"},
    {ENTRO_TABLE_FILES, 0, AT(file, size_bytes), UINT64_MAX, "its extents 20000"},

    {ENTRO_TABLE_EXTENTS, 0, AT(extent, kind), 2, "unknown kind"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, kind), 255, "unknown kind"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, kind), 1, "tensor that does not exist"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, reserved), 1, "unknown kind"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, dtype), 1, "has a dtype"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, reference), ENTRO_NONE, "stream that does not exist"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, reference), 1000, "stream that does not exist"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, offset), 1, "beyond the end"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, offset), UINT64_MAX, "beyond the end"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, size_bytes), 20001, "beyond the end"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, size_bytes), UINT64_MAX, "beyond the end"},
    {ENTRO_TABLE_EXTENTS, 0, AT(extent, size_bytes), 19999, "its extents 19999"},
    /* A view: the second extent of views.bin. */
    {ENTRO_TABLE_EXTENTS, 12, AT(extent, reference), ENTRO_NONE, "tensor that does not exist"},
    {ENTRO_TABLE_EXTENTS, 12, AT(extent, reference), 5, "view that its tensor does not have"},
    {ENTRO_TABLE_EXTENTS, 12, AT(extent, dtype), 0, "view that its tensor does not have"},
    {ENTRO_TABLE_EXTENTS, 12, AT(extent, dtype), 4, "view that its tensor does not have"},
    {ENTRO_TABLE_EXTENTS, 12, AT(extent, dtype), 999, "view that its tensor does not have"},
    {ENTRO_TABLE_EXTENTS, 12, AT(extent, dtype), 1, "whole of its view"},
    {ENTRO_TABLE_EXTENTS, 12, AT(extent, offset), 2, "whole of its view"},
    {ENTRO_TABLE_EXTENTS, 12, AT(extent, size_bytes), 2, "whole of its view"},

    {ENTRO_TABLE_TENSORS, 0, AT(tensor, name_offset), 0, "string"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, name_bytes), 0, "is empty"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, name_bytes), 1000, "string"},
    {ENTRO_TABLE_TENSORS, 15, AT(tensor, name_bytes), 10, "strings that nothing uses"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, dtype), 0, "unknown dtype"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, dtype), 23, "unknown dtype"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, dtype), 65535, "unknown dtype"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, scheme), 4, "unknown scheme"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, scheme), 0, "lossless"},
    {ENTRO_TABLE_TENSORS, 5, AT(tensor, scheme), 2, "not to 8 or 4 bits"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, bits), 5, "not to 8 or 4 bits"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, bits), 8, "codes need a stream"},
    {ENTRO_TABLE_TENSORS, 5, AT(tensor, bits), 8, "lossless"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, rank), 9, "dimensions"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, rank), 1, "dimensions that it does not have"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, rank), 3, "codes need a stream"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, reserved[2]), 1, "reserved"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, stream), ENTRO_NONE, "streams"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, stream), 0, "codes need a stream"},
    {ENTRO_TABLE_TENSORS, 5, AT(tensor, stream), 0, "bytes need a stream"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, row_scale), 0, "only the balanced"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, outliers), 0, "only the balanced"},
    {ENTRO_TABLE_TENSORS, 5, AT(tensor, column_scale), 0, "lossless"},
    {ENTRO_TABLE_TENSORS, 3, AT(tensor, row_scale), 0, "row factors need a stream"},
    {ENTRO_TABLE_TENSORS, 3, AT(tensor, row_scale), 999, "streams"},
    {ENTRO_TABLE_TENSORS, 3, AT(tensor, column_scale), 0, "column factors need a stream"},
    {ENTRO_TABLE_TENSORS, 3, AT(tensor, outliers), 999, "outliers in a stream that does not exist"},
    {ENTRO_TABLE_TENSORS, 3, AT(tensor, outliers), 1, "outlier stream of a size"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, scale), 0, "scale"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, scale), 0x7f800000, "scale"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, scale), 0x7fc00000, "scale"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, scale), 0xbf800000, "scale"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, scale), 0x007fffff, "scale"},
    {ENTRO_TABLE_TENSORS, 5, AT(tensor, scale), 0x3f800000, "lossless"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, zero_point), 16, "zero point"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, zero_point), UINT32_MAX, "zero point"},
    {ENTRO_TABLE_TENSORS, 1, AT(tensor, zero_point), 256, "zero point"},
    {ENTRO_TABLE_TENSORS, 3, AT(tensor, zero_point), 32768, "zero point"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, entropy_bits), UINT64_C(0x7ff8000000000000), "entropy"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, entropy_bits), UINT64_C(0xbff0000000000000), "entropy"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, snr_db), UINT64_C(0x7ff8000000000000), "signal-to-noise"},
    {ENTRO_TABLE_TENSORS, 5, AT(tensor, snr_db), 0, "signal-to-noise"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, shape[0]), 34, "codes need a stream"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, shape[0]), UINT64_MAX, "64 bits can count"},
    {ENTRO_TABLE_TENSORS, 0, AT(tensor, shape[7]), 1, "dimensions that it does not have"},
    {ENTRO_TABLE_TENSORS, 10, AT(tensor, shape[1]), 13 * 256 + 1, "shape that its dtype does not allow"},

    {ENTRO_TABLE_STREAMS, 0, AT(stream, size_bytes), 12289, "bytes"},
    {ENTRO_TABLE_STREAMS, 0, AT(stream, size_bytes), UINT64_MAX, "too many"},
    {ENTRO_TABLE_STREAMS, 0, AT(stream, size_bytes), UINT64_C(1) << 46, "blocks from"},
    {ENTRO_TABLE_STREAMS, 0, AT(stream, layout), 1, "layout"},
    {ENTRO_TABLE_STREAMS, 0, AT(stream, layout), ENTRO_NONE, "layout"},
    {ENTRO_TABLE_STREAMS, 0, AT(stream, first_plane), 1, "planes"},
    {ENTRO_TABLE_STREAMS, 1, AT(stream, first_plane), 0, "planes"},

    {ENTRO_TABLE_LAYOUTS, 0, AT(layout, record_bytes), 0, "layout 0"},
    {ENTRO_TABLE_LAYOUTS, 0, AT(layout, record_bytes), 65535, "layout 0"},
    {ENTRO_TABLE_LAYOUTS, 0, AT(layout, rotate_bytes), 1, "layout 0"},
    {ENTRO_TABLE_LAYOUTS, 0, AT(layout, rotate_bytes), 2, "layout 0"},
    {ENTRO_TABLE_LAYOUTS, 1, AT(layout, rotate_bytes), 4, "layout 1"},
    {ENTRO_TABLE_LAYOUTS, 0, AT(layout, n_fields), 0, "layout 0"},
    {ENTRO_TABLE_LAYOUTS, 0, AT(layout, n_fields), 255, "layout 0"},
    {ENTRO_TABLE_LAYOUTS, 1, AT(layout, n_fields), 1, "layout 1"},
    {ENTRO_TABLE_LAYOUTS, 1, AT(layout, field_bytes[1]), 0, "layout 1"},
    {ENTRO_TABLE_LAYOUTS, 1, AT(layout, field_bytes[15]), 1, "layout 1"},
    {ENTRO_TABLE_LAYOUTS, 0, AT(layout, reserved[3]), 1, "layout 0"},

    {ENTRO_TABLE_PLANES, 0, AT(plane, first_block), 1, "blocks from"},
    {ENTRO_TABLE_PLANES, 1, AT(plane, first_block), 0, "blocks from"},
    {ENTRO_TABLE_PLANES, 0, AT(plane, codebook), 1, "codebook"},
    {ENTRO_TABLE_PLANES, 0, AT(plane, codebook), ENTRO_NONE, "no codebook"},
    {ENTRO_TABLE_PLANES, 0, AT(plane, root_codebook), 2, "codebook"},
    {ENTRO_TABLE_PLANES, 0, AT(plane, root_codebook), ENTRO_NONE - 1, "codebook"},
    {ENTRO_TABLE_PLANES, 0, AT(plane, block_log2), 11, "2^11"},
    {ENTRO_TABLE_PLANES, 0, AT(plane, block_log2), 18, "2^18"},
    {ENTRO_TABLE_PLANES, 0, AT(plane, block_log2), 255, "2^255"},
    {ENTRO_TABLE_PLANES, 0, AT(plane, block_log2), 13, "block"},
    {ENTRO_TABLE_PLANES, 0, AT(plane, reserved[0]), 1, "reserved"},

    {ENTRO_TABLE_CODEBOOKS, 0, 0, 8, UINT64_MAX, "codebook 0 is no complete code"},
    {ENTRO_TABLE_CODEBOOKS, 0, 64, 1, 0, "codebook 0 is no complete code"},

    {ENTRO_TABLE_BLOCKS, 0, AT(block, place), ENTRO_BLOCK_PLACE(0, 1, 0), "outside"},
    {ENTRO_TABLE_BLOCKS, 0, AT(block, place), ENTRO_BLOCK_PLACE(4095, 1, 0), "outside"},
    {ENTRO_TABLE_BLOCKS, 0, AT(block, place), ENTRO_BLOCK_PLACE((UINT64_C(1) << 44) - 1, 1, 0), "outside"},
    {ENTRO_TABLE_BLOCKS, 0, AT(block, place), ENTRO_BLOCK_PLACE(4096, 2, 0), "constant"},
    {ENTRO_TABLE_BLOCKS, 0, AT(block, place), ENTRO_BLOCK_PLACE(4096, 0, 0), "constant"},
    {ENTRO_TABLE_BLOCKS, 0, AT(block, place), ENTRO_BLOCK_PLACE(4096, 4095, 1), "raw"},
    {ENTRO_TABLE_BLOCKS, 0, AT(block, place), ENTRO_BLOCK_PLACE(4096, 4097, 1), "raw"},
    {ENTRO_TABLE_BLOCKS, 0, AT(block, place), ENTRO_BLOCK_PLACE(4096, 4096, 2), "coded"},
    {ENTRO_TABLE_BLOCKS, 0, AT(block, place), ENTRO_BLOCK_PLACE(4096, 0, 2), "coded"},
    {ENTRO_TABLE_BLOCKS, 0, AT(block, place), ENTRO_BLOCK_PLACE(4096, 1, 3), "unknown method"},
};

static void a_record_that_breaks_a_rule_is_refused_though_its_checksum_is_right(void **state)
{
    const struct bad_image *bad = *state;
    uint8_t *bytes = malloc(bad->size);
    unsigned n_wrong = 0;
    assert_non_null(bytes);
    for (size_t i = 0; i < sizeof corruptions / sizeof corruptions[0]; i++) {
        const struct corruption *corruption = &corruptions[i];
        struct entro_message message;
        uint64_t offset = corruption->offset;
        static const size_t record_bytes[] = {1, 24, 24, 120, 32, 40, 24, 128, 16};
        if (corruption->table != SUPERBLOCK)
            offset += bad->superblock.index_offset + bad->superblock.tables[corruption->table].offset +
                      corruption->record * record_bytes[corruption->table];
        memcpy(bytes, bad->bytes, bad->size);
        assert_true(memcmp(bytes + offset, &corruption->value, corruption->size) != 0);
        memcpy(bytes + offset, &corruption->value, corruption->size);
        fixture_reseal(bytes, bad->size);
        fixture_store(bad->folder.image, bytes, bad->size);
        enum entro_error error = bad_image_open(bad, &message);
        enum entro_error expected = i < 4 ? ENTRO_ERROR_UNSUPPORTED : ENTRO_ERROR_FORMAT;
        if (error == expected && strstr(message.text, corruption->words) != NULL)
            continue;
        print_error("corruption %zu: %s: %s (expected: %s)\n", i, entro_error_name(error), message.text,
                    corruption->words);
        n_wrong++;
    }
    free(bytes);
    assert_int_equal(n_wrong, 0);
}

/* A string replaced by another of the same size. */
static const struct {
    const char *before, *after;
    size_t size;
    const char *words;
} renamings[] = {
    {"config.json", "tensors/xyz", 11, "where a mount has files of its own"},
    {"config.json", "npy/abc.txt", 11, "where a mount has files of its own"},
    {"config.json", "conf\0g.json", 11, "NUL"},
    {"config.json", "conf//.json", 11, "empty part"},
    {"config.json", "/onfig.json", 11, "empty part"},
    {"config.json", "config.jso/", 11, "empty part"},
    {"config.json", "co/../.json", 11, "\"..\""},
    {"config.json", "../fig.json", 11, "\"..\""},
    {"config.json", "conf.json/.", 11, "\"..\""},
    {"config.json", "xonfig.json", 11, "not in order"},
    {"folder/parts.bin", "folder/mixed.bin", 16, "there twice"},
    {"odd.u4", "odd/u4", 6, "contains a \"/\""},
    {"odd.u4", "odd\0u4", 6, "NUL"},
    {"odd.u4", "odd\xffu4", 6, "UTF-8"},
    {"tied.u8", "zied.u8", 7, "not in order"},
    {"kept.f64", "kept.f32", 8, "there twice"},
};

static void names_that_break_a_rule_are_refused_though_their_checksum_is_right(void **state)
{
    const struct bad_image *bad = *state;
    uint8_t *bytes = malloc(bad->size);
    assert_non_null(bytes);
    for (size_t i = 0; i < sizeof renamings / sizeof renamings[0]; i++) {
        struct entro_message message;
        memcpy(bytes, bad->bytes, bad->size);
        uint8_t *strings = bytes + bad->superblock.index_offset;
        uint8_t *name =
            memmem(strings, bad->superblock.tables[0].count, renamings[i].before, renamings[i].size);
        assert_non_null(name);
        memcpy(name, renamings[i].after, renamings[i].size);
        fixture_reseal(bytes, bad->size);
        fixture_store(bad->folder.image, bytes, bad->size);
        enum entro_error error = bad_image_open(bad, &message);
        if (error != ENTRO_ERROR_FORMAT || strstr(message.text, renamings[i].words) == NULL)
            fail_msg("renaming %zu: %s: %s", i, entro_error_name(error), message.text);
    }
    free(bytes);
}

/* The image with a byte or more changed at `offset` and sealed again must be refused with these words. */
static void check_refused(const struct bad_image *bad, uint64_t offset, const void *value, size_t size,
                          const char *words)
{
    struct entro_message message;
    uint8_t *bytes = malloc(bad->size);
    assert_non_null(bytes);
    memcpy(bytes, bad->bytes, bad->size);
    memcpy(bytes + offset, value, size);
    fixture_reseal(bytes, bad->size);
    fixture_store(bad->folder.image, bytes, bad->size);
    free(bytes);
    assert_int_equal(bad_image_open(bad, &message), ENTRO_ERROR_FORMAT);
    if (strstr(message.text, words) == NULL)
        fail_msg("%s", message.text);
}

static void padding_that_is_not_zero_is_refused(void **state)
{
    const struct bad_image *bad = *state;
    uint64_t end = bad->superblock.tables[ENTRO_TABLE_STRINGS].count;
    assert_true(end % 8 != 0);
    check_refused(bad, bad->superblock.index_offset + end, "\1", 1, "padding before table 1");
}

static void a_codebook_that_no_block_uses_is_refused(void **state)
{
    const struct bad_image *bad = *state;
    uint64_t planes = bad->superblock.index_offset + bad->superblock.tables[ENTRO_TABLE_PLANES].offset;
    uint64_t n_planes = bad->superblock.tables[ENTRO_TABLE_PLANES].count, plane = 0;
    struct entro_disk_plane disk = {.codebook = 0};
    const uint32_t first_codebook = 0;
    for (; plane < n_planes; plane++) {
        memcpy(&disk, bad->bytes + planes + plane * sizeof disk, sizeof disk);
        if (disk.codebook == ENTRO_NONE)
            break;
    }
    /* Not the first plane: codebook 0 is in use already. */
    assert_true(plane > 0 && plane < n_planes);
    check_refused(bad, planes + plane * sizeof disk + offsetof(struct entro_disk_plane, codebook),
                  &first_codebook, sizeof first_codebook, "has a codebook, but no coded block");
    check_refused(bad, planes + plane * sizeof disk + offsetof(struct entro_disk_plane, root_codebook),
                  &first_codebook, sizeof first_codebook, "that has no inner node");
}

/* Codebook 0 with the same length for all symbols: a tree that is one leaf. */
static void a_codebook_for_the_root_of_a_leaf_is_refused(void **state)
{
    const struct bad_image *bad = *state;
    uint64_t planes = bad->superblock.index_offset + bad->superblock.tables[ENTRO_TABLE_PLANES].offset;
    uint64_t codebooks = bad->superblock.index_offset + bad->superblock.tables[ENTRO_TABLE_CODEBOOKS].offset;
    const uint32_t first_codebook = 0;
    uint8_t *bytes = malloc(bad->size);
    struct entro_message message;
    assert_non_null(bytes);
    memcpy(bytes, bad->bytes, bad->size);
    memset(bytes + codebooks, 0x88, ENTRO_CODEBOOK_BYTES);
    memcpy(bytes + planes + offsetof(struct entro_disk_plane, root_codebook), &first_codebook,
           sizeof first_codebook);
    fixture_reseal(bytes, bad->size);
    fixture_store(bad->folder.image, bytes, bad->size);
    assert_int_equal(bad_image_open(bad, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "that has no inner node"));
    free(bytes);
}

/* Any byte of the index changed, with good checksums: refused, or an image whose blocks can be tried without
 * harm. */
static void any_changed_byte_of_the_index_does_no_harm(void **state)
{
    const struct bad_image *bad = *state;
    uint8_t *bytes = malloc(bad->size);
    size_t n_refused = 0;
    int fd = open(bad->folder.image, O_WRONLY | O_CLOEXEC);
    assert_return_code(fd, 0);
    assert_non_null(bytes);
    memcpy(bytes, bad->bytes, bad->size);
    for (size_t i = bad->superblock.index_offset; i < bad->size; i++) {
        struct entro_message message;
        bytes[i] ^= (uint8_t)(1 << i % 8);
        fixture_reseal(bytes, bad->size);
        assert_int_equal(pwrite(fd, bytes + i, 1, (off_t)i), 1);
        assert_int_equal(pwrite(fd, bytes, ENTRO_SUPERBLOCK_BYTES, 0), ENTRO_SUPERBLOCK_BYTES);
        if (bad_image_open(bad, &message) != ENTRO_OK)
            n_refused++;
        bytes[i] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(pwrite(fd, bytes + i, 1, (off_t)i), 1);
    }
    close(fd);
    /* What validation cannot see is figures and hashes. */
    assert_true(n_refused > bad->superblock.index_bytes / 2);
    free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bad_image_set_up, bad_image_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_record_that_breaks_a_rule_is_refused_though_its_checksum_is_right),
        TEST(names_that_break_a_rule_are_refused_though_their_checksum_is_right),
        TEST(padding_that_is_not_zero_is_refused),
        TEST(a_codebook_that_no_block_uses_is_refused),
        TEST(a_codebook_for_the_root_of_a_leaf_is_refused),
        TEST(any_changed_byte_of_the_index_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
