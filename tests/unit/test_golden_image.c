/*
 * The golden contents, in the committed image and in one that the present writer makes: the reader finds in
 * both what expected.json says. And the writer's image has the hash that was last told on purpose.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <xxhash.h>

#include "codec/dtype.h"
#include "codec/image.h"
#include "codec/view.h"
#include "golden.h"
#include "image_fixture.h"

struct golden_test {
    struct entro_image *image;
    json_t *expected;
};

static struct golden_test *load_expected(void)
{
    struct golden_test *test = calloc(1, sizeof *test);
    assert_non_null(test);
    test->expected = json_load_file(ENTRO_TEST_GOLDEN "/expected.json", JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(test->expected);
    return test;
}

static int open_golden(void **state)
{
    struct golden_test *test = load_expected();
    struct entro_message message;
    if (entro_image_open(&test->image, GOLDEN_IMAGE, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    *state = test;
    return 0;
}

static void write_image(const struct fixture_folder *folder, unsigned n_threads)
{
    struct entro_pool *pool;
    struct entro_message message;
    assert_int_equal(entro_pool_create(&pool, n_threads), ENTRO_OK);
    if (golden_write(folder->image, pool, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    entro_pool_free(pool);
}

static int open_written(void **state)
{
    struct golden_test *test = load_expected();
    struct fixture_folder folder;
    struct entro_message message;
    fixture_folder_create(&folder);
    write_image(&folder, 2);
    if (entro_image_open(&test->image, folder.image, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    fixture_folder_remove(&folder); /* the image stays open */
    *state = test;
    return 0;
}

static int close_image(void **state)
{
    struct golden_test *test = *state;
    entro_image_close(test->image);
    json_decref(test->expected);
    free(test);
    return 0;
}

static void hash_to_hex(const uint8_t *bytes, size_t size, char hex[33])
{
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits(bytes, size));
    for (size_t i = 0; i < sizeof digest.digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest.digest[i]);
}

/* Compares bytes with {"size", "xxh3_128"}. */
static void check_digest(const json_t *expected, const uint8_t *bytes, size_t size, const char *what)
{
    char hex[33];
    assert_true(json_is_object(expected));
    hash_to_hex(bytes, size, hex);
    if (json_integer_value(json_object_get(expected, "size")) != (json_int_t)size)
        fail_msg("%s: %zu bytes", what, size);
    if (strcmp(json_string_value(json_object_get(expected, "xxh3_128")), hex) != 0)
        fail_msg("%s: XXH3-128 is %s", what, hex);
}

/* A whole stream; the caller frees. NULL for ENTRO_NONE. */
static uint8_t *read_stream(const struct entro_image *image, uint32_t number, size_t *size)
{
    struct entro_message message;
    if (number == ENTRO_NONE) {
        *size = 0;
        return NULL;
    }
    const struct entro_stream *stream = entro_image_stream(image, number);
    uint8_t *bytes = malloc(stream->size_bytes + 1);
    assert_non_null(bytes);
    if (fixture_read_stream(image, stream, bytes, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    *size = stream->size_bytes;
    return bytes;
}

static uint8_t *read_view(const struct entro_image *image, const struct entro_tensor *tensor,
                          enum entro_dtype dtype, size_t *size)
{
    size_t n_codes, n_rows, n_columns, n_outliers;
    uint64_t view_bytes;
    struct entro_message message;
    struct entro_view *view;
    uint8_t *codes = read_stream(image, tensor->stream, &n_codes);
    uint8_t *row_scale = read_stream(image, tensor->row_scale, &n_rows);
    uint8_t *column_scale = read_stream(image, tensor->column_scale, &n_columns);
    uint8_t *outliers = read_stream(image, tensor->outliers, &n_outliers);
    const struct entro_view_parts parts = {.row_scale = row_scale,
                                           .column_scale = column_scale,
                                           .outliers = outliers,
                                           .n_outliers = n_outliers / ENTRO_OUTLIER_BYTES};
    if (entro_view_create(&view, tensor, dtype, &parts, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    assert_true(entro_view_size_bytes(tensor, dtype, &view_bytes));
    uint8_t *bytes = malloc(view_bytes + 1);
    assert_non_null(bytes);
    entro_view_convert(view, 0, tensor->n_elements, codes, bytes);
    entro_view_free(view);
    free(codes);
    free(row_scale);
    free(column_scale);
    free(outliers);
    *size = view_bytes;
    return bytes;
}

static enum entro_dtype dtype_by_name(const char *name)
{
    for (unsigned i = 1; i < 256; i++) {
        const struct entro_dtype_info *info = entro_dtype_info((enum entro_dtype)i);
        if (info != NULL && strcmp(info->name, name) == 0)
            return info->dtype;
    }
    fail_msg("no dtype %s", name);
    return ENTRO_DTYPE_NONE;
}

static void check_tensor(const struct entro_image *image, const struct entro_tensor *tensor, json_t *expected)
{
    static const char *const schemes[] = {"lossless", "unsigned", "asymmetric", "balanced"};
    size_t size;
    uint8_t *bytes = read_stream(image, tensor->stream, &size);
    check_digest(json_object_get(expected, "stream"), bytes, size, tensor->name);
    free(bytes);
    assert_string_equal(schemes[tensor->scheme], json_string_value(json_object_get(expected, "scheme")));
    assert_int_equal(tensor->dtype, dtype_by_name(json_string_value(json_object_get(expected, "dtype"))));
    const json_t *shape = json_object_get(expected, "shape");
    assert_int_equal(tensor->rank, json_array_size(shape));
    for (unsigned i = 0; i < tensor->rank; i++)
        assert_int_equal(tensor->shape[i], json_integer_value(json_array_get(shape, i)));
    if (tensor->scheme == ENTRO_SCHEME_LOSSLESS)
        return;

    assert_int_equal(tensor->bits, json_integer_value(json_object_get(expected, "bits")));
    assert_int_equal(tensor->zero_point, json_integer_value(json_object_get(expected, "zero_point")));
    assert_true(strtof(json_string_value(json_object_get(expected, "scale")), NULL) == tensor->scale);
    const struct {
        const char *key;
        uint32_t stream;
    } parts[] = {{"row_scale", tensor->row_scale},
                 {"column_scale", tensor->column_scale},
                 {"outliers", tensor->outliers}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(parts[i].stream == ENTRO_NONE,
                         json_is_null(json_object_get(expected, parts[i].key)));
        bytes = read_stream(image, parts[i].stream, &size);
        if (bytes != NULL)
            check_digest(json_object_get(expected, parts[i].key), bytes, size, parts[i].key);
        free(bytes);
    }
    const char *name;
    json_t *digest;
    json_object_foreach(json_object_get(expected, "views"), name, digest)
    {
        bytes = read_view(image, tensor, dtype_by_name(name), &size);
        check_digest(digest, bytes, size, name);
        free(bytes);
    }
}

static void every_tensor_and_view_is_as_expected(void **state)
{
    const struct golden_test *test = *state;
    json_t *tensors = json_object_get(test->expected, "tensors");
    const struct entro_image_info *info = entro_image_info(test->image);
    assert_int_equal(info->n_tensors, json_object_size(tensors));
    assert_true(info->n_tensors > 10);
    for (uint32_t i = 0; i < info->n_tensors; i++) {
        const struct entro_tensor *tensor = entro_image_tensor(test->image, i);
        check_tensor(test->image, tensor, json_object_get(tensors, tensor->name));
    }
}

static void every_file_is_as_expected(void **state)
{
    const struct golden_test *test = *state;
    json_t *files = json_object_get(test->expected, "files");
    const struct entro_image_info *info = entro_image_info(test->image);
    assert_int_equal(info->n_files, json_object_size(files));
    assert_true(info->n_files > 10);
    for (uint32_t i = 0; i < info->n_files; i++) {
        const struct entro_file *file = entro_image_file(test->image, i);
        uint8_t *bytes = malloc(file->size_bytes + 1);
        size_t done = 0;
        assert_non_null(bytes);
        for (uint32_t k = 0; k < file->n_extents; k++) {
            const struct entro_extent *extent = &file->extents[k];
            size_t size;
            uint8_t *part = extent->kind == ENTRO_EXTENT_STREAM
                                ? read_stream(test->image, extent->reference, &size)
                                : read_view(test->image, entro_image_tensor(test->image, extent->reference),
                                            extent->dtype, &size);
            assert_true(extent->offset + extent->size_bytes <= size);
            memcpy(bytes + done, part + extent->offset, extent->size_bytes);
            done += extent->size_bytes;
            free(part);
        }
        assert_int_equal(done, file->size_bytes);
        check_digest(json_object_get(files, file->path), bytes, done, file->path);
        free(bytes);
    }
}

static void every_stream_has_the_hash_of_its_record(void **state)
{
    const struct golden_test *test = *state;
    const struct entro_image_info *info = entro_image_info(test->image);
    assert_int_equal(info->n_streams, json_array_size(json_object_get(test->expected, "streams")));
    for (uint32_t i = 0; i < info->n_streams; i++) {
        size_t size;
        XXH128_canonical_t digest;
        uint8_t *bytes = read_stream(test->image, i, &size);
        XXH128_canonicalFromHash(&digest, XXH3_128bits(bytes, size));
        assert_memory_equal(digest.digest, entro_image_stream(test->image, i)->xxh3_128, 16);
        free(bytes);
    }
}

/* With a change of what the writer chooses, the hash changes: see the golden folder's README.md. */
static void the_writer_makes_the_bytes_that_were_told_with_any_number_of_threads(void **state)
{
    struct fixture_folder folder;
    size_t told_size;
    char *told = (char *)fixture_load(ENTRO_TEST_GOLDEN "/written.xxh3", &told_size);
    (void)state;
    told[told_size] = '\0';
    told[strcspn(told, "\n")] = '\0';
    for (unsigned n_threads = 1; n_threads <= 4; n_threads++) {
        size_t size;
        char hex[33];
        fixture_folder_create(&folder);
        write_image(&folder, n_threads);
        uint8_t *bytes = fixture_load(folder.image, &size);
        hash_to_hex(bytes, size, hex);
        assert_string_equal(hex, told);
        free(bytes);
        fixture_folder_remove(&folder);
    }
    free(told);
}

#define TEST_ON_BOTH(name)                                                                                   \
    {#name " in the golden image", name, open_golden, close_image, NULL},                                    \
    {                                                                                                        \
#name " in the writer's image", name, open_written, close_image, NULL                                \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(every_tensor_and_view_is_as_expected),
        TEST_ON_BOTH(every_file_is_as_expected),
        TEST_ON_BOTH(every_stream_has_the_hash_of_its_record),
        cmocka_unit_test(the_writer_makes_the_bytes_that_were_told_with_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
