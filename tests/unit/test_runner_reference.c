/*
 * The whole runner on the small model of tests/data, against what transformers computed (reference.json):
 * token ids, logits, greedy text. The model's directory is made here from the safetensors file, every tensor
 * lossless.
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

#include <cmocka.h>
#include <jansson.h>

#include "runner/backend.h"
#include "runner/generate.h"
#include "runner/model.h"
#include "runner/prompt.h"
#include "runner_fixture.h"

#define TINY ENTRO_TEST_DATA "/tiny/"

static char *directory;
static json_t *reference;

static int set_up(void **state)
{
    (void)state;
    json_error_t error;
    static const char *const files[] = {"config.json", "generation_config.json", "tokenizer.json",
                                        "tokenizer_config.json"};
    directory = fixture_create();
    fixture_write_tensors(directory, TINY "model.safetensors");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char source[1024];
        snprintf(source, sizeof source, TINY "%s", files[i]);
        fixture_copy(directory, files[i], source);
    }
    reference = json_load_file(ENTRO_TEST_DATA "/training/reference.json", 0, &error);
    assert_non_null(reference);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(reference);
    fixture_remove(directory);
    return 0;
}

struct runner {
    struct entro_model model;
    struct entro_pool *pool;
    struct entro_backend *backend;
};

static void open_runner(struct runner *runner, unsigned n_threads, const char *kernels)
{
    struct entro_message message;
    enum entro_error error = entro_model_open(&runner->model, directory, &message);
    if (error != ENTRO_OK)
        fail_msg("%s", message.text);
    assert_int_equal(entro_pool_create(&runner->pool, n_threads), ENTRO_OK);
    assert_int_equal(entro_backend_cpu_create(&runner->backend, &runner->model.config, &runner->model.weights,
                                              runner->model.config.n_context, runner->pool,
                                              entro_kernels_by_name(kernels), &message),
                     ENTRO_OK);
}

static void close_runner(struct runner *runner)
{
    runner->backend->free(runner->backend);
    entro_pool_free(runner->pool);
    entro_model_close(&runner->model);
}

/* The tokens of prompt i as the reference has them, checked against the runner's own tokenizer. */
static void encode(struct runner *runner, const json_t *prompt, struct entro_tokens *tokens)
{
    struct entro_message message;
    const char *text = json_string_value(json_object_get(prompt, "text"));
    const json_t *expected = json_object_get(prompt, "tokens");
    const struct entro_prompt request = {.text = text, .size_bytes = strlen(text)};
    *tokens = (struct entro_tokens){0};
    assert_int_equal(entro_prompt_encode(&runner->model, &request, tokens, &message), ENTRO_OK);
    assert_int_equal(tokens->n, json_array_size(expected));
    for (size_t i = 0; i < tokens->n; i++)
        assert_int_equal(tokens->ids[i], json_integer_value(json_array_get(expected, i)));
}

static void check_logits(const char *kernels, unsigned n_threads)
{
    struct runner runner;
    struct entro_tokens tokens;
    struct entro_message message;
    const json_t *expected = json_object_get(reference, "first_logits");
    open_runner(&runner, n_threads, kernels);
    size_t n = runner.model.config.n_vocabulary;
    assert_int_equal(json_array_size(expected), n);
    float *logits = calloc(n, sizeof *logits);
    assert_non_null(logits);
    encode(&runner, json_array_get(json_object_get(reference, "prompts"), 0), &tokens);
    assert_int_equal(runner.backend->forward(runner.backend, tokens.ids, tokens.n, 0, logits, &message),
                     ENTRO_OK);
    double difference = 0, smallest = INFINITY, largest = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        double value = json_number_value(json_array_get(expected, i));
        difference = fmax(difference, fabs((double)logits[i] - value));
        smallest = fmin(smallest, value);
        largest = fmax(largest, value);
    }
    if (!(difference <= 1e-3 * (largest - smallest)))
        fail_msg("%s: logits differ by %g in a range of %g", kernels, difference, largest - smallest);
    free(logits);
    entro_tokens_free(&tokens);
    close_runner(&runner);
}

static void logits_match_the_reference(void **state)
{
    (void)state;
    static const char *const variants[] = {"portable", "avx2", "avx512", "vnni", "amx", "neon"};
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
        if (entro_kernels_by_name(variants[i]) != NULL)
            check_logits(variants[i], (unsigned)i + 1);
}

static enum entro_error collect(void *context, const char *text, size_t size_bytes,
                                struct entro_message *message)
{
    return entro_text_append(context, text, size_bytes, message);
}

static void the_greedy_text_is_the_reference(void **state)
{
    (void)state;
    struct runner runner;
    size_t i;
    const json_t *prompt;
    open_runner(&runner, 2, entro_kernels_best()->name);
    json_array_foreach(json_object_get(reference, "prompts"), i, prompt)
    {
        struct entro_tokens tokens;
        struct entro_text text = {0}, expected = {0};
        struct entro_message message;
        struct entro_sampler *sampler;
        struct entro_generation_figures figures;
        struct entro_token_decoder decoder;
        const json_t *greedy = json_object_get(prompt, "greedy");
        encode(&runner, prompt, &tokens);
        assert_int_equal(entro_sampler_create(&sampler, &(struct entro_sampling){.temperature = 0},
                                              runner.model.config.n_vocabulary),
                         ENTRO_OK);
        const struct entro_generation generation = {.backend = runner.backend,
                                                    .config = &runner.model.config,
                                                    .tokenizer = runner.model.tokenizer,
                                                    .sampler = sampler,
                                                    .n_predict = json_array_size(greedy),
                                                    .ignore_eos = true,
                                                    .sink = collect,
                                                    .sink_context = &text};
        assert_int_equal(entro_generate(&generation, tokens.ids, tokens.n, &figures, &message), ENTRO_OK);
        assert_int_equal(figures.stop, ENTRO_STOP_LENGTH);
        assert_int_equal(figures.n_generated, json_array_size(greedy));
        entro_token_decoder_start(&decoder, runner.model.tokenizer, ENTRO_DECODE_CONTINUES);
        for (size_t j = 0; j < json_array_size(greedy); j++)
            assert_int_equal(entro_token_decoder_next(&decoder,
                                                      (uint32_t)json_integer_value(json_array_get(greedy, j)),
                                                      &expected, &message),
                             ENTRO_OK);
        assert_int_equal(entro_token_decoder_finish(&decoder, &expected, &message), ENTRO_OK);
        assert_int_equal(text.size, expected.size);
        assert_memory_equal(text.data, expected.data, text.size);
        entro_text_free(&text);
        entro_text_free(&expected);
        entro_tokens_free(&tokens);
        entro_sampler_free(sampler);
    }
    close_runner(&runner);
}

static void a_prompt_may_be_run_in_pieces_and_taken_back(void **state)
{
    (void)state;
    struct runner runner;
    struct entro_tokens tokens;
    struct entro_message message;
    open_runner(&runner, 2, "portable");
    size_t n = runner.model.config.n_vocabulary;
    float *whole = calloc(n, sizeof *whole), *pieces = calloc(n, sizeof *pieces);
    assert_true(whole != NULL && pieces != NULL);
    encode(&runner, json_array_get(json_object_get(reference, "prompts"), 0), &tokens);
    struct entro_backend *backend = runner.backend;
    assert_true(tokens.n > 4);
    assert_int_equal(backend->forward(backend, tokens.ids, tokens.n, 0, whole, &message), ENTRO_OK);
    /* Other tokens behind position 3, then the right ones again. */
    assert_int_equal(backend->forward(backend, tokens.ids, 3, 3, NULL, &message), ENTRO_OK);
    assert_int_equal(backend->forward(backend, tokens.ids + 3, tokens.n - 3, 3, pieces, &message), ENTRO_OK);
    for (size_t i = 0; i < n; i++)
        assert_float_equal(whole[i], pieces[i], 1e-3);
    free(whole);
    free(pieces);
    entro_tokens_free(&tokens);
    close_runner(&runner);
}

/* BF16 rows in the order of GGUF's "llama": within a head, row i and row i + half become rows 2i and 2i + 1.
 */
static uint8_t *permute_rows(struct entro_matrix *matrix, size_t head_dim)
{
    size_t row_bytes = matrix->n_columns * 2;
    uint8_t *permuted = malloc(matrix->n_rows * row_bytes);
    assert_non_null(permuted);
    for (size_t row = 0; row < matrix->n_rows; row++) {
        size_t head = row / head_dim, i = row % head_dim;
        size_t place = i < head_dim / 2 ? 2 * i : 2 * (i - head_dim / 2) + 1;
        memcpy(permuted + (head * head_dim + place) * row_bytes, matrix->data + row * row_bytes, row_bytes);
    }
    matrix->data = permuted;
    return permuted;
}

static void the_permuted_rows_of_a_gguf_give_the_same_logits(void **state)
{
    (void)state;
    struct runner runner;
    struct entro_tokens tokens;
    struct entro_message message;
    open_runner(&runner, 2, "portable");
    struct entro_config *config = &runner.model.config;
    size_t n = config->n_vocabulary, n_layers = config->n_layers;
    float *plain = calloc(n, sizeof *plain), *permuted = calloc(n, sizeof *permuted);
    uint8_t **rows = calloc(2 * n_layers, sizeof *rows);
    assert_true(plain != NULL && permuted != NULL && rows != NULL);
    encode(&runner, json_array_get(json_object_get(reference, "prompts"), 0), &tokens);
    struct entro_backend *backend = runner.backend;
    assert_int_equal(backend->forward(backend, tokens.ids, tokens.n, 0, plain, &message), ENTRO_OK);
    for (size_t i = 0; i < 2 * n_layers; i++)
        rows[i] = permute_rows(&runner.model.weights.layers[i / 2].qkv[i % 2], config->head_dim);
    config->rope_interleaved = true;
    assert_int_equal(backend->forward(backend, tokens.ids, tokens.n, 0, permuted, &message), ENTRO_OK);
    for (size_t i = 0; i < n; i++)
        assert_float_equal(plain[i], permuted[i], 1e-3);
    for (size_t i = 0; i < 2 * n_layers; i++)
        free(rows[i]);
    free(rows);
    free(plain);
    free(permuted);
    entro_tokens_free(&tokens);
    close_runner(&runner);
}

static void what_the_model_cannot_take_is_refused(void **state)
{
    (void)state;
    struct runner runner;
    struct entro_message message;
    struct entro_generation_figures figures;
    open_runner(&runner, 1, "portable");
    struct entro_backend *backend = runner.backend;
    const uint32_t good = 0, outside = (uint32_t)runner.model.config.n_vocabulary;
    assert_int_equal(backend->forward(backend, &outside, 1, 0, NULL, &message), ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(message.text, "vocabulary"));
    assert_int_equal(backend->forward(backend, &good, 1, backend->n_context, NULL, &message),
                     ENTRO_ERROR_ARGUMENT);
    assert_int_equal(backend->forward(backend, &good, 1, SIZE_MAX, NULL, &message), ENTRO_ERROR_ARGUMENT);
    const struct entro_generation generation = {.backend = backend, .config = &runner.model.config};
    assert_int_equal(entro_generate(&generation, &good, 0, &figures, &message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(entro_generate(&generation, &good, backend->n_context + 1, &figures, &message),
                     ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(message.text, "-c"));
    close_runner(&runner);
}

static void a_directory_that_is_no_model_is_refused_in_one_line(void **state)
{
    (void)state;
    struct entro_model model;
    struct entro_message message;
    char *empty = fixture_create();
    assert_int_equal(entro_model_open(&model, empty, &message), ENTRO_ERROR_NOT_FOUND);
    assert_non_null(strstr(message.text, "tensors.json"));
    assert_null(strchr(message.text, '\n'));
    assert_int_equal(entro_model_open(&model, "/nonexistent/model", &message), ENTRO_ERROR_NOT_FOUND);
    assert_int_equal(entro_model_open(&model, TINY "config.json", &message), ENTRO_ERROR_NOT_FOUND);
    assert_non_null(strstr(message.text, "not a directory"));
    const char *manifest = "{\"format\": 1, \"source\": \"gguf\", \"tensors\": []}";
    fixture_write(empty, "tensors.json", manifest, strlen(manifest));
    assert_int_equal(entro_model_open(&model, empty, &message), ENTRO_ERROR_NOT_FOUND);
    assert_non_null(strstr(message.text, ".gguf"));
    fixture_write(empty, "a.gguf", "GGUF", 4);
    assert_int_not_equal(entro_model_open(&model, empty, &message), ENTRO_OK);
    fixture_write(empty, "b.gguf", "GGUF", 4);
    assert_int_equal(entro_model_open(&model, empty, &message), ENTRO_ERROR_UNSUPPORTED);
    fixture_remove(empty);
}

/* Opens the tiny model with one token more than the embedding has rows: of the vocabulary, or a special one.
 */
static enum entro_error open_with_token(bool special, struct entro_message *message)
{
    struct entro_model model;
    json_error_t json_error;
    char *other = fixture_create();
    json_t *root = json_load_file(TINY "tokenizer.json", 0, &json_error);
    assert_non_null(root);
    if (special)
        json_array_append_new(json_object_get(root, "added_tokens"),
                              json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", 2048, "content",
                                        "<image>", "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized",
                                        0, "special", 1));
    else
        json_object_set_new(json_object_get(json_object_get(root, "model"), "vocab"), "one too many",
                            json_integer(2048));
    char *text = json_dumps(root, 0);
    assert_non_null(text);
    fixture_write_tensors(other, TINY "model.safetensors");
    fixture_copy(other, "config.json", TINY "config.json");
    fixture_write(other, "tokenizer.json", text, strlen(text));
    enum entro_error error = entro_model_open(&model, other, message);
    if (error == ENTRO_OK)
        entro_model_close(&model);
    free(text);
    json_decref(root);
    fixture_remove(other);
    return error;
}

static void a_tokenizer_of_another_model_is_refused(void **state)
{
    (void)state;
    struct entro_message message;
    assert_int_equal(open_with_token(false, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "tokenizer"));
    assert_non_null(strstr(message.text, "model.embed_tokens.weight"));
    assert_null(strchr(message.text, '\n'));
    /* Text models of a family keep its tokens for images. */
    assert_int_equal(open_with_token(true, &message), ENTRO_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_match_the_reference),
        cmocka_unit_test(the_greedy_text_is_the_reference),
        cmocka_unit_test(a_prompt_may_be_run_in_pieces_and_taken_back),
        cmocka_unit_test(the_permuted_rows_of_a_gguf_give_the_same_logits),
        cmocka_unit_test(what_the_model_cannot_take_is_refused),
        cmocka_unit_test(a_directory_that_is_no_model_is_refused_in_one_line),
        cmocka_unit_test(a_tokenizer_of_another_model_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
