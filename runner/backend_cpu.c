/*
 * The forward pass on the CPU, a batch of tokens at a time. One pass for all architectures: parts that a
 * model lacks are NULL in its weights. Products and attention are in files of their own; what is between them
 * is here, spread over the pool by tokens.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/half.h"
#include "runner/backend_cpu_internal.h"

/* A step that is done for each token by itself, over all tokens of a batch. */
struct token_loop {
    struct entro_cpu_backend *self;
    const float *weight; /* of a norm */
};

static void for_tokens(struct entro_cpu_backend *self, entro_pool_function *function, size_t n_tokens,
                       const float *weight)
{
    struct token_loop loop = {.self = self, .weight = weight};
    if (n_tokens == 1)
        function(&loop, 0, 0);
    else
        entro_parallel_for(self->pool, n_tokens, function, &loop);
}

/* normed = norm(x). */
static void norm_token(void *context, size_t token, unsigned worker)
{
    const struct token_loop *loop = context;
    const struct entro_config *config = loop->self->config;
    size_t offset = token * config->n_hidden;
    (void)worker;
    loop->self->math->rms_norm(loop->self->state.x + offset, loop->weight, config->norm_epsilon,
                               config->n_hidden, loop->self->state.normed + offset);
}

/* x += normed, or its norm where the model has one there. */
static void add_token(void *context, size_t token, unsigned worker)
{
    const struct token_loop *loop = context;
    const struct entro_config *config = loop->self->config;
    float *x = loop->self->state.x + token * config->n_hidden;
    float *added = loop->self->state.normed + token * config->n_hidden;
    (void)worker;
    if (loop->weight != NULL)
        loop->self->math->rms_norm(added, loop->weight, config->norm_epsilon, config->n_hidden, added);
    for (size_t i = 0; i < config->n_hidden; i++)
        x[i] += added[i];
}

/* gate = activation(gate) * up. */
static void gate_token(void *context, size_t token, unsigned worker)
{
    const struct token_loop *loop = context;
    const struct entro_config *config = loop->self->config;
    float *gate = loop->self->state.gate_up + token * 2 * config->n_intermediate;
    const float *up = gate + config->n_intermediate;
    (void)worker;
    if (config->architecture->activation == ENTRO_ACTIVATION_SILU)
        loop->self->math->silu_times(gate, up, config->n_intermediate);
    else
        loop->self->math->gelu_times(gate, up, config->n_intermediate);
}

/* Rows of one or several matrices, one after another in each token's row of y. */
static void multiply(struct entro_cpu_backend *self, const struct entro_matrix *matrices, size_t n_matrices,
                     const float *x, size_t x_stride, size_t n_tokens, float *y, size_t y_stride)
{
    struct entro_cpu_product products[ENTRO_CPU_MAX_PRODUCTS];
    for (size_t i = 0; i < n_matrices; i++) {
        products[i] = (struct entro_cpu_product){.matrix = &matrices[i], .y = y, .y_stride = y_stride};
        y += matrices[i].n_rows;
    }
    entro_cpu_multiply(self, products, n_matrices, x, x_stride, n_tokens);
}

static void run_attention(struct entro_cpu_backend *self, size_t layer, size_t position, size_t n_tokens)
{
    const struct entro_config *config = self->config;
    const struct entro_layer_weights *weights = &self->weights->layers[layer];
    struct entro_cpu_state *state = &self->state;
    for_tokens(self, norm_token, n_tokens, weights->attention_norm);
    multiply(self, weights->qkv, weights->n_qkv, state->normed, config->n_hidden, n_tokens, state->qkv,
             state->n_qkv);
    entro_cpu_attend(self, layer, position, n_tokens);
    multiply(self, &weights->attention_output, 1, state->attended, config->n_heads * config->head_dim,
             n_tokens, state->normed, config->n_hidden);
    for_tokens(self, add_token, n_tokens, weights->post_attention_norm);
}

static void run_mlp(struct entro_cpu_backend *self, size_t layer, size_t n_tokens)
{
    const struct entro_config *config = self->config;
    const struct entro_layer_weights *weights = &self->weights->layers[layer];
    struct entro_cpu_state *state = &self->state;
    size_t stride = 2 * config->n_intermediate;
    for_tokens(self, norm_token, n_tokens, weights->mlp_norm);
    multiply(self, weights->gate_up, weights->n_gate_up, state->normed, config->n_hidden, n_tokens,
             state->gate_up, stride);
    for_tokens(self, gate_token, n_tokens, NULL);
    multiply(self, &weights->down, 1, state->gate_up, stride, n_tokens, state->normed, config->n_hidden);
    for_tokens(self, add_token, n_tokens, weights->post_mlp_norm);
}

/* The embeddings and the angles of a batch. Gemma's models ran with a factor that was rounded to BF16; it is
 * taken here as transformers takes it in F32. */
static void start_batch(struct entro_cpu_backend *self, const uint32_t *tokens, size_t position)
{
    const struct entro_config *config = self->config;
    struct entro_cpu_state *state = &self->state;
    size_t n_pairs = config->head_dim / 2;
    float scale = config->architecture->scaled_embedding ? sqrtf((float)config->n_hidden) : 1.0F;
    for (size_t i = 0; i < self->n_tokens; i++) {
        float *x = state->x + i * config->n_hidden;
        entro_matrix_row(&self->weights->embedding, tokens[i], x);
        for (size_t j = 0; scale != 1.0F && j < config->n_hidden; j++)
            x[j] *= scale;
        entro_rope_angles(state->frequencies, n_pairs, position + i, state->cosines + i * n_pairs,
                          state->sines + i * n_pairs);
        entro_rope_angles(state->sliding_frequencies, n_pairs, position + i,
                          state->sliding_cosines + i * n_pairs, state->sliding_sines + i * n_pairs);
    }
}

static bool all_finite(const float *x, size_t n)
{
    const uint32_t exponent = 0x7f800000U; /* all of its bits are set in infinities and NaN */
    uint32_t n_others = 0;
    for (size_t i = 0; i < n; i++)
        n_others += (entro_f32_bits(x[i]) & exponent) == exponent;
    return n_others == 0;
}

static enum entro_error run_batch(struct entro_cpu_backend *self, const uint32_t *tokens, size_t n_tokens,
                                  size_t position, struct entro_message *message)
{
    self->position = position;
    self->n_tokens = n_tokens;
    start_batch(self, tokens, position);
    for (size_t layer = 0; layer < self->config->n_layers; layer++) {
        run_attention(self, layer, position, n_tokens);
        run_mlp(self, layer, n_tokens);
    }
    if (!all_finite(self->state.x, n_tokens * self->config->n_hidden))
        return entro_weights_explain_no_numbers(self->weights, message);
    return ENTRO_OK;
}

static enum entro_error compute_logits(struct entro_backend *backend, size_t position, size_t n,
                                       float *logits, struct entro_message *message)
{
    struct entro_cpu_backend *self = (struct entro_cpu_backend *)backend;
    const struct entro_config *config = self->config;
    struct entro_cpu_state *state = &self->state;
    if (position < self->position || position - self->position > self->n_tokens ||
        n > self->n_tokens - (position - self->position))
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "logits of positions %zu to %zu are wanted, but %zu to %zu were run last", position,
                          position + n, self->position, self->position + self->n_tokens);
    size_t first = position - self->position;
    if (n == 0)
        return ENTRO_OK;
    for (size_t i = 0; i < n; i++)
        self->math->rms_norm(state->x + (first + i) * config->n_hidden, self->weights->final_norm,
                             config->norm_epsilon, config->n_hidden, state->normed + i * config->n_hidden);
    multiply(self, &self->weights->output, 1, state->normed, config->n_hidden, n, logits,
             config->n_vocabulary);
    if (!all_finite(logits, n * config->n_vocabulary))
        return entro_weights_explain_no_numbers(self->weights, message);
    return ENTRO_OK;
}

static enum entro_error forward(struct entro_backend *backend, const uint32_t *tokens, size_t n_tokens,
                                size_t position, float *logits, struct entro_message *message)
{
    struct entro_cpu_backend *self = (struct entro_cpu_backend *)backend;
    enum entro_error error =
        entro_backend_check_run(backend, self->config, tokens, n_tokens, position, message);
    for (size_t done = 0; error == ENTRO_OK && done < n_tokens; done += self->n_tokens) {
        size_t n = n_tokens - done < backend->n_batch ? n_tokens - done : backend->n_batch;
        error = run_batch(self, tokens + done, n, position + done, message);
    }
    if (error != ENTRO_OK || logits == NULL || n_tokens == 0)
        return error;
    return compute_logits(backend, position + n_tokens - 1, 1, logits, message);
}

static void observe(struct entro_backend *backend, const struct entro_observer *observer)
{
    ((struct entro_cpu_backend *)backend)->observer = observer;
}

static void free_backend(struct entro_backend *backend)
{
    struct entro_cpu_backend *self = (struct entro_cpu_backend *)backend;
    entro_cpu_state_free(self);
    free(self);
}

enum entro_error entro_backend_cpu_create(struct entro_backend **out, const struct entro_config *config,
                                          const struct entro_weights *weights, size_t n_context,
                                          struct entro_pool *pool, const struct entro_kernels *kernels,
                                          struct entro_message *message)
{
    struct entro_cpu_backend *self = calloc(1, sizeof *self);
    if (self == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the backend");
    snprintf(self->name, sizeof self->name, "cpu (%s)", kernels->name);
    self->base = (struct entro_backend){.name = self->name,
                                        .n_context = n_context,
                                        .n_batch = ENTRO_CPU_BATCH < n_context ? ENTRO_CPU_BATCH : n_context,
                                        .forward = forward,
                                        .logits = compute_logits,
                                        .observe = observe,
                                        .free = free_backend};
    self->config = config;
    self->weights = weights;
    self->kernels = kernels;
    self->pool = pool;
    self->math = entro_vector_math_for(kernels->name);
    enum entro_error error = entro_cpu_state_create(self, message);
    if (error != ENTRO_OK) {
        free_backend(&self->base);
        return error;
    }
    entro_rope_frequencies(&config->rope, weights->rope_factors, config->head_dim / 2,
                           self->state.frequencies);
    entro_rope_frequencies(&config->sliding_rope, weights->rope_factors, config->head_dim / 2,
                           self->state.sliding_frequencies);
    *out = &self->base;
    return ENTRO_OK;
}
