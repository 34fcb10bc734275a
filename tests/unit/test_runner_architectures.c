/*
 * A tiny model of each architecture against what transformers computed (tests/data/architectures): logits
 * before, at and behind the ends of windows and batches, in batches and token by token, from the tensors of
 * safetensors and of GGUF, and from quantized ones.
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

#include "runner/backend.h"
#include "runner/imatrix_collect.h"
#include "logits_difference.h"
#include "tiny_opened.h"

static json_t *references;

static const struct entro_kernels *kernels_float; /* the fastest that take inputs as they are */

static int set_up(void **state)
{
    static const char *const names[] = {"avx512", "avx2", "neon", "portable"};
    (void)state;
    for (size_t i = 0; kernels_float == NULL; i++)
        kernels_float = entro_kernels_by_name(names[i]);
    references = tiny_references();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(references);
    return 0;
}

struct runner {
    struct tiny_opened model;
    struct entro_backend *backend;
};

static void open_runner(struct runner *runner, const json_t *reference, const char *config_key,
                        enum tiny_encoding encoding, const struct entro_kernels *kernels, unsigned n_threads)
{
    struct entro_message message;
    struct tiny_opened *model = &runner->model;
    tiny_open(model, reference, config_key, encoding, n_threads);
    assert_int_equal(entro_backend_cpu_create(&runner->backend, &model->config, &model->weights, 256,
                                              model->pool, kernels, &message),
                     ENTRO_OK);
}

static void close_runner(struct runner *runner)
{
    runner->backend->free(runner->backend);
    tiny_close(&runner->model);
}

/* The logits behind every token, run n at a time: [n_tokens][n_vocabulary], the caller's. */
static float *run(struct runner *runner, size_t n)
{
    struct entro_message message;
    struct entro_backend *backend = runner->backend;
    size_t n_vocabulary = runner->model.config.n_vocabulary;
    float *logits = calloc(runner->model.n_tokens * n_vocabulary, sizeof *logits);
    assert_non_null(logits);
    assert_true(n <= backend->n_batch);
    for (size_t done = 0; done < runner->model.n_tokens; done += n) {
        if (n > runner->model.n_tokens - done)
            n = runner->model.n_tokens - done;
        float *last = logits + (done + n - 1) * n_vocabulary;
        assert_int_equal(
            backend->forward(backend, runner->model.tokens + done, n, done, n == 1 ? last : NULL, &message),
            ENTRO_OK);
        /* In two askings, the later one first. */
        size_t half = n / 2;
        if (n > 1) {
            assert_int_equal(backend->logits(backend, done + half, n - half,
                                             logits + (done + half) * n_vocabulary, &message),
                             ENTRO_OK);
            assert_int_equal(backend->logits(backend, done, half, logits + done * n_vocabulary, &message),
                             ENTRO_OK);
        }
    }
    return logits;
}

/* Largest difference from the reference over the range of its logits. */
static double difference_from(const json_t *reference, const float *logits, size_t n_vocabulary)
{
    size_t i, j;
    double difference = 0, smallest = INFINITY, largest = -INFINITY;
    const json_t *row, *number;
    json_array_foreach(json_object_get(reference, "logits"), i, row)
    {
        size_t position =
            (size_t)json_integer_value(json_array_get(json_object_get(reference, "positions"), i));
        assert_int_equal(json_array_size(row), n_vocabulary);
        json_array_foreach(row, j, number)
        {
            double value = json_number_value(number);
            difference = fmax(difference, fabs((double)logits[position * n_vocabulary + j] - value));
            smallest = fmin(smallest, value);
            largest = fmax(largest, value);
        }
    }
    return difference / (largest - smallest);
}

static void check(const json_t *reference, const char *config_key, const struct entro_kernels *kernels,
                  unsigned n_threads, size_t n)
{
    struct runner runner;
    open_runner(&runner, reference, config_key, TINY_BF16, kernels, n_threads);
    float *logits = run(&runner, n);
    double difference = difference_from(reference, logits, runner.model.config.n_vocabulary);
    if (getenv("ENTRO_TEST_PRINT") != NULL)
        printf("%-45s %-26s %-9s %3zu at a time: %.1e\n", tiny_name(reference),
               config_key == NULL ? "GGUF" : config_key, kernels->name, n, difference);
    if (!(difference <= 1e-3))
        fail_msg("%s, %s, %s, %zu at a time: logits differ by %g of their range", tiny_name(reference),
                 config_key == NULL ? "GGUF" : config_key, kernels->name, n, difference);
    free(logits);
    close_runner(&runner);
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    size_t i;
    const json_t *reference;
    json_array_foreach(references, i, reference)
    {
        check(reference, "config", &entro_kernels_portable, 1, 128);
        check(reference, "config", kernels_float, 2, 128);
        check(reference, "config", kernels_float, 2, 1);
        check(reference, "config_of_transformers_4", kernels_float, 2, 37);
    }
}

static void a_gguf_gives_the_same_logits(void **state)
{
    (void)state;
    size_t i;
    const json_t *reference;
    json_array_foreach(references, i, reference) check(reference, NULL, kernels_float, 2, 128);
}

static void batches_give_what_single_tokens_give(void **state)
{
    (void)state;
    size_t i;
    const json_t *reference;
    static const size_t sizes[] = {2, 3, 19, 100, 128};
    json_array_foreach(references, i, reference)
    {
        struct runner runner;
        open_runner(&runner, reference, "config", TINY_BF16, kernels_float, 2);
        size_t n = runner.model.n_tokens * runner.model.config.n_vocabulary;
        float *single = run(&runner, 1);
        for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++) {
            float *batch = run(&runner, sizes[j]);
            double difference = logits_difference(single, batch, n);
            if (!(difference <= 5e-4))
                fail_msg("%s: %zu at a time differ from one at a time by %g", tiny_name(reference), sizes[j],
                         difference);
            free(batch);
        }
        free(single);
        close_runner(&runner);
    }
}

static void codes_give_what_they_stand_for(void **state)
{
    (void)state;
    size_t i;
    const json_t *reference;
    static const enum tiny_encoding encodings[][2] = {{TINY_U8, TINY_U8_WIDENED}, {TINY_U4, TINY_U4_WIDENED}};
    json_array_foreach(references, i, reference)
    {
        for (size_t j = 0; j < 2; j++) {
            struct runner codes, widened;
            open_runner(&codes, reference, "config", encodings[j][0], kernels_float, 2);
            open_runner(&widened, reference, "config", encodings[j][1], kernels_float, 2);
            size_t n = codes.model.n_tokens * codes.model.config.n_vocabulary;
            float *expected = run(&widened, 128);
            for (size_t at_a_time = 1; at_a_time <= 128; at_a_time += 127) {
                float *logits = run(&codes, at_a_time);
                double difference = logits_difference(expected, logits, n);
                if (!(difference <= 1e-3))
                    fail_msg("%s: u%d, %zu at a time, differs by %g", tiny_name(reference), j == 0 ? 8 : 4,
                             at_a_time, difference);
                free(logits);
            }
            free(expected);
            close_runner(&codes);
            close_runner(&widened);
        }
    }
}

/* They may round inputs to whole numbers. */
static void the_default_kernels_are_near(void **state)
{
    (void)state;
    size_t i;
    const json_t *reference;
    json_array_foreach(references, i, reference)
    {
        struct runner codes, widened;
        open_runner(&codes, reference, "config", TINY_U8, entro_kernels_best(), 2);
        open_runner(&widened, reference, "config", TINY_U8_WIDENED, kernels_float, 2);
        size_t n = codes.model.n_tokens * codes.model.config.n_vocabulary;
        float *expected = run(&widened, 128), *logits = run(&codes, 128);
        double difference = logits_difference(expected, logits, n);
        if (getenv("ENTRO_TEST_PRINT") != NULL)
            printf("%-45s %s: %.1e\n", tiny_name(reference), entro_kernels_best()->name, difference);
        if (!(difference <= 2e-3))
            fail_msg("%s: differs by %g", tiny_name(reference), difference);
        free(logits);
        free(expected);
        close_runner(&codes);
        close_runner(&widened);
    }
}

static void a_run_longer_than_a_batch_ends_with_the_same_logits(void **state)
{
    (void)state;
    struct runner runner;
    struct entro_message message;
    const json_t *reference = json_array_get(references, 0);
    open_runner(&runner, reference, "config", TINY_BF16, kernels_float, 2);
    struct entro_backend *backend = runner.backend;
    size_t n_vocabulary = runner.model.config.n_vocabulary, n = runner.model.n_tokens;
    float *all = run(&runner, backend->n_batch), *last = calloc(n_vocabulary, sizeof *last);
    assert_non_null(last);
    assert_true(n > backend->n_batch);
    assert_int_equal(backend->forward(backend, runner.model.tokens, n, 0, last, &message), ENTRO_OK);
    assert_true(logits_difference(all + (n - 1) * n_vocabulary, last, n_vocabulary) <= 1e-5);
    free(all);
    free(last);
    close_runner(&runner);
}

static void logits_of_other_positions_are_refused(void **state)
{
    (void)state;
    struct runner runner;
    struct entro_message message;
    open_runner(&runner, json_array_get(references, 0), "config", TINY_BF16, kernels_float, 1);
    struct entro_backend *backend = runner.backend;
    float *logits = calloc(8 * runner.model.config.n_vocabulary, sizeof *logits);
    assert_non_null(logits);
    assert_int_equal(backend->logits(backend, 0, 1, logits, &message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(backend->forward(backend, runner.model.tokens, 4, 0, NULL, &message), ENTRO_OK);
    assert_int_equal(backend->forward(backend, runner.model.tokens + 4, 4, 4, NULL, &message), ENTRO_OK);
    assert_int_equal(backend->logits(backend, 4, 4, logits, &message), ENTRO_OK);
    assert_int_equal(backend->logits(backend, 3, 1, logits, &message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(backend->logits(backend, 4, 5, logits, &message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(backend->logits(backend, 8, 1, logits, &message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(backend->logits(backend, SIZE_MAX, 2, logits, &message), ENTRO_ERROR_ARGUMENT);
    free(logits);
    close_runner(&runner);
}

static void a_weight_that_is_no_number_is_named(void **state)
{
    (void)state;
    static const char *const names[] = {"model.layers.1.mlp.down_proj.weight", "model.embed_tokens.weight"};
    for (size_t i = 0; i < 2; i++) {
        struct runner runner;
        struct entro_message message;
        char path[4096];
        open_runner(&runner, json_array_get(references, 0), "config", TINY_BF16, kernels_float, 1);
        snprintf(path, sizeof path, "%s/tensors/%s", runner.model.directory, names[i]);
        int fd = open(path, O_WRONLY);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, "\xc0\x7f", 2, 20), 2); /* NaN */
        close(fd);
        float logits[256];
        struct entro_backend *backend = runner.backend;
        assert_int_equal(backend->forward(backend, runner.model.tokens, 30, 0, logits, &message),
                         ENTRO_ERROR_FORMAT);
        assert_non_null(strstr(message.text, names[i]));
        assert_null(strchr(message.text, '\n'));
        close_runner(&runner);
    }
}

static void collect(struct entro_imatrix_collection *out, const struct runner *runner)
{
    struct entro_message message;
    const struct entro_imatrix_run run = {.backend = runner->backend,
                                          .weights = &runner->model.weights,
                                          .n_vocabulary = runner->model.config.n_vocabulary,
                                          .pool = runner->model.pool,
                                          .n_window = 32,
                                          .max_windows = 2,
                                          .bos_id = ENTRO_TOKEN_NONE};
    if (entro_imatrix_collect(out, &run, runner->model.tokens, runner->model.n_tokens, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
}

/* Fused tensors have one entry, and the names are GGUF's whatever the model's are. */
static void both_conventions_give_the_same_importances(void **state)
{
    size_t i;
    const json_t *reference;
    (void)state;
    json_array_foreach(references, i, reference)
    {
        struct runner hf, gguf;
        struct entro_imatrix_collection a, b;
        open_runner(&hf, reference, "config", TINY_BF16, kernels_float, 2);
        open_runner(&gguf, reference, NULL, TINY_BF16, kernels_float, 1);
        collect(&a, &hf);
        collect(&b, &gguf);
        const struct entro_layer_weights *layer = &hf.model.weights.layers[0];
        assert_int_equal(a.n_entries, hf.model.weights.n_layers * (layer->n_qkv + layer->n_gate_up + 2));
        assert_int_equal(a.n_entries, b.n_entries);
        for (size_t k = 0; k < a.n_entries; k++) {
            assert_string_equal(a.entries[k].name, b.entries[k].name);
            assert_memory_equal(a.entries[k].name, "blk.", 4);
            assert_int_equal(a.entries[k].n_tokens, 64);
            assert_int_equal(a.entries[k].n_columns, b.entries[k].n_columns);
            for (size_t j = 0; j < a.entries[k].n_columns; j++)
                assert_true(fabs(a.entries[k].sums[j] - b.entries[k].sums[j]) <=
                            1e-3 * b.entries[k].sums[j] + 1e-9);
        }
        entro_imatrix_collection_free(&a);
        entro_imatrix_collection_free(&b);
        close_runner(&hf);
        close_runner(&gguf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(a_gguf_gives_the_same_logits),
        cmocka_unit_test(batches_give_what_single_tokens_give),
        cmocka_unit_test(codes_give_what_they_stand_for),
        cmocka_unit_test(the_default_kernels_are_near),
        cmocka_unit_test(a_run_longer_than_a_batch_ends_with_the_same_logits),
        cmocka_unit_test(logits_of_other_positions_are_refused),
        cmocka_unit_test(a_weight_that_is_no_number_is_named),
        cmocka_unit_test(both_conventions_give_the_same_importances),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
