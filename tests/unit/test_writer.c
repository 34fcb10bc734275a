/* The writer: what goes in comes out of a reader, in few bytes, and the same bytes for any number of threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <xxhash.h>

#include "writer_fixture.h"

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

/* The long ones are coded, the others are of all kinds. */
static struct pattern pattern_of(size_t i)
{
    static const unsigned kinds[] = {1, 2, 1, 0, 1, 3, 1, 0, 1, 1};
    return PATTERN(i, i < 10 ? kinds[i] : (unsigned)(i + i / 10) % 4);
}

/* A stream of each layout, content, block size and awkward length; some longer than a batch of one thread,
 * which is 3 MiB. */
static void add_all_streams(struct writer_setting *setting, struct entro_writer *writer,
                            struct entro_stream_summary *summaries)
{
    static const uint64_t lengths[] = {3500000, 70001, 3500000,           4000,   1 << 20, 1,
                                       4500000, 0,     (3 << 20) + 12345, 3300000};
    for (size_t i = 0; i < 40; i++) {
        const struct entro_layout *layout = &layouts[i % 10];
        uint64_t length = i < 10 ? lengths[i] : lengths[i * 7 % 10] % 100000;
        struct pattern pattern = pattern_of(i);
        const struct entro_producer producer = {.context = &pattern, .produce = pattern_produce};
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
        struct pattern pattern = pattern_of(i);
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
    struct writer_setting *setting = *state;
    struct entro_stream_summary summaries[40];
    struct entro_writer *writer = writer_start(setting, false);
    add_all_streams(setting, writer, summaries);
    writer_finish(setting, writer);
    struct entro_image *image = writer_open_image(setting);
    check_all_streams(image, summaries, &setting->message);
    entro_image_close(image);
}

static void any_number_of_threads_gives_the_same_bytes(void **state)
{
    struct writer_setting *setting = *state;
    struct entro_stream_summary summaries[40];
    uint8_t *first = NULL;
    size_t first_size = 0;
    for (unsigned n_threads = 1; n_threads <= 5; n_threads += 2) {
        entro_pool_free(setting->pool);
        assert_int_equal(entro_pool_create(&setting->pool, n_threads), ENTRO_OK);
        struct entro_writer *writer = writer_start(setting, true);
        add_all_streams(setting, writer, summaries);
        writer_finish(setting, writer);
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

static void equal_streams_are_stored_once(void **state)
{
    struct writer_setting *setting = *state;
    struct entro_stream_summary first, second, other;
    struct entro_writer *writer = writer_start(setting, false);
    struct pattern pattern = PATTERN(5, 1);
    const struct entro_producer producer = {.context = &pattern, .produce = pattern_produce};
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
    writer_finish(setting, writer);
    struct entro_image *image = writer_open_image(setting);
    assert_int_equal(entro_image_info(image)->n_streams, 2);
    entro_image_close(image);
}

static void equal_codebooks_are_stored_once(void **state)
{
    struct writer_setting *setting = *state;
    struct entro_stream_summary first, second;
    struct entro_writer *writer = writer_start(setting, false);
    /* The same counts in another order. */
    uint8_t bytes[30000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i % 7 * i % 5);
    writer_add(setting, writer, bytes, sizeof bytes, &first);
    uint8_t swap = bytes[1];
    bytes[1] = bytes[2];
    bytes[2] = swap;
    writer_add(setting, writer, bytes, sizeof bytes, &second);
    assert_false(second.shared);
    /* The first pays for the codebooks: the bytes have a pattern, and so has the root. */
    assert_int_equal(first.stored_bytes - first.coded_bytes,
                     second.stored_bytes - second.coded_bytes + 2 * 128);
    writer_finish(setting, writer);
    struct entro_image *image = writer_open_image(setting);
    assert_int_equal(entro_image_stream(image, 0)->planes[0].codebook, 0);
    assert_int_equal(entro_image_stream(image, 1)->planes[0].codebook, 0);
    assert_int_equal(entro_image_stream(image, 0)->planes[0].root_codebook, 1);
    assert_int_equal(entro_image_stream(image, 1)->planes[0].root_codebook, 1);
    assert_int_equal(entro_image_stream(image, 0)->stored_bytes, first.stored_bytes);
    assert_int_equal(entro_image_stream(image, 1)->stored_bytes, second.stored_bytes);
    entro_image_close(image);
}

static void a_codebook_that_costs_more_than_it_saves_is_dropped(void **state)
{
    struct writer_setting *setting = *state;
    struct entro_stream_summary summary;
    struct entro_writer *writer = writer_start(setting, false);
    uint8_t bytes[4096];
    /* 200 bytes of 4 symbols save about 150, 100 bytes about 75: less than the codebook costs. */
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i % 4 + i % 3);
    writer_add(setting, writer, bytes, 100, &summary);
    assert_int_equal(summary.coded_bytes, 100);
    writer_add(setting, writer, bytes, 1000, &summary);
    assert_true(summary.coded_bytes < 500);
    writer_finish(setting, writer);
    struct entro_image *image = writer_open_image(setting);
    assert_int_equal(entro_image_stream(image, 0)->planes[0].codebook, ENTRO_NONE);
    assert_int_not_equal(entro_image_stream(image, 1)->planes[0].codebook, ENTRO_NONE);
    entro_image_close(image);
}

static void noise_costs_no_more_than_itself_and_its_table(void **state)
{
    struct writer_setting *setting = *state;
    struct entro_writer *writer = writer_start(setting, false);
    struct pattern pattern = PATTERN(6, 0);
    const struct entro_producer producer = {.context = &pattern, .produce = pattern_produce};
    struct entro_stream_summary summary;
    const uint64_t size = 3000000;
    assert_int_equal(
        entro_writer_add_stream(writer, "noise", size, &entro_layout_bytes, &producer, &summary, NULL),
        ENTRO_OK);
    assert_int_equal(summary.coded_bytes, size);
    assert_int_equal(summary.stored_bytes, size + 32 + 24 + 16 * ((size + 65535) / 65536));
    writer_finish(setting, writer);
}

static void a_constant_stream_costs_a_byte_a_block(void **state)
{
    struct writer_setting *setting = *state;
    struct entro_writer *writer = writer_start(setting, false);
    struct pattern pattern = PATTERN(0, 3);
    const struct entro_producer producer = {.context = &pattern, .produce = pattern_produce};
    struct entro_stream_summary summary;
    assert_int_equal(
        entro_writer_add_stream(writer, "constant", 10 << 20, &entro_layout_bytes, &producer, &summary, NULL),
        ENTRO_OK);
    assert_int_equal(summary.coded_bytes, 160);
    assert_true(summary.entropy_bits == 0);
    writer_finish(setting, writer);
}

/* Also of a stream that is there already, which is not written again. */
static void bytes_are_counted_for_who_asks(void **state)
{
    struct writer_setting *setting = *state;
    struct entro_writer *writer = writer_start(setting, false);
    struct pattern pattern = PATTERN(4, 1);
    uint64_t counts[ENTRO_N_SYMBOLS] = {0}, expected[ENTRO_N_SYMBOLS] = {0};
    const struct entro_producer producer = {
        .context = &pattern, .produce = pattern_produce, .counts = counts};
    const uint64_t size = 2500000;
    for (uint64_t i = 0; i < size; i++)
        expected[pattern_byte(&pattern, i)]++;
    for (unsigned times = 1; times <= 2; times++) {
        struct entro_stream_summary summary;
        assert_int_equal(
            entro_writer_add_stream(writer, "codes", size, &entro_layout_bytes, &producer, &summary, NULL),
            ENTRO_OK);
        assert_int_equal(summary.shared, times == 2);
        for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
            assert_int_equal(counts[symbol], times * expected[symbol]);
    }
    writer_finish(setting, writer);
}

static void views_follow_their_tensors_when_these_are_sorted(void **state)
{
    struct writer_setting *setting = *state;
    static const char *const names[] = {"zebra", "ant", "model.layers.10.weight", "model.layers.2.weight",
                                        "\xc3\xbf"};
    struct entro_writer *writer = writer_start(setting, false);
    uint32_t numbers[5];
    for (unsigned i = 0; i < 5; i++) {
        struct entro_stream_summary summary;
        uint8_t codes[128];
        memset(codes, (int)i, sizeof codes);
        struct entro_tensor tensor =
            writer_u8_tensor(names[i], writer_add(setting, writer, codes, sizeof codes, &summary));
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
    writer_finish(setting, writer);
    struct entro_image *image = writer_open_image(setting);
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

static void an_image_of_nothing_is_an_image(void **state)
{
    struct writer_setting *setting = *state;
    writer_finish(setting, writer_start(setting, false));
    struct entro_image *image = writer_open_image(setting);
    assert_int_equal(entro_image_info(image)->n_files, 0);
    assert_int_equal(entro_image_info(image)->image_bytes, 4096);
    entro_image_close(image);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, writer_set_up, writer_tear_down)

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
        TEST(bytes_are_counted_for_who_asks),
        TEST(views_follow_their_tensors_when_these_are_sorted),
        TEST(an_image_of_nothing_is_an_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
