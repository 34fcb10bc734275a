/*
 * Perplexity and divergence: on the small model against what NumPy computed (data/perplexity), and over
 * backends with logits that are known, where everything can be worked out by hand.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "runner/file.h"
#include "runner/model.h"
#include "runner/perplexity.h"
#include "runner_fixture.h"

#define TINY       ENTRO_TEST_DATA "/tiny/"
#define PERPLEXITY ENTRO_TEST_DATA "/perplexity/"
#define CLOSE      1e-3 /* relative: F16 keys and values, products in whole numbers */

static void assert_close(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance * fabs(expected)))
        fail_msg("%.9g is not %.9g", value, expected);
}

static double expected_number(const json_t *expected, const char *convention, const char *key,
                              const char *part)
{
    const json_t *value = json_object_get(json_object_get(expected, convention), key);
    value = part == NULL ? value : json_object_get(value, part);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* The small model with a backend, and the text as tokens. */
struct runner {
    char *directory;
    struct entro_model model;
    struct entro_pool *pool;
    struct entro_backend *backend;
    struct entro_tokens tokens;
    struct entro_message message;
};

static void open_runner(struct runner *self)
{
    static const char *const files[] = {"config.json", "tokenizer.json"};
    char *text;
    size_t size_bytes;
    *self = (struct runner){.directory = fixture_create()};
    fixture_write_tensors(self->directory, TINY "model.safetensors");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char source[512];
        snprintf(source, sizeof source, TINY "%s", files[i]);
        fixture_copy(self->directory, files[i], source);
    }
    if (entro_model_open(&self->model, self->directory, &self->message) != ENTRO_OK)
        fail_msg("%s", self->message.text);
    assert_int_equal(entro_pool_create(&self->pool, 2), ENTRO_OK);
    assert_int_equal(entro_backend_cpu_create(&self->backend, &self->model.config, &self->model.weights, 128,
                                              self->pool, entro_kernels_best(), &self->message),
                     ENTRO_OK);
    assert_int_equal(
        entro_read_text_file(AT_FDCWD, NULL, PERPLEXITY "text.txt", &text, &size_bytes, &self->message),
        ENTRO_OK);
    assert_int_equal(entro_tokenizer_encode(self->model.tokenizer, text, size_bytes, ENTRO_ENCODE_TEMPLATE,
                                            &self->tokens, &self->message),
                     ENTRO_OK);
    free(text);
}

static void close_runner(struct runner *self)
{
    entro_tokens_free(&self->tokens);
    self->backend->free(self->backend);
    entro_pool_free(self->pool);
    entro_model_close(&self->model);
    fixture_remove(self->directory);
}

static struct entro_perplexity measure_of(const struct runner *runner)
{
    return (struct entro_perplexity){.backend = runner->backend,
                                     .pool = runner->pool,
                                     .n_vocabulary = runner->model.config.n_vocabulary,
                                     .n_window = 64,
                                     .max_windows = SIZE_MAX,
                                     .bos_id = ENTRO_TOKEN_NONE};
}

static void the_small_models_perplexity_is_what_numpy_computed(void **state)
{
    static const char *const names[] = {"llama.cpp", "gptq"};
    struct runner runner;
    struct entro_perplexity_result result;
    json_error_t error;
    (void)state;
    open_runner(&runner);
    json_t *expected = json_load_file(PERPLEXITY "expected.json", 0, &error);
    assert_int_equal(runner.tokens.n, json_integer_value(json_object_get(expected, "tokens")));
    struct entro_perplexity measure = measure_of(&runner);
    size_t n_batch = runner.backend->n_batch;
    for (int i = 0; i < 4; i++) {
        const char *name = names[i % 2];
        measure.convention = i % 2 == 0 ? ENTRO_CONVENTION_LLAMA_CPP : ENTRO_CONVENTION_GPTQ;
        /* In one batch a window, and in pieces that end on neither side of its middle. */
        runner.backend->n_batch = i < 2 ? n_batch : 13;
        if (entro_perplexity_measure(&measure, runner.tokens.ids, runner.tokens.n, &result,
                                     &runner.message) != ENTRO_OK)
            fail_msg("%s", runner.message.text);
        assert_int_equal(result.n_scored, (size_t)expected_number(expected, name, "scored", NULL));
        assert_close(entro_perplexity_of(&result.loss), expected_number(expected, name, "perplexity", NULL),
                     CLOSE);
        assert_close(result.loss.mean, expected_number(expected, name, "loss", "mean"), 2 * CLOSE);
        assert_close(result.loss.error, expected_number(expected, name, "loss", "error"), 5 * CLOSE);
    }
    json_decref(expected);
    close_runner(&runner);
}

static void a_model_does_not_diverge_from_itself(void **state)
{
    struct runner runner;
    struct entro_backend *base;
    struct entro_perplexity_result result;
    (void)state;
    open_runner(&runner);
    assert_int_equal(entro_backend_cpu_create(&base, &runner.model.config, &runner.model.weights, 64,
                                              runner.pool, entro_kernels_best(), &runner.message),
                     ENTRO_OK);
    struct entro_perplexity measure = measure_of(&runner);
    measure.base = base;
    measure.max_windows = 2;
    assert_int_equal(
        entro_perplexity_measure(&measure, runner.tokens.ids, runner.tokens.n, &result, &runner.message),
        ENTRO_OK);
    assert_int_equal(result.n_windows, 2);
    assert_true(fabs(result.divergence.mean) < 1e-6);
    assert_true(result.same_top.mean == 1);
    assert_true(result.loss.mean == result.base_loss.mean);
    base->free(base);
    close_runner(&runner);
}

static void saved_predictions_serve_as_well_as_the_model(void **state)
{
    struct runner runner;
    struct entro_perplexity_result direct, from_file;
    char path[600];
    (void)state;
    open_runner(&runner);
    snprintf(path, sizeof path, "%s/logits", runner.directory);
    struct entro_perplexity measure = measure_of(&runner);
    measure.save_file = path;
    assert_int_equal(
        entro_perplexity_measure(&measure, runner.tokens.ids, runner.tokens.n, &direct, &runner.message),
        ENTRO_OK);
    measure.save_file = NULL;
    measure.base_file = path;
    assert_int_equal(
        entro_perplexity_measure(&measure, runner.tokens.ids, runner.tokens.n, &from_file, &runner.message),
        ENTRO_OK);
    assert_int_equal(from_file.n_scored, direct.n_scored);
    assert_true(from_file.loss.mean == direct.loss.mean);
    assert_true(fabs(from_file.base_loss.mean - direct.loss.mean) < 1e-4);
    assert_true(fabs(from_file.divergence.mean) < 1e-6);
    assert_true(from_file.same_top.mean == 1);
    assert_int_equal(entro_perplexity_measure(&measure, runner.tokens.ids + 1, runner.tokens.n - 1,
                                              &from_file, &runner.message),
                     ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(runner.message.text, "another text"));
    measure.convention = ENTRO_CONVENTION_GPTQ;
    assert_int_equal(
        entro_perplexity_measure(&measure, runner.tokens.ids, runner.tokens.n, &from_file, &runner.message),
        ENTRO_ERROR_ARGUMENT);
    close_runner(&runner);
}

/* A backend that holds `token` for the likeliest, by factor e ** lead, whatever it is told. */
#define N_VOCABULARY 5

struct known_backend {
    struct entro_backend base;
    uint32_t token;
    float lead;
    uint32_t first; /* what the last window began with */
};

static enum entro_error known_forward(struct entro_backend *backend, const uint32_t *tokens, size_t n_tokens,
                                      size_t position, float *logits, struct entro_message *message)
{
    (void)message;
    assert_true(n_tokens <= backend->n_batch);
    assert_null(logits);
    if (position == 0)
        ((struct known_backend *)backend)->first = tokens[0];
    return ENTRO_OK;
}

static enum entro_error known_logits(struct entro_backend *backend, size_t position, size_t n, float *logits,
                                     struct entro_message *message)
{
    const struct known_backend *self = (struct known_backend *)backend;
    (void)message;
    for (size_t i = 0; i < n * N_VOCABULARY; i++)
        logits[i] =
            3.0F * (float)position + (i % N_VOCABULARY == self->token ? self->lead : 0.0F); /* any constant */
    return ENTRO_OK;
}

static struct known_backend known(uint32_t token, float lead)
{
    return (struct known_backend){.base = {.name = "known",
                                           .n_context = 8,
                                           .n_batch = 3,
                                           .forward = known_forward,
                                           .logits = known_logits},
                                  .token = token,
                                  .lead = lead};
}

static void figures_are_what_can_be_worked_out_by_hand(void **state)
{
    (void)state;
    /* p(token 0) is e/(e+4) in one, p(token 1) is e^2/(e^2+4) in the other; the others share the rest. */
    struct known_backend model = known(0, 1), base = known(1, 2);
    double z = exp(1) + 4, base_z = exp(2) + 4;
    const uint32_t tokens[] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 4, 4};
    struct entro_perplexity_result result;
    struct entro_message message;
    struct entro_pool *pool;
    assert_int_equal(entro_pool_create(&pool, 2), ENTRO_OK);
    struct entro_perplexity measure = {.backend = &model.base,
                                       .base = &base.base,
                                       .pool = pool,
                                       .n_vocabulary = N_VOCABULARY,
                                       .convention = ENTRO_CONVENTION_LLAMA_CPP,
                                       .n_window = 8,
                                       .max_windows = SIZE_MAX,
                                       .bos_id = 4};
    assert_int_equal(entro_perplexity_measure(&measure, tokens, 18, &result, &message), ENTRO_OK);
    /* Two windows; in each the tokens at 5, 6 and 7 are scored: 1, 2 and 3. */
    assert_int_equal(result.n_windows, 2);
    assert_int_equal(result.n_scored, 6);
    assert_int_equal(model.first, 4);
    assert_close(result.loss.mean, log(z), 1e-6);
    assert_true(result.loss.error < 1e-6);
    double losses[] = {log(base_z) - 2, log(base_z), log(base_z)};
    double mean = (losses[0] + losses[1] + losses[2]) / 3, squares = 0;
    for (int i = 0; i < 3; i++)
        squares += 2 * (losses[i] - mean) * (losses[i] - mean);
    assert_close(result.base_loss.mean, mean, 1e-6);
    assert_close(result.base_loss.error, sqrt(squares / 6 / 5), 1e-6);
    assert_close(entro_perplexity_of(&result.base_loss), exp(mean), 1e-6);
    double p[] = {exp(1) / z, 1 / z, 1 / z}, q[] = {1 / base_z, exp(2) / base_z, 1 / base_z};
    double divergence = q[0] * log(q[0] / p[0]) + q[1] * log(q[1] / p[1]) + 3 * q[2] * log(q[2] / p[2]);
    assert_close(result.divergence.mean, divergence, 1e-6);
    assert_true(result.same_top.mean == 0);

    /* The same from a file of the base's predictions. */
    char *directory = fixture_create();
    char path[600];
    struct entro_perplexity_result saved;
    snprintf(path, sizeof path, "%s/logits", directory);
    measure.backend = &base.base;
    measure.base = NULL;
    measure.save_file = path;
    assert_int_equal(entro_perplexity_measure(&measure, tokens, 18, &saved, &message), ENTRO_OK);
    measure.backend = &model.base;
    measure.base_file = path;
    measure.save_file = NULL;
    assert_int_equal(entro_perplexity_measure(&measure, tokens, 18, &saved, &message), ENTRO_OK);
    assert_close(saved.divergence.mean, divergence, 1e-3);
    assert_close(saved.base_loss.mean, mean, 1e-3);
    assert_true(saved.same_top.mean == 0 && saved.loss.mean == result.loss.mean);
    /* A bit of the last row is wrong: seen when it is read, and no figures come of it. */
    int fd = open(path, O_RDWR);
    uint8_t byte;
    off_t last = lseek(fd, 0, SEEK_END) - 9;
    assert_int_equal(pread(fd, &byte, 1, last), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, last), 1);
    close(fd);
    assert_int_equal(entro_perplexity_measure(&measure, tokens, 18, &saved, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "damaged (window 2)"));
    fixture_remove(directory);
    measure.base_file = NULL;
    measure.base = &base.base;

    measure.convention = ENTRO_CONVENTION_GPTQ;
    assert_int_equal(entro_perplexity_measure(&measure, tokens, 18, &result, &message), ENTRO_OK);
    assert_int_equal(result.n_scored, 14);
    assert_int_equal(model.first, 0);
    /* 1, 2, 3, 0, 1, 2, 3: one of seven is token 0. */
    assert_close(result.loss.mean, log(z) - 1.0 / 7, 1e-6);
    entro_pool_free(pool);
}

static void what_cannot_be_measured_is_refused(void **state)
{
    (void)state;
    struct known_backend model = known(0, 1);
    uint32_t tokens[32] = {0};
    struct entro_perplexity_result result;
    struct entro_message message;
    struct entro_pool *pool;
    assert_int_equal(entro_pool_create(&pool, 1), ENTRO_OK);
    struct entro_perplexity measure = {.backend = &model.base,
                                       .pool = pool,
                                       .n_vocabulary = N_VOCABULARY,
                                       .n_window = 8,
                                       .max_windows = SIZE_MAX,
                                       .bos_id = ENTRO_TOKEN_NONE};
    assert_int_equal(entro_perplexity_measure(&measure, tokens, 15, &result, &message), ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(message.text, "15 tokens"));
    measure.n_window = 9;
    assert_int_equal(entro_perplexity_measure(&measure, tokens, 32, &result, &message), ENTRO_ERROR_ARGUMENT);
    measure.n_window = 3;
    assert_int_equal(entro_perplexity_measure(&measure, tokens, 32, &result, &message), ENTRO_ERROR_ARGUMENT);
    measure.n_window = 8;
    tokens[31] = N_VOCABULARY;
    assert_int_equal(entro_perplexity_measure(&measure, tokens, 32, &result, &message), ENTRO_ERROR_ARGUMENT);
    entro_pool_free(pool);
}

static enum entro_error stop(void *context, const struct entro_perplexity_result *so_far, size_t n_windows,
                             struct entro_message *message)
{
    (void)context;
    assert_int_equal(n_windows, 4);
    return so_far->n_windows == 2 ? entro_fail(message, ENTRO_ERROR_CANCELLED, "enough") : ENTRO_OK;
}

static void whoever_watches_may_end_the_work(void **state)
{
    (void)state;
    struct known_backend model = known(0, 1);
    const uint32_t tokens[32] = {0};
    struct entro_perplexity_result result;
    struct entro_message message;
    struct entro_pool *pool;
    assert_int_equal(entro_pool_create(&pool, 1), ENTRO_OK);
    struct entro_perplexity measure = {.backend = &model.base,
                                       .pool = pool,
                                       .n_vocabulary = N_VOCABULARY,
                                       .n_window = 8,
                                       .max_windows = SIZE_MAX,
                                       .bos_id = ENTRO_TOKEN_NONE,
                                       .progress = stop};
    char *directory = fixture_create();
    char path[600];
    snprintf(path, sizeof path, "%s/logits", directory);
    measure.save_file = path;
    assert_int_equal(entro_perplexity_measure(&measure, tokens, 32, &result, &message),
                     ENTRO_ERROR_CANCELLED);
    assert_int_equal(result.n_windows, 2);
    assert_string_equal(message.text, "enough");
    /* Nothing is left of the file, under no name. */
    snprintf(path, sizeof path, "%s/tensors", directory);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(directory), 0);
    free(directory);
    entro_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_small_models_perplexity_is_what_numpy_computed),
        cmocka_unit_test(a_model_does_not_diverge_from_itself),
        cmocka_unit_test(saved_predictions_serve_as_well_as_the_model),
        cmocka_unit_test(figures_are_what_can_be_worked_out_by_hand),
        cmocka_unit_test(what_cannot_be_measured_is_refused),
        cmocka_unit_test(whoever_watches_may_end_the_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
