/* What the files of the CPU backend share: its state, with shapes, and the steps of a forward pass. */
#ifndef ENTRO_RUNNER_BACKEND_CPU_INTERNAL_H
#define ENTRO_RUNNER_BACKEND_CPU_INTERNAL_H

#include "runner/backend.h"
#include "runner/vector_math.h"

/* Tokens that are computed together: enough that reading and widening weights costs little beside the
 * products. */
#define ENTRO_CPU_BATCH ((size_t)128)

/* Products with the same input that run as one loop: q, k, v or gate, up. */
#define ENTRO_CPU_MAX_PRODUCTS 3

/* The running state; a row for each token of a batch, one after another. */
struct entro_cpu_state {
    float *x;        /* [n_batch][n_hidden] the residual stream */
    float *normed;   /* [n_batch][n_hidden] what a block reads of it, then what it adds to it */
    float *qkv;      /* [n_batch][n_qkv]: [n_heads][head_dim], then keys and values [n_kv_heads][head_dim] */
    float *attended; /* [n_batch][n_heads][head_dim] */
    float *gate_up;  /* [n_batch][2 * n_intermediate]: gate, then up */
    float *scores;   /* [n_threads][n_scores] room for attention */
    float *cosines;  /* [n_batch][head_dim / 2] of layers without a window */
    float *sines;    /* the same shape */
    float *sliding_cosines; /* the same for layers with one */
    float *sliding_sines;
    float *frequencies; /* [head_dim / 2] */
    float *sliding_frequencies;
    float *scratch[ENTRO_CPU_MAX_PRODUCTS]; /* prepared inputs, scratch_bytes each */
    uint8_t *keys;                          /* [n_layers][n_kv_heads][n_context][head_dim] F16 */
    uint8_t *values;                        /* the same shape */
    size_t cache_bytes;                     /* of each of the two */
    size_t n_qkv;                           /* (n_heads + 2 * n_kv_heads) * head_dim */
    size_t n_scores;                        /* floats */
};

struct entro_cpu_backend {
    struct entro_backend base; /* first: the interface is cast to this */
    char name[32];
    const struct entro_config *config;
    const struct entro_weights *weights;
    const struct entro_kernels *kernels;
    const struct entro_vector_math *math;
    struct entro_pool *pool;
    const struct entro_observer *observer; /* NULL: nobody */
    float *arena; /* holds all of state but the cache */
    struct entro_cpu_state state;
    /* The tokens whose residual stream is in state.x. */
    size_t position;
    size_t n_tokens;
};

/* State and cache; entro_cpu_state_free also after a failure. */
enum entro_error entro_cpu_state_create(struct entro_cpu_backend *self, struct entro_message *message);
void entro_cpu_state_free(struct entro_cpu_backend *self);

/* One of several products with the same input: y[t*y_stride + i] of row i and token t. */
struct entro_cpu_product {
    const struct entro_matrix *matrix;
    float *y;
    size_t y_stride;
};

/* Runs up to ENTRO_CPU_MAX_PRODUCTS products with n_tokens vectors, spread over the pool. */
void entro_cpu_multiply(struct entro_cpu_backend *self, const struct entro_cpu_product *products,
                        size_t n_products, const float *x, size_t x_stride, size_t n_tokens);

/* The attention of a batch in one layer. */
struct entro_cpu_attention {
    struct entro_cpu_backend *self;
    size_t layer;
    size_t position; /* of the first token */
    size_t n_tokens;
    size_t window; /* 0: none */
};

/* Where in the cache the keys (or values) of a layer's head begin, in bytes. */
size_t entro_cpu_cache_offset(const struct entro_cpu_backend *self, size_t layer, size_t kv_head);

/* Adds biases, norms and rotates one token's queries and keys in state.qkv, and puts its keys and values into
 * the cache. `context` is a struct entro_cpu_attention. */
void entro_cpu_place_token(void *context, size_t token, unsigned worker);

/* All of that, and lets each query attend to what its layer lets it see: state.attended. */
void entro_cpu_attend(struct entro_cpu_backend *self, size_t layer, size_t position, size_t n_tokens);

/* Floats that a thread needs for it. */
size_t entro_cpu_attention_floats(const struct entro_config *config, size_t n_context);

#endif
