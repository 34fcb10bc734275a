/* Prompts to tokens: as they stand, in a chat template, and what cannot be done. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runner/file.h"
#include "runner/prompt.h"

#define CHATML "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"

struct fixture {
    struct entro_model model;
    struct entro_tokens tokens;
    struct entro_message message;
};

/* A model without weights, with the tokenizer of that file: encoding needs no more. */
static void set_up_with(struct fixture *f, const char *tokenizer, const char *chat_template)
{
    char *json;
    size_t size_bytes;
    *f = (struct fixture){.model = {.config = {.bos_id = 7, .n_vocabulary = 2048}}};
    assert_int_equal(entro_read_text_file(AT_FDCWD, NULL, tokenizer, &json, &size_bytes, &f->message),
                     ENTRO_OK);
    assert_int_equal(entro_tokenizer_from_json(&f->model.tokenizer, json, size_bytes, &f->message), ENTRO_OK);
    free(json);
    if (chat_template != NULL) {
        f->model.chat_template = strdup(chat_template);
        assert_non_null(f->model.chat_template);
    }
}

static void set_up(struct fixture *f, const char *chat_template)
{
    set_up_with(f, ENTRO_TEST_DATA "/tiny/tokenizer.json", chat_template);
}

static void tear_down(struct fixture *f)
{
    entro_tokens_free(&f->tokens);
    entro_tokenizer_destroy(f->model.tokenizer);
    free(f->model.chat_template);
}

static enum entro_error encode(struct fixture *f, const char *text, bool chat, const char *name,
                               const char *system)
{
    const struct entro_prompt prompt = {
        .text = text, .size_bytes = strlen(text), .chat = chat, .chat_template = name, .system = system};
    entro_tokens_free(&f->tokens);
    return entro_prompt_encode(&f->model, &prompt, &f->tokens, &f->message);
}

/* The tokens are those of `text` with its markers read as tokens. */
static void assert_tokens_of(const struct fixture *f, const char *text)
{
    struct entro_tokens expected = {0};
    struct entro_message message;
    assert_int_equal(entro_tokenizer_encode(f->model.tokenizer, text, strlen(text), ENTRO_ENCODE_SPECIAL,
                                            &expected, &message),
                     ENTRO_OK);
    assert_int_equal(f->tokens.n, expected.n);
    assert_memory_equal(f->tokens.ids, expected.ids, expected.n * sizeof *expected.ids);
    entro_tokens_free(&expected);
}

static void without_a_template_the_text_stands_as_it_is(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, NULL);
    assert_int_equal(encode(&f, "Once upon a time", true, NULL, NULL), ENTRO_OK);
    assert_tokens_of(&f, "Once upon a time");
    assert_int_equal(f.model.config.n_eos_ids, 0);
    /* A template of the user's own, written out, works. */
    assert_int_equal(encode(&f, "<|im_start|>Hello<|im_end|>", false, NULL, NULL), ENTRO_OK);
    assert_tokens_of(&f, "<|im_start|>Hello<|im_end|>");
    tear_down(&f);
}

static void nothing_becomes_the_token_that_begins_a_text(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, NULL);
    assert_int_equal(encode(&f, "", false, NULL, NULL), ENTRO_OK);
    assert_int_equal(f.tokens.n, 1);
    assert_int_equal(f.tokens.ids[0], 7);
    f.model.config.bos_id = -1;
    assert_int_equal(encode(&f, "", false, NULL, NULL), ENTRO_OK);
    assert_int_equal(f.tokens.n, 0);
    tear_down(&f);
}

static void the_models_template_makes_a_turn_whose_end_ends_the_text(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, CHATML);
    assert_int_equal(encode(&f, "Hello", true, NULL, NULL), ENTRO_OK);
    assert_tokens_of(&f, "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
    uint32_t end = entro_tokenizer_find(f.model.tokenizer, "<|im_end|>", 10);
    assert_true(entro_config_is_eos(&f.model.config, end));
    assert_int_equal(encode(&f, "Hello", true, NULL, "Be kind."), ENTRO_OK);
    assert_tokens_of(
        &f,
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
    assert_int_equal(encode(&f, "Hello", false, NULL, NULL), ENTRO_OK);
    assert_tokens_of(&f, "Hello");
    tear_down(&f);
}

static void a_template_may_be_chosen_by_name(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, NULL);
    assert_int_equal(encode(&f, "Hello", true, "chatml", NULL), ENTRO_OK);
    assert_tokens_of(&f, "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
    tear_down(&f);
}

/* The template says where BOS is; the tokenizer, which adds one too, does not do it again. */
static void bos_is_where_the_template_puts_it(void **state)
{
    (void)state;
    struct fixture f;
    set_up_with(
        &f, ENTRO_TEST_DATA "/families/llama3.json",
        "{{ bos_token }}<|start_header_id|>{{ role }}<|end_header_id|>{{ content | trim + '<|eot_id|>' }}");
    assert_int_equal(encode(&f, " Hello\n", true, NULL, NULL), ENTRO_OK);
    assert_tokens_of(&f, "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
                         "<|start_header_id|>assistant<|end_header_id|>\n\n");
    uint32_t end = entro_tokenizer_find(f.model.tokenizer, "<|eot_id|>", 10);
    assert_true(entro_config_is_eos(&f.model.config, end));
    /* By name that is left to the tokenizer. */
    assert_int_equal(encode(&f, "Hello", true, "llama3", NULL), ENTRO_OK);
    assert_tokens_of(&f, "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
                         "<|start_header_id|>assistant<|end_header_id|>\n\n");
    tear_down(&f);
    set_up_with(&f, ENTRO_TEST_DATA "/families/llama3.json",
                "<|start_header_id|>{{ role }}<|end_header_id|>{{ content | trim + '<|eot_id|>' }}");
    assert_int_equal(encode(&f, "Hello", true, NULL, NULL), ENTRO_OK);
    assert_tokens_of(&f, "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
                         "<|start_header_id|>assistant<|end_header_id|>\n\n");
    tear_down(&f);
}

static void a_conversation_has_turns(void **state)
{
    (void)state;
    struct fixture f;
    struct entro_chat chat;
    static const struct entro_chat_message messages[] = {
        {.role = ENTRO_CHAT_SYSTEM, .content = "Be kind.", .size = 8},
        {.role = ENTRO_CHAT_USER, .content = "Hello", .size = 5},
        {.role = ENTRO_CHAT_ASSISTANT, .content = "Hi", .size = 2},
        {.role = ENTRO_CHAT_USER, .content = "Bye", .size = 3},
    };
    set_up_with(&f, ENTRO_TEST_DATA "/families/mistral.json", NULL);
    assert_int_equal(entro_prompt_choose_chat(&f.model, NULL, &chat, &f.message), ENTRO_ERROR_ARGUMENT);
    /* EOS, which this template ends answers with, is the model's. */
    assert_true(entro_config_add_eos(&f.model.config, 2));
    assert_int_equal(entro_prompt_choose_chat(&f.model, "mistral-v3", &chat, &f.message), ENTRO_OK);
    assert_int_equal(f.model.config.n_eos_ids, 1);
    assert_int_equal(entro_prompt_encode_chat(&f.model, &chat, messages, 4, &f.tokens, &f.message), ENTRO_OK);
    assert_tokens_of(&f, "<s>[INST] Hello[/INST] Hi</s>[INST] Be kind.\n\nBye[/INST]");
    /* What the embedding lacks is not left behind. */
    f.model.config.n_vocabulary = 10;
    size_t n = f.tokens.n;
    assert_int_equal(entro_prompt_encode_chat(&f.model, &chat, messages, 4, &f.tokens, &f.message),
                     ENTRO_ERROR_FORMAT);
    assert_int_equal(f.tokens.n, n);
    entro_chat_free(&chat);
    tear_down(&f);
}

static void what_cannot_be_done_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, NULL);
    assert_int_equal(encode(&f, "Hello", true, NULL, "Be kind."), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(encode(&f, "Hello", true, "jabberwocky", NULL), ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(f.message.text, "jabberwocky"));
    tear_down(&f);
    set_up(&f, "{{ something else }}");
    assert_int_equal(encode(&f, "Hello", true, NULL, NULL), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(f.message.text, "--no-chat"));
    tear_down(&f);
}

static void tokens_that_the_embedding_lacks_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, CHATML);
    f.model.config.n_vocabulary = 100;
    assert_int_equal(encode(&f, "Once upon a time", false, NULL, NULL), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(f.message.text, "100"));
    assert_int_equal(encode(&f, "Once upon a time", true, NULL, NULL), ENTRO_ERROR_FORMAT);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_template_the_text_stands_as_it_is),
        cmocka_unit_test(nothing_becomes_the_token_that_begins_a_text),
        cmocka_unit_test(the_models_template_makes_a_turn_whose_end_ends_the_text),
        cmocka_unit_test(a_template_may_be_chosen_by_name),
        cmocka_unit_test(bos_is_where_the_template_puts_it),
        cmocka_unit_test(a_conversation_has_turns),
        cmocka_unit_test(what_cannot_be_done_is_refused),
        cmocka_unit_test(tokens_that_the_embedding_lacks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
