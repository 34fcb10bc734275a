/* Timing of a model; see measure.h. */
#include "runner/measure.h"

#include <math.h>
#include <stdlib.h>

#include "runner/clock.h"

static enum entro_error run_prompt(const struct entro_engine *engine, const uint32_t *tokens, size_t n,
                                   float *logits, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    for (size_t done = 0; done < n && error == ENTRO_OK;) {
        size_t piece = n - done < engine->n_batch ? n - done : engine->n_batch;
        error = engine->backend->forward(engine->backend, tokens + done, piece, done,
                                         done + piece == n ? logits : NULL, message);
        done += piece;
    }
    return error;
}

static enum entro_error generate(const struct entro_engine *engine, const uint32_t *tokens, size_t n,
                                 float *logits, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    for (size_t i = 0; i < n && error == ENTRO_OK; i++)
        error = engine->backend->forward(engine->backend, &tokens[i], 1, i, logits, message);
    return error;
}

/* Bytes of weights that each token reads: all files, but of an embedding that is no output head one row. */
static double bytes_per_token(const struct entro_engine *engine, size_t n_generate)
{
    const struct entro_weights *weights = &engine->model.weights;
    const struct entro_config *config = &engine->model.config;
    double bytes = (double)weights->size_bytes;
    for (size_t i = 0; weights->output.data != weights->embedding.data && i < weights->n_mappings; i++)
        if (weights->mappings[i].address == (const void *)weights->embedding.data)
            bytes -= (double)weights->mappings[i].size_bytes *
                     (1 - 1 / (double)(config->n_vocabulary > 0 ? config->n_vocabulary : 1));
    /* Keys and values are F16; a layer with a window reads no more than that. */
    for (size_t layer = 0; layer < config->n_layers; layer++) {
        size_t window = entro_config_window(config, layer);
        double positions = ((double)n_generate + 1) / 2;
        if (window > 0 && positions > (double)window)
            positions = (double)window;
        bytes += positions * 2 * 2 * (double)(config->n_kv_heads * config->head_dim);
    }
    return bytes;
}

static void find_mean(const double *values, size_t n, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - *mean) * (values[i] - *mean);
    *deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

enum entro_error entro_speed_measure(const struct entro_engine *engine, const struct entro_speed_test *test,
                                     double *seconds, struct entro_speed *out, struct entro_message *message)
{
    size_t n = test->n_prompt > 0 ? test->n_prompt : test->n_generate,
           n_vocabulary = engine->model.config.n_vocabulary;
    uint32_t *tokens = calloc(n, sizeof *tokens);
    float *logits = calloc(n_vocabulary, sizeof *logits);
    double *rates = calloc(test->n_repetitions, sizeof *rates);
    enum entro_error error = ENTRO_OK;
    if (tokens == NULL || logits == NULL || rates == NULL) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for %zu tokens and their logits", n);
        goto free_all;
    }
    for (size_t i = 0; i < n; i++)
        tokens[i] = (uint32_t)(i * 40503 % n_vocabulary);
    error = test->n_prompt > 0 ? run_prompt(engine, tokens, n, logits, message)
                               : generate(engine, tokens, 1, logits, message);
    for (size_t i = 0; error == ENTRO_OK && i < test->n_repetitions; i++) {
        double start = entro_now_seconds();
        error = test->n_prompt > 0 ? run_prompt(engine, tokens, n, logits, message)
                                   : generate(engine, tokens, n, logits, message);
        seconds[i] = entro_now_seconds() - start;
        rates[i] = (double)n / (seconds[i] > 0 ? seconds[i] : 1e-9);
    }
    if (error == ENTRO_OK) {
        find_mean(seconds, test->n_repetitions, &out->mean_seconds, &out->deviation_seconds);
        find_mean(rates, test->n_repetitions, &out->mean_rate, &out->deviation_rate);
        out->bytes_per_token = test->n_generate > 0 ? bytes_per_token(engine, n) : 0;
    }
free_all:
    free(rates);
    free(logits);
    free(tokens);
    return error;
}
