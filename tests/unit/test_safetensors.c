/* The safetensors header: what is read, and every way in which one is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/bytes.h"
#include "codec/models/safetensors.h"

#define A8 "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static struct entro_message message;

/* Parses a file of this header and data_bytes bytes of data; the header lies in memory of exactly its size.
 */
static enum entro_error parse_bytes(struct entro_safetensors *out, const char *json, size_t json_bytes,
                                    uint64_t data_bytes)
{
    uint8_t *bytes = malloc(8 + json_bytes);
    assert_non_null(bytes);
    entro_store_u64(bytes, json_bytes);
    memcpy(bytes + 8, json, json_bytes);
    message.text[0] = '\0';
    enum entro_error error = entro_safetensors_parse(out, bytes, 8 + json_bytes, 8 + json_bytes + data_bytes,
                                                     "m.safetensors", &message);
    free(bytes);
    return error;
}

static enum entro_error parse(struct entro_safetensors *out, const char *json, uint64_t data_bytes)
{
    return parse_bytes(out, json, strlen(json), data_bytes);
}

/* The header is refused with `error` and a message that names the file and contains `text`. */
static void assert_refused(enum entro_error error, const char *text, const char *json, uint64_t data_bytes)
{
    struct entro_safetensors file;
    assert_int_equal(parse(&file, json, data_bytes), error);
    if (strstr(message.text, text) == NULL || strstr(message.text, "m.safetensors") == NULL)
        fail_msg("\"%s\" does not contain \"%s\"", message.text, text);
    assert_null(file.tensors);
    assert_int_equal(file.n_tensors, 0);
}

static void assert_malformed(const char *text, const char *json, uint64_t data_bytes)
{
    assert_refused(ENTRO_ERROR_FORMAT, text, json, data_bytes);
}

/* A header with one tensor of this shape and these offsets. */
static void assert_entry_malformed(const char *text, const char *dtype, const char *shape,
                                   const char *offsets, uint64_t data_bytes)
{
    char json[512];
    snprintf(json, sizeof json, "{\"a\":{\"dtype\":%s,\"shape\":%s,\"data_offsets\":%s}}", dtype, shape,
             offsets);
    assert_malformed(text, json, data_bytes);
}

static void tensors_come_in_the_order_of_their_offsets(void **state)
{
    (void)state;
    struct entro_safetensors file;
    const char *json = "{\"__metadata__\":{\"format\":\"pt\"},"
                       "\"late\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]}," A8 "}  ";
    assert_int_equal(parse(&file, json, 20), ENTRO_OK);
    assert_int_equal(file.n_tensors, 2);
    assert_int_equal(file.data_offset, 8 + strlen(json));
    assert_string_equal(file.tensors[0].name, "a");
    assert_int_equal(file.tensors[0].dtype, ENTRO_DTYPE_F32);
    assert_int_equal(file.tensors[0].offset, file.data_offset);
    assert_string_equal(file.tensors[1].name, "late");
    assert_int_equal(file.tensors[1].dtype, ENTRO_DTYPE_BF16);
    assert_int_equal(file.tensors[1].rank, 2);
    assert_int_equal(file.tensors[1].shape[0], 2);
    assert_int_equal(file.tensors[1].shape[1], 3);
    assert_int_equal(file.tensors[1].offset, file.data_offset + 8);
    assert_int_equal(file.tensors[1].size_bytes, 12);
    entro_safetensors_free(&file);
    assert_null(file.tensors);
}

static void empty_and_scalar_tensors_are_legal(void **state)
{
    (void)state;
    struct entro_safetensors file;
    assert_int_equal(parse(&file,
                           "{\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4]},"
                           "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                           "\"e\":{\"dtype\":\"I64\",\"shape\":[3,0],\"data_offsets\":[0,0]},"
                           "\"d\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[0,0]}}",
                           4),
                     ENTRO_OK);
    assert_int_equal(file.n_tensors, 4);
    assert_string_equal(file.tensors[0].name, "d");
    assert_string_equal(file.tensors[1].name, "e");
    assert_string_equal(file.tensors[2].name, "s");
    assert_int_equal(file.tensors[2].rank, 0);
    assert_int_equal(file.tensors[2].size_bytes, 4);
    assert_string_equal(file.tensors[3].name, "z");
    entro_safetensors_free(&file);
}

static void a_file_without_tensors_is_legal(void **state)
{
    (void)state;
    struct entro_safetensors file;
    assert_int_equal(parse(&file, "{}", 0), ENTRO_OK);
    assert_int_equal(file.n_tensors, 0);
    entro_safetensors_free(&file);
    assert_int_equal(parse(&file, "{\"__metadata__\":null}", 0), ENTRO_OK);
    entro_safetensors_free(&file);
    assert_malformed("after the last tensor", "{}", 1);
}

/* As in the reference implementation, which takes white space on both sides and ignores what it does not
 * know. */
static void white_space_and_unknown_keys_are_accepted(void **state)
{
    (void)state;
    struct entro_safetensors file;
    assert_int_equal(parse(&file, " \n{" A8 "}\t ", 8), ENTRO_OK);
    entro_safetensors_free(&file);
    assert_int_equal(
        parse(&file, "{\"a\":{\"note\":{\"x\":[1]},\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
              8),
        ENTRO_OK);
    entro_safetensors_free(&file);
}

static void sub_byte_types_are_counted_in_bits(void **state)
{
    (void)state;
    struct entro_safetensors file;
    assert_int_equal(parse(&file, "{\"a\":{\"dtype\":\"F4\",\"shape\":[2,3],\"data_offsets\":[0,3]}}", 3),
                     ENTRO_OK);
    assert_int_equal(file.tensors[0].dtype, ENTRO_DTYPE_F4);
    entro_safetensors_free(&file);
    assert_entry_malformed("whole bytes", "\"F4\"", "[3]", "[0,2]", 2);
    assert_entry_malformed("whole bytes", "\"F6_E2M3\"", "[2]", "[0,2]", 2);
}

static void a_file_that_ends_within_the_header_is_refused(void **state)
{
    (void)state;
    struct entro_safetensors file;
    uint8_t bytes[16] = {0};
    for (size_t size = 0; size < 8; size++)
        assert_int_equal(entro_safetensors_parse(&file, bytes, size, size, "m", &message),
                         ENTRO_ERROR_FORMAT);
    entro_store_u64(bytes, 9);
    assert_int_equal(entro_safetensors_parse(&file, bytes, 16, 16, "m", &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "truncated"));
    assert_int_equal(entro_safetensors_parse(&file, bytes, 16, 17, "m", &message), ENTRO_ERROR_ARGUMENT);
}

static void an_absurd_header_length_is_refused(void **state)
{
    (void)state;
    struct entro_safetensors file;
    static const uint64_t lengths[] = {ENTRO_SAFETENSORS_HEADER_MAX_BYTES + 1, INT64_MAX, UINT64_MAX - 7,
                                       UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t bytes[8];
        entro_store_u64(bytes, lengths[i]);
        assert_int_equal(entro_safetensors_parse(&file, bytes, 8, UINT64_MAX, "m", &message),
                         ENTRO_ERROR_FORMAT);
        assert_non_null(strstr(message.text, "a header of"));
    }
}

static void a_header_that_is_no_json_object_is_refused(void **state)
{
    (void)state;
    struct entro_safetensors file;
    assert_malformed("bad JSON", "", 0);
    assert_malformed("bad JSON", "{", 0);
    assert_malformed("bad JSON", "{" A8 ",}", 8);
    assert_malformed("bad JSON", "{" A8 "}x", 8);
    assert_malformed("bad JSON", "{" A8 "}{}", 8);
    assert_malformed("bad JSON", "7", 0);
    assert_malformed("no object", "[]", 0);
    static const char with_nul[] = "{" A8 "}\0";
    assert_int_equal(parse_bytes(&file, with_nul, sizeof with_nul - 1, 8), ENTRO_ERROR_FORMAT);
    assert_int_equal(parse_bytes(&file, with_nul, sizeof with_nul - 2, 8), ENTRO_OK);
    entro_safetensors_free(&file);
}

static void text_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    assert_malformed("bad JSON", "{\"\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
    assert_malformed("bad JSON", "{\"\xc0\xaf\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
                     8);
    assert_malformed("bad JSON", "{\"\\ud800\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
    assert_malformed("bad JSON", "{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
                     8);
    assert_malformed("bad JSON", "{\"__metadata__\":{\"a\":\"\\u0000\"}}", 0);
}

static void duplicate_keys_are_refused(void **state)
{
    (void)state;
    assert_malformed("duplicate", "{" A8 "," A8 "}", 8);
    assert_malformed("duplicate",
                     "{" A8 ",\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[8,8]}}", 8);
    assert_malformed("duplicate", "{\"__metadata__\":{},\"__metadata__\":{}}", 0);
    assert_malformed("duplicate", "{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", 0);
    assert_malformed("duplicate",
                     "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
}

static void metadata_other_than_strings_is_refused(void **state)
{
    (void)state;
    assert_malformed("__metadata__", "{\"__metadata__\":[]}", 0);
    assert_malformed("__metadata__", "{\"__metadata__\":\"pt\"}", 0);
    assert_malformed("__metadata__", "{\"__metadata__\":{\"a\":1}}", 0);
    assert_malformed("__metadata__", "{\"__metadata__\":{\"a\":null}}", 0);
}

static void missing_and_mistyped_fields_are_refused(void **state)
{
    (void)state;
    assert_malformed("\"a\": the entry is no object", "{\"a\":[]}", 0);
    assert_malformed("\"a\": no dtype", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
    assert_malformed("\"a\": no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8);
    assert_malformed("\"a\": no pair of data_offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8);
    assert_entry_malformed("no dtype", "1", "[2]", "[0,8]", 8);
    assert_entry_malformed("no shape", "\"F32\"", "2", "[0,8]", 8);
    assert_entry_malformed("no pair", "\"F32\"", "[2]", "[0]", 8);
    assert_entry_malformed("no pair", "\"F32\"", "[2]", "[0,8,8]", 8);
    assert_entry_malformed("no pair", "\"F32\"", "[2]", "{\"0\":8}", 8);
}

static void numbers_other_than_sizes_are_refused(void **state)
{
    (void)state;
    assert_entry_malformed("no size", "\"F32\"", "[-2]", "[0,8]", 8);
    assert_entry_malformed("no size", "\"F32\"", "[2.0]", "[0,8]", 8);
    assert_entry_malformed("no size", "\"F32\"", "[2e0]", "[0,8]", 8);
    assert_entry_malformed("no size", "\"F32\"", "[true]", "[0,4]", 4);
    assert_entry_malformed("no size", "\"F32\"", "[\"2\"]", "[0,8]", 8);
    assert_entry_malformed("no pair", "\"F32\"", "[2]", "[0,8.0]", 8);
    assert_entry_malformed("no pair", "\"F32\"", "[2]", "[-8,0]", 8);
    assert_entry_malformed("too big integer", "\"F32\"", "[9223372036854775808]", "[0,8]", 8);
    assert_entry_malformed("too big integer", "\"F32\"", "[2]", "[0,18446744073709551624]", 8);
}

static void shapes_whose_size_overflows_are_refused(void **state)
{
    (void)state;
    assert_entry_malformed("64 bits", "\"U8\"", "[4294967296,4294967296]", "[0,0]", 0);
    assert_entry_malformed("64 bits", "\"F32\"", "[4611686018427387904]", "[0,0]", 0);
    assert_entry_malformed("64 bits", "\"U8\"", "[0,4294967296,4294967296]", "[0,0]", 0);
    assert_entry_malformed("64 bits", "\"F64\"", "[9223372036854775807,3]", "[0,8]", 8);
}

static void offsets_that_do_not_match_the_shape_are_refused(void **state)
{
    (void)state;
    assert_entry_malformed("span", "\"F32\"", "[2]", "[0,4]", 4);
    assert_entry_malformed("span", "\"F32\"", "[2]", "[0,12]", 12);
    assert_entry_malformed("span", "\"F32\"", "[]", "[0,0]", 0);
    assert_entry_malformed("in the file", "\"F32\"", "[2]", "[8,0]", 8);
    assert_entry_malformed("in the file", "\"F32\"", "[2]", "[0,8]", 7);
    assert_entry_malformed("in the file", "\"F32\"", "[2]", "[9223372036854775799,9223372036854775807]", 8);
}

static void tensors_that_do_not_tile_the_data_are_refused(void **state)
{
    (void)state;
#define PAIR(b) "{" A8 ",\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":" b "}}"
    struct entro_safetensors file;
    assert_int_equal(parse(&file, PAIR("[8,10]"), 10), ENTRO_OK);
    entro_safetensors_free(&file);
    assert_malformed("\"b\": overlaps", PAIR("[7,9]"), 9);
    assert_malformed("overlaps", PAIR("[0,2]"), 8);
    assert_malformed("\"b\": there is a hole", PAIR("[9,11]"), 11);
    assert_malformed("1 bytes after the last tensor", PAIR("[8,10]"), 11);
    assert_malformed("in the file", PAIR("[8,10]"), 9);
    assert_entry_malformed("hole", "\"U8\"", "[1]", "[1,2]", 2);
    /* Empty tensors too stand at the end of another. */
    assert_malformed("overlaps", "{" A8 ",\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4]}}", 8);
#undef PAIR
}

static void an_unknown_dtype_is_refused_by_name(void **state)
{
    (void)state;
    assert_refused(ENTRO_ERROR_UNSUPPORTED, "tensor \"a\": unknown dtype \"I4\"",
                   "{\"a\":{\"dtype\":\"I4\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1);
    assert_refused(ENTRO_ERROR_UNSUPPORTED, "\"Q4_0\"",
                   "{\"a\":{\"dtype\":\"Q4_0\",\"shape\":[32],\"data_offsets\":[0,18]}}", 18);
}

static void too_many_dimensions_are_refused(void **state)
{
    (void)state;
    struct entro_safetensors file;
    assert_int_equal(
        parse(&file, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1),
        ENTRO_OK);
    entro_safetensors_free(&file);
    assert_refused(ENTRO_ERROR_UNSUPPORTED, "9 dimensions",
                   "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1);
}

/* n times `text` between two others, as a header. */
static void assert_repeated_refused(enum entro_error error, const char *expected, const char *head,
                                    const char *text, size_t n, const char *tail)
{
    size_t step = strlen(text);
    char *json = malloc(strlen(head) + n * step + strlen(tail) + 1);
    assert_non_null(json);
    char *end = stpcpy(json, head);
    for (size_t i = 0; i < n; i++)
        end = stpcpy(end, text);
    stpcpy(end, tail);
    assert_refused(error, expected, json, 0);
    free(json);
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    assert_repeated_refused(ENTRO_ERROR_FORMAT, "nested", "{\"a\":", "[", 100000, "");
    assert_repeated_refused(ENTRO_ERROR_FORMAT, "nested", "{\"a\":{\"b\":", "{\"b\":", 8, "0}}}}}}}}}}");
}

static void a_header_that_would_take_too_much_memory_is_refused(void **state)
{
    (void)state;
    assert_repeated_refused(ENTRO_ERROR_UNSUPPORTED, "too large", "{\"a\":[", "0,", 2000000, "0]}");
    assert_repeated_refused(ENTRO_ERROR_UNSUPPORTED, "too large", "{\"a\":[", "{},", 500000, "0]}");
}

/* A temporary file with these bytes, open and already without a name. */
static int temporary_file(const void *bytes, size_t size_bytes)
{
    char name[] = "/tmp/entro_test_XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(pwrite(fd, bytes, size_bytes, 0), size_bytes);
    return fd;
}

static void an_open_file_is_read(void **state)
{
    (void)state;
    static const char json[] = "{" A8 "}";
    uint8_t bytes[8 + sizeof json - 1 + 8] = {0};
    entro_store_u64(bytes, sizeof json - 1);
    memcpy(bytes + 8, json, sizeof json - 1);
    int fd = temporary_file(bytes, sizeof bytes);
    struct entro_safetensors file;
    assert_int_equal(entro_safetensors_open(&file, fd, sizeof bytes, "m", &message), ENTRO_OK);
    assert_int_equal(file.n_tensors, 1);
    assert_int_equal(file.tensors[0].offset, 8 + sizeof json - 1);
    entro_safetensors_free(&file);
    close(fd);
}

static void a_file_that_shrank_is_an_input_error(void **state)
{
    (void)state;
    uint8_t bytes[12] = {0};
    entro_store_u64(bytes, 100);
    int fd = temporary_file(bytes, sizeof bytes);
    struct entro_safetensors file;
    assert_int_equal(entro_safetensors_open(&file, fd, 1000, "m", &message), ENTRO_ERROR_IO);
    assert_int_equal(entro_safetensors_open(&file, fd, 12, "m", &message), ENTRO_ERROR_FORMAT);
    assert_int_equal(entro_safetensors_open(&file, fd, 7, "m", &message), ENTRO_ERROR_FORMAT);
    assert_int_equal(entro_safetensors_open(&file, -1, 1000, "m", &message), ENTRO_ERROR_IO);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_come_in_the_order_of_their_offsets),
        cmocka_unit_test(empty_and_scalar_tensors_are_legal),
        cmocka_unit_test(a_file_without_tensors_is_legal),
        cmocka_unit_test(white_space_and_unknown_keys_are_accepted),
        cmocka_unit_test(sub_byte_types_are_counted_in_bits),
        cmocka_unit_test(a_file_that_ends_within_the_header_is_refused),
        cmocka_unit_test(an_absurd_header_length_is_refused),
        cmocka_unit_test(a_header_that_is_no_json_object_is_refused),
        cmocka_unit_test(text_that_is_not_utf8_is_refused),
        cmocka_unit_test(duplicate_keys_are_refused),
        cmocka_unit_test(metadata_other_than_strings_is_refused),
        cmocka_unit_test(missing_and_mistyped_fields_are_refused),
        cmocka_unit_test(numbers_other_than_sizes_are_refused),
        cmocka_unit_test(shapes_whose_size_overflows_are_refused),
        cmocka_unit_test(offsets_that_do_not_match_the_shape_are_refused),
        cmocka_unit_test(tensors_that_do_not_tile_the_data_are_refused),
        cmocka_unit_test(an_unknown_dtype_is_refused_by_name),
        cmocka_unit_test(too_many_dimensions_are_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_header_that_would_take_too_much_memory_is_refused),
        cmocka_unit_test(an_open_file_is_read),
        cmocka_unit_test(a_file_that_shrank_is_an_input_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
