/* The writer when something is wrong: what a reader would refuse is refused, and nothing is left behind. */
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "writer_fixture.h"

/* After a failure: the writer takes nothing more and the folder is as it was. */
static void check_nothing_is_left(struct writer_setting *setting, struct entro_writer *writer,
                                  unsigned n_entries)
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
    struct writer_setting *setting = *state;
    /* At the start, in the middle and at the end of the first pass, and at the end of the second. */
    const uint64_t places[] = {0, 5 << 20, 9 << 20, 19 << 20};
    for (size_t i = 0; i < 4; i++) {
        struct entro_writer *writer = writer_start(setting, false);
        struct pattern pattern = PATTERN(1, 1);
        const struct entro_producer producer = {.context = &pattern, .produce = pattern_produce};
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
    struct writer_setting *setting = *state;
    struct entro_writer *writer = writer_start(setting, false);
    struct pattern pattern = PATTERN(1, 1);
    const struct entro_producer producer = {.context = &pattern, .produce = pattern_produce};
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
    struct writer_setting *setting = *state;
    struct rlimit before, limit;
    assert_return_code(getrlimit(RLIMIT_FSIZE, &before), errno);
    signal(SIGXFSZ, SIG_IGN);
    limit = before;
    /* In a stream, then in the index. */
    for (unsigned i = 0; i < 2; i++) {
        struct entro_writer *writer = writer_start(setting, false);
        struct pattern pattern = PATTERN(1, 0);
        const struct entro_producer producer = {.context = &pattern, .produce = pattern_produce};
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
    struct writer_setting *setting = *state;
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
    writer = writer_start(setting, false);
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
    writer = writer_start(setting, true);
    assert_int_equal(fixture_folder_entries(&setting->folder), 2);
    writer_finish(setting, writer);
    assert_int_equal(fixture_folder_entries(&setting->folder), 1);
    entro_image_close(writer_open_image(setting));
}

static void an_image_abandoned_before_its_end_leaves_the_old_one(void **state)
{
    struct writer_setting *setting = *state;
    fixture_store(setting->folder.image, "precious", 8);
    struct entro_writer *writer = writer_start(setting, true);
    struct entro_stream_summary summary;
    writer_add(setting, writer, "abc", 3, &summary);
    entro_writer_free(writer);
    entro_writer_free(NULL);
    assert_int_equal(fixture_folder_entries(&setting->folder), 1);
    struct stat status;
    assert_return_code(stat(setting->folder.image, &status), errno);
    assert_int_equal(status.st_size, 8);
}

static void an_image_has_the_mode_that_the_umask_leaves(void **state)
{
    struct writer_setting *setting = *state;
    mode_t before = umask(027);
    writer_finish(setting, writer_start(setting, false));
    umask(before);
    struct stat status;
    assert_return_code(stat(setting->folder.image, &status), errno);
    assert_int_equal(status.st_mode & 0777, 0640);
}

static void targets_that_are_no_files_are_refused(void **state)
{
    struct writer_setting *setting = *state;
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

static void tensors_that_a_reader_would_refuse_are_refused(void **state)
{
    struct writer_setting *setting = *state;
    struct entro_stream_summary summary;
    struct entro_writer *writer = writer_start(setting, false);
    uint8_t codes[256] = {0};
    char long_name[302];
    uint32_t stream = writer_add(setting, writer, codes, 128, &summary), number;
    uint32_t other = writer_add(setting, writer, codes, 256, &summary);
    memset(long_name, 'n', 300);
    long_name[300] = '\0';
    struct entro_tensor bad[20];
    size_t n = 0;
    for (size_t i = 0; i < 20; i++)
        bad[i] = writer_u8_tensor("tensor", stream);
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
    writer_finish(setting, writer);
    struct entro_image *image = writer_open_image(setting);
    assert_int_equal(entro_image_info(image)->n_tensors, 0);
    entro_image_close(image);
}

static void files_that_a_reader_would_refuse_are_refused(void **state)
{
    struct writer_setting *setting = *state;
    static const char *const paths[] = {
        "",      "/a",      "a/",    "a//b",         ".",   "..",       "a/../b",
        "a/./b", "tensors", "npy/x", "tensors.json", "../", "tensors/x"};
    struct entro_stream_summary summary;
    struct entro_writer *writer = writer_start(setting, false);
    uint32_t stream = writer_add(setting, writer, "abcdef", 6, &summary);
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
    writer_finish(setting, writer);
}

static void names_that_collide_are_refused_in_the_end(void **state)
{
    struct writer_setting *setting = *state;
    static const char *const pairs[][3] = {
        {"a", "a", "there twice"},
        {"a", "a/b", "a folder of \"a/b\" is also a file"},
        {"x/y", "x/y/z/w", "a folder of \"x/y/z/w\" is also a file"},
    };
    for (size_t i = 0; i < 3; i++) {
        struct entro_writer *writer = writer_start(setting, false);
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
    struct entro_writer *writer = writer_start(setting, false);
    struct entro_stream_summary summary;
    uint8_t codes[128] = {0};
    uint64_t image_bytes;
    uint32_t number;
    struct entro_tensor tensor = writer_u8_tensor("twin", writer_add(setting, writer, codes, 128, &summary));
    assert_int_equal(entro_writer_add_tensor(writer, &tensor, &number, NULL), ENTRO_OK);
    assert_int_equal(entro_writer_add_tensor(writer, &tensor, &number, NULL), ENTRO_OK);
    assert_int_equal(entro_writer_finish(writer, &image_bytes, &setting->message), ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(setting->message.text, "tensor \"twin\" is there twice"));
    entro_writer_free(writer);
    assert_int_equal(fixture_folder_entries(&setting->folder), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, writer_set_up, writer_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_error_of_the_producer_is_handed_up_and_nothing_is_left),
        TEST(a_source_that_changes_is_noticed),
        TEST(a_file_that_cannot_grow_is_an_error_and_nothing_is_left),
        TEST(a_file_that_is_there_is_not_replaced_unless_asked),
        TEST(an_image_abandoned_before_its_end_leaves_the_old_one),
        TEST(an_image_has_the_mode_that_the_umask_leaves),
        TEST(targets_that_are_no_files_are_refused),
        TEST(tensors_that_a_reader_would_refuse_are_refused),
        TEST(files_that_a_reader_would_refuse_are_refused),
        TEST(names_that_collide_are_refused_in_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
