/* The index of a sharded safetensors model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "codec/models/safetensors.h"

static struct entro_message message;

static enum entro_error parse_index(struct entro_safetensors_index *out, const char *json)
{
    message.text[0] = '\0';
    return entro_safetensors_index_parse(out, json, strlen(json), "i.json", &message);
}

static void an_index_says_which_file_holds_which_tensor(void **state)
{
    (void)state;
    struct entro_safetensors_index index;
    assert_int_equal(
        parse_index(
            &index,
            "{\"metadata\":{\"total_size\":12.5,\"more\":[[]]},"
            "\"weight_map\":{\"b\":\"2.safetensors\",\"c\":\"1.safetensors\",\"a\":\"2.safetensors\"}}"),
        ENTRO_OK);
    assert_int_equal(index.n_files, 2);
    assert_string_equal(index.files[0], "1.safetensors");
    assert_string_equal(index.files[1], "2.safetensors");
    assert_int_equal(index.n_tensors, 3);
    for (size_t i = 0; i < 3; i++) {
        const char name[] = {(char)('a' + i), '\0'};
        assert_string_equal(index.tensors[i], name);
        assert_int_equal(index.tensor_files[i], i == 2 ? 0 : 1);
    }
    entro_safetensors_index_free(&index);
    assert_null(index.files);
    assert_int_equal(parse_index(&index, "{\"weight_map\":{}}"), ENTRO_OK);
    assert_int_equal(index.n_files + index.n_tensors, 0);
    entro_safetensors_index_free(&index);
}

static void file_names_that_lead_elsewhere_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"../m", "/etc/passwd", "x/m", "..", ".", "", "x\\\\m", "m\\u0000"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct entro_safetensors_index index;
        char json[128];
        snprintf(json, sizeof json, "{\"weight_map\":{\"good\":\"m\",\"a\":\"%s\"}}", names[i]);
        assert_int_equal(parse_index(&index, json), ENTRO_ERROR_FORMAT);
        assert_non_null(strstr(message.text, "i.json"));
        assert_null(index.files);
    }
}

static void a_malformed_index_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"weight_map\":[]}",
                                        "{\"weight_map\":{\"a\":1}}",
                                        "{\"weight_map\":{\"a\":\"m\",\"a\":\"m\"}}",
                                        "{\"weight_map\":{}}x",
                                        "{\"weight_map\":{}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct entro_safetensors_index index;
        assert_int_equal(parse_index(&index, texts[i]), ENTRO_ERROR_FORMAT);
        assert_null(index.tensors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_says_which_file_holds_which_tensor),
        cmocka_unit_test(file_names_that_lead_elsewhere_are_refused),
        cmocka_unit_test(a_malformed_index_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
