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

/* A model without weights: encoding needs none. */
static void set_up(struct fixture *f, const char *chat_template)
{
    char *json;
    size_t size_bytes;
    *f = (struct fixture){.model = {.config = {.bos_id = 7, .n_vocabulary = 2048}}};
    assert_int_equal(entro_read_text_file(AT_FDCWD, NULL, ENTRO_TEST_DATA "/tiny/tokenizer.json", &json,
                                          &size_bytes, &f->message),
                     ENTRO_OK);
    assert_int_equal(entro_tokenizer_from_json(&f->model.tokenizer, json, size_bytes, &f->message), ENTRO_OK);
    free(json);
    if (chat_template != NULL) {
        f->model.chat_template = strdup(chat_template);
        assert_non_null(f->model.chat_template);
    }
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
        cmocka_unit_test(what_cannot_be_done_is_refused),
        cmocka_unit_test(tokens_that_the_embedding_lacks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
