/* The generation loop over a backend that says what it is told to: where it stops, and what it hands out. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runner/file.h"
#include "runner/generate.h"
#include "runner/tokenizer_utf8.h"

#define N_VOCABULARY 2048
#define MAX_SCRIPT   64

/* Answers with the script's tokens, one after the other, whatever it is asked. */
struct scripted_backend {
    struct entro_backend base;
    uint32_t script[MAX_SCRIPT];
    size_t n_said;
    size_t next_position;             /* where the next tokens must come */
    volatile sig_atomic_t *interrupt; /* set when interrupt_at tokens have been said */
    size_t interrupt_at;
};

static enum entro_error forward(struct entro_backend *backend, const uint32_t *tokens, size_t n_tokens,
                                size_t position, float *logits, struct entro_message *message)
{
    struct scripted_backend *self = (struct scripted_backend *)backend;
    (void)message;
    assert_int_equal(position, self->next_position);
    assert_true(position + n_tokens <= backend->n_context);
    if (self->n_said > 0)
        assert_int_equal(tokens[0], self->script[self->n_said - 1]);
    self->next_position += n_tokens;
    if (logits == NULL)
        return ENTRO_OK;
    for (size_t i = 0; i < N_VOCABULARY; i++)
        logits[i] = i == self->script[self->n_said] ? 1.0F : 0.0F;
    self->n_said++;
    if (self->interrupt != NULL && self->n_said == self->interrupt_at)
        *self->interrupt = 1;
    return ENTRO_OK;
}

struct fixture {
    struct scripted_backend backend;
    struct entro_config config;
    struct entro_tokenizer *tokenizer;
    struct entro_sampler *sampler;
    struct entro_generation generation;
    struct entro_text text;
    size_t n_pieces;
    struct entro_generation_figures figures;
    struct entro_message message;
};

static enum entro_error collect(void *context, const char *text, size_t size_bytes,
                                struct entro_message *message)
{
    struct fixture *f = context;
    assert_true(size_bytes > 0);
    assert_true(entro_utf8_is_valid(text, size_bytes));
    f->n_pieces++;
    return entro_text_append(&f->text, text, size_bytes, message);
}

static uint32_t id_of(const struct fixture *f, const char *token)
{
    uint32_t id = entro_tokenizer_find(f->tokenizer, token, strlen(token));
    assert_true(id < N_VOCABULARY);
    return id;
}

/* The script: `text` as tokens, then end-of-text tokens. */
static void set_up(struct fixture *f, const char *text)
{
    char *json;
    size_t size_bytes;
    struct entro_tokens tokens = {0};
    *f = (struct fixture){.config = {.n_vocabulary = N_VOCABULARY}};
    assert_int_equal(entro_read_text_file(AT_FDCWD, NULL, ENTRO_TEST_DATA "/tiny/tokenizer.json", &json,
                                          &size_bytes, &f->message),
                     ENTRO_OK);
    assert_int_equal(entro_tokenizer_from_json(&f->tokenizer, json, size_bytes, &f->message), ENTRO_OK);
    free(json);
    assert_int_equal(
        entro_sampler_create(&f->sampler, &(struct entro_sampling){.temperature = 0}, N_VOCABULARY),
        ENTRO_OK);
    assert_int_equal(entro_tokenizer_encode(f->tokenizer, text, strlen(text), 0, &tokens, &f->message),
                     ENTRO_OK);
    uint32_t end = id_of(f, "<|endoftext|>");
    assert_true(tokens.n < MAX_SCRIPT);
    for (size_t i = 0; i < MAX_SCRIPT; i++)
        f->backend.script[i] = i < tokens.n ? tokens.ids[i] : end;
    entro_tokens_free(&tokens);
    assert_true(entro_config_add_eos(&f->config, end));
    f->backend.base =
        (struct entro_backend){.name = "scripted", .n_context = 40, .n_batch = 16, .forward = forward};
    f->generation = (struct entro_generation){.backend = &f->backend.base,
                                              .config = &f->config,
                                              .tokenizer = f->tokenizer,
                                              .sampler = f->sampler,
                                              .n_predict = SIZE_MAX,
                                              .sink = collect,
                                              .sink_context = f};
}

static enum entro_error generate(struct fixture *f, size_t n_prompt)
{
    const uint32_t prompt[64] = {0};
    return entro_generate(&f->generation, prompt, n_prompt, &f->figures, &f->message);
}

static void tear_down(struct fixture *f)
{
    entro_text_free(&f->text);
    entro_sampler_free(f->sampler);
    entro_tokenizer_destroy(f->tokenizer);
}

static void assert_text(const struct fixture *f, const char *expected)
{
    assert_int_equal(f->text.size, strlen(expected));
    assert_memory_equal(f->text.data, expected, f->text.size);
}

static void an_end_of_text_token_ends_the_generation_and_is_no_text(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "The sun was shining.");
    assert_int_equal(generate(&f, 35), ENTRO_OK); /* more than one slice of the prompt */
    assert_text(&f, "The sun was shining.");
    assert_int_equal(f.figures.stop, ENTRO_STOP_END_OF_TEXT);
    assert_int_equal(f.figures.n_prompt, 35);
    assert_int_equal(f.figures.n_generated, f.figures.n_runs + 1);
    tear_down(&f);
}

static void no_more_tokens_come_than_were_asked_for(void **state)
{
    (void)state;
    struct fixture f;
    for (size_t n = 0; n < 4; n++) {
        set_up(&f, "The sun was shining.");
        f.generation.n_predict = n;
        assert_int_equal(generate(&f, 2), ENTRO_OK);
        assert_int_equal(f.figures.stop, ENTRO_STOP_LENGTH);
        assert_int_equal(f.figures.n_generated, n);
        /* Logits that nobody would look at are not computed. */
        assert_int_equal(f.figures.n_runs, n == 0 ? 0 : n - 1);
        tear_down(&f);
    }
}

static void a_full_context_ends_the_generation(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "");
    f.generation.ignore_eos = true;
    assert_int_equal(generate(&f, 38), ENTRO_OK);
    assert_int_equal(f.figures.stop, ENTRO_STOP_CONTEXT);
    assert_int_equal(f.figures.n_generated, 3); /* behind 38, 39 and 40 tokens */
    tear_down(&f);
}

static void an_interruption_ends_the_generation_with_what_there_is(void **state)
{
    (void)state;
    struct fixture f;
    volatile sig_atomic_t interrupted = 0;
    set_up(&f, "The sun was shining.");
    f.generation.interrupted = &interrupted;
    f.backend.interrupt = &interrupted;
    f.backend.interrupt_at = 3;
    assert_int_equal(generate(&f, 2), ENTRO_OK);
    assert_int_equal(f.figures.stop, ENTRO_STOP_INTERRUPTED);
    assert_int_equal(f.figures.n_generated, 2);
    assert_true(f.text.size > 0);
    /* And before the prompt is through. */
    assert_int_equal(generate(&f, 2), ENTRO_OK);
    assert_int_equal(f.figures.n_prompt, 0);
    tear_down(&f);
}

static void characters_come_whole_though_their_bytes_are_tokens(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x98\x80!");
    assert_int_equal(generate(&f, 1), ENTRO_OK);
    assert_text(&f, "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x98\x80!");
    assert_true(f.n_pieces < f.figures.n_generated); /* some were held back */
    tear_down(&f);
}

static void a_character_that_is_cut_off_becomes_a_replacement(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "\xf0\x9f\x98\x80");
    f.generation.n_predict = 1;
    assert_int_equal(generate(&f, 1), ENTRO_OK);
    assert_text(&f, "\xef\xbf\xbd");
    tear_down(&f);
}

static void what_was_run_before_is_not_run_again(void **state)
{
    (void)state;
    struct fixture f;
    struct entro_tokens past = {0};
    uint32_t prompt[] = {5, 6, 7, 8, 9, 10};
    set_up(&f, "");
    f.generation.past = &past;
    f.generation.n_predict = 1;
    assert_int_equal(entro_generate(&f.generation, prompt, 4, &f.figures, &f.message), ENTRO_OK);
    assert_int_equal(f.figures.n_known, 0);
    assert_int_equal(past.n, 4);
    /* The same again and more: the scripted backend takes nothing before position 4. */
    f.backend.n_said = 0;
    assert_int_equal(entro_generate(&f.generation, prompt, 6, &f.figures, &f.message), ENTRO_OK);
    assert_int_equal(f.figures.n_known, 4);
    assert_int_equal(f.figures.n_prompt, 6);
    assert_int_equal(past.n, 6);
    /* Something else from the third token on: back to there. The logits of the last are always wanted. */
    prompt[2] = 99;
    f.backend.n_said = 0;
    f.backend.next_position = 2;
    assert_int_equal(entro_generate(&f.generation, prompt, 6, &f.figures, &f.message), ENTRO_OK);
    assert_int_equal(f.figures.n_known, 2);
    f.backend.n_said = 0;
    f.backend.next_position = 5;
    assert_int_equal(entro_generate(&f.generation, prompt, 6, &f.figures, &f.message), ENTRO_OK);
    assert_int_equal(f.figures.n_known, 5);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(past.ids[i], prompt[i]);
    entro_tokens_free(&past);
    tear_down(&f);
}

static enum entro_error refuse(void *context, const char *text, size_t size_bytes,
                               struct entro_message *message)
{
    (void)context;
    (void)text;
    (void)size_bytes;
    return entro_fail(message, ENTRO_ERROR_IO, "no room");
}

static void an_error_of_the_sink_ends_the_generation(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, "The sun was shining.");
    f.generation.sink = refuse;
    assert_int_equal(generate(&f, 2), ENTRO_ERROR_IO);
    assert_string_equal(f.message.text, "no room");
    assert_int_equal(f.figures.n_generated, 1);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_of_text_token_ends_the_generation_and_is_no_text),
        cmocka_unit_test(no_more_tokens_come_than_were_asked_for),
        cmocka_unit_test(a_full_context_ends_the_generation),
        cmocka_unit_test(an_interruption_ends_the_generation_with_what_there_is),
        cmocka_unit_test(characters_come_whole_though_their_bytes_are_tokens),
        cmocka_unit_test(a_character_that_is_cut_off_becomes_a_replacement),
        cmocka_unit_test(what_was_run_before_is_not_run_again),
        cmocka_unit_test(an_error_of_the_sink_ends_the_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
