/* The read path against the bytes that the image was made from, for ranges of all kinds, caches of all sizes,
 * and damaged images. */
#include "tests/unit/test_fs_image.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "codec/bus_guard.h"
#include "fs/namespace.h"
#include "fs/reader.h"
#include "fs/reader_internal.h"

struct opened {
    struct entro_image *image;
    struct entro_namespace *names;
    struct entro_reader *reader;
    atomic_uint n_reports;
    char report[1024]; /* the last one; read when nobody reads the image any more */
};

static void on_report(void *context, const char *line)
{
    struct opened *opened = context;
    atomic_fetch_add(&opened->n_reports, 1);
    snprintf(opened->report, sizeof opened->report, "%s", line);
}

static void open_reader(struct opened *opened, const char *path, size_t cache_bytes)
{
    struct entro_message message = {{0}};
    *opened = (struct opened){0};
    if (entro_image_open(&opened->image, path, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    if (entro_namespace_create(&opened->names, opened->image, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    assert_int_equal(entro_reader_create(&opened->reader, opened->names, cache_bytes,
                                         (struct entro_report){on_report, opened}),
                     ENTRO_OK);
}

static void close_reader(struct opened *opened)
{
    entro_reader_free(opened->reader);
    entro_namespace_free(opened->names);
    entro_image_close(opened->image);
}

static void check_range(struct opened *opened, const struct expected_file *file, uint64_t offset, size_t size)
{
    const struct entro_node *node = entro_namespace_find(opened->names, file->path);
    assert_non_null(node);
    assert_int_equal(node->size_bytes, file->size);
    size_t n_expected =
        offset >= file->size ? 0 : (file->size - offset < size ? file->size - (size_t)offset : size);
    uint8_t *bytes = malloc(n_expected + 8);
    memset(bytes + n_expected, 0xa5, 8);
    size_t n_read;
    struct entro_message message = {{0}};
    if (entro_reader_read(opened->reader, node, offset, size, bytes, &n_read, &message) != ENTRO_OK)
        fail_msg("%s at %llu: %s", file->path, (unsigned long long)offset, message.text);
    assert_int_equal(n_read, n_expected);
    if (n_expected > 0 && memcmp(bytes, file->bytes + offset, n_expected) != 0)
        fail_msg("%s at %llu, %zu bytes: wrong bytes", file->path, (unsigned long long)offset, size);
    assert_int_equal(entro_load_u64(bytes + n_expected), 0xa5a5a5a5a5a5a5a5U);
    free(bytes);
}

static void check_all_files(struct opened *opened, const struct test_image *image)
{
    static const size_t sizes[] = {1, 7, 4096, 4099, 65536, 131072, 1 << 20};
    uint32_t state = 99;
    for (size_t i = 0; i < image->n_files; i++) {
        const struct expected_file *file = &image->files[i];
        check_range(opened, file, 0, file->size + 100);
        check_range(opened, file, file->size, 10);
        check_range(opened, file, UINT64_MAX, 10);
        check_range(opened, file, 0, 0);
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (unsigned k = 0; k < 2; k++) {
                state = state * 1664525U + 1013904223U;
                check_range(opened, file, file->size == 0 ? 0 : state % file->size, sizes[s]);
            }
        for (uint64_t offset = 0; offset < file->size; offset += 131072)
            check_range(opened, file, offset, 131072);
    }
}

static void every_range_of_every_file_is_right(void **state)
{
    (void)state;
    static const struct {
        unsigned block_log2;
        size_t cache_bytes;
    } cases[] = {
        {ENTRO_BLOCK_LOG2_MIN, 0},         {ENTRO_BLOCK_LOG2_MIN, 70000}, {ENTRO_BLOCK_LOG2_DEFAULT, 1},
        {ENTRO_BLOCK_LOG2_DEFAULT, 70000}, {ENTRO_BLOCK_LOG2_MAX, 0},     {ENTRO_BLOCK_LOG2_MAX, 32 << 20},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test_image image;
        struct opened opened;
        test_image_make(&image, cases[i].block_log2);
        open_reader(&opened, image.path, cases[i].cache_bytes);
        check_all_files(&opened, &image);
        assert_int_equal(opened.n_reports, 0);
        close_reader(&opened);
        test_image_free(&image);
    }
}

struct reading {
    struct opened *opened;
    const struct test_image *image;
};

static void *read_everything(void *context)
{
    struct reading *reading = context;
    for (size_t i = 0; i < reading->image->n_files; i++)
        for (uint64_t offset = 0; offset < reading->image->files[i].size; offset += 50000)
            check_range(reading->opened, &reading->image->files[i], offset, 60000);
    return NULL;
}

static void many_threads_read_the_same_bytes(void **state)
{
    (void)state;
    struct test_image image;
    struct opened opened;
    test_image_make(&image, 14);
    open_reader(&opened, image.path, 100000);
    struct reading reading = {&opened, &image};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_everything, &reading), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    close_reader(&opened);
    test_image_free(&image);
}

static void a_block_of_which_a_second_part_is_wanted_is_decoded_once(void **state)
{
    (void)state;
    struct test_image image;
    struct opened opened;
    test_image_make(&image, 16);
    open_reader(&opened, image.path, 32 << 20);
    const struct expected_file *file = test_expected(&image, "sub/other.bin");
    for (uint64_t offset = 0; offset < 65536; offset += 4096)
        check_range(&opened, file, offset, 4096);
    const struct entro_stats *stats = entro_reader_stats(opened.reader);
    assert_int_equal(stats->blocks_partial, 1);
    assert_int_equal(stats->blocks_decoded, 1);
    assert_int_equal(stats->cache_hits, 14);
    close_reader(&opened);
    test_image_free(&image);
}

/* Of every block of every file something at an odd place: no block is decoded as a whole, also under views
 * and of several planes. */
static void small_reads_here_and_there_decode_what_they_want_alone(void **state)
{
    (void)state;
    struct test_image image;
    test_image_make(&image, 16);
    assert_true(entro_bus_guard_install());
    for (unsigned round = 0; round < 6; round++) {
        for (size_t i = 0; i < image.n_files; i++) {
            const struct expected_file *file = &image.files[i];
            struct opened opened;
            open_reader(&opened, image.path, 32 << 20);
            if (round % 2 != 0) { /* parts are decoded where they lie in memory */
                struct entro_message message;
                assert_true(entro_image_map(opened.image));
                assert_int_equal(entro_image_lock(opened.image, &message), ENTRO_OK);
            }
            unsigned n_reads = 0;
            uint64_t n_bytes = 0;
            /* Apart enough that no two reads want the same block of a plane. */
            for (uint64_t offset = 4321 + 3001 * round; offset + 3000 <= file->size; offset += 600000) {
                check_range(&opened, file, offset, 2000 + 100 * round);
                n_bytes += 2000 + 100 * round;
                n_reads++;
            }
            const struct entro_stats *stats = entro_reader_stats(opened.reader);
            bool is_raw = strncmp(file->path, "tensors/", 8) == 0 || strncmp(file->path, "sub/", 4) == 0;
            if (is_raw && file->size > 65536) {
                assert_int_equal(stats->blocks_decoded, 0);
                assert_true(stats->blocks_partial >= n_reads && n_reads > 0);
                assert_true(stats->bytes_partial >= n_bytes);
            } else if (strcmp(file->path, "d.bf16") == 0) { /* a header, no factors */
                assert_int_equal(stats->blocks_decoded, 0);
                assert_int_equal(stats->blocks_partial, n_reads);
            }
            close_reader(&opened);
        }
    }
    test_image_free(&image);
}

/* As check_range, by the daemon's way. */
static void check_reply(struct opened *opened, const struct expected_file *file, uint64_t offset, size_t size)
{
    const struct entro_node *node = entro_namespace_find(opened->names, file->path);
    size_t n_expected = file->size - offset < size ? file->size - (size_t)offset : size;
    struct entro_reply reply;
    assert_int_equal(entro_reader_serve(opened->reader, node, offset, size, &reply), ENTRO_OK);
    assert_int_equal(reply.size_bytes, n_expected);
    if (n_expected > 0 && memcmp(reply.bytes, file->bytes + offset, n_expected) != 0)
        fail_msg("%s at %llu, %zu bytes: wrong bytes", file->path, (unsigned long long)offset, size);
    entro_reader_done(opened->reader, &reply);
}

/* Four processors and decoding that seems to take for ever: helpers are asked for whatever there is. */
static void start_with_helpers(struct opened *opened)
{
    opened->reader->n_processors = 4;
    assert_int_equal(entro_reader_start(opened->reader), ENTRO_OK);
}

struct serving {
    struct opened *opened;
    const struct test_image *image;
    size_t request_bytes;
};

static void *serve_everything(void *context)
{
    struct serving *serving = context;
    for (size_t i = 0; i < serving->image->n_files; i++)
        for (uint64_t offset = 0; offset < serving->image->files[i].size; offset += serving->request_bytes) {
            atomic_store(&serving->opened->reader->ns_per_kib, 1000000);
            check_reply(serving->opened, &serving->image->files[i], offset, serving->request_bytes);
        }
    return NULL;
}

static void helpers_and_prefetch_change_no_byte(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 4; k++) {
        struct test_image image;
        struct opened opened;
        test_image_make(&image, k % 2 == 0 ? ENTRO_BLOCK_LOG2_MIN : ENTRO_BLOCK_LOG2_DEFAULT);
        open_reader(&opened, image.path, k < 2 ? 1 << 20 : 0);
        assert_true(entro_bus_guard_install());
        assert_true(entro_image_map(opened.image));
        start_with_helpers(&opened);
        assert_int_equal(entro_reader_prefetch(opened.reader, 100000), k < 2 ? 100000 : 0);
        pthread_t threads[3];
        struct serving serving[3];
        for (size_t i = 0; i < 3; i++) {
            serving[i] = (struct serving){&opened, &image, (size_t)30011 << 2 * i};
            assert_int_equal(pthread_create(&threads[i], NULL, serve_everything, &serving[i]), 0);
        }
        for (size_t i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(opened.n_reports, 0);
        assert_int_equal(entro_reader_stats(opened.reader)->requests_failed, 0);
        close_reader(&opened);
        test_image_free(&image);
    }
}

static void large_requests_are_spread_over_helpers(void **state)
{
    (void)state;
    struct test_image image;
    struct opened opened;
    test_image_make(&image, ENTRO_BLOCK_LOG2_MIN);
    open_reader(&opened, image.path, 0);
    start_with_helpers(&opened);
    struct serving serving = {&opened, &image, 1 << 20};
    for (unsigned i = 0; i < 200 && entro_reader_stats(opened.reader)->bytes_by_workers == 0; i++)
        serve_everything(&serving);
    assert_true(entro_reader_stats(opened.reader)->bytes_by_workers > 0);
    assert_int_equal(atomic_load(&opened.reader->n_active), 0);
    close_reader(&opened);
    test_image_free(&image);
}

struct one_block {
    struct opened *opened;
    const struct expected_file *file;
    pthread_barrier_t *begin;
    unsigned number;
    bool is_small; /* all reads are */
};

static void *read_one_block(void *context)
{
    struct one_block *one = context;
    pthread_barrier_wait(one->begin);
    if (one->number % 2 == 0 && !one->is_small)
        check_reply(one->opened, one->file, 65536, 65536);
    else
        check_reply(one->opened, one->file, 65536 + one->number % 16 * 4096, 4096);
    return NULL;
}

static void sixty_four_readers_of_one_block_cause_one_decode(void **state)
{
    (void)state;
    struct test_image image;
    test_image_make(&image, 16);
    for (unsigned round = 0; round < 20; round++) {
        struct opened opened;
        struct one_block ones[64];
        pthread_t threads[64];
        pthread_barrier_t begin;
        open_reader(&opened, image.path, ENTRO_CACHE_BYTES_DEFAULT);
        pthread_barrier_init(&begin, NULL, 64);
        for (unsigned i = 0; i < 64; i++) {
            ones[i] =
                (struct one_block){&opened, test_expected(&image, "tensors/d.u8"), &begin, i, round % 2 != 0};
            assert_int_equal(pthread_create(&threads[i], NULL, read_one_block, &ones[i]), 0);
        }
        for (unsigned i = 0; i < 64; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(entro_reader_stats(opened.reader)->blocks_decoded, 1);
        assert_true(entro_reader_stats(opened.reader)->blocks_partial <= 1);
        pthread_barrier_destroy(&begin);
        close_reader(&opened);
    }
    test_image_free(&image);
}

static void neighbouring_requests_decode_no_block_twice(void **state)
{
    (void)state;
    struct test_image image;
    struct opened opened;
    test_image_make(&image, 16);
    open_reader(&opened, image.path, ENTRO_CACHE_BYTES_DEFAULT);
    const struct expected_file *file = test_expected(&image, "tensors/d.u8");
    check_reply(&opened, file, 0, 10000); /* requests of more than two blocks that begin and end within one */
    for (uint64_t offset = 10000; offset < file->size; offset += 150000)
        check_reply(&opened, file, offset, 150000);
    assert_int_equal(entro_reader_stats(opened.reader)->blocks_decoded, (file->size + 65535) / 65536);
    close_reader(&opened);
    test_image_free(&image);
}

static void flip_byte(const char *path, uint64_t offset)
{
    int file = open(path, O_RDWR);
    uint8_t byte;
    assert_true(file >= 0);
    assert_int_equal(pread(file, &byte, 1, (off_t)offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(file, &byte, 1, (off_t)offset), 1);
    close(file);
}

/* The number of times that a node's bytes come from this stream, directly or as part of a view. */
static bool depends_on(const struct opened *opened, const struct entro_node *node, uint32_t stream)
{
    for (size_t i = 0; i < node->n_spans; i++) {
        const struct entro_span *span = &node->spans[i];
        if (span->kind == ENTRO_SPAN_STREAM && span->reference == stream)
            return true;
        if (span->kind != ENTRO_SPAN_VIEW)
            continue;
        const struct entro_tensor *tensor = entro_image_tensor(opened->image, span->reference);
        if (tensor->stream == stream || tensor->row_scale == stream || tensor->column_scale == stream ||
            tensor->outliers == stream)
            return true;
    }
    return false;
}

static enum entro_error read_whole(struct opened *opened, const struct expected_file *file, uint8_t *bytes)
{
    size_t n_read;
    const struct entro_node *node = entro_namespace_find(opened->names, file->path);
    return entro_reader_read(opened->reader, node, 0, file->size, bytes, &n_read, NULL);
}

static void a_flipped_byte_in_any_block_fails_exactly_the_files_of_its_stream(void **state)
{
    (void)state;
    struct test_image image;
    struct opened opened;
    test_image_make(&image, 15);
    open_reader(&opened, image.path, 0);
    uint32_t n_streams = entro_image_info(opened.image)->n_streams;
    close_reader(&opened);
    uint8_t *bytes = malloc(4 << 20);
    for (uint32_t s = 0; s < n_streams; s++) {
        open_reader(&opened, image.path, 0);
        const struct entro_stream *stream = entro_image_stream(opened.image, s);
        uint64_t offset = UINT64_MAX;
        if (stream->size_bytes > 0) {
            const struct entro_plane *plane = &stream->planes[stream->layout->n_fields - 1];
            struct entro_block_place place =
                entro_image_block_place(opened.image, plane, plane->n_blocks / 2);
            offset = place.offset + place.stored_bytes / 2;
            flip_byte(image.path, offset);
        }
        for (size_t i = 0; i < image.n_files; i++) {
            bool is_bad = offset != UINT64_MAX &&
                          depends_on(&opened, entro_namespace_find(opened.names, image.files[i].path), s);
            enum entro_error error = read_whole(&opened, &image.files[i], bytes);
            assert_int_equal(error, is_bad ? ENTRO_ERROR_CHECKSUM : ENTRO_OK);
            if (!is_bad)
                assert_memory_equal(bytes, image.files[i].bytes, image.files[i].size);
        }
        if (offset != UINT64_MAX)
            flip_byte(image.path, offset);
        close_reader(&opened);
    }
    free(bytes);
    test_image_free(&image);
}

static void a_bad_block_is_decoded_and_reported_once(void **state)
{
    (void)state;
    struct test_image image;
    struct opened opened;
    test_image_make(&image, 15);
    open_reader(&opened, image.path, 0);
    const struct entro_node *node = entro_namespace_find(opened.names, "tensors/d.u8");
    const struct entro_plane *plane = &entro_image_stream(opened.image, node->spans[0].reference)->planes[0];
    struct entro_block_place place = entro_image_block_place(opened.image, plane, 2);
    flip_byte(image.path, place.offset);
    uint8_t bytes[4096];
    size_t n_read;
    for (uint64_t offset = 65536; offset < 98304; offset += 4096)
        assert_int_equal(entro_reader_read(opened.reader, node, offset, 4096, bytes, &n_read, NULL),
                         ENTRO_ERROR_CHECKSUM);
    assert_int_equal(opened.n_reports, 1);
    assert_int_equal(entro_reader_stats(opened.reader)->blocks_failed, 1);
    assert_int_equal(entro_reader_stats(opened.reader)->requests_failed, 8);
    /* The line names file, tensor, block and place. */
    char offset_text[32];
    snprintf(offset_text, sizeof offset_text, "%llu", (unsigned long long)place.offset);
    assert_non_null(strstr(opened.report, "tensors/d.u8: tensor d.u8: block 2 of 10 "));
    assert_non_null(strstr(opened.report, offset_text));
    /* The blocks beside it are served. */
    const struct expected_file *file = test_expected(&image, "tensors/d.u8");
    check_range(&opened, file, 0, 65536);
    check_range(&opened, file, 98304, 65536);
    close_reader(&opened);
    test_image_free(&image);
}

static void check_truncated(bool is_mapped, bool is_touched)
{
    struct test_image image;
    struct opened opened;
    test_image_make(&image, 15);
    open_reader(&opened, image.path, 0);
    const struct expected_file *file = test_expected(&image, "tensors/d.u8");
    uint8_t *bytes = malloc(4 << 20);
    assert_true(entro_bus_guard_install()); /* cmocka has a handler of its own around each test */
    assert_true(!is_mapped || entro_image_map(opened.image));
    if (is_touched)
        assert_int_equal(read_whole(&opened, file, bytes), ENTRO_OK);
    assert_int_equal(truncate(image.path, 5000), 0);
    assert_int_equal(read_whole(&opened, file, bytes), ENTRO_ERROR_IO);
    assert_non_null(strstr(opened.report, "it has been truncated"));
    free(bytes);
    close_reader(&opened);
    test_image_free(&image);
}

static void an_image_truncated_while_it_is_read_gives_an_io_error(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        check_truncated((i & 1) != 0, (i & 2) != 0);
}

static void an_image_that_others_may_write_to_is_not_decoded_where_it_lies(void **state)
{
    (void)state;
    struct test_image image;
    struct opened opened;
    test_image_make(&image, 15);
    assert_true(entro_bus_guard_install());
    for (unsigned i = 0; i < 3; i++) {
        static const mode_t modes[] = {0644, 0664, 0646};
        assert_int_equal(chmod(image.path, modes[i]), 0);
        open_reader(&opened, image.path, 0);
        assert_int_equal(entro_image_map(opened.image), i == 0);
        check_range(&opened, test_expected(&image, "tensors/d.u8"), 100, 200000);
        close_reader(&opened);
    }
    test_image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_range_of_every_file_is_right),
        cmocka_unit_test(many_threads_read_the_same_bytes),
        cmocka_unit_test(a_block_of_which_a_second_part_is_wanted_is_decoded_once),
        cmocka_unit_test(small_reads_here_and_there_decode_what_they_want_alone),
        cmocka_unit_test(helpers_and_prefetch_change_no_byte),
        cmocka_unit_test(large_requests_are_spread_over_helpers),
        cmocka_unit_test(sixty_four_readers_of_one_block_cause_one_decode),
        cmocka_unit_test(neighbouring_requests_decode_no_block_twice),
        cmocka_unit_test(a_flipped_byte_in_any_block_fails_exactly_the_files_of_its_stream),
        cmocka_unit_test(a_bad_block_is_decoded_and_reported_once),
        cmocka_unit_test(an_image_truncated_while_it_is_read_gives_an_io_error),
        cmocka_unit_test(an_image_that_others_may_write_to_is_not_decoded_where_it_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
