/* Chat templates: recognised by what they contain, written as the model's own Jinja program would. */
#include "runner/chat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* As in the GGUF of SmolLM2-135M-Instruct: the line ends within the strings are line ends. */
static const char smollm2[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
    "'<|im_start|>system\nYou are a "
    "helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if "
    "add_generation_prompt %}{{ "
    "'<|im_start|>assistant\n' }}{% endif %}";

/* The usual chatml, with escapes, no default, and one that is computed. */
static const char plain_chatml[] =
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}";
static const char escaped_default[] =
    "{%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\\n' + messages[0]['content'] + "
    "'<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>system\\nDon\\'t lie.\\nBe brief.<|im_end|>\\n' }}{%- endif %}";

static const char default_system[] = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

static const struct entro_chat_message question = {.role = ENTRO_CHAT_USER, .content = "Hi there", .size = 8};

static struct entro_chat detect(const char *text)
{
    struct entro_chat chat;
    struct entro_message message = {""};
    if (entro_chat_detect(&chat, text, strlen(text), &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    return chat;
}

static const struct entro_chat_ends ends = {.bos = "<s>", .bos_size = 3, .eos = "</s>", .eos_size = 4};

static void check_rendered(const struct entro_chat *chat, const struct entro_chat_message *messages, size_t n,
                           bool add_generation_prompt, const char *expected)
{
    struct entro_text text = {0};
    assert_int_equal(entro_chat_render(chat, messages, n, add_generation_prompt, &ends, &text, NULL),
                     ENTRO_OK);
    assert_int_equal(entro_text_append(&text, "", 1, NULL), ENTRO_OK);
    assert_string_equal(text.data, expected);
    entro_text_free(&text);
}

static void the_template_of_smollm2_starts_with_its_own_system_message(void **state)
{
    (void)state;
    struct entro_chat chat = detect(smollm2);
    assert_string_equal(entro_chat_name(&chat), "chatml");
    assert_string_equal(entro_chat_end_of_turn(&chat), "<|im_end|>");
    check_rendered(
        &chat, &question, 1, true,
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n");
    entro_chat_free(&chat);
}

static void a_system_message_replaces_the_default(void **state)
{
    (void)state;
    struct entro_chat chat = detect(smollm2);
    const struct entro_chat_message messages[] = {
        {.role = ENTRO_CHAT_SYSTEM, .content = "Be brief.", .size = 9},
        question,
        {.role = ENTRO_CHAT_ASSISTANT, .content = "Hello!", .size = 6},
        {.role = ENTRO_CHAT_USER, .content = "", .size = 0},
    };
    check_rendered(&chat, messages, 4, false,
                   "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi there<|im_end|>\n"
                   "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\n<|im_end|>\n");
    check_rendered(&chat, NULL, 0, true, "<|im_start|>assistant\n");
    entro_chat_free(&chat);
}

static void a_default_is_taken_only_where_it_is_spelled_out(void **state)
{
    (void)state;
    struct entro_chat chat = detect(plain_chatml);
    check_rendered(&chat, &question, 1, false, "<|im_start|>user\nHi there<|im_end|>\n");
    entro_chat_free(&chat);
    chat = detect(escaped_default);
    check_rendered(
        &chat, &question, 1, false,
        "<|im_start|>system\nDon't lie.\nBe brief.<|im_end|>\n<|im_start|>user\nHi there<|im_end|>\n");
    entro_chat_free(&chat);
    /* Cut off anywhere the text gives no default, and nothing beyond it is read. */
    for (size_t size = 0; size < sizeof smollm2 - 1; size++) {
        char *exact = test_malloc(size > 0 ? size : 1);
        memcpy(exact, smollm2, size);
        if (entro_chat_detect(&chat, exact, size, NULL) == ENTRO_OK) {
            if (chat.default_system.size > 0) {
                assert_int_equal(chat.default_system.size, strlen(default_system));
                assert_memory_equal(chat.default_system.data, default_system, strlen(default_system));
            }
            entro_chat_free(&chat);
        }
        test_free(exact);
    }
}

static void every_known_name_is_found(void **state)
{
    (void)state;
    size_t n = 0;
    bool has_chatml = false;
    for (const char *name; (name = entro_chat_known_name(n)) != NULL; n++) {
        struct entro_chat chat;
        assert_int_equal(entro_chat_by_name(&chat, name, NULL), ENTRO_OK);
        assert_string_equal(entro_chat_name(&chat), name);
        assert_false(chat.starts_with_bos);
        has_chatml = has_chatml || strcmp(name, "chatml") == 0;
        entro_chat_free(&chat);
    }
    assert_true(has_chatml);
    assert_int_equal(n, 12);
    struct entro_chat chat;
    assert_int_equal(entro_chat_by_name(&chat, "chatml", NULL), ENTRO_OK);
    check_rendered(&chat, &question, 1, true,
                   "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n");
    entro_chat_free(&chat);
}

static void bos_is_written_once(void **state)
{
    (void)state;
    struct entro_chat chat;
    assert_int_equal(entro_chat_by_name(&chat, "llama2", NULL), ENTRO_OK);
    chat.starts_with_bos = true; /* it is in the turns already */
    check_rendered(&chat, &question, 1, true, "<s>[INST] Hi there [/INST]");
    assert_null(entro_chat_end_of_turn(&chat));
    assert_int_equal(entro_chat_by_name(&chat, "gemma", NULL), ENTRO_OK);
    chat.starts_with_bos = true;
    check_rendered(&chat, &question, 1, false, "<s><start_of_turn>user\nHi there<end_of_turn>\n");
    entro_chat_free(&chat);
}

/* The old program of Mistral 7B v0.2 has none, the new one puts it before the first message. */
static void a_system_message_goes_into_a_users_turn_where_there_is_no_turn_for_it(void **state)
{
    (void)state;
    struct entro_chat chat = detect("{{ bos_token }}{{ '[INST] ' + message['content'] + ' [/INST]' }}");
    const struct entro_chat_message messages[] = {
        {.role = ENTRO_CHAT_SYSTEM, .content = "Be brief.", .size = 9},
        question,
        {.role = ENTRO_CHAT_SYSTEM, .content = "Stop.", .size = 5},
    };
    check_rendered(&chat, messages, 2, true, "<s>[INST] Be brief.\n\nHi there [/INST]");
    struct entro_text text = {0};
    struct entro_message message;
    assert_int_equal(entro_chat_render(&chat, messages, 3, true, &ends, &text, &message),
                     ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "not the first"));
    entro_text_free(&text);
    entro_chat_free(&chat);
}

/* Bytes that are no characters are no white space, and nothing outside the content is read. */
static void trimming_stops_at_what_is_not_utf8(void **state)
{
    (void)state;
    struct entro_chat chat;
    assert_int_equal(entro_chat_by_name(&chat, "llama3", NULL), ENTRO_OK);
    static const char content[] = " \x80 \xe3\x80 ";
    char *exact = test_malloc(sizeof content - 1);
    memcpy(exact, content, sizeof content - 1);
    const struct entro_chat_message message = {
        .role = ENTRO_CHAT_USER, .content = exact, .size = sizeof content - 1};
    check_rendered(&chat, &message, 1, false,
                   "<|start_header_id|>user<|end_header_id|>\n\n\x80 \xe3\x80<|eot_id|>");
    test_free(exact);
    entro_chat_free(&chat);
}

static void what_is_not_known_is_refused_with_the_names_of_what_is(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } refusals[] = {
        {"", "none of those"},
        {"{{ messages[0].content }}", "none of those"},
        {"<|im_start|> alone", "none of those"},
        {"[INST] {{ content }} [/INST]", "none of those"},
        {"<|user|>x</s><|assistant|>", "none of those"},
        {"[SYSTEM_PROMPT]x[/SYSTEM_PROMPT][INST]y[/INST]", "mistral-v7"},
        {"<|im_start|>system\n## Metadata", "smollm3"},
        {"{{ '<|im_start|>assistant\\n<think>\\n' }}", "qwq"},
        {"{{ '<|im_start|>assistant\\n' }}{{ '<think>\\n' }}<|im_end|>", "qwen3.5"},
        {"<|im_start|>user<|im_sep|>x<|im_end|>", "phi4"},
        {"<|im_start|>system\nYou are a function calling AI model.<|im_end|>", "hermes"},
    };
    struct entro_chat chat;
    struct entro_message message;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        enum entro_error error =
            entro_chat_detect(&chat, refusals[i].text, strlen(refusals[i].text), &message);
        assert_int_equal(error, ENTRO_ERROR_UNSUPPORTED);
        assert_non_null(strstr(message.text, refusals[i].says));
        assert_non_null(strstr(message.text, "supported are: chatml, llama3.1"));
        assert_non_null(strstr(message.text, "zephyr. With --no-chat"));
    }
    assert_int_equal(entro_chat_by_name(&chat, "mistral-v7", &message), ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(message.text, "\"mistral-v7\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_template_of_smollm2_starts_with_its_own_system_message),
        cmocka_unit_test(a_system_message_replaces_the_default),
        cmocka_unit_test(a_default_is_taken_only_where_it_is_spelled_out),
        cmocka_unit_test(every_known_name_is_found),
        cmocka_unit_test(bos_is_written_once),
        cmocka_unit_test(a_system_message_goes_into_a_users_turn_where_there_is_no_turn_for_it),
        cmocka_unit_test(trimming_stops_at_what_is_not_utf8),
        cmocka_unit_test(what_is_not_known_is_refused_with_the_names_of_what_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
