/* Runs windows and sums squares; see imatrix_collect.h. */
#include "runner/imatrix_collect.h"

#include <stdlib.h>
#include <string.h>

#include "codec/models/tensor_roles.h"
#include "runner/directions.h"

/* Matrices of a layer: q, k, v, attention output, gate, up, down. */
#define MAX_PER_LAYER 7

/* Columns that one thread sums at a time. */
#define COLUMNS_AT_ONCE ((size_t)256)

/* Logits that are held at a time, for the sake of the output head's input. */
#define LOGITS_BYTES ((size_t)16 << 20)

/* Of one matrix; what the collection's entries point into. */
struct collected {
    char name[ENTRO_TENSOR_NAME_BYTES];
    const struct entro_matrix *matrix;
    double *sums;
    struct entro_sketch sketch; /* of no columns where no directions are wanted */
    float *directions;          /* in the end: [sketch.n_directions][n_columns], or NULL */
};

struct collector {
    const struct entro_imatrix_run *run;
    size_t n;
    struct collected *collected;        /* [n] in the order of the products */
    struct entro_imatrix_sums *entries; /* [n] */
    size_t next;                        /* that the next product probably is of */
    struct entro_sketch_room *room;     /* NULL without directions */
    float *logits;                      /* [n_logits][n_vocabulary], or NULL */
    size_t n_logits;
    uint32_t *window; /* [n_window] */
};

/* A product's input, being summed by columns. */
struct sum_loop {
    double *sums;
    const float *x;
    size_t x_stride, n_tokens, n_columns;
};

/* Each column by one thread and in the order of the tokens, so that sums do not depend on the threads. */
static void sum_columns(void *context, size_t item, unsigned worker)
{
    const struct sum_loop *loop = context;
    size_t first = item * COLUMNS_AT_ONCE;
    size_t n = loop->n_columns - first < COLUMNS_AT_ONCE ? loop->n_columns - first : COLUMNS_AT_ONCE;
    double *sums = loop->sums + first;
    (void)worker;
    for (size_t token = 0; token < loop->n_tokens; token++) {
        const float *x = loop->x + token * loop->x_stride + first;
        for (size_t i = 0; i < n; i++)
            sums[i] += (double)x[i] * (double)x[i];
    }
}

static void see_inputs(void *context, const struct entro_matrix *matrix, const float *x, size_t x_stride,
                       size_t n_tokens)
{
    struct collector *collector = context;
    size_t n = collector->n, i = collector->next;
    for (size_t tried = 0; tried < n && collector->collected[i].matrix != matrix; tried++)
        i = i + 1 < n ? i + 1 : 0;
    if (collector->collected[i].matrix != matrix)
        return; /* the head, when it is not asked for */
    struct sum_loop loop = {.sums = collector->collected[i].sums,
                            .x = x,
                            .x_stride = x_stride,
                            .n_tokens = n_tokens,
                            .n_columns = matrix->n_columns};
    entro_parallel_for(collector->run->pool, (loop.n_columns + COLUMNS_AT_ONCE - 1) / COLUMNS_AT_ONCE,
                       sum_columns, &loop);
    if (collector->collected[i].sketch.n_columns > 0)
        entro_sketch_add(&collector->collected[i].sketch, collector->room, entro_kernels_best(),
                         collector->run->pool, x, x_stride, n_tokens);
    collector->entries[i].n_tokens += n_tokens;
    collector->next = i + 1 < n ? i + 1 : 0;
}

static enum entro_error add_matrix(struct collector *collector, const struct entro_matrix *matrix,
                                   bool with_directions, struct entro_message *message)
{
    struct entro_tensor_place place;
    struct collected *collected = &collector->collected[collector->n];
    bool is_head = matrix == &collector->run->weights->output;
    if (is_head) /* whose name may be the embedding's */
        place = (struct entro_tensor_place){.role = ENTRO_TENSOR_OUTPUT};
    else if (!entro_tensor_place(matrix->name, &place))
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "tensor \"%s\": importance matrices have no name for it", matrix->name);
    entro_tensor_name(collected->name, place.role, true, place.layer);
    collected->matrix = matrix;
    collected->sums = calloc(matrix->n_columns, sizeof *collected->sums);
    collector->n++; /* what is freed in any case */
    if (collected->sums == NULL ||
        (with_directions && !entro_sketch_create(&collected->sketch, matrix->n_columns)))
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the sums of \"%s\"", matrix->name);
    collector->entries[collector->n - 1] = (struct entro_imatrix_sums){
        .name = collected->name, .n_columns = matrix->n_columns, .sums = collected->sums};
    return ENTRO_OK;
}

/* Adds matrices that are multiplied with the same input. */
static enum entro_error add_matrices(struct collector *collector, const struct entro_matrix *matrices,
                                     size_t n, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    for (size_t i = 0; i < n && error == ENTRO_OK; i++)
        error = add_matrix(collector, &matrices[i], i == 0 && collector->run->with_directions, message);
    return error;
}

static enum entro_error prepare_room(struct collector *collector, struct entro_message *message)
{
    size_t n_most = 0;
    for (size_t i = 0; i < collector->n; i++)
        if (collector->collected[i].sketch.n_columns > n_most)
            n_most = collector->collected[i].sketch.n_columns;
    collector->room = entro_sketch_room_create(n_most);
    return collector->room != NULL ? ENTRO_OK
                                   : entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                                                "no memory for directions of %zu columns", n_most);
}

static enum entro_error prepare(struct collector *collector, struct entro_message *message)
{
    const struct entro_imatrix_run *run = collector->run;
    const struct entro_weights *weights = run->weights;
    size_t n_most = weights->n_layers * MAX_PER_LAYER + 1;
    enum entro_error error = ENTRO_OK;
    collector->collected = calloc(n_most, sizeof *collector->collected);
    collector->entries = calloc(n_most, sizeof *collector->entries);
    collector->window = calloc(run->n_window, sizeof *collector->window);
    if (run->with_output) {
        size_t row_bytes = run->n_vocabulary * sizeof *collector->logits;
        collector->n_logits = LOGITS_BYTES / row_bytes > 0 ? LOGITS_BYTES / row_bytes : 1;
        collector->logits = calloc(collector->n_logits, row_bytes);
    }
    if (collector->collected == NULL || collector->entries == NULL || collector->window == NULL ||
        (run->with_output && collector->logits == NULL))
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for an importance matrix");
    for (size_t i = 0; i < weights->n_layers; i++) {
        const struct entro_layer_weights *layer = &weights->layers[i];
        if ((error = add_matrices(collector, layer->qkv, layer->n_qkv, message)) != ENTRO_OK ||
            (error = add_matrices(collector, &layer->attention_output, 1, message)) != ENTRO_OK ||
            (error = add_matrices(collector, layer->gate_up, layer->n_gate_up, message)) != ENTRO_OK ||
            (error = add_matrices(collector, &layer->down, 1, message)) != ENTRO_OK)
            return error;
    }
    if (run->with_output)
        error = add_matrix(collector, &weights->output, false, message);
    return error == ENTRO_OK && run->with_directions ? prepare_room(collector, message) : error;
}

static void find_directions(void *context, size_t item, unsigned worker)
{
    struct collector *collector = context;
    struct collected *collected = &collector->collected[item];
    (void)worker;
    if (collected->directions != NULL &&
        entro_sketch_find(&collected->sketch, collector->room, collected->directions)) {
        collector->entries[item].n_directions = collected->sketch.n_directions;
        collector->entries[item].directions = collected->directions;
    }
    entro_sketch_free(&collected->sketch);
}

/* Turns the sketches into directions. */
static enum entro_error finish(struct collector *collector, struct entro_message *message)
{
    for (size_t i = 0; i < collector->n; i++) {
        struct collected *collected = &collector->collected[i];
        if (collected->sketch.n_directions == 0)
            continue;
        collected->directions =
            calloc(collected->sketch.n_columns, collected->sketch.n_directions * sizeof(float));
        if (collected->directions == NULL)
            return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the directions of \"%s\"",
                              collected->name);
    }
    entro_parallel_for(collector->run->pool, collector->n, find_directions, collector);
    return ENTRO_OK;
}

/* The output head's products with the tokens that were just run: for its input alone. */
static enum entro_error run_head(const struct collector *collector, size_t position, size_t n,
                                 struct entro_message *message)
{
    struct entro_backend *backend = collector->run->backend;
    enum entro_error error = ENTRO_OK;
    for (size_t done = 0; done < n && error == ENTRO_OK;) {
        size_t rows = n - done < collector->n_logits ? n - done : collector->n_logits;
        error = backend->logits(backend, position + done, rows, collector->logits, message);
        done += rows;
    }
    return error;
}

static enum entro_error run_window(const struct collector *collector, const uint32_t *tokens,
                                   struct entro_message *message)
{
    const struct entro_imatrix_run *run = collector->run;
    struct entro_backend *backend = run->backend;
    enum entro_error error = ENTRO_OK;
    memcpy(collector->window, tokens, run->n_window * sizeof *tokens);
    if (run->bos_id != ENTRO_TOKEN_NONE)
        collector->window[0] = run->bos_id;
    for (size_t done = 0; done < run->n_window && error == ENTRO_OK;) {
        size_t n = run->n_window - done < backend->n_batch ? run->n_window - done : backend->n_batch;
        error = backend->forward(backend, collector->window + done, n, done, NULL, message);
        if (error == ENTRO_OK && run->with_output)
            error = run_head(collector, done, n, message);
        done += n;
    }
    return error;
}

static enum entro_error run_windows(struct collector *collector, const uint32_t *tokens, size_t n_windows,
                                    struct entro_message *message)
{
    const struct entro_imatrix_run *run = collector->run;
    const struct entro_observer observer = {.inputs = see_inputs, .context = collector};
    enum entro_error error = ENTRO_OK;
    run->backend->observe(run->backend, &observer);
    for (size_t i = 0; i < n_windows && error == ENTRO_OK; i++) {
        error = run_window(collector, tokens + i * run->n_window, message);
        if (error == ENTRO_OK && run->progress != NULL)
            error = run->progress(run->progress_context, i + 1, n_windows, message);
    }
    run->backend->observe(run->backend, NULL);
    return error;
}

static enum entro_error check(const struct entro_imatrix_run *run, const uint32_t *tokens, size_t n_tokens,
                              struct entro_message *message)
{
    if (run->backend->observe == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "importances are collected on the CPU, not on %s (--device cpu)",
                          run->backend->name);
    if (run->n_window == 0 || run->n_window > run->backend->n_context)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "a window of %zu tokens: the context holds %zu",
                          run->n_window, run->backend->n_context);
    if (n_tokens / 2 < run->n_window)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "the text has %zu tokens: too few for two windows of %zu (-c makes them smaller)",
                          n_tokens, run->n_window);
    /* All of them, before hours of work. */
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] >= run->n_vocabulary)
            return entro_fail(
                message, ENTRO_ERROR_ARGUMENT,
                "token %u is outside the model's vocabulary of %zu: tokenizer and weights do not match",
                tokens[i], run->n_vocabulary);
    return ENTRO_OK;
}

enum entro_error entro_imatrix_collect(struct entro_imatrix_collection *out,
                                       const struct entro_imatrix_run *run, const uint32_t *tokens,
                                       size_t n_tokens, struct entro_message *message)
{
    struct collector collector = {.run = run};
    *out = (struct entro_imatrix_collection){0};
    enum entro_error error = check(run, tokens, n_tokens, message);
    if (error != ENTRO_OK)
        return error;
    size_t n_windows = n_tokens / run->n_window;
    n_windows = n_windows < run->max_windows ? n_windows : run->max_windows;
    error = prepare(&collector, message);
    if (error == ENTRO_OK)
        error = run_windows(&collector, tokens, n_windows, message);
    if (error == ENTRO_OK)
        error = finish(&collector, message);
    *out = (struct entro_imatrix_collection){.n_entries = collector.n,
                                             .entries = collector.entries,
                                             .n_windows = n_windows,
                                             .memory = collector.collected};
    entro_sketch_room_free(collector.room);
    free(collector.logits);
    free(collector.window);
    if (error != ENTRO_OK)
        entro_imatrix_collection_free(out);
    return error;
}

void entro_imatrix_collection_free(struct entro_imatrix_collection *collection)
{
    struct collected *collected = collection->memory;
    for (size_t i = 0; i < collection->n_entries; i++) {
        free(collected[i].sums);
        free(collected[i].directions);
        entro_sketch_free(&collected[i].sketch);
    }
    free(collected);
    free(collection->entries);
    *collection = (struct entro_imatrix_collection){0};
}
