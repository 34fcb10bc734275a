/*
 * Conversations against what the models' Jinja programs write (tests/data/chat/vectors.json, made by
 * make_vectors.py beside it). Another file of vectors may be given as the argument.
 */
#include "runner/chat.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MAX_MESSAGES 16

static const char *vectors_path = ENTRO_TEST_DATA "/chat/vectors.json";

static size_t read_messages(const json_t *json, struct entro_chat_message *messages)
{
    size_t n = json_array_size(json);
    assert_in_range(n, 1, MAX_MESSAGES);
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(json, i);
        const char *role = json_string_value(json_array_get(pair, 0));
        const json_t *content = json_array_get(pair, 1);
        messages[i] = (struct entro_chat_message){.role = strcmp(role, "system") == 0 ? ENTRO_CHAT_SYSTEM
                                                          : strcmp(role, "user") == 0 ? ENTRO_CHAT_USER
                                                                                      : ENTRO_CHAT_ASSISTANT,
                                                  .content = json_string_value(content),
                                                  .size = json_string_length(content)};
    }
    return n;
}

static void check_case(const char *name, const struct entro_chat *chat, const struct entro_chat_ends *ends,
                       const json_t *json)
{
    struct entro_chat_message messages[MAX_MESSAGES];
    struct entro_message message = {""};
    struct entro_text text = {0};
    size_t n = read_messages(json_object_get(json, "messages"), messages);
    bool generation = json_is_true(json_object_get(json, "generation"));
    const json_t *expected = json_object_get(json, "text");
    if (entro_chat_render(chat, messages, n, generation, ends, &text, &message) != ENTRO_OK)
        fail_msg("%s: %s", name, message.text);
    if (text.size != json_string_length(expected) ||
        (text.size > 0 && memcmp(text.data, json_string_value(expected), text.size) != 0))
        fail_msg("%s (%s), %zu messages, generation %d:\n\"%.*s\"\nnot\n\"%s\"", name, entro_chat_name(chat),
                 n, generation, (int)text.size, text.size > 0 ? text.data : "", json_string_value(expected));
    entro_text_free(&text);
}

static void every_template_writes_what_its_program_writes(void **state)
{
    (void)state;
    json_error_t reason;
    json_t *root = json_load_file(vectors_path, JSON_ALLOW_NUL, &reason);
    assert_non_null(root);
    size_t index;
    size_t n_checked = 0;
    const json_t *entry;
    json_array_foreach(root, index, entry)
    {
        struct entro_chat chat;
        struct entro_message message = {""};
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *format = json_string_value(json_object_get(entry, "format"));
        const json_t *template = json_object_get(entry, "template");
        const json_t *bos = json_object_get(entry, "bos");
        const json_t *eos = json_object_get(entry, "eos");
        const struct entro_chat_ends ends = {.bos = json_string_value(bos),
                                             .bos_size = json_string_length(bos),
                                             .eos = json_string_value(eos),
                                             .eos_size = json_string_length(eos)};
        if (entro_chat_detect(&chat, json_string_value(template), json_string_length(template), &message) !=
            ENTRO_OK)
            fail_msg("%s: %s", name, message.text);
        if (format != NULL)
            assert_string_equal(entro_chat_name(&chat), format);
        size_t at;
        const json_t *json;
        json_array_foreach(json_object_get(entry, "cases"), at, json)
        {
            check_case(name, &chat, &ends, json);
            n_checked++;
        }
        entro_chat_free(&chat);
    }
    assert_true(n_checked > 0);
    json_decref(root);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        vectors_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_template_writes_what_its_program_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
