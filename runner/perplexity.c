/* Perplexity and divergence; see perplexity.h. */
#include "runner/perplexity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runner/saved_logits.h"
#include "runner/tokenizer_text.h"

/* Logits that are held at a time, for each model. */
#define LOGITS_BYTES ((size_t)16 << 20)

struct score {
    double loss, base_loss, divergence;
    bool same_top;
    bool is_damaged; /* the row of the base's file: nothing else is valid */
};

/* Rows of logits on their way to scores. */
struct rows {
    const struct entro_perplexity *measure;
    float *logits;      /* [n_rows][n_vocabulary] */
    float *base_logits; /* the same, or NULL */
    uint8_t *base_rows; /* [n_rows] as a file holds them, from which base_logits come; or NULL */
    uint8_t *save_rows; /* the same, on their way to a file; or NULL */
    size_t row_bytes;
    size_t capacity;
    struct entro_saved_logits base_file;
    struct entro_output save_file;
    const uint32_t *targets; /* the token that came behind each row */
    struct score *scores;    /* [capacity] */
};

/* ln of the sum of exp over a row. */
struct normalizer {
    float largest;
    size_t top;
    double log_sum;
};

static struct normalizer normalize(const float *logits, size_t n)
{
    struct normalizer result = {.largest = logits[0]};
    double sums[4] = {0};
    for (size_t i = 1; i < n; i++)
        if (logits[i] > result.largest) {
            result.largest = logits[i];
            result.top = i;
        }
    for (size_t i = 0; i < n; i++)
        sums[i % 4] += (double)expf(logits[i] - result.largest);
    result.log_sum = log(sums[0] + sums[1] + sums[2] + sums[3]);
    return result;
}

static double log_probability(const struct normalizer *normalizer, float logit)
{
    return (double)logit - (double)normalizer->largest - normalizer->log_sum;
}

static double diverge(const float *base_logits, const struct normalizer *base, const float *logits,
                      const struct normalizer *model, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double log_p = log_probability(base, base_logits[i]);
        double p = (double)expf((float)log_p);
        if (p > 0)
            sum += p * (log_p - log_probability(model, logits[i]));
    }
    return sum;
}

static void score_row(void *context, size_t item, unsigned worker)
{
    struct rows *rows = context;
    size_t n = rows->measure->n_vocabulary;
    const float *logits = rows->logits + item * n;
    uint32_t target = rows->targets[item];
    struct normalizer model = normalize(logits, n);
    struct score *score = &rows->scores[item];
    (void)worker;
    *score = (struct score){.loss = -log_probability(&model, logits[target])};
    if (rows->save_rows != NULL)
        entro_saved_row_pack(logits, n, model.top, rows->save_rows + item * rows->row_bytes);
    if (rows->base_logits == NULL)
        return;
    float *base_logits = rows->base_logits + item * n;
    if (rows->base_rows != NULL &&
        !entro_saved_row_unpack(rows->base_rows + item * rows->row_bytes, n, base_logits)) {
        score->is_damaged = true;
        return;
    }
    struct normalizer base = normalize(base_logits, n);
    score->base_loss = -log_probability(&base, base_logits[target]);
    score->divergence = diverge(base_logits, &base, logits, &model, n);
    score->same_top = base.top == model.top;
}

/* Welford's method (Technometrics 4, 1962). */
static void add(struct entro_mean *mean, double value)
{
    double distance = value - mean->mean;
    mean->n++;
    mean->mean += distance / (double)mean->n;
    mean->squares += distance * (value - mean->mean);
    if (mean->n > 1)
        mean->error = sqrt(mean->squares / (double)mean->n / (double)(mean->n - 1));
}

static enum entro_error add_scores(const struct rows *rows, size_t n, struct entro_perplexity_result *result,
                                   struct entro_message *message)
{
    for (size_t i = 0; i < n; i++) {
        const struct score *score = &rows->scores[i];
        if (score->is_damaged)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: a row of logits is damaged (window %zu)",
                              rows->measure->base_file, result->n_windows + 1);
        add(&result->loss, score->loss);
        if (rows->base_logits == NULL)
            continue;
        add(&result->base_loss, score->base_loss);
        add(&result->divergence, score->divergence);
        add(&result->same_top, score->same_top ? 1 : 0);
    }
    result->n_scored += n;
    return ENTRO_OK;
}

/* Scores positions first ... end - 1 of the window, which the backends have just run. */
static enum entro_error score_positions(struct rows *rows, const uint32_t *window, size_t first, size_t end,
                                        struct entro_perplexity_result *result, struct entro_message *message)
{
    const struct entro_perplexity *measure = rows->measure;
    enum entro_error error;
    for (size_t position = first; position < end;) {
        size_t n = end - position < rows->capacity ? end - position : rows->capacity;
        if ((error = measure->backend->logits(measure->backend, position, n, rows->logits, message)) !=
            ENTRO_OK)
            return error;
        if (measure->base != NULL && (error = measure->base->logits(measure->base, position, n,
                                                                    rows->base_logits, message)) != ENTRO_OK)
            return error;
        if (rows->base_rows != NULL &&
            (error = entro_saved_read(&rows->base_file, n, rows->base_rows, message)) != ENTRO_OK)
            return error;
        rows->targets = window + position + 1;
        entro_parallel_for(measure->pool, n, score_row, rows);
        if ((error = add_scores(rows, n, result, message)) != ENTRO_OK)
            return error;
        if (rows->save_rows != NULL &&
            (error = entro_output_append(&rows->save_file, rows->save_rows, n * rows->row_bytes, message)) !=
                ENTRO_OK)
            return error;
        position += n;
    }
    return ENTRO_OK;
}

/* Runs a window and scores the positions from `first` on, all but the last, of which nothing comes. */
static enum entro_error score_window(struct rows *rows, const uint32_t *window, size_t first,
                                     struct entro_perplexity_result *result, struct entro_message *message)
{
    const struct entro_perplexity *measure = rows->measure;
    size_t n_window = measure->n_window, n_batch = measure->backend->n_batch;
    enum entro_error error;
    if (measure->base != NULL && measure->base->n_batch < n_batch)
        n_batch = measure->base->n_batch;
    for (size_t done = 0; done < n_window;) {
        size_t n = n_window - done < n_batch ? n_window - done : n_batch;
        error = measure->backend->forward(measure->backend, window + done, n, done, NULL, message);
        if (error == ENTRO_OK && measure->base != NULL)
            error = measure->base->forward(measure->base, window + done, n, done, NULL, message);
        size_t from = done < first ? first : done, end = done + n < n_window ? done + n : n_window - 1;
        if (error == ENTRO_OK && from < end)
            error = score_positions(rows, window, from, end, result, message);
        if (error != ENTRO_OK)
            return error;
        done += n;
    }
    return ENTRO_OK;
}

static enum entro_error check(const struct entro_perplexity *measure, const uint32_t *tokens, size_t n_tokens,
                              struct entro_message *message)
{
    size_t n_context = measure->backend->n_context;
    if (measure->base != NULL && measure->base->n_context < n_context)
        n_context = measure->base->n_context;
    if (measure->n_window < 4 || measure->n_window > n_context)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "a window of %zu tokens: it takes at least 4, and the context holds %zu",
                          measure->n_window, n_context);
    if (n_tokens / 2 < measure->n_window)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "the text has %zu tokens: too few for two windows of %zu (-c makes them smaller)",
                          n_tokens, measure->n_window);
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] >= measure->n_vocabulary)
            return entro_fail(
                message, ENTRO_ERROR_ARGUMENT,
                "token %u is outside the model's vocabulary of %zu: tokenizer and weights do not match",
                tokens[i], measure->n_vocabulary);
    return ENTRO_OK;
}

static enum entro_error allocate(struct rows *rows, struct entro_message *message)
{
    const struct entro_perplexity *measure = rows->measure;
    bool has_base = measure->base != NULL || measure->base_file != NULL;
    size_t logits_bytes = measure->n_vocabulary * sizeof(float);
    rows->row_bytes = entro_saved_row_bytes(measure->n_vocabulary);
    rows->capacity = LOGITS_BYTES / logits_bytes > 0 ? LOGITS_BYTES / logits_bytes : 1;
    rows->logits = calloc(rows->capacity, logits_bytes);
    rows->base_logits = has_base ? calloc(rows->capacity, logits_bytes) : NULL;
    rows->base_rows = measure->base_file != NULL ? calloc(rows->capacity, rows->row_bytes) : NULL;
    rows->save_rows = measure->save_file != NULL ? calloc(rows->capacity, rows->row_bytes) : NULL;
    rows->scores = calloc(rows->capacity, sizeof *rows->scores);
    if (rows->logits == NULL || rows->scores == NULL || (has_base && rows->base_logits == NULL) ||
        (measure->base_file != NULL && rows->base_rows == NULL) ||
        (measure->save_file != NULL && rows->save_rows == NULL))
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for %zu rows of logits", rows->capacity);
    return ENTRO_OK;
}

static void free_rows(struct rows *rows)
{
    entro_output_free(&rows->save_file);
    entro_saved_close(&rows->base_file);
    free(rows->scores);
    free(rows->save_rows);
    free(rows->base_rows);
    free(rows->base_logits);
    free(rows->logits);
}

/* Window `i` of the tokens, as the model is given it. */
static void fill_window(const struct entro_perplexity *measure, const uint32_t *tokens, size_t i,
                        uint32_t *window)
{
    memcpy(window, tokens + i * measure->n_window, measure->n_window * sizeof *window);
    if (measure->convention == ENTRO_CONVENTION_LLAMA_CPP && measure->bos_id != ENTRO_TOKEN_NONE)
        window[0] = measure->bos_id;
}

/* `window` is room for one. */
static enum entro_error open_files(struct rows *rows, const uint32_t *tokens, size_t n_windows, size_t first,
                                   uint32_t *window, struct entro_message *message)
{
    const struct entro_perplexity *measure = rows->measure;
    const struct entro_saved_shape shape = {.n_vocabulary = measure->n_vocabulary,
                                            .n_window = measure->n_window,
                                            .n_scored = measure->n_window - 1 - first,
                                            .n_windows = n_windows};
    enum entro_error error = ENTRO_OK;
    if (measure->base_file == NULL && measure->save_file == NULL)
        return ENTRO_OK;
    uint64_t *hashes = calloc(n_windows, sizeof *hashes);
    if (hashes == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for %zu windows", n_windows);
    for (size_t i = 0; i < n_windows; i++) {
        fill_window(measure, tokens, i, window);
        hashes[i] = entro_saved_window_hash(window, measure->n_window);
    }
    if (measure->base_file != NULL)
        error = entro_saved_open(&rows->base_file, measure->base_file, &shape, hashes, message);
    if (error == ENTRO_OK && measure->save_file != NULL)
        error = entro_saved_create(&rows->save_file, measure->save_file, &shape, hashes, message);
    free(hashes);
    return error;
}

enum entro_error entro_perplexity_measure(const struct entro_perplexity *measure, const uint32_t *tokens,
                                          size_t n_tokens, struct entro_perplexity_result *result,
                                          struct entro_message *message)
{
    struct rows rows = {.measure = measure, .base_file = {.fd = -1}, .save_file = {.folder = -1, .fd = -1}};
    bool llama_cpp = measure->convention == ENTRO_CONVENTION_LLAMA_CPP;
    size_t first = llama_cpp ? measure->n_window / 2 : 0;
    uint32_t *window = NULL;
    *result = (struct entro_perplexity_result){0};
    enum entro_error error = check(measure, tokens, n_tokens, message);
    if (error != ENTRO_OK)
        return error;
    size_t n_windows = n_tokens / measure->n_window;
    n_windows = n_windows < measure->max_windows ? n_windows : measure->max_windows;
    if ((error = allocate(&rows, message)) != ENTRO_OK)
        goto free_rows;
    window = calloc(measure->n_window, sizeof *window);
    if (window == NULL) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for a window");
        goto free_rows;
    }
    error = open_files(&rows, tokens, n_windows, first, window, message);
    while (error == ENTRO_OK && result->n_windows < n_windows) {
        fill_window(measure, tokens, result->n_windows, window);
        if ((error = score_window(&rows, window, first, result, message)) != ENTRO_OK)
            break;
        result->n_windows++;
        if (measure->progress != NULL)
            error = measure->progress(measure->progress_context, result, n_windows, message);
    }
    if (error == ENTRO_OK && measure->save_file != NULL)
        error = entro_output_commit(&rows.save_file, message);
    free(window);
free_rows:
    free_rows(&rows);
    return error;
}

double entro_perplexity_of(const struct entro_mean *loss)
{
    return exp(loss->mean);
}

double entro_perplexity_error_of(const struct entro_mean *loss)
{
    return exp(loss->mean) * loss->error;
}
