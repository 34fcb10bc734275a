/* The writer: what goes in comes out of a reader, the same bytes for any number of threads, and nothing is
 * left behind by a failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "codec/writer.h"
#include "image_fixture.h"

/* Bytes of a stream by their position: any range can be made at any time. */
struct pattern {
    uint64_t seed;
    unsigned kind;                 /* 0: noise, 1: peaked, 2: constant for long runs, 3: one byte */
    uint64_t fails_at;             /* offset from which the second pass fails, or UINT64_MAX */
    enum entro_error error;        /* with this; ENTRO_OK: other bytes come instead */
    atomic_uint_fast64_t produced; /* bytes */
};

static uint8_t pattern_byte(const struct pattern *pattern, uint64_t i)
{
    uint64_t z = (i + pattern->seed * 0x10001) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    z ^= z >> 32;
    switch (pattern->kind) {
    case 0:
        return (uint8_t)z;
    case 1:
        return (uint8_t)(128 + __builtin_popcountll(z & 0xffff) - __builtin_popcountll(z >> 16 & 0xffff));
    case 2:
        return (i >> 17) % 3 != 0 ? (uint8_t)(i >> 18) : (uint8_t)(z & 7);
    default:
        return 7;
    }
}

static enum entro_error produce(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                struct entro_message *message)
{
    struct pattern *pattern = context;
    uint64_t before = atomic_fetch_add(&pattern->produced, size_bytes);
    bool fails = before >= pattern->fails_at;
    if (fails && pattern->error != ENTRO_OK)
        return entro_fail(message, pattern->error, "the source says no");
    for (size_t i = 0; i < size_bytes; i++)
        target[i] = (uint8_t)(pattern_byte(pattern, offset + i) + fails);
    return ENTRO_OK;
}

#define PATTERN(seed_, kind_) ((struct pattern){.seed = (seed_), .kind = (kind_), .fails_at = UINT64_MAX})

struct setting {
    struct fixture_folder folder;
    struct entro_pool *pool;
    struct entro_message message;
};

static int set_up(void **state)
{
    struct setting *setting = calloc(1, sizeof *setting);
    assert_non_null(setting);
    fixture_folder_create(&setting->folder);
    assert_int_equal(entro_pool_create(&setting->pool, 3), ENTRO_OK);
    *state = setting;
    return 0;
}

static int tear_down(void **state)
{
    struct setting *setting = *state;
    entro_pool_free(setting->pool);
    fixture_folder_remove(&setting->folder);
    free(setting);
    return 0;
}

static struct entro_writer *start(struct setting *setting, bool replace)
{
    struct entro_writer *writer;
    enum entro_error error = entro_writer_create(&writer, setting->folder.image, replace,
                                                 ENTRO_SOURCE_SAFETENSORS, setting->pool, &setting->message);
    if (error != ENTRO_OK)
        fail_msg("%s", setting->message.text);
    return writer;
}

static void finish(struct setting *setting, struct entro_writer *writer)
{
    uint64_t image_bytes;
    if (entro_writer_finish(writer, &image_bytes, &setting->message) != ENTRO_OK)
        fail_msg("%s", setting->message.text);
    entro_writer_free(writer);
    struct stat status;
    assert_return_code(stat(setting->folder.image, &status), errno);
    assert_int_equal(status.st_size, image_bytes);
}

static struct entro_image *open_image(struct setting *setting)
{
    struct entro_image *image;
    if (entro_image_open(&image, setting->folder.image, &setting->message) != ENTRO_OK)
        fail_msg("%s", setting->message.text);
    return image;
}

static const struct entro_layout layouts[] = {
    {1, 0, 1, {1}},
    {2, 2, 2, {1, 1}},
    {4, 4, 4, {1, 1, 1, 1}},
    {8, 8, 8, {1, 1, 1, 1, 1, 1, 1, 1}},
    {8, 0, 1, {8}},
    {3, 0, 2, {1, 2}},
    {144, 0, 6, {1, 1, 1, 1, 12, 128}},
    {210, 0, 5, {128, 64, 16, 1, 1}},
    {16, 0, 16, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
    {4096, 2, 3, {1, 4000, 95}},
};

/* A stream of each layout, content, block size and awkward length; some longer than a batch of one thread,
 * which is 3 MiB. */
static void add_all_streams(struct setting *setting, struct entro_writer *writer,
                            struct entro_stream_summary *summaries)
{
    static const uint64_t lengths[] = {0, 1, 4000, 70001, 1 << 20, (3 << 20) + 12345, 7000000};
    for (size_t i = 0; i < 40; i++) {
        const struct entro_layout *layout = &layouts[i % 10];
        uint64_t length = lengths[i * 3 % 7];
        if (i % 10 < 8 && i >= 10)
            length %= 300000;
        struct pattern pattern = PATTERN(i, (unsigned)(i + i / 10) % 4);
        const struct entro_producer producer = {&pattern, produce};
        assert_int_equal(entro_writer_set_block_log2(writer, 12 + (unsigned)(i % 6)), ENTRO_OK);
        uint64_t size = length / layout->record_bytes * layout->record_bytes;
        if (entro_writer_add_stream(writer, "stream", size, layout, &producer, &summaries[i],
                                    &setting->message) != ENTRO_OK)
            fail_msg("%s", setting->message.text);
    }
}

static void check_all_streams(const struct entro_image *image, const struct entro_stream_summary *summaries,
                              struct entro_message *message)
{
    for (size_t i = 0; i < 40; i++) {
        const struct entro_stream *stream = entro_image_stream(image, summaries[i].stream);
        struct pattern pattern = PATTERN(i, (unsigned)(i + i / 10) % 4);
        uint8_t *bytes = malloc(stream->size_bytes + 1);
        assert_non_null(bytes);
        if (fixture_read_stream(image, stream, bytes, message) != ENTRO_OK)
            fail_msg("%s", message->text);
        for (uint64_t k = 0; k < stream->size_bytes; k++)
            if (bytes[k] != pattern_byte(&pattern, k))
                fail_msg("stream %zu differs at byte %llu", i, (unsigned long long)k);
        XXH128_canonical_t digest;
        XXH128_canonicalFromHash(&digest, XXH3_128bits(bytes, stream->size_bytes));
        assert_memory_equal(digest.digest, stream->xxh3_128, 16);
        assert_memory_equal(digest.digest, summaries[i].xxh3_128, 16);
        assert_int_equal(summaries[i].stored_bytes, stream->stored_bytes);
        assert_true(entro_layout_equal(stream->layout, &layouts[i % 10]));
        assert_true(summaries[i].coded_bytes <= stream->size_bytes);
        assert_true(summaries[i].entropy_bits <= 8.0 * (double)stream->size_bytes + 1e-6);
        free(bytes);
    }
}

static void streams_of_every_layout_come_back_as_they_went_in(void **state)
{
    struct setting *setting = *state;
    struct entro_stream_summary summaries[40];
    struct entro_writer *writer = start(setting, false);
    add_all_streams(setting, writer, summaries);
    finish(setting, writer);
    struct entro_image *image = open_image(setting);
    check_all_streams(image, summaries, &setting->message);
    entro_image_close(image);
}

static void any_number_of_threads_gives_the_same_bytes(void **state)
{
    struct setting *setting = *state;
    struct entro_stream_summary summaries[40];
    uint8_t *first = NULL;
    size_t first_size = 0;
    for (unsigned n_threads = 1; n_threads <= 5; n_threads += 2) {
        entro_pool_free(setting->pool);
        assert_int_equal(entro_pool_create(&setting->pool, n_threads), ENTRO_OK);
        struct entro_writer *writer = start(setting, true);
        add_all_streams(setting, writer, summaries);
        finish(setting, writer);
        size_t size;
        uint8_t *bytes = fixture_load(setting->folder.image, &size);
        if (first == NULL) {
            first = bytes;
            first_size = size;
            continue;
        }
        assert_int_equal(size, first_size);
        assert_memory_equal(bytes, first, size);
        free(bytes);
    }
    free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(streams_of_every_layout_come_back_as_they_went_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_number_of_threads_gives_the_same_bytes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
