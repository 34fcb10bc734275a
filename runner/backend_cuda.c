/* The GPU backend's host side; see backend_cuda.h. What the card is told of a model is cuda_model.c's
 * business. */
#include "runner/backend_cuda.h"

#include <stdio.h>
#include <stdlib.h>

#include "runner/cuda/abi.h"
#include "runner/cuda_model.h"
#include "runner/cuda_plugin.h"

/* Blocks of a launch's second and third dimension, which tokens are. */
#define MAX_BATCH ((size_t)65535)

struct cuda_backend {
    struct entro_backend base; /* first: the interface is cast to this */
    const struct entro_cuda_plugin *plugin;
    const struct entro_config *config;
    const struct entro_weights *weights;
    void *state;
    char name[320];
    size_t position; /* of the first token of the last run */
    size_t n_tokens;
};

static enum entro_error status_error(const struct cuda_backend *self, int status,
                                     const struct entro_cuda_message *said, struct entro_message *message)
{
    static const enum entro_error errors[] = {
        [ENTRO_CUDA_OK] = ENTRO_OK,
        [ENTRO_CUDA_NO_DEVICE] = ENTRO_ERROR_NOT_FOUND,
        [ENTRO_CUDA_NO_MEMORY] = ENTRO_ERROR_NO_MEMORY,
        [ENTRO_CUDA_SOURCE] = ENTRO_ERROR_IO,
        [ENTRO_CUDA_FAILED] = ENTRO_ERROR_IO,
        [ENTRO_CUDA_UNSUPPORTED] = ENTRO_ERROR_UNSUPPORTED,
    };
    if (status == ENTRO_CUDA_OK)
        return ENTRO_OK;
    if (status == ENTRO_CUDA_NO_NUMBERS)
        return entro_weights_explain_no_numbers(self->weights, message);
    return entro_fail(message, status < ENTRO_CUDA_NO_NUMBERS ? errors[status] : ENTRO_ERROR_IO, "%s",
                      said->text);
}

static enum entro_error compute_logits(struct entro_backend *backend, size_t position, size_t n,
                                       float *logits, struct entro_message *message)
{
    struct cuda_backend *self = (struct cuda_backend *)backend;
    struct entro_cuda_message said = {{0}};
    if (position < self->position || position - self->position > self->n_tokens ||
        n > self->n_tokens - (position - self->position))
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "logits of positions %zu to %zu are wanted, but %zu to %zu were run last", position,
                          position + n, self->position, self->position + self->n_tokens);
    if (n == 0)
        return ENTRO_OK;
    int status =
        self->plugin->logits(self->state, (uint32_t)(position - self->position), (uint32_t)n, logits, &said);
    return status_error(self, status, &said, message);
}

static enum entro_error forward(struct entro_backend *backend, const uint32_t *tokens, size_t n_tokens,
                                size_t position, float *logits, struct entro_message *message)
{
    struct cuda_backend *self = (struct cuda_backend *)backend;
    struct entro_cuda_message said = {{0}};
    enum entro_error error =
        entro_backend_check_run(backend, self->config, tokens, n_tokens, position, message);
    for (size_t done = 0; error == ENTRO_OK && done < n_tokens; done += self->n_tokens) {
        self->position = position + done;
        self->n_tokens = n_tokens - done < backend->n_batch ? n_tokens - done : backend->n_batch;
        int status = self->plugin->forward(self->state, tokens + done, (uint32_t)self->n_tokens,
                                           self->position, &said);
        error = status_error(self, status, &said, message);
    }
    if (error != ENTRO_OK || logits == NULL || n_tokens == 0)
        return error;
    return compute_logits(backend, position + n_tokens - 1, 1, logits, message);
}

static enum entro_error pick(struct entro_backend *backend, const struct entro_pick *how, uint32_t *token,
                             struct entro_message *message)
{
    struct cuda_backend *self = (struct cuda_backend *)backend;
    struct entro_cuda_message said = {{0}};
    const struct entro_cuda_pick asked = {.temperature = how->temperature,
                                          .top_k = (uint32_t)how->top_k,
                                          .top_p = how->top_p,
                                          .min_p = how->min_p,
                                          .point = how->point};
    if (self->n_tokens == 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "no token was run, so none can be picked");
    if (how->temperature > 0 && (how->top_k == 0 || how->top_k > ENTRO_CUDA_MAX_TOP_K))
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "the GPU picks among 1 to %u tokens, not %zu",
                          ENTRO_CUDA_MAX_TOP_K, how->top_k);
    return status_error(self, self->plugin->pick(self->state, &asked, token, &said), &said, message);
}

static void free_backend(struct entro_backend *backend)
{
    struct cuda_backend *self = (struct cuda_backend *)backend;
    if (self->state != NULL)
        self->plugin->free(self->state);
    free(self);
}

enum entro_error entro_backend_cuda_create(struct entro_backend **out, struct entro_gpu *gpu,
                                           const struct entro_config *config,
                                           const struct entro_weights *weights,
                                           const struct entro_cuda_options *options,
                                           struct entro_cuda_loaded *figures, struct entro_message *message)
{
    struct entro_cuda_host_model *host = NULL;
    struct entro_cuda_figures loaded = {0};
    struct entro_cuda_message said = {{0}};
    *figures = (struct entro_cuda_loaded){0};
    struct cuda_backend *self = calloc(1, sizeof *self);
    if (self == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the GPU's backend");
    self->plugin = entro_gpu_plugin(gpu);
    self->config = config;
    self->weights = weights;
    size_t n_batch = options->n_batch < options->n_context ? options->n_batch : options->n_context;
    snprintf(self->name, sizeof self->name, "cuda (%s)", entro_gpu_name(gpu));
    self->base = (struct entro_backend){.name = self->name,
                                        .n_context = options->n_context,
                                        .n_batch = n_batch < MAX_BATCH ? n_batch : MAX_BATCH,
                                        .forward = forward,
                                        .logits = compute_logits,
                                        .pick = pick,
                                        .free = free_backend};
    enum entro_error error =
        entro_cuda_host_model_create(&host, config, weights, options->direct_io, options->coded, message);
    if (error == ENTRO_OK && options->n_context > UINT32_MAX)
        error = entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "a context of %zu is too large for the GPU",
                           options->n_context);
    if (error == ENTRO_OK) {
        const struct entro_cuda_settings settings = {.n_context = options->n_context,
                                                     .n_batch = (uint32_t)self->base.n_batch,
                                                     .n_threads = options->n_threads,
                                                     .keep_coded = options->keep_coded};
        int status =
            self->plugin->create(&self->state, entro_cuda_host_model_get(host), &settings, &loaded, &said);
        error = status_error(self, status, &said, message);
    }
    entro_cuda_host_model_free(host);
    if (error != ENTRO_OK) {
        free_backend(&self->base);
        return error;
    }
    *figures = (struct entro_cuda_loaded){.read_bytes = loaded.read_bytes,
                                          .seconds = loaded.load_seconds,
                                          .weight_bytes = loaded.weight_bytes,
                                          .decoded_bytes = loaded.decoded_bytes,
                                          .cache_bytes = loaded.cache_bytes,
                                          .work_bytes = loaded.work_bytes};
    *out = &self->base;
    return ENTRO_OK;
}
