/*
 * What computes a model's logits: the interface that backends implement. A backend owns the running state
 * (the KV cache with it) and borrows config and weights.
 */
#ifndef ENTRO_RUNNER_BACKEND_H
#define ENTRO_RUNNER_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/pool.h"
#include "runner/config.h"
#include "runner/kernels.h"
#include "runner/weights.h"

/* How a token is picked from logits: the rules and the order of filters are sampler.h's, with no penalty. */
struct entro_pick {
    float temperature; /* <= 0: the most likely token */
    size_t top_k;      /* 1 .. ENTRO_MAX_PICK_TOP_K where temperature > 0 */
    float top_p;
    float min_p;
    double point; /* the random number, 0 <= point < 1 */
};
#define ENTRO_MAX_PICK_TOP_K ((size_t)256)

/*
 * Somebody who sees what each matrix is multiplied with: n_tokens vectors of its n_columns inputs, at x, x +
 * x_stride, ..., as the layer before has left them, without the matrix's column factors. Called by the thread
 * that runs the backend, which owns the pool and is in no loop of it, once for each product before it, in the
 * order of the products. The inputs do not depend on the number of threads.
 */
struct entro_observer {
    void (*inputs)(void *context, const struct entro_matrix *matrix, const float *x, size_t x_stride,
                   size_t n_tokens);
    void *context;
};

struct entro_backend {
    const char *name; /* "cpu (avx512)" */
    size_t n_context; /* positions that fit */
    size_t n_batch;   /* tokens that are computed together: a longer run is cut into pieces of this */

    /*
     * Runs n_tokens tokens at the positions position, position + 1, ... Everything before `position` must
     * have been run; what was run at or behind it is forgotten, so that a text can be taken back. Writes the
     * logits ([n_vocabulary]) that follow the last token unless `logits` is NULL: the output head is run for
     * nothing else. How a text is cut into runs changes results by roundings alone.
     * ENTRO_ERROR_ARGUMENT: a token outside the vocabulary, a position outside the context; _FORMAT: the
     * results are no numbers, since the weights are none (the message names the tensor).
     */
    enum entro_error (*forward)(struct entro_backend *backend, const uint32_t *tokens, size_t n_tokens,
                                size_t position, float *logits, struct entro_message *message);

    /*
     * The logits that follow each of the tokens at `position` ... position + n - 1, n rows of n_vocabulary,
     * of the last call of `forward`; where that ran more than n_batch tokens, of its last piece alone. So
     * whoever wants all logits of a text (perplexity) runs at most n_batch tokens a call, with `logits` NULL,
     * and then asks for as many rows at a time as its memory bears: one product with the output head each.
     * Nothing is run or forgotten by it; any order, any number of times. ENTRO_ERROR_ARGUMENT: other
     * positions; _FORMAT as above.
     */
    enum entro_error (*logits)(struct entro_backend *backend, size_t position, size_t n, float *logits,
                               struct entro_message *message);

    /*
     * Picks a token from the logits behind the last token of the last call of `forward`, where they are; NULL
     * where the backend cannot do that. Errors as above.
     */
    enum entro_error (*pick)(struct entro_backend *backend, const struct entro_pick *how, uint32_t *token,
                             struct entro_message *message);

    /* From here on `observer` sees the inputs; it must live as long. NULL: nobody does. The function is NULL
     * where the backend cannot show them. */
    void (*observe)(struct entro_backend *backend, const struct entro_observer *observer);

    void (*free)(struct entro_backend *backend);
};

/* Whether `forward` may run these tokens; ENTRO_ERROR_ARGUMENT says why not. For backends. */
enum entro_error entro_backend_check_run(const struct entro_backend *backend,
                                         const struct entro_config *config, const uint32_t *tokens,
                                         size_t n_tokens, size_t position, struct entro_message *message);

/*
 * The CPU backend: F32 activations, F16 keys and values. Keeps pool, config, weights and kernels, which must
 * outlive it. One thread at a time, the one that owns the pool. Memory of the KV cache is taken as positions
 * are used. ENTRO_ERROR_NO_MEMORY.
 */
enum entro_error entro_backend_cpu_create(struct entro_backend **out, const struct entro_config *config,
                                          const struct entro_weights *weights, size_t n_context,
                                          struct entro_pool *pool, const struct entro_kernels *kernels,
                                          struct entro_message *message);

#endif
