/* tensors.json: what is read of it, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runner/manifest.h"

#define LOSSLESS                                                                                             \
    "{\"name\": \"norm\", \"file\": \"tensors/norm\", \"dtype\": \"BF16\", \"shape\": [7], \"scheme\": "     \
    "\"lossless\", "                                                                                         \
    "\"bits\": null, \"scale\": null, \"zero_point\": null, \"row_scale\": null, \"column_scale\": null, "   \
    "\"outliers\": null}"
#define CODES                                                                                                \
    "{\"name\": \"a\", \"file\": \"tensors/a\", \"dtype\": \"F32\", \"shape\": [3, 5], \"scheme\": "         \
    "\"balanced\", \"bits\": 4, "                                                                            \
    "\"scale\": 0.125, \"zero_point\": 8, \"row_scale\": \"tensors/a.row\", \"column_scale\": "              \
    "\"tensors/a.column\", "                                                                                 \
    "\"outliers\": \"tensors/a.outliers\", \"stored_bytes\": 10}"

static enum entro_error parse(struct entro_manifest *manifest, const char *text,
                              struct entro_message *message)
{
    message->text[0] = '\0';
    return entro_manifest_parse(manifest, text, strlen(text), "tensors.json", message);
}

static void a_manifest_is_read(void **state)
{
    (void)state;
    struct entro_manifest manifest;
    struct entro_message message;
    const char *text =
        "{\"format\": 1, \"source\": \"safetensors\", \"later\": {}, \"tensors\": [" LOSSLESS ", " CODES "]}";
    assert_int_equal(parse(&manifest, text, &message), ENTRO_OK);
    assert_false(manifest.gguf);
    assert_int_equal(manifest.n_tensors, 2);
    const struct entro_manifest_tensor *norm = entro_manifest_find(&manifest, "norm");
    assert_non_null(norm);
    assert_int_equal(norm->dtype, ENTRO_DTYPE_BF16);
    assert_int_equal(norm->bits, 0);
    assert_int_equal(norm->rank, 1);
    assert_int_equal(norm->size_bytes, 14);
    assert_null(norm->outliers);
    const struct entro_manifest_tensor *codes = entro_manifest_find(&manifest, "a");
    assert_non_null(codes);
    assert_int_equal(codes->bits, 4);
    assert_int_equal(codes->size_bytes, 8); /* 15 codes */
    assert_true(codes->scale == 0.125F && codes->zero_point == 8.0F);
    assert_string_equal(codes->file, "tensors/a");
    assert_string_equal(codes->row_scale, "tensors/a.row");
    assert_string_equal(codes->column_scale, "tensors/a.column");
    assert_string_equal(codes->outliers, "tensors/a.outliers");
    assert_null(entro_manifest_find(&manifest, "b"));
    entro_manifest_free(&manifest);
}

static void a_dtype_that_is_not_known_is_left_to_whoever_needs_the_tensor(void **state)
{
    (void)state;
    struct entro_manifest manifest;
    struct entro_message message;
    const char *text = "{\"format\": 1, \"source\": \"gguf\", \"tensors\": [{\"name\": \"x\", \"file\": "
                       "\"tensors/x\", \"dtype\": "
                       "\"Q9_Z\", \"shape\": [4], \"scheme\": \"lossless\"}]}";
    assert_int_equal(parse(&manifest, text, &message), ENTRO_OK);
    assert_true(manifest.gguf);
    assert_int_equal(manifest.tensors[0].dtype, ENTRO_DTYPE_NONE);
    assert_string_equal(manifest.tensors[0].dtype_name, "Q9_Z");
    entro_manifest_free(&manifest);
}

static void block_types_are_known_by_their_names(void **state)
{
    (void)state;
    struct entro_manifest manifest;
    struct entro_message message;
    const char *text = "{\"format\": 1, \"source\": \"gguf\", \"tensors\": [{\"name\": \"x\", \"file\": "
                       "\"tensors/x\", \"dtype\": "
                       "\"Q4_K\", \"shape\": [2, 256], \"scheme\": \"lossless\"}]}";
    assert_int_equal(parse(&manifest, text, &message), ENTRO_OK);
    assert_int_equal(manifest.tensors[0].dtype, ENTRO_DTYPE_Q4_K);
    assert_int_equal(manifest.tensors[0].size_bytes, 2 * 144);
    entro_manifest_free(&manifest);
}

/* Puts `entry` in the place of the list's only tensor. */
static void assert_entry_refused(const char *entry, enum entro_error expected)
{
    struct entro_manifest manifest;
    struct entro_message message;
    char text[2048];
    snprintf(text, sizeof text, "{\"format\": 1, \"source\": \"safetensors\", \"tensors\": [%s]}", entry);
    enum entro_error error = parse(&manifest, text, &message);
    if (error != expected || strstr(message.text, "tensors.json") == NULL)
        fail_msg("%s: error %d, \"%s\"", entry, (int)error, message.text);
}

#define ENTRY(file, shape, rest)                                                                             \
    "{\"name\": \"x\", \"file\": " file ", \"dtype\": \"F16\", \"shape\": " shape ", " rest "}"
#define PLAIN "\"scheme\": \"lossless\""
#define AS_CODES(bits, scale, zero_point)                                                                    \
    "\"scheme\": \"asymmetric\", \"bits\": " bits ", \"scale\": " scale ", \"zero_point\": " zero_point

static void hostile_entries_are_refused(void **state)
{
    (void)state;
    static const char *const entries[] = {
        "7",
        "{}",
        "{\"name\": \"x\"}",
        LOSSLESS ", " LOSSLESS, /* one name twice */
        ENTRY("null", "[4]", PLAIN),
        ENTRY("\"\"", "[4]", PLAIN),
        ENTRY("\"/etc/passwd\"", "[4]", PLAIN),
        ENTRY("\"../x\"", "[4]", PLAIN),
        ENTRY("\"tensors/../../x\"", "[4]", PLAIN),
        ENTRY("\"tensors/..\"", "[4]", PLAIN),
        ENTRY("\"a\\u0000b\"", "[4]", PLAIN),
        ENTRY("\"x\"", "4", PLAIN),
        ENTRY("\"x\"", "[-4]", PLAIN),
        ENTRY("\"x\"", "[4.5]", PLAIN),
        ENTRY("\"x\"", "[1, 1, 1, 1, 1, 1, 1, 1, 1]", PLAIN),
        ENTRY("\"x\"", "[4294967296, 4294967296]", PLAIN),
        ENTRY("\"x\"", "[4294967296, 4294967296]", AS_CODES("8", "1", "0")),
        ENTRY("\"x\"", "[4]", AS_CODES("5", "1", "0")),
        ENTRY("\"x\"", "[4]", AS_CODES("null", "1", "0")),
        ENTRY("\"x\"", "[4]", AS_CODES("8", "null", "0")),
        ENTRY("\"x\"", "[4]", AS_CODES("8", "1e300", "0")),
        ENTRY("\"x\"", "[4]", AS_CODES("8", "1", "\"0\"")),
        ENTRY("\"x\"", "[4]", AS_CODES("8", "1", "0") ", \"row_scale\": \"../r\""),
        ENTRY("\"x\"", "[4]", AS_CODES("8", "1", "0") ", \"outliers\": 3"),
    };
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        assert_entry_refused(entries[i], ENTRO_ERROR_FORMAT);
    assert_entry_refused(ENTRY("\"x\"", "[4]", "\"scheme\": \"magic\""), ENTRO_ERROR_UNSUPPORTED);
}

static void other_formats_and_sources_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum entro_error error;
    } cases[] = {
        {"", ENTRO_ERROR_FORMAT},
        {"[]", ENTRO_ERROR_FORMAT},
        {"{\"format\": 1, \"source\": \"gguf\"}", ENTRO_ERROR_FORMAT},
        {"{\"format\": 1, \"tensors\": []}", ENTRO_ERROR_FORMAT},
        {"{\"format\": 1, \"format\": 1, \"source\": \"gguf\", \"tensors\": []}", ENTRO_ERROR_FORMAT},
        {"{\"format\": 2, \"source\": \"gguf\", \"tensors\": []}", ENTRO_ERROR_UNSUPPORTED},
        {"{\"format\": 1, \"source\": \"npy\", \"tensors\": []}", ENTRO_ERROR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct entro_manifest manifest;
        struct entro_message message;
        assert_int_equal(parse(&manifest, cases[i].text, &message), cases[i].error);
        assert_non_null(strstr(message.text, "tensors.json"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_is_read),
        cmocka_unit_test(a_dtype_that_is_not_known_is_left_to_whoever_needs_the_tensor),
        cmocka_unit_test(block_types_are_known_by_their_names),
        cmocka_unit_test(hostile_entries_are_refused),
        cmocka_unit_test(other_formats_and_sources_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
