/* Texts that commands are given, and the escapes in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runner/input.h"
#include "runner_fixture.h"

static void assert_text(const struct entro_text *text, const char *expected, size_t size)
{
    assert_int_equal(text->size, size);
    assert_memory_equal(text->data, expected, size);
}

static void escapes_become_what_they_stand_for(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"a\\nb\\tc\\rd", "a\nb\tc\rd"},
        {"\\'\\\"\\\\n", "'\"\\n"},
        {"\\x\\", "\\x\\"},
        {"\\\\\\n", "\\\n"},
        {"none", "none"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct entro_text text = {0};
        struct entro_message message;
        assert_int_equal(entro_input_read(cases[i].text, NULL, &text, &message), ENTRO_OK);
        entro_input_unescape(&text);
        assert_text(&text, cases[i].expected, strlen(cases[i].expected));
        entro_text_free(&text);
    }
}

static void zero_bytes_are_text(void **state)
{
    (void)state;
    struct entro_text text = {0};
    struct entro_message message;
    assert_int_equal(entro_text_append(&text, "\\\0\\n", 4, &message), ENTRO_OK);
    entro_input_unescape(&text);
    assert_text(&text, "\\\0\n", 3);
    entro_text_free(&text);
    entro_input_unescape(&text);
    entro_input_strip_newline(&text);
    assert_int_equal(text.size, 0);
}

static void a_file_is_read_whole_and_may_lose_its_last_newline(void **state)
{
    (void)state;
    char *directory = fixture_create(), path[512];
    struct entro_text text = {0};
    struct entro_message message;
    fixture_write(directory, "text", "a\n\0b\n\n", 6);
    snprintf(path, sizeof path, "%s/text", directory);
    assert_int_equal(entro_input_read(NULL, path, &text, &message), ENTRO_OK);
    assert_text(&text, "a\n\0b\n\n", 6);
    entro_input_strip_newline(&text);
    assert_text(&text, "a\n\0b\n", 5);
    entro_text_free(&text);
    assert_int_equal(entro_input_read("x", path, &text, &message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(entro_input_read(NULL, NULL, &text, &message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(entro_input_read(NULL, directory, &text, &message), ENTRO_ERROR_IO);
    snprintf(path, sizeof path, "%s/none", directory);
    assert_int_equal(entro_input_read(NULL, path, &text, &message), ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(message.text, path));
    fixture_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_become_what_they_stand_for),
        cmocka_unit_test(zero_bytes_are_text),
        cmocka_unit_test(a_file_is_read_whole_and_may_lose_its_last_newline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
