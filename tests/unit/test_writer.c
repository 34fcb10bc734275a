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
    static const uint64_t lengths[] = {3500000, 70001, 3500000,           4000,   1 << 20, 1,
                                       4500000, 0,     (3 << 20) + 12345, 3300000};
    for (size_t i = 0; i < 40; i++) {
        const struct entro_layout *layout = &layouts[i % 10];
        uint64_t length = i < 10 ? lengths[i] : lengths[i * 7 % 10] % 100000;
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

static uint32_t add(struct setting *setting, struct entro_writer *writer, const void *bytes, size_t size,
                    struct entro_stream_summary *summary)
{
    if (entro_writer_add_bytes(writer, "bytes", bytes, size, summary, &setting->message) != ENTRO_OK)
        fail_msg("%s", setting->message.text);
    return summary->stream;
}

static void equal_streams_are_stored_once(void **state)
{
    struct setting *setting = *state;
    struct entro_stream_summary first, second, other;
    struct entro_writer *writer = start(setting, false);
    struct pattern pattern = PATTERN(5, 1);
    const struct entro_producer producer = {&pattern, produce};
    const struct entro_layout pairs = {2, 0, 2, {1, 1}};
    assert_int_equal(
        entro_writer_add_stream(writer, "first", 100000, &entro_layout_bytes, &producer, &first, NULL),
        ENTRO_OK);
    assert_int_equal(atomic_load(&pattern.produced), 200000);
    assert_int_equal(
        entro_writer_add_stream(writer, "second", 100000, &entro_layout_bytes, &producer, &second, NULL),
        ENTRO_OK);
    /* Counted, but not made a second time. */
    assert_int_equal(atomic_load(&pattern.produced), 300000);
    assert_int_equal(entro_writer_add_stream(writer, "other", 100000, &pairs, &producer, &other, NULL),
                     ENTRO_OK);
    assert_false(first.shared);
    assert_true(second.shared);
    assert_int_equal(second.stream, first.stream);
    assert_int_equal(second.stored_bytes, first.stored_bytes);
    /* Another layout is another stream. */
    assert_false(other.shared);
    assert_int_not_equal(other.stream, first.stream);
    finish(setting, writer);
    struct entro_image *image = open_image(setting);
    assert_int_equal(entro_image_info(image)->n_streams, 2);
    entro_image_close(image);
}

static void equal_codebooks_are_stored_once(void **state)
{
    struct setting *setting = *state;
    struct entro_stream_summary first, second;
    struct entro_writer *writer = start(setting, false);
    /* The same counts in another order. */
    uint8_t bytes[30000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i % 7 * i % 5);
    add(setting, writer, bytes, sizeof bytes, &first);
    uint8_t swap = bytes[1];
    bytes[1] = bytes[2];
    bytes[2] = swap;
    add(setting, writer, bytes, sizeof bytes, &second);
    assert_false(second.shared);
    /* The first pays for the codebook. */
    assert_int_equal(first.stored_bytes - first.coded_bytes, second.stored_bytes - second.coded_bytes + 128);
    finish(setting, writer);
    struct entro_image *image = open_image(setting);
    assert_int_equal(entro_image_stream(image, 0)->planes[0].codebook, 0);
    assert_int_equal(entro_image_stream(image, 1)->planes[0].codebook, 0);
    assert_int_equal(entro_image_stream(image, 0)->stored_bytes, first.stored_bytes);
    assert_int_equal(entro_image_stream(image, 1)->stored_bytes, second.stored_bytes);
    entro_image_close(image);
}

static void a_codebook_that_costs_more_than_it_saves_is_dropped(void **state)
{
    struct setting *setting = *state;
    struct entro_stream_summary summary;
    struct entro_writer *writer = start(setting, false);
    uint8_t bytes[4096];
    /* 200 bytes of 4 symbols save about 150, 100 bytes about 75: less than the codebook costs. */
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i % 4 + i % 3);
    add(setting, writer, bytes, 100, &summary);
    assert_int_equal(summary.coded_bytes, 100);
    add(setting, writer, bytes, 1000, &summary);
    assert_true(summary.coded_bytes < 500);
    finish(setting, writer);
    struct entro_image *image = open_image(setting);
    assert_int_equal(entro_image_stream(image, 0)->planes[0].codebook, ENTRO_NONE);
    assert_int_not_equal(entro_image_stream(image, 1)->planes[0].codebook, ENTRO_NONE);
    entro_image_close(image);
}

static void noise_costs_no_more_than_itself_and_its_table(void **state)
{
    struct setting *setting = *state;
    struct entro_writer *writer = start(setting, false);
    struct pattern pattern = PATTERN(6, 0);
    const struct entro_producer producer = {&pattern, produce};
    struct entro_stream_summary summary;
    const uint64_t size = 3000000;
    assert_int_equal(
        entro_writer_add_stream(writer, "noise", size, &entro_layout_bytes, &producer, &summary, NULL),
        ENTRO_OK);
    assert_int_equal(summary.coded_bytes, size);
    assert_int_equal(summary.stored_bytes, size + 32 + 16 + 16 * ((size + 65535) / 65536));
    finish(setting, writer);
}

static void a_constant_stream_costs_a_byte_a_block(void **state)
{
    struct setting *setting = *state;
    struct entro_writer *writer = start(setting, false);
    struct pattern pattern = PATTERN(0, 3);
    const struct entro_producer producer = {&pattern, produce};
    struct entro_stream_summary summary;
    assert_int_equal(
        entro_writer_add_stream(writer, "constant", 10 << 20, &entro_layout_bytes, &producer, &summary, NULL),
        ENTRO_OK);
    assert_int_equal(summary.coded_bytes, 160);
    assert_true(summary.entropy_bits == 0);
    finish(setting, writer);
}

/* After a failure: the writer takes nothing more and the folder is as it was. */
static void check_nothing_is_left(struct setting *setting, struct entro_writer *writer, unsigned n_entries)
{
    uint64_t image_bytes;
    struct entro_stream_summary summary;
    assert_int_equal(entro_writer_finish(writer, &image_bytes, &setting->message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(entro_writer_add_bytes(writer, "more", "x", 1, &summary, &setting->message),
                     ENTRO_ERROR_ARGUMENT);
    entro_writer_free(writer);
    assert_int_equal(fixture_folder_entries(&setting->folder), n_entries);
}

static void an_error_of_the_producer_is_handed_up_and_nothing_is_left(void **state)
{
    struct setting *setting = *state;
    /* In the first pass, in the second pass, and at its last chunk. */
    const uint64_t places[] = {0, 5 << 20, 9 << 20, 19 << 20};
    for (size_t i = 0; i < 4; i++) {
        struct entro_writer *writer = start(setting, false);
        struct pattern pattern = PATTERN(1, 1);
        const struct entro_producer producer = {&pattern, produce};
        struct entro_stream_summary summary;
        pattern.fails_at = places[i];
        pattern.error = i % 2 == 0 ? ENTRO_ERROR_CANCELLED : ENTRO_ERROR_IO;
        assert_int_equal(entro_writer_add_stream(writer, "stream", 10 << 20, &entro_layout_bytes, &producer,
                                                 &summary, &setting->message),
                         pattern.error);
        assert_string_equal(setting->message.text, "the source says no");
        check_nothing_is_left(setting, writer, 0);
    }
}

static void a_source_that_changes_is_noticed(void **state)
{
    struct setting *setting = *state;
    struct entro_writer *writer = start(setting, false);
    struct pattern pattern = PATTERN(1, 1);
    const struct entro_producer producer = {&pattern, produce};
    struct entro_stream_summary summary;
    pattern.fails_at = 15 << 20; /* in the middle of the second pass */
    assert_int_equal(entro_writer_add_stream(writer, "model.bin", 10 << 20, &entro_layout_bytes, &producer,
                                             &summary, &setting->message),
                     ENTRO_ERROR_IO);
    assert_non_null(strstr(setting->message.text, "model.bin: changed while it was being read"));
    check_nothing_is_left(setting, writer, 0);
}

static void a_file_that_cannot_grow_is_an_error_and_nothing_is_left(void **state)
{
    struct setting *setting = *state;
    struct rlimit before, limit;
    assert_return_code(getrlimit(RLIMIT_FSIZE, &before), errno);
    signal(SIGXFSZ, SIG_IGN);
    limit = before;
    /* In the streams, in the index, and (the index being there) in nothing: the superblock comes last, but at
     * the front. */
    for (unsigned i = 0; i < 2; i++) {
        struct entro_writer *writer = start(setting, false);
        struct pattern pattern = PATTERN(1, 0);
        const struct entro_producer producer = {&pattern, produce};
        struct entro_stream_summary summary;
        uint64_t image_bytes;
        limit.rlim_cur = i == 0 ? 500000 : 1004200;
        assert_return_code(setrlimit(RLIMIT_FSIZE, &limit), errno);
        enum entro_error error = entro_writer_add_stream(writer, "stream", 1000000, &entro_layout_bytes,
                                                         &producer, &summary, &setting->message);
        if (i == 1) {
            assert_int_equal(error, ENTRO_OK);
            error = entro_writer_finish(writer, &image_bytes, &setting->message);
        }
        assert_return_code(setrlimit(RLIMIT_FSIZE, &before), errno);
        assert_int_equal(error, ENTRO_ERROR_IO);
        assert_non_null(strstr(setting->message.text, setting->folder.image));
        assert_non_null(strstr(setting->message.text, "File too large"));
        check_nothing_is_left(setting, writer, 0);
    }
    signal(SIGXFSZ, SIG_DFL);
}

static void a_file_that_is_there_is_not_replaced_unless_asked(void **state)
{
    struct setting *setting = *state;
    struct entro_writer *writer;
    uint64_t image_bytes;
    /* There before. */
    fixture_store(setting->folder.image, "precious", 8);
    assert_int_equal(entro_writer_create(&writer, setting->folder.image, false, ENTRO_SOURCE_GGUF,
                                         setting->pool, &setting->message),
                     ENTRO_ERROR_EXISTS);
    assert_null(writer);
    assert_int_equal(fixture_folder_entries(&setting->folder), 1);
    /* Comes while we write. */
    assert_return_code(unlink(setting->folder.image), errno);
    writer = start(setting, false);
    fixture_store(setting->folder.image, "precious", 8);
    assert_int_equal(entro_writer_finish(writer, &image_bytes, &setting->message), ENTRO_ERROR_EXISTS);
    entro_writer_free(writer);
    assert_int_equal(fixture_folder_entries(&setting->folder), 1);
    size_t size;
    uint8_t *bytes = fixture_load(setting->folder.image, &size);
    assert_int_equal(size, 8);
    assert_memory_equal(bytes, "precious", 8);
    free(bytes);
    /* Asked. Until the end the old file is there. */
    writer = start(setting, true);
    assert_int_equal(fixture_folder_entries(&setting->folder), 2);
    finish(setting, writer);
    assert_int_equal(fixture_folder_entries(&setting->folder), 1);
    entro_image_close(open_image(setting));
}

static void an_image_abandoned_before_its_end_leaves_the_old_one(void **state)
{
    struct setting *setting = *state;
    fixture_store(setting->folder.image, "precious", 8);
    struct entro_writer *writer = start(setting, true);
    struct entro_stream_summary summary;
    add(setting, writer, "abc", 3, &summary);
    entro_writer_free(writer);
    entro_writer_free(NULL);
    assert_int_equal(fixture_folder_entries(&setting->folder), 1);
    struct stat status;
    assert_return_code(stat(setting->folder.image, &status), errno);
    assert_int_equal(status.st_size, 8);
}

static void an_image_has_the_mode_that_the_umask_leaves(void **state)
{
    struct setting *setting = *state;
    mode_t before = umask(027);
    finish(setting, start(setting, false));
    umask(before);
    struct stat status;
    assert_return_code(stat(setting->folder.image, &status), errno);
    assert_int_equal(status.st_mode & 0777, 0640);
}

static void targets_that_are_no_files_are_refused(void **state)
{
    struct setting *setting = *state;
    const char *const paths[] = {"", "/", ".", "..", "/tmp/", "/nonexistent/folder/image"};
    struct entro_writer *writer;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        enum entro_error error =
            entro_writer_create(&writer, paths[i], true, ENTRO_SOURCE_GGUF, setting->pool, &setting->message);
        assert_int_equal(error, i < 5 ? ENTRO_ERROR_ARGUMENT : ENTRO_ERROR_IO);
        assert_null(writer);
    }
    assert_int_equal(entro_writer_create(&writer, setting->folder.path, true, ENTRO_SOURCE_GGUF,
                                         setting->pool, &setting->message),
                     ENTRO_ERROR_ARGUMENT);
}

static struct entro_tensor u8_tensor(const char *name, uint32_t stream)
{
    return (struct entro_tensor){.name = name,
                                 .dtype = ENTRO_DTYPE_BF16,
                                 .scheme = ENTRO_SCHEME_ASYMMETRIC,
                                 .bits = 8,
                                 .rank = 2,
                                 .shape = {4, 32},
                                 .stream = stream,
                                 .row_scale = ENTRO_NONE,
                                 .column_scale = ENTRO_NONE,
                                 .outliers = ENTRO_NONE,
                                 .scale = 0.5F,
                                 .zero_point = 100,
                                 .entropy_bits = 4,
                                 .snr_db = 30};
}

static void views_follow_their_tensors_when_these_are_sorted(void **state)
{
    struct setting *setting = *state;
    static const char *const names[] = {"zebra", "ant", "model.layers.10.weight", "model.layers.2.weight",
                                        "\xff\xfe"};
    struct entro_writer *writer = start(setting, false);
    uint32_t numbers[5];
    for (unsigned i = 0; i < 5; i++) {
        struct entro_stream_summary summary;
        uint8_t codes[128];
        memset(codes, (int)i, sizeof codes);
        struct entro_tensor tensor = u8_tensor(names[i], add(setting, writer, codes, sizeof codes, &summary));
        assert_int_equal(entro_writer_add_tensor(writer, &tensor, &numbers[i], &setting->message), ENTRO_OK);
        assert_int_equal(numbers[i], i);
    }
    for (unsigned i = 0; i < 5; i++) {
        char path[16];
        snprintf(path, sizeof path, "file-%u", 9 - i);
        const struct entro_extent extent = {
            .kind = ENTRO_EXTENT_VIEW, .dtype = ENTRO_DTYPE_F32, .reference = numbers[i], .size_bytes = 512};
        assert_int_equal(entro_writer_add_file(writer, path, &extent, 1, &setting->message), ENTRO_OK);
    }
    finish(setting, writer);
    struct entro_image *image = open_image(setting);
    for (uint32_t i = 0; i < 5; i++) {
        const struct entro_file *file = entro_image_file(image, i);
        assert_int_equal(file->path[5], '5' + i);
        assert_string_equal(entro_image_tensor(image, file->extents[0].reference)->name, names[4 - i]);
        if (i > 0)
            assert_true(strcmp(entro_image_tensor(image, i - 1)->name, entro_image_tensor(image, i)->name) <
                        0);
    }
    entro_image_close(image);
}

static void tensors_that_a_reader_would_refuse_are_refused(void **state)
{
    struct setting *setting = *state;
    struct entro_stream_summary summary;
    struct entro_writer *writer = start(setting, false);
    uint8_t codes[256] = {0};
    char long_name[302];
    uint32_t stream = add(setting, writer, codes, 128, &summary), number;
    uint32_t other = add(setting, writer, codes, 256, &summary);
    memset(long_name, 'n', 300);
    long_name[300] = '\0';
    struct entro_tensor bad[20];
    size_t n = 0;
    for (size_t i = 0; i < 20; i++)
        bad[i] = u8_tensor("tensor", stream);
    bad[n++].name = "";
    bad[n++].name = ".";
    bad[n++].name = "..";
    bad[n++].name = "a/b";
    bad[n++].name = long_name;
    bad[n++].dtype = ENTRO_DTYPE_NONE;
    bad[n++].scheme = (enum entro_scheme)7;
    bad[n++].bits = 3;
    bad[n++].bits = 4;
    bad[n++].rank = 9;
    bad[n++].shape[1] = 33;
    bad[n++].stream = other;
    bad[n++].stream = 2;
    bad[n++].scale = 0;
    bad[n++].scale = NAN;
    bad[n++].zero_point = 256;
    bad[n++].snr_db = NAN;
    bad[n++].entropy_bits = -1;
    bad[n++].row_scale = stream;
    bad[n].scheme = ENTRO_SCHEME_BALANCED;
    bad[n++].outliers = stream;
    for (size_t i = 0; i < n; i++) {
        setting->message.text[0] = '\0';
        if (entro_writer_add_tensor(writer, &bad[i], &number, &setting->message) != ENTRO_ERROR_ARGUMENT)
            fail_msg("tensor %zu was taken", i);
        assert_true(strlen(setting->message.text) > 10);
    }
    finish(setting, writer);
    struct entro_image *image = open_image(setting);
    assert_int_equal(entro_image_info(image)->n_tensors, 0);
    entro_image_close(image);
}

static void files_that_a_reader_would_refuse_are_refused(void **state)
{
    struct setting *setting = *state;
    static const char *const paths[] = {
        "",      "/a",      "a/",    "a//b",         ".",   "..",       "a/../b",
        "a/./b", "tensors", "npy/x", "tensors.json", "../", "tensors/x"};
    struct entro_stream_summary summary;
    struct entro_writer *writer = start(setting, false);
    uint32_t stream = add(setting, writer, "abcdef", 6, &summary);
    char part[300];
    memset(part, 'p', 299);
    part[299] = '\0';
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(entro_writer_add_file(writer, paths[i], NULL, 0, &setting->message),
                         ENTRO_ERROR_ARGUMENT);
    assert_int_equal(entro_writer_add_file(writer, part, NULL, 0, &setting->message), ENTRO_ERROR_ARGUMENT);
    const struct entro_extent extents[] = {
        {.kind = ENTRO_EXTENT_STREAM, .reference = stream + 1, .size_bytes = 1},
        {.kind = ENTRO_EXTENT_STREAM, .reference = stream, .size_bytes = 7},
        {.kind = ENTRO_EXTENT_STREAM, .reference = stream, .offset = 6, .size_bytes = 1},
        {.kind = ENTRO_EXTENT_STREAM, .reference = stream, .offset = UINT64_MAX, .size_bytes = 2},
        {.kind = ENTRO_EXTENT_VIEW, .dtype = ENTRO_DTYPE_F32, .reference = 0, .size_bytes = 6},
    };
    for (size_t i = 0; i < sizeof extents / sizeof extents[0]; i++)
        assert_int_equal(entro_writer_add_file(writer, "file", &extents[i], 1, &setting->message),
                         ENTRO_ERROR_ARGUMENT);
    /* Names that only look like those of a mount. */
    assert_int_equal(entro_writer_add_file(writer, "sub/tensors", NULL, 0, &setting->message), ENTRO_OK);
    assert_int_equal(entro_writer_add_file(writer, "tensors.json.bak", NULL, 0, &setting->message), ENTRO_OK);
    finish(setting, writer);
}

static void names_that_collide_are_refused_in_the_end(void **state)
{
    struct setting *setting = *state;
    static const char *const pairs[][3] = {
        {"a", "a", "there twice"},
        {"a", "a/b", "a folder of \"a/b\" is also a file"},
        {"x/y", "x/y/z/w", "a folder of \"x/y/z/w\" is also a file"},
    };
    for (size_t i = 0; i < 3; i++) {
        struct entro_writer *writer = start(setting, false);
        uint64_t image_bytes;
        /* Others that sort between them must not hide it. */
        for (unsigned k = 0; k < 2; k++)
            assert_int_equal(entro_writer_add_file(writer, pairs[i][1 - k], NULL, 0, NULL), ENTRO_OK);
        assert_int_equal(entro_writer_add_file(writer, "a-b", NULL, 0, NULL), ENTRO_OK);
        assert_int_equal(entro_writer_add_file(writer, "x/y-", NULL, 0, NULL), ENTRO_OK);
        assert_int_equal(entro_writer_finish(writer, &image_bytes, &setting->message), ENTRO_ERROR_ARGUMENT);
        if (strstr(setting->message.text, pairs[i][2]) == NULL)
            fail_msg("%s", setting->message.text);
        entro_writer_free(writer);
        assert_int_equal(fixture_folder_entries(&setting->folder), 0);
    }
    struct entro_writer *writer = start(setting, false);
    struct entro_stream_summary summary;
    uint8_t codes[128] = {0};
    uint64_t image_bytes;
    uint32_t number;
    struct entro_tensor tensor = u8_tensor("twin", add(setting, writer, codes, 128, &summary));
    assert_int_equal(entro_writer_add_tensor(writer, &tensor, &number, NULL), ENTRO_OK);
    assert_int_equal(entro_writer_add_tensor(writer, &tensor, &number, NULL), ENTRO_OK);
    assert_int_equal(entro_writer_finish(writer, &image_bytes, &setting->message), ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(setting->message.text, "tensor \"twin\" is there twice"));
    entro_writer_free(writer);
    assert_int_equal(fixture_folder_entries(&setting->folder), 0);
}

static void an_image_of_nothing_is_an_image(void **state)
{
    struct setting *setting = *state;
    finish(setting, start(setting, false));
    struct entro_image *image = open_image(setting);
    assert_int_equal(entro_image_info(image)->n_files, 0);
    assert_int_equal(entro_image_info(image)->image_bytes, 4096);
    entro_image_close(image);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(streams_of_every_layout_come_back_as_they_went_in),
        TEST(any_number_of_threads_gives_the_same_bytes),
        TEST(equal_streams_are_stored_once),
        TEST(equal_codebooks_are_stored_once),
        TEST(a_codebook_that_costs_more_than_it_saves_is_dropped),
        TEST(noise_costs_no_more_than_itself_and_its_table),
        TEST(a_constant_stream_costs_a_byte_a_block),
        TEST(an_error_of_the_producer_is_handed_up_and_nothing_is_left),
        TEST(a_source_that_changes_is_noticed),
        TEST(a_file_that_cannot_grow_is_an_error_and_nothing_is_left),
        TEST(a_file_that_is_there_is_not_replaced_unless_asked),
        TEST(an_image_abandoned_before_its_end_leaves_the_old_one),
        TEST(an_image_has_the_mode_that_the_umask_leaves),
        TEST(targets_that_are_no_files_are_refused),
        TEST(views_follow_their_tensors_when_these_are_sorted),
        TEST(tensors_that_a_reader_would_refuse_are_refused),
        TEST(files_that_a_reader_would_refuse_are_refused),
        TEST(names_that_collide_are_refused_in_the_end),
        TEST(an_image_of_nothing_is_an_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
