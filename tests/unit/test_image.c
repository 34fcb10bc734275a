/* The reader on good images: what it says of them, and that threads may share it. Bad ones are
 * test_bad_image.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "codec/image.h"
#include "codec/pivot.h"
#include "codec/pool.h"
#include "image_fixture.h"

static int set_up(void **state)
{
    struct entro_message message;
    if (entro_image_open((struct entro_image **)state, GOLDEN_IMAGE, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    return 0;
}

static int tear_down(void **state)
{
    entro_image_close(*state);
    return 0;
}

static void an_image_knows_its_own_facts(void **state)
{
    const struct entro_image_info *info = entro_image_info(*state);
    struct stat status;
    size_t size;
    assert_return_code(stat(GOLDEN_IMAGE, &status), 0);
    uint8_t *bytes = fixture_load(GOLDEN_IMAGE, &size);
    struct entro_disk_superblock superblock;
    memcpy(&superblock, bytes, sizeof superblock);
    free(bytes);
    assert_memory_equal(info->id, superblock.index_xxh3_128, 16);
    assert_int_equal(info->image_bytes, size);
    assert_int_equal(info->index_bytes, superblock.index_bytes);
    assert_int_equal(info->source, ENTRO_SOURCE_SAFETENSORS);
    assert_int_equal(info->version, 1);
    assert_int_equal(info->n_blocks, superblock.tables[ENTRO_TABLE_BLOCKS].count);
    assert_int_equal(info->mtime_seconds, status.st_mtim.tv_sec);
    assert_int_equal(info->mtime_nanoseconds, status.st_mtim.tv_nsec);
}

static void blocks_tile_planes_and_their_costs_add_up_to_the_image(void **state)
{
    const struct entro_image *image = *state;
    const struct entro_image_info *info = entro_image_info(image);
    uint64_t n_blocks = 0, stored = 0, costs = 0, n_planes = 0;
    for (uint32_t i = 0; i < info->n_streams; i++) {
        const struct entro_stream *stream = entro_image_stream(image, i);
        uint64_t plane_bytes = 0;
        costs += stream->stored_bytes;
        for (unsigned k = 0; k < stream->layout->n_fields; k++, n_planes++) {
            const struct entro_plane *plane = &stream->planes[k];
            uint64_t sum = 0;
            assert_int_equal(plane->first_block, n_blocks);
            n_blocks += plane->n_blocks;
            for (uint64_t block = 0; block < plane->n_blocks; block++) {
                uint32_t size = entro_plane_block_size(plane, block);
                struct entro_block_place place = entro_image_block_place(image, plane, block);
                assert_true(size == plane->block_bytes || block == plane->n_blocks - 1);
                assert_true(size > 0);
                assert_true(place.offset >= ENTRO_SUPERBLOCK_BYTES);
                assert_true(place.offset + place.stored_bytes <= info->image_bytes - info->index_bytes);
                assert_true(place.stored_bytes <= size);
                sum += size;
                stored += place.stored_bytes;
            }
            assert_int_equal(sum, plane->size_bytes);
            plane_bytes += plane->size_bytes;
        }
        assert_int_equal(plane_bytes, stream->size_bytes);
    }
    assert_int_equal(n_blocks, info->n_blocks);
    /* The writer leaves no gap, and each codebook is paid for once. */
    assert_int_equal(stored, info->image_bytes - info->index_bytes - ENTRO_SUPERBLOCK_BYTES);
    struct entro_disk_superblock superblock;
    size_t size;
    uint8_t *bytes = fixture_load(GOLDEN_IMAGE, &size);
    memcpy(&superblock, bytes, sizeof superblock);
    free(bytes);
    assert_int_equal(costs, stored + 16 * n_blocks + 24 * n_planes + 32 * info->n_streams +
                                128 * superblock.tables[ENTRO_TABLE_CODEBOOKS].count);
}

static void shape_becomes_rows_and_columns(void **state)
{
    const struct entro_image *image = *state;
    unsigned n_seen = 0;
    for (uint32_t i = 0; i < entro_image_info(image)->n_tensors; i++) {
        const struct entro_tensor *tensor = entro_image_tensor(image, i);
        uint64_t rows = 0, columns = 0;
        if (strcmp(tensor->name, "balanced.u8") == 0) {
            rows = 24;
            columns = 32;
        } else if (strcmp(tensor->name, "scalar.f32") == 0) {
            rows = columns = 1;
        } else if (strcmp(tensor->name, "kept.bf16") == 0) {
            rows = 3000;
            columns = 1;
        } else if (strcmp(tensor->name, "empty.f32") != 0) {
            continue;
        }
        n_seen++;
        assert_int_equal(tensor->n_rows, rows);
        assert_int_equal(tensor->n_columns, columns);
        assert_int_equal(tensor->n_elements, rows * columns);
    }
    assert_int_equal(n_seen, 4);
}

/* All blocks of an image, decoded by all threads at once, each codebook being made by whoever comes first. */
struct race {
    const struct entro_image *image;
    struct entro_decoder *decoders[4];
    atomic_uint n_errors;
};

static void decode_stream(void *context, size_t item, unsigned worker)
{
    struct race *race = context;
    const struct entro_stream *stream =
        entro_image_stream(race->image, (uint32_t)(item % entro_image_info(race->image)->n_streams));
    uint8_t *target = malloc(ENTRO_BLOCK_MAX_BYTES);
    for (unsigned k = 0; k < stream->layout->n_fields; k++)
        for (uint64_t block = 0; block < stream->planes[k].n_blocks; block++)
            if (target == NULL || entro_image_decode_block(race->image, &stream->planes[k], block, target,
                                                           race->decoders[worker], NULL) != ENTRO_OK)
                atomic_fetch_add(&race->n_errors, 1);
    free(target);
}

static void threads_may_decode_at_the_same_time(void **state)
{
    struct race race = {.image = *state};
    struct entro_pool *pool;
    assert_int_equal(entro_pool_create(&pool, 4), ENTRO_OK);
    for (unsigned i = 0; i < 4; i++) {
        race.decoders[i] = entro_decoder_create();
        assert_non_null(race.decoders[i]);
    }
    /* Each stream several times in a row, so that several threads want its codebook. */
    size_t n_items = 8 * (size_t)entro_image_info(race.image)->n_streams;
    entro_parallel_for(pool, n_items, decode_stream, &race);
    assert_int_equal(atomic_load(&race.n_errors), 0);
    for (unsigned i = 0; i < 4; i++)
        entro_decoder_free(race.decoders[i]);
    entro_pool_free(pool);
}

static void an_open_image_outlives_its_replacement(void **state)
{
    struct fixture_folder folder;
    struct entro_image *image;
    struct entro_message message;
    size_t size;
    (void)state;
    fixture_folder_create(&folder);
    uint8_t *bytes = fixture_load(GOLDEN_IMAGE, &size);
    fixture_store(folder.image, bytes, size);
    assert_int_equal(entro_image_open(&image, folder.image, &message), ENTRO_OK);
    char other[400];
    snprintf(other, sizeof other, "%s.new", folder.image);
    fixture_store(other, "something else", 14);
    assert_return_code(rename(other, folder.image), 0);
    const struct entro_stream *stream = entro_image_stream(image, 0);
    uint8_t *target = malloc(stream->size_bytes);
    assert_non_null(target);
    assert_int_equal(fixture_read_stream(image, stream, target, &message), ENTRO_OK);
    entro_image_close(image);
    free(target);
    free(bytes);
    fixture_folder_remove(&folder);
}

/* FORMAT.md, "Example". */
static void the_example_of_the_specification_is_what_the_encoder_writes(void **state)
{
    static const uint8_t stored[10] = {0x06, 0x03, 0x01, 0x02, 0x02, 0x02, 0x06, 0x2c, 0xaa, 0x05};
    static const char symbols[] = "abacadaebafa";
    uint8_t lengths[ENTRO_N_SYMBOLS] = {['a'] = 1, ['b'] = 3, ['c'] = 3, ['d'] = 3, ['e'] = 4, ['f'] = 4};
    struct entro_pivot *pivot;
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    (void)state;
    assert_non_null(scratch);
    assert_int_equal(entro_pivot_create(&pivot, lengths), ENTRO_OK);
    uint8_t target[12];
    assert_int_equal(entro_pivot_encode(pivot, (const uint8_t *)symbols, 12, target, sizeof target, scratch),
                     sizeof stored);
    assert_memory_equal(target, stored, sizeof stored);
    entro_pivot_free(pivot);
    entro_pivot_scratch_free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_image_knows_its_own_facts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(blocks_tile_planes_and_their_costs_add_up_to_the_image, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(shape_becomes_rows_and_columns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_may_decode_at_the_same_time, set_up, tear_down),
        cmocka_unit_test(an_open_image_outlives_its_replacement),
        cmocka_unit_test(the_example_of_the_specification_is_what_the_encoder_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
