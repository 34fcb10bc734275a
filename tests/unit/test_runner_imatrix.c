/*
 * Collected importances: on the small model against what can be worked out from its embedding and first norm
 * alone, and what they may not depend on.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runner/directions.h"
#include "runner/imatrix_collect.h"
#include "runner/model.h"
#include "runner_fixture.h"

#define TINY      ENTRO_TEST_DATA "/tiny/"
#define N_TOKENS  70
#define N_CONTEXT 64

struct runner {
    char *directory;
    struct entro_model model;
    struct entro_pool *pool;
    struct entro_backend *backend;
    uint32_t tokens[N_TOKENS];
    struct entro_message message;
};

static void open_runner(struct runner *self, unsigned n_threads)
{
    static const char *const files[] = {"config.json", "tokenizer.json"};
    *self = (struct runner){.directory = fixture_create()};
    fixture_write_tensors(self->directory, TINY "model.safetensors");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char source[512];
        snprintf(source, sizeof source, TINY "%s", files[i]);
        fixture_copy(self->directory, files[i], source);
    }
    if (entro_model_open(&self->model, self->directory, &self->message) != ENTRO_OK)
        fail_msg("%s", self->message.text);
    assert_int_equal(entro_pool_create(&self->pool, n_threads), ENTRO_OK);
    assert_int_equal(entro_backend_cpu_create(&self->backend, &self->model.config, &self->model.weights,
                                              N_CONTEXT, self->pool, entro_kernels_best(), &self->message),
                     ENTRO_OK);
    for (size_t i = 0; i < N_TOKENS; i++)
        self->tokens[i] = (uint32_t)(i * 37 % self->model.config.n_vocabulary);
}

static void close_runner(struct runner *self)
{
    self->backend->free(self->backend);
    entro_pool_free(self->pool);
    entro_model_close(&self->model);
    fixture_remove(self->directory);
}

static struct entro_imatrix_run run_of(const struct runner *runner)
{
    return (struct entro_imatrix_run){.backend = runner->backend,
                                      .weights = &runner->model.weights,
                                      .n_vocabulary = runner->model.config.n_vocabulary,
                                      .pool = runner->pool,
                                      .n_window = 32,
                                      .max_windows = SIZE_MAX,
                                      .bos_id = ENTRO_TOKEN_NONE};
}

static void collect(struct entro_imatrix_collection *out, struct runner *runner,
                    const struct entro_imatrix_run *run)
{
    if (entro_imatrix_collect(out, run, runner->tokens, N_TOKENS, &runner->message) != ENTRO_OK)
        fail_msg("%s", runner->message.text);
}

static const struct entro_imatrix_sums *find(const struct entro_imatrix_collection *collection,
                                             const char *name)
{
    for (size_t i = 0; i < collection->n_entries; i++)
        if (strcmp(collection->entries[i].name, name) == 0)
            return &collection->entries[i];
    return NULL;
}

/* What the first layer's q, k and v are multiplied with: the normed embeddings. */
static void expected_first_sums(const struct runner *runner, const struct entro_imatrix_run *run,
                                double *sums)
{
    const struct entro_weights *weights = &runner->model.weights;
    size_t n = runner->model.config.n_hidden;
    float *x = calloc(n, sizeof *x);
    assert_non_null(x);
    memset(sums, 0, n * sizeof *sums);
    for (size_t i = 0; i < N_TOKENS / run->n_window * run->n_window; i++) {
        bool is_first = i % run->n_window == 0 && run->bos_id != ENTRO_TOKEN_NONE;
        double squares = 0;
        entro_matrix_row(&weights->embedding, is_first ? run->bos_id : runner->tokens[i], x);
        for (size_t j = 0; j < n; j++)
            squares += (double)x[j] * (double)x[j];
        double inverse = 1 / (squares / (double)n + runner->model.config.norm_epsilon);
        for (size_t j = 0; j < n; j++) {
            double scaled = (double)x[j] * (double)weights->layers[0].attention_norm[j];
            sums[j] += scaled * scaled * inverse;
        }
    }
    free(x);
}

static void the_first_layers_inputs_are_the_normed_embeddings(void **state)
{
    static const char *const names[] = {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"};
    struct runner runner;
    struct entro_imatrix_collection collection;
    (void)state;
    open_runner(&runner, 2);
    struct entro_imatrix_run run = run_of(&runner);
    double *expected = calloc(runner.model.config.n_hidden, sizeof *expected);
    assert_non_null(expected);
    for (int with_bos = 0; with_bos < 2; with_bos++) {
        run.bos_id = with_bos ? 5 : ENTRO_TOKEN_NONE;
        collect(&collection, &runner, &run);
        expected_first_sums(&runner, &run, expected);
        assert_int_equal(collection.n_windows, 2);
        assert_int_equal(collection.n_entries, 7 * runner.model.config.n_layers);
        for (size_t i = 0; i < 3; i++) {
            const struct entro_imatrix_sums *sums = find(&collection, names[i]);
            assert_non_null(sums);
            assert_int_equal(sums->n_columns, runner.model.config.n_hidden);
            assert_int_equal(sums->n_tokens, 64);
            for (size_t j = 0; j < sums->n_columns; j++)
                if (!(fabs(sums->sums[j] - expected[j]) <= 1e-5 * expected[j]))
                    fail_msg("column %zu: %.9g is not %.9g", j, sums->sums[j], expected[j]);
        }
        entro_imatrix_collection_free(&collection);
    }
    free(expected);
    close_runner(&runner);
}

static void every_linear_layer_has_an_entry_and_the_head_where_it_is_asked_for(void **state)
{
    static const char *const parts[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                        "ffn_gate", "ffn_up", "ffn_down"};
    struct runner runner;
    struct entro_imatrix_collection collection;
    (void)state;
    open_runner(&runner, 1);
    struct entro_imatrix_run run = run_of(&runner);
    for (int with_output = 0; with_output < 2; with_output++) {
        run.with_output = with_output;
        collect(&collection, &runner, &run);
        for (size_t layer = 0; layer < runner.model.config.n_layers; layer++)
            for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
                char name[64];
                snprintf(name, sizeof name, "blk.%zu.%s.weight", layer, parts[i]);
                const struct entro_imatrix_sums *sums = find(&collection, name);
                assert_non_null(sums);
                assert_int_equal(sums->n_tokens, 64);
                double sum = 0;
                for (size_t j = 0; j < sums->n_columns; j++)
                    sum += sums->sums[j];
                assert_true(sum > 0 && isfinite(sum));
            }
        const struct entro_imatrix_sums *head = find(&collection, "output.weight");
        assert_int_equal(head != NULL, with_output);
        if (with_output)
            assert_int_equal(head->n_tokens, 64);
        entro_imatrix_collection_free(&collection);
    }
    close_runner(&runner);
}

static void each_input_has_directions_once_where_they_are_asked_for(void **state)
{
    static const char *const first[] = {"attn_q", "attn_output", "ffn_gate", "ffn_down"};
    struct runner runner;
    struct entro_imatrix_collection collection;
    (void)state;
    open_runner(&runner, 2);
    struct entro_imatrix_run run = run_of(&runner);
    run.with_output = true;
    for (int with_directions = 0; with_directions < 2; with_directions++) {
        run.with_directions = with_directions;
        collect(&collection, &runner, &run);
        assert_int_equal(collection.n_entries, 7 * runner.model.config.n_layers + 1);
        for (size_t i = 0; i < collection.n_entries; i++) {
            const struct entro_imatrix_sums *entry = &collection.entries[i];
            bool is_wanted = false;
            for (size_t k = 0; k < sizeof first / sizeof *first && with_directions; k++)
                is_wanted = is_wanted || strstr(entry->name, first[k]) != NULL;
            assert_int_equal(entry->n_directions, is_wanted ? entro_sketch_directions(entry->n_columns) : 0);
            assert_int_equal(entry->directions != NULL, is_wanted);
        }
        entro_imatrix_collection_free(&collection);
    }
    close_runner(&runner);
}

/* A direction is of the mean, and no column has more of them than its mean square; most of the inputs of
 * few tokens is in them. */
static void directions_are_of_the_inputs_they_stand_by(void **state)
{
    struct runner runner;
    struct entro_imatrix_collection collection;
    (void)state;
    open_runner(&runner, 2);
    struct entro_imatrix_run run = run_of(&runner);
    run.with_directions = true;
    collect(&collection, &runner, &run);
    for (size_t i = 0; i < collection.n_entries; i++) {
        const struct entro_imatrix_sums *entry = &collection.entries[i];
        double all = 0, in_directions = 0;
        for (size_t j = 0; j < entry->n_columns && entry->n_directions > 0; j++) {
            double mean = entry->sums[j] / (double)entry->n_tokens, sum = 0;
            for (size_t k = 0; k < entry->n_directions; k++) {
                double direction = (double)entry->directions[k * entry->n_columns + j];
                sum += direction * direction;
            }
            if (!(sum <= mean * (1 + 1e-3)))
                fail_msg("%s, column %zu: %g is more than %g", entry->name, j, sum, mean);
            all += mean;
            in_directions += sum;
        }
        if (!(in_directions >= 0.3 * all))
            fail_msg("%s: directions have %g of %g", entry->name, in_directions, all);
    }
    entro_imatrix_collection_free(&collection);
    close_runner(&runner);
}

static void sums_do_not_depend_on_the_number_of_threads(void **state)
{
    struct entro_imatrix_collection collections[2];
    struct runner runners[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        open_runner(&runners[i], i == 0 ? 1 : 3);
        struct entro_imatrix_run run = run_of(&runners[i]);
        run.with_directions = true;
        collect(&collections[i], &runners[i], &run);
    }
    assert_int_equal(collections[0].n_entries, collections[1].n_entries);
    for (size_t i = 0; i < collections[0].n_entries; i++) {
        const struct entro_imatrix_sums *a = &collections[0].entries[i], *b = &collections[1].entries[i];
        assert_string_equal(a->name, b->name);
        assert_memory_equal(a->sums, b->sums, a->n_columns * sizeof *a->sums);
        assert_int_equal(a->n_directions, b->n_directions);
        if (a->n_directions > 0)
            assert_memory_equal(a->directions, b->directions,
                                a->n_directions * a->n_columns * sizeof *a->directions);
    }
    for (int i = 0; i < 2; i++) {
        entro_imatrix_collection_free(&collections[i]);
        close_runner(&runners[i]);
    }
}

/* The inputs are what the layer before has made: factors of the matrix's own columns are no part of them. */
static void column_factors_are_no_part_of_the_inputs(void **state)
{
    struct runner runner;
    struct entro_imatrix_collection collection;
    (void)state;
    open_runner(&runner, 2);
    struct entro_imatrix_run run = run_of(&runner);
    size_t n = runner.model.config.n_hidden;
    double *expected = calloc(n, sizeof *expected);
    float *factors = calloc(n, sizeof *factors);
    uint8_t *codes = calloc(n, n);
    assert_true(expected != NULL && factors != NULL && codes != NULL);
    for (size_t i = 0; i < n; i++)
        factors[i] = 1 + (float)i;
    struct entro_matrix *query = &runner.model.weights.layers[0].qkv[0];
    struct entro_matrix before = *query;
    assert_true(query->n_rows <= n);
    *query = (struct entro_matrix){.name = before.name,
                                   .n_rows = before.n_rows,
                                   .n_columns = n,
                                   .encoding = ENTRO_MATRIX_U8,
                                   .data = codes,
                                   .scale = 1,
                                   .column_scale = factors};
    collect(&collection, &runner, &run);
    expected_first_sums(&runner, &run, expected);
    const struct entro_imatrix_sums *sums = find(&collection, "blk.0.attn_q.weight");
    for (size_t j = 0; j < n; j++)
        assert_true(fabs(sums->sums[j] - expected[j]) <= 1e-5 * expected[j]);
    *query = before;
    entro_imatrix_collection_free(&collection);
    free(codes);
    free(factors);
    free(expected);
    close_runner(&runner);
}

static void nobody_watches_a_backend_afterwards(void **state)
{
    struct runner runner;
    struct entro_imatrix_collection collection;
    (void)state;
    open_runner(&runner, 2);
    size_t n_bytes = runner.model.config.n_vocabulary * sizeof(float);
    float *before = malloc(n_bytes), *after = malloc(n_bytes);
    assert_true(before != NULL && after != NULL);
    assert_int_equal(runner.backend->forward(runner.backend, runner.tokens, 40, 0, before, &runner.message),
                     ENTRO_OK);
    struct entro_imatrix_run run = run_of(&runner);
    collect(&collection, &runner, &run);
    entro_imatrix_collection_free(&collection);
    /* An observer that is still there would write to what is freed. */
    assert_int_equal(runner.backend->forward(runner.backend, runner.tokens, 40, 0, after, &runner.message),
                     ENTRO_OK);
    assert_memory_equal(before, after, n_bytes);
    free(before);
    free(after);
    close_runner(&runner);
}

static void assert_refused(struct runner *runner, const struct entro_imatrix_run *run, size_t n_tokens,
                           const char *part)
{
    struct entro_imatrix_collection collection;
    assert_int_equal(entro_imatrix_collect(&collection, run, runner->tokens, n_tokens, &runner->message),
                     ENTRO_ERROR_ARGUMENT);
    if (strstr(runner->message.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", runner->message.text, part);
    assert_null(collection.entries);
}

static void texts_and_backends_that_do_not_do_are_refused(void **state)
{
    struct runner runner;
    (void)state;
    open_runner(&runner, 1);
    struct entro_imatrix_run run = run_of(&runner);
    assert_refused(&runner, &run, 63, "63 tokens: too few for two windows of 32");
    run.n_window = N_CONTEXT + 1;
    assert_refused(&runner, &run, N_TOKENS, "the context holds");
    run.n_window = 32;
    runner.tokens[69] = (uint32_t)runner.model.config.n_vocabulary;
    assert_refused(&runner, &run, N_TOKENS, "outside the model's vocabulary");
    runner.tokens[69] = 0;
    struct entro_backend blind = *runner.backend;
    blind.observe = NULL;
    blind.name = "cuda (a GPU)";
    run.backend = &blind;
    assert_refused(&runner, &run, N_TOKENS, "cuda (a GPU)");
    close_runner(&runner);
}

static enum entro_error stop(void *context, size_t n_done, size_t n_windows, struct entro_message *message)
{
    *(size_t *)context += n_done;
    assert_int_equal(n_windows, 2);
    return entro_fail(message, ENTRO_ERROR_CANCELLED, "stopped");
}

static void windows_can_be_fewer_or_be_stopped(void **state)
{
    struct runner runner;
    struct entro_imatrix_collection collection;
    size_t n_calls = 0;
    (void)state;
    open_runner(&runner, 1);
    struct entro_imatrix_run run = run_of(&runner);
    run.max_windows = 1;
    collect(&collection, &runner, &run);
    assert_int_equal(collection.n_windows, 1);
    assert_int_equal(collection.entries[0].n_tokens, 32);
    entro_imatrix_collection_free(&collection);
    run.max_windows = SIZE_MAX;
    run.with_directions = true;
    run.progress = stop;
    run.progress_context = &n_calls;
    assert_int_equal(entro_imatrix_collect(&collection, &run, runner.tokens, N_TOKENS, &runner.message),
                     ENTRO_ERROR_CANCELLED);
    assert_int_equal(n_calls, 1);
    assert_null(collection.entries);
    close_runner(&runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_layers_inputs_are_the_normed_embeddings),
        cmocka_unit_test(every_linear_layer_has_an_entry_and_the_head_where_it_is_asked_for),
        cmocka_unit_test(each_input_has_directions_once_where_they_are_asked_for),
        cmocka_unit_test(directions_are_of_the_inputs_they_stand_by),
        cmocka_unit_test(sums_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(column_factors_are_no_part_of_the_inputs),
        cmocka_unit_test(nobody_watches_a_backend_afterwards),
        cmocka_unit_test(texts_and_backends_that_do_not_do_are_refused),
        cmocka_unit_test(windows_can_be_fewer_or_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
