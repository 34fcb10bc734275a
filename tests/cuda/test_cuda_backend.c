/*
 * The GPU backend on the emulator against the CPU backend: logits of a tiny model of each architecture, in
 * batches and token by token, for each way weights are stored; picked tokens; and what happens where there is
 * no GPU that will do.
 */
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

#include "runner/backend_cuda.h"
#include "runner/sampler.h"
#include "tests/unit/logits_difference.h"
#include "tests/unit/tiny_opened.h"

#define N_TOKENS       70 /* more than a step of attention */
#define BEYOND_WINDOWS 28 /* the largest is 24 */

static json_t *references;

static int set_up(void **state)
{
    (void)state;
    references = tiny_references();
    setenv("ENTRORUN_CUDA_PLUGIN", ENTRO_TEST_PLUGIN, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(references);
    return 0;
}

struct fixture {
    struct tiny_opened model;
    size_t n_tokens;
    struct entro_gpu *gpu;
    struct entro_backend *cpu;
    struct entro_backend *cuda;
    struct entro_message message;
};

static void assert_ok(const struct fixture *f, enum entro_error error)
{
    if (error != ENTRO_OK)
        fail_msg("%s", f->message.text);
}

static void open_model(struct fixture *f, const json_t *reference, enum tiny_encoding encoding, bool gguf)
{
    memset(f, 0, sizeof *f);
    tiny_open(&f->model, reference, gguf ? NULL : "config", encoding, 1);
    f->n_tokens = f->model.n_tokens < N_TOKENS ? f->model.n_tokens : N_TOKENS;
}

static void open_backends(struct fixture *f)
{
    struct entro_cuda_loaded figures;
    const struct entro_cuda_options options = {.n_context = 200, .n_batch = 64, .n_threads = 2};
    assert_ok(f, entro_backend_cpu_create(&f->cpu, &f->model.config, &f->model.weights, 200, f->model.pool,
                                          &entro_kernels_portable, &f->message));
    assert_ok(f, entro_gpu_open(&f->gpu, &f->message));
    assert_ok(f, entro_backend_cuda_create(&f->cuda, f->gpu, &f->model.config, &f->model.weights, &options,
                                           &figures, &f->message));
    assert_true(figures.read_bytes > 0);
}

static void close_all(struct fixture *f)
{
    if (f->cpu != NULL)
        f->cpu->free(f->cpu);
    if (f->cuda != NULL)
        f->cuda->free(f->cuda);
    entro_gpu_close(f->gpu);
    tiny_close(&f->model);
}

/* The logits behind every token, run n at a time: [n_tokens][n_vocabulary], the caller's. */
static float *run(struct fixture *f, struct entro_backend *backend, size_t n)
{
    size_t n_vocabulary = f->model.config.n_vocabulary;
    float *logits = calloc(f->n_tokens * n_vocabulary, sizeof *logits);
    assert_non_null(logits);
    for (size_t done = 0; done < f->n_tokens; done += n) {
        n = n < f->n_tokens - done ? n : f->n_tokens - done;
        assert_ok(f, backend->forward(backend, f->model.tokens + done, n, done, NULL, &f->message));
        assert_ok(f, backend->logits(backend, done, n, logits + done * n_vocabulary, &f->message));
    }
    return logits;
}

/* Of the first n_single tokens one by one, and of the first n_tokens `n_batch` at a time where that is not 0.
 */
static void compare(const json_t *reference, enum tiny_encoding encoding, bool gguf, size_t n_single,
                    size_t n_tokens, size_t n_batch)
{
    struct fixture f;
    const struct {
        size_t n, n_tokens;
        double tolerance;
    } runs[] = {{1, n_single, 5e-4}, {n_batch, n_tokens, 1e-2}};
    open_model(&f, reference, encoding, gguf);
    f.n_tokens = f.n_tokens < n_tokens ? f.n_tokens : n_tokens;
    open_backends(&f);
    float *expected = run(&f, f.cpu, n_batch == 0 ? 1 : n_batch);
    for (size_t i = 0; i < 2 && runs[i].n > 0; i++) {
        f.n_tokens = runs[i].n_tokens;
        float *logits = run(&f, f.cuda, runs[i].n);
        double difference = logits_difference(expected, logits, f.n_tokens * f.model.config.n_vocabulary);
        if (getenv("ENTRO_TEST_PRINT") != NULL)
            printf("%-45s %d %s %2zu at a time: %.1e\n", tiny_name(reference), (int)encoding,
                   gguf ? "GGUF" : "    ", runs[i].n, difference);
        if (!(difference <= runs[i].tolerance))
            fail_msg("%s, encoding %d, %zu at a time: logits differ by %g of their range",
                     tiny_name(reference), (int)encoding, runs[i].n, difference);
        free(logits);
    }
    free(expected);
    close_all(&f);
}

static void logits_are_those_of_the_cpu(void **state)
{
    (void)state;
    size_t i;
    const json_t *reference;
    /* Every fourth (with no window, with one, with one in some layers) goes beyond a step; all beyond theirs.
     */
    json_array_foreach(references, i, reference)
    {
        size_t n_tokens = i % 4 == 0 ? N_TOKENS : BEYOND_WINDOWS;
        compare(reference, TINY_BF16, false, i == 0 ? N_TOKENS : BEYOND_WINDOWS, n_tokens,
                i % 4 == 0 ? 64 : 26);
    }
}

static void codes_give_the_same_logits_too(void **state)
{
    (void)state;
    size_t i;
    const json_t *reference;
    json_array_foreach(references, i, reference)
    {
        compare(reference, TINY_U8, false, 8, 18, 16);
        compare(reference, TINY_U4, false, 8, 18, 7);
    }
}

static void floats_of_32_bits_and_ggufs_give_the_same_logits_too(void **state)
{
    (void)state;
    compare(json_array_get(references, 0), TINY_U8_WIDENED, false, 10, 10, 8);
    size_t i;
    const json_t *reference;
    json_array_foreach(references, i, reference) compare(reference, TINY_BF16, true, 10, 10, 0);
}

/* Text by the loop of generate.c, in short. */
static void continue_text(struct fixture *f, struct entro_backend *backend, struct entro_sampler *sampler,
                          uint32_t *text, size_t n)
{
    float *logits = calloc(f->model.config.n_vocabulary, sizeof *logits);
    assert_non_null(logits);
    /* One by one: a batch of the GPU rounds its inputs to F16, which may turn the choice between equals. */
    for (size_t i = 0; i < 8; i++)
        assert_ok(f, backend->forward(backend, &f->model.tokens[i], 1, i,
                                      backend->pick != NULL ? NULL : logits, &f->message));
    for (size_t i = 0; i < n; i++) {
        if (backend->pick != NULL) {
            assert_true(entro_sampler_can_delegate(sampler));
            struct entro_pick how = entro_sampler_delegate(sampler);
            assert_ok(f, backend->pick(backend, &how, &text[i], &f->message));
        } else
            assert_ok(f, entro_sampler_pick(sampler, logits, &text[i], &f->message));
        assert_ok(f, backend->forward(backend, &text[i], 1, 8 + i, backend->pick != NULL ? NULL : logits,
                                      &f->message));
    }
    free(logits);
}

static void the_same_seed_gives_the_same_text(void **state)
{
    (void)state;
    static const struct entro_sampling samplings[] = {
        {.temperature = 0},
        {.temperature = 0.8F, .top_k = 40, .top_p = 0.95F, .min_p = 0.05F, .seed = 1},
        {.temperature = 1.5F, .top_k = 256, .top_p = 1, .seed = 2},
        {.temperature = 1, .top_k = 1, .top_p = 1, .seed = 3},
    };
    struct fixture f;
    open_model(&f, json_array_get(references, 0), TINY_U8, false);
    open_backends(&f);
    for (size_t i = 0; i < sizeof samplings / sizeof samplings[0]; i++) {
        uint32_t texts[2][24];
        for (size_t j = 0; j < 2; j++) {
            struct entro_sampler *sampler;
            assert_int_equal(entro_sampler_create(&sampler, &samplings[i], f.model.config.n_vocabulary),
                             ENTRO_OK);
            continue_text(&f, j == 0 ? f.cpu : f.cuda, sampler, texts[j], 24);
            entro_sampler_free(sampler);
        }
        assert_memory_equal(texts[0], texts[1], sizeof texts[0]);
    }
    close_all(&f);
}

static void a_text_can_be_taken_back(void **state)
{
    (void)state;
    struct fixture f;
    open_model(&f, json_array_get(references, 0), TINY_BF16, false);
    open_backends(&f);
    size_t n = f.model.config.n_vocabulary;
    float *first = calloc(n, sizeof *first), *again = calloc(n, sizeof *again);
    assert_true(first != NULL && again != NULL);
    assert_ok(&f, f.cuda->forward(f.cuda, f.model.tokens, 30, 0, first, &f.message));
    assert_ok(&f, f.cuda->forward(f.cuda, f.model.tokens + 3, 9, 20, again, &f.message)); /* other tokens */
    assert_ok(&f, f.cuda->forward(f.cuda, f.model.tokens + 20, 10, 20, again, &f.message));
    assert_true(logits_difference(first, again, n) < 2e-3);
    free(first);
    free(again);
    close_all(&f);
}

static void bad_runs_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    uint32_t token = UINT32_MAX;
    float logit;
    open_model(&f, json_array_get(references, 0), TINY_BF16, false);
    open_backends(&f);
    assert_int_equal(f.cuda->forward(f.cuda, &token, 1, 0, NULL, &f.message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(f.cuda->forward(f.cuda, f.model.tokens, 2, 199, NULL, &f.message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(f.cuda->logits(f.cuda, 0, 1, &logit, &f.message), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(f.cuda->pick(f.cuda, &(struct entro_pick){0}, &token, &f.message), ENTRO_ERROR_ARGUMENT);
    close_all(&f);
}

/* The emulator keeps what a variable said last, so the normal value is put back. */
static void assert_no_gpu(const char *variable, const char *value, const char *normal, const char *expected)
{
    struct entro_gpu *gpu;
    struct entro_message message;
    setenv(variable, value, 1);
    enum entro_error error = entro_gpu_open(&gpu, &message);
    setenv(variable, normal, 1);
    assert_int_equal(error, ENTRO_ERROR_NOT_FOUND);
    if (strstr(message.text, expected) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", message.text, expected);
}

static void each_reason_for_no_gpu_has_its_line(void **state)
{
    (void)state;
    assert_no_gpu("ENTRO_EMULATED_DEVICES", "0", "1", "no NVIDIA GPU");
    assert_no_gpu("ENTRO_EMULATED_DRIVER", "11040", "13000", "driver is too old: it knows CUDA up to 11.4");
    assert_no_gpu("ENTRO_EMULATED_DRIVER", "0", "13000", "no NVIDIA driver");
    assert_no_gpu("ENTRO_EMULATED_SM", "53", "90", "not built for a GPU of this architecture");
    assert_no_gpu("ENTRORUN_CUDA_PLUGIN", "/nonexistent.so", ENTRO_TEST_PLUGIN, "cannot be loaded");
}

static void a_model_that_does_not_fit_says_how_much_it_needs(void **state)
{
    (void)state;
    struct fixture f;
    struct entro_cuda_loaded figures;
    const struct entro_cuda_options options = {.n_context = 200, .n_batch = 64, .n_threads = 2};
    open_model(&f, json_array_get(references, 0), TINY_U8, false);
    setenv("ENTRO_EMULATED_MEMORY", "50000000", 1);
    assert_ok(&f, entro_gpu_open(&f.gpu, &f.message));
    assert_int_equal(entro_backend_cuda_create(&f.cuda, f.gpu, &f.model.config, &f.model.weights, &options,
                                               &figures, &f.message),
                     ENTRO_ERROR_NO_MEMORY);
    setenv("ENTRO_EMULATED_MEMORY", "8589934592", 1);
    assert_non_null(strstr(f.message.text, "GiB of GPU memory"));
    assert_non_null(strstr(f.message.text, "0.05 of"));
    close_all(&f);
}

/* So that --device auto goes on on the CPU. */
static void heads_that_no_kernel_takes_are_unsupported(void **state)
{
    (void)state;
    struct fixture f;
    struct entro_cuda_loaded figures;
    const struct entro_cuda_options options = {.n_context = 200, .n_batch = 64, .n_threads = 2};
    open_model(&f, json_array_get(references, 0), TINY_U8, false);
    f.model.config.head_dim = (size_t)1 << 18;
    assert_ok(&f, entro_gpu_open(&f.gpu, &f.message));
    assert_int_equal(entro_backend_cuda_create(&f.cuda, f.gpu, &f.model.config, &f.model.weights, &options,
                                               &figures, &f.message),
                     ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(f.message.text, "heads of 262144 elements"));
    close_all(&f);
}

/* For batches, codes less their zero point become F16. */
static void a_zero_point_beyond_f16_is_unsupported(void **state)
{
    (void)state;
    struct fixture f;
    struct entro_cuda_loaded figures;
    const struct entro_cuda_options options = {.n_context = 200, .n_batch = 64, .n_threads = 2};
    open_model(&f, json_array_get(references, 0), TINY_U8, false);
    f.model.weights.layers[1].down.zero_point = -70000;
    assert_ok(&f, entro_gpu_open(&f.gpu, &f.message));
    assert_int_equal(entro_backend_cuda_create(&f.cuda, f.gpu, &f.model.config, &f.model.weights, &options,
                                               &figures, &f.message),
                     ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(f.message.text, f.model.weights.layers[1].down.name));
    close_all(&f);
}

static void a_file_that_cannot_be_read_fails_the_load(void **state)
{
    (void)state;
    struct fixture f;
    struct entro_cuda_loaded figures;
    const struct entro_cuda_options options = {.n_context = 200, .n_batch = 64, .n_threads = 2};
    open_model(&f, json_array_get(references, 0), TINY_U8, false);
    assert_int_equal(truncate(f.model.weights.mappings[0].path, 10), 0);
    assert_ok(&f, entro_gpu_open(&f.gpu, &f.message));
    assert_int_equal(entro_backend_cuda_create(&f.cuda, f.gpu, &f.model.config, &f.model.weights, &options,
                                               &figures, &f.message),
                     ENTRO_ERROR_IO);
    assert_non_null(strstr(f.message.text, f.model.weights.mappings[0].path));
    close_all(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_the_cpu),
        cmocka_unit_test(codes_give_the_same_logits_too),
        cmocka_unit_test(floats_of_32_bits_and_ggufs_give_the_same_logits_too),
        cmocka_unit_test(the_same_seed_gives_the_same_text),
        cmocka_unit_test(a_text_can_be_taken_back),
        cmocka_unit_test(bad_runs_are_refused),
        cmocka_unit_test(each_reason_for_no_gpu_has_its_line),
        cmocka_unit_test(a_model_that_does_not_fit_says_how_much_it_needs),
        cmocka_unit_test(heads_that_no_kernel_takes_are_unsupported),
        cmocka_unit_test(a_zero_point_beyond_f16_is_unsupported),
        cmocka_unit_test(a_file_that_cannot_be_read_fails_the_load),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
