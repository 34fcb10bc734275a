/*
 * The forward pass on the CPU, one token at a time: the products are spread over the pool by rows, attention
 * by heads; everything between is too small to share. Weights are read through matrix.h.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "runner/backend.h"
#include "runner/rope.h"

/* Products with the same input that run as one loop: q, k, v or gate, up. */
#define MAX_PRODUCTS 3

/* A work item takes at least so many weights (its start costs as much as a few thousand), and at most so
 * many. */
#define MIN_ITEM_WEIGHTS ((size_t)8192)
#define MAX_ITEM_WEIGHTS ((size_t)131072)

/* The running state. */
struct state {
    float *x;         /* [n_hidden] the residual stream */
    float *normed;    /* [n_hidden] */
    float *query;     /* [n_heads][head_dim] */
    float *key;       /* [n_kv_heads][head_dim] of this position */
    float *value;     /* [n_kv_heads][head_dim] */
    float *attended;  /* [n_heads][head_dim] */
    float *projected; /* [n_hidden] what a block adds to x */
    float *gate;      /* [n_intermediate] */
    float *up;        /* [n_intermediate] */
    float *scores;    /* [n_threads][n_context] */
    float *scaled;    /* [MAX_PRODUCTS][widest input] inputs times column factors */
    float *cosines;   /* [head_dim / 2] of this position */
    float *sines;     /* [head_dim / 2] */
    float *frequencies;
    uint8_t *keys;      /* [n_layers][n_kv_heads][n_context][head_dim] F16 */
    uint8_t *values;    /* the same shape */
    size_t cache_bytes; /* of each of the two */
    size_t widest;
};

struct cpu_backend {
    struct entro_backend base; /* first: the interface is cast to this */
    char name[32];
    const struct entro_config *config;
    const struct entro_weights *weights;
    const struct entro_kernels *kernels;
    struct entro_pool *pool;
    float *arena; /* holds all of state but the cache */
    struct state state;
};

struct product {
    const struct entro_matrix *matrix;
    const float *x;
    float *y;
    struct entro_matrix_input input;
    size_t n_items;
};

struct product_loop {
    struct cpu_backend *self;
    struct product *products;
    size_t rows_per_item;
};

static void run_product_item(void *context, size_t item, unsigned worker)
{
    const struct product_loop *loop = context;
    const struct product *product = loop->products;
    (void)worker;
    while (item >= product->n_items) {
        item -= product->n_items;
        product++;
    }
    size_t first = item * loop->rows_per_item;
    size_t n = product->matrix->n_rows - first;
    if (n > loop->rows_per_item)
        n = loop->rows_per_item;
    entro_matrix_times(product->matrix, loop->self->kernels, &product->input, first, n, product->y);
}

/* y = matrix * x for up to MAX_PRODUCTS products of the same number of columns. */
static void run_products(struct cpu_backend *self, struct product *products, size_t n_products)
{
    size_t n_rows = 0, n_items = 0, n_columns = products[0].matrix->n_columns;
    for (size_t i = 0; i < n_products; i++) {
        products[i].input = entro_matrix_input(products[i].matrix, products[i].x,
                                               self->state.scaled + i * self->state.widest);
        n_rows += products[i].matrix->n_rows;
    }
    size_t item_weights = n_rows * n_columns / (4 * (size_t)entro_pool_threads(self->pool));
    if (item_weights < MIN_ITEM_WEIGHTS)
        item_weights = MIN_ITEM_WEIGHTS;
    if (item_weights > MAX_ITEM_WEIGHTS)
        item_weights = MAX_ITEM_WEIGHTS;
    struct product_loop loop = {
        .self = self, .products = products, .rows_per_item = (item_weights + n_columns - 1) / n_columns};
    for (size_t i = 0; i < n_products; i++) {
        products[i].n_items = (products[i].matrix->n_rows + loop.rows_per_item - 1) / loop.rows_per_item;
        n_items += products[i].n_items;
    }
    entro_parallel_for(self->pool, n_items, run_product_item, &loop);
}

/* Root mean square norm (Zhang and Sennrich, arXiv 1910.07467). */
static void rms_norm(const float *x, const float *weight, float epsilon, size_t n, float *out)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    float factor = 1.0F / sqrtf((float)(sum / (double)n) + epsilon);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * factor * weight[i];
}

static void softmax(float *x, size_t n)
{
    float largest = x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > largest)
            largest = x[i];
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - largest);
        sum += x[i];
    }
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

/* Where the keys or values of one layer and head begin. */
static uint8_t *cache_of(const struct cpu_backend *self, uint8_t *cache, size_t layer, size_t kv_head)
{
    const struct entro_config *config = self->config;
    return cache + (layer * config->n_kv_heads + kv_head) * self->base.n_context * config->head_dim * 2;
}

struct attention_loop {
    struct cpu_backend *self;
    size_t layer;
    size_t n_positions;
};

/* One query head over all positions so far; several query heads share a key-value head. */
static void attend_head(void *context, size_t head, unsigned worker)
{
    const struct attention_loop *loop = context;
    struct cpu_backend *self = loop->self;
    const struct entro_config *config = self->config;
    size_t head_dim = config->head_dim, stride = head_dim * 2;
    size_t kv_head = head / (config->n_heads / config->n_kv_heads);
    const uint8_t *keys = cache_of(self, self->state.keys, loop->layer, kv_head);
    const uint8_t *values = cache_of(self, self->state.values, loop->layer, kv_head);
    const float *query = self->state.query + head * head_dim;
    float *scores = self->state.scores + worker * self->base.n_context;
    float *out = self->state.attended + head * head_dim;
    float scale = 1.0F / sqrtf((float)head_dim);

    for (size_t i = 0; i < loop->n_positions; i++)
        scores[i] = scale * self->kernels->dot_f16(keys + i * stride, query, head_dim);
    softmax(scores, loop->n_positions);
    memset(out, 0, head_dim * sizeof *out);
    for (size_t i = 0; i < loop->n_positions; i++)
        self->kernels->add_f16(out, scores[i], values + i * stride, head_dim);
}

/* Rotates this position's queries and keys, and puts keys and values into the cache. */
static void place_position(struct cpu_backend *self, size_t layer, size_t position)
{
    const struct entro_config *config = self->config;
    struct state *state = &self->state;
    size_t head_dim = config->head_dim, n_pairs = head_dim / 2;
    for (size_t head = 0; head < config->n_heads; head++)
        entro_rope_rotate(state->query + head * head_dim, n_pairs, state->cosines, state->sines,
                          config->rope_interleaved);
    for (size_t head = 0; head < config->n_kv_heads; head++) {
        float *key = state->key + head * head_dim;
        const float *value = state->value + head * head_dim;
        uint8_t *cached_key = cache_of(self, state->keys, layer, head) + position * head_dim * 2;
        uint8_t *cached_value = cache_of(self, state->values, layer, head) + position * head_dim * 2;
        entro_rope_rotate(key, n_pairs, state->cosines, state->sines, config->rope_interleaved);
        for (size_t i = 0; i < head_dim; i++) {
            entro_store_u16(cached_key + 2 * i, entro_f32_to_f16(key[i]));
            entro_store_u16(cached_value + 2 * i, entro_f32_to_f16(value[i]));
        }
    }
}

static void add_projected(struct cpu_backend *self, const struct entro_matrix *matrix, const float *x)
{
    struct state *state = &self->state;
    struct product product = {.matrix = matrix, .x = x, .y = state->projected};
    run_products(self, &product, 1);
    for (size_t i = 0; i < self->config->n_hidden; i++)
        state->x[i] += state->projected[i];
}

static void run_attention(struct cpu_backend *self, size_t layer, size_t position)
{
    const struct entro_config *config = self->config;
    const struct entro_layer_weights *weights = &self->weights->layers[layer];
    struct state *state = &self->state;
    rms_norm(state->x, weights->attention_norm, config->norm_epsilon, config->n_hidden, state->normed);
    struct product products[] = {
        {.matrix = &weights->query, .x = state->normed, .y = state->query},
        {.matrix = &weights->key, .x = state->normed, .y = state->key},
        {.matrix = &weights->value, .x = state->normed, .y = state->value},
    };
    run_products(self, products, 3);
    place_position(self, layer, position);
    struct attention_loop loop = {.self = self, .layer = layer, .n_positions = position + 1};
    entro_parallel_for(self->pool, config->n_heads, attend_head, &loop);
    add_projected(self, &weights->attention_output, state->attended);
}

static void run_mlp(struct cpu_backend *self, size_t layer)
{
    const struct entro_config *config = self->config;
    const struct entro_layer_weights *weights = &self->weights->layers[layer];
    struct state *state = &self->state;
    rms_norm(state->x, weights->mlp_norm, config->norm_epsilon, config->n_hidden, state->normed);
    struct product products[] = {
        {.matrix = &weights->gate, .x = state->normed, .y = state->gate},
        {.matrix = &weights->up, .x = state->normed, .y = state->up},
    };
    run_products(self, products, 2);
    for (size_t i = 0; i < config->n_intermediate; i++) {
        float gate = state->gate[i];
        state->gate[i] = gate / (1.0F + expf(-gate)) * state->up[i]; /* SwiGLU */
    }
    add_projected(self, &weights->down, state->gate);
}

static void run_token(struct cpu_backend *self, uint32_t token, size_t position, float *logits)
{
    const struct entro_config *config = self->config;
    struct state *state = &self->state;
    entro_matrix_row(&self->weights->embedding, token, state->x);
    entro_rope_angles(state->frequencies, config->head_dim / 2, position, state->cosines, state->sines);
    for (size_t layer = 0; layer < config->n_layers; layer++) {
        run_attention(self, layer, position);
        run_mlp(self, layer);
    }
    if (logits == NULL)
        return;
    rms_norm(state->x, self->weights->final_norm, config->norm_epsilon, config->n_hidden, state->normed);
    struct product product = {.matrix = &self->weights->output, .x = state->normed, .y = logits};
    run_products(self, &product, 1);
}

static enum entro_error forward(struct entro_backend *backend, const uint32_t *tokens, size_t n_tokens,
                                size_t position, float *logits, struct entro_message *message)
{
    struct cpu_backend *self = (struct cpu_backend *)backend;
    if (position > backend->n_context || n_tokens > backend->n_context - position)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "%zu tokens from position %zu on do not fit a context of %zu", n_tokens, position,
                          backend->n_context);
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] >= self->config->n_vocabulary)
            return entro_fail(
                message, ENTRO_ERROR_ARGUMENT,
                "token %u is outside the model's vocabulary of %zu: tokenizer and weights do not match",
                tokens[i], self->config->n_vocabulary);
    for (size_t i = 0; i < n_tokens; i++)
        run_token(self, tokens[i], position + i, i + 1 == n_tokens ? logits : NULL);
    return ENTRO_OK;
}

static void free_backend(struct entro_backend *backend)
{
    struct cpu_backend *self = (struct cpu_backend *)backend;
    if (self->state.keys != NULL)
        munmap(self->state.keys, self->state.cache_bytes);
    if (self->state.values != NULL)
        munmap(self->state.values, self->state.cache_bytes);
    free(self->arena);
    free(self);
}

/* Address space only: the kernel gives memory page by page, as positions are written. NULL where there is not
 * even that. */
static uint8_t *reserve(size_t size_bytes)
{
    void *address =
        mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

static enum entro_error allocate_cache(struct cpu_backend *self, struct entro_message *message)
{
    const struct entro_config *config = self->config;
    uint64_t size_bytes;
    if (!entro_mul_u64(config->n_layers * 2, config->n_kv_heads * config->head_dim, &size_bytes) ||
        !entro_mul_u64(size_bytes, self->base.n_context, &size_bytes) || size_bytes > PTRDIFF_MAX)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                          "a context of %zu is too large; -c makes it smaller", self->base.n_context);
    self->state.cache_bytes = (size_t)size_bytes;
    self->state.keys = reserve(self->state.cache_bytes);
    self->state.values = reserve(self->state.cache_bytes);
    if (self->state.keys == NULL || self->state.values == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                          "no memory for a context of %zu; -c makes it smaller", self->base.n_context);
    return ENTRO_OK;
}

/* All vectors of the state in one block, each on a cache line of its own. */
static enum entro_error allocate_state(struct cpu_backend *self, struct entro_message *message)
{
    const struct entro_config *config = self->config;
    struct state *state = &self->state;
    size_t n_query = config->n_heads * config->head_dim, n_kv = config->n_kv_heads * config->head_dim;
    state->widest = config->n_hidden > config->n_intermediate ? config->n_hidden : config->n_intermediate;
    if (n_query > state->widest)
        state->widest = n_query;
    const struct {
        float **vector;
        size_t n;
    } parts[] = {
        {&state->x, config->n_hidden},
        {&state->normed, config->n_hidden},
        {&state->query, n_query},
        {&state->key, n_kv},
        {&state->value, n_kv},
        {&state->attended, n_query},
        {&state->projected, config->n_hidden},
        {&state->gate, config->n_intermediate},
        {&state->up, config->n_intermediate},
        {&state->scores, entro_pool_threads(self->pool) * self->base.n_context},
        {&state->scaled, MAX_PRODUCTS * state->widest},
        {&state->cosines, config->head_dim / 2},
        {&state->sines, config->head_dim / 2},
        {&state->frequencies, config->head_dim / 2},
    };
    const size_t line = 64 / sizeof(float);
    size_t n_floats = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        n_floats += (parts[i].n + line - 1) / line * line;
    self->arena = aligned_alloc(64, n_floats * sizeof(float));
    if (self->arena == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                          "no memory for a context of %zu on %u threads; -c and -t make both smaller",
                          self->base.n_context, entro_pool_threads(self->pool));
    float *next = self->arena;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        *parts[i].vector = next;
        next += (parts[i].n + line - 1) / line * line;
    }
    return allocate_cache(self, message);
}

enum entro_error entro_backend_cpu_create(struct entro_backend **out, const struct entro_config *config,
                                          const struct entro_weights *weights, size_t n_context,
                                          struct entro_pool *pool, const struct entro_kernels *kernels,
                                          struct entro_message *message)
{
    struct cpu_backend *self = calloc(1, sizeof *self);
    if (self == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the backend");
    snprintf(self->name, sizeof self->name, "cpu (%s)", kernels->name);
    self->base = (struct entro_backend){
        .name = self->name, .n_context = n_context, .forward = forward, .free = free_backend};
    self->config = config;
    self->weights = weights;
    self->kernels = kernels;
    self->pool = pool;
    enum entro_error error = allocate_state(self, message);
    if (error != ENTRO_OK) {
        free_backend(&self->base);
        return error;
    }
    entro_rope_frequencies(config->rope_theta, config->head_dim / 2, self->state.frequencies);
    *out = &self->base;
    return ENTRO_OK;
}
