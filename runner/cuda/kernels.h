/*
 * The kernels of the forward pass and what they take. Each has a launcher here, which starts it on a stream
 * and returns; errors are those of cudaGetLastError. twins.h holds the same steps in plain C.
 */
#ifndef ENTRO_CUDA_KERNELS_H
#define ENTRO_CUDA_KERNELS_H

#ifdef __cplusplus
#include <cuda_runtime.h>
#else
#include <stdbool.h>
/* C, that of the twins, uses the structs alone. */
typedef struct CUstream_st *cudaStream_t;
#endif

#include "runner/cuda/indices.h"

/* A matrix in GPU memory; all pointers are the card's. */
struct entro_gpu_matrix {
    const uint8_t *data;
    const float *row_scale;          /* NULL: all 1 */
    const float *column_scale;       /* NULL: all 1 */
    const uint32_t *outlier_rows;    /* [n_rows + 1] where each row's outliers begin; NULL: there are none */
    const uint32_t *outlier_columns; /* [n_outliers] */
    float *outlier_deltas;           /* [n_outliers] what each adds to a product with column*x */
    uint32_t n_rows, n_columns;
    uint32_t n_outliers;
    int32_t encoding;
    float scale;
    float zero_whole;    /* the zero point, rounded: codes less this are whole numbers */
    float zero_fraction; /* the rest of it */
};

/* The input of products with one token: column*x at entro_cuda_place, 0 behind the last. */
struct entro_gpu_input {
    float *x;
    float *sum; /* of column*x, for zero points that are no whole numbers */
};

/* --- kernels_input.cu: embeddings, norms, and what products read --- */

/* The tokens of a run and where they stand, written by the host before each run. */
struct entro_gpu_step {
    const uint32_t *position; /* [1] of the first token */
    const uint32_t *tokens;   /* [n_tokens] */
    const float *angles;      /* [n_tokens][4][n_pairs]: cosines, sines, and both for layers with a window */
};

/* x[t] = factor * the embedding of token t; x is [n_tokens][n_columns]. */
void entro_gpu_embed(const struct entro_gpu_matrix *embedding, const uint32_t *tokens, uint32_t n_tokens,
                     float factor, float *x, cudaStream_t stream);

/* out = norm(x) (+ out where `add`): rows of n floats. `weight` NULL: no norm. */
void entro_gpu_norm(const float *x, const float *weight, float epsilon, uint32_t n, uint32_t n_rows, bool add,
                    float *out, cudaStream_t stream);

/* Up to three inputs of products with the same vector x of n floats, normed first where weight is not NULL.
 */
#define ENTRO_GPU_MAX_PARTS 3
struct entro_gpu_prepare {
    const float *x;
    const float *weight;
    float epsilon;
    uint32_t n;
    uint32_t n_inputs;
    struct entro_gpu_input inputs[ENTRO_GPU_MAX_PARTS];
    const float *columns[ENTRO_GPU_MAX_PARTS];
    uint32_t lane_elements[ENTRO_GPU_MAX_PARTS];
};
void entro_gpu_prepare_inputs(const struct entro_gpu_prepare *job, cudaStream_t stream);

/* gate = activation(gate) * up, [n_tokens] rows of gate[n], up[n]. */
void entro_gpu_gate(float *gate_up, uint32_t n, uint32_t n_tokens, bool gelu, cudaStream_t stream);

/* *flag |= 1 where a float is no finite number. */
void entro_gpu_check_finite(const float *x, uint64_t n, uint32_t *flag, cudaStream_t stream);

/* Any kernel: whether the card has an image of one tells whether it has of all. */
const void *entro_gpu_some_kernel(void);

/* --- kernels_gemv.cu: products with one token --- */

struct entro_gpu_part {
    struct entro_gpu_matrix matrix;
    struct entro_gpu_input input;
    float *y;
};

enum entro_gpu_output {
    ENTRO_GPU_STORE, /* y = */
    ENTRO_GPU_ADD,   /* y += */
    ENTRO_GPU_GATE   /* two parts of as many rows, gate and up: input of the next product = column * gated */
};

/* Products of up to three matrices of one encoding and one number of columns. */
struct entro_gpu_gemv {
    struct entro_gpu_part parts[ENTRO_GPU_MAX_PARTS];
    uint32_t n_parts;
    int32_t output; /* enum entro_gpu_output */
    /* Of ENTRO_GPU_GATE: */
    uint32_t gelu;
    uint32_t next_lane_elements;
    const float *next_columns;
    float *next_x;
};
void entro_gpu_multiply(const struct entro_gpu_gemv *job, cudaStream_t stream);

/* outlier_deltas, which hold exact values, become what they add: value / column - the code's share. */
void entro_gpu_prepare_outliers(const struct entro_gpu_matrix *matrix, cudaStream_t stream);

/* --- kernels_attention.cu --- */

struct entro_gpu_attention {
    struct entro_gpu_step step;
    uint32_t n_tokens;
    uint32_t n_heads, n_kv_heads, head_dim;
    uint32_t n_splits; /* shares of the positions that are worked on side by side */
    uint32_t sliding;  /* which of the angles */
    uint32_t interleaved;
    uint64_t window;
    uint64_t n_context;
    float scale;
    float epsilon;
    const float *bias, *query_norm, *key_norm; /* may be NULL */
    float *qkv;                                /* [n_tokens][(n_heads + 2 * n_kv_heads) * head_dim] */
    uint16_t *keys, *values;                   /* the layer's: [n_kv_heads][n_context][head_dim] F16 */
    float *partial;  /* [n_tokens][n_heads][n_splits][head_dim + 2]: weighted sums, sum of weights, largest */
    float *attended; /* [n_tokens][n_heads * head_dim] */
    /* Of entro_gpu_attend_batch: */
    uint16_t *queries;   /* [n_tokens][n_heads * head_dim] F16; else NULL */
    float *scores;       /* [n_scores] */
    uint16_t *exponents; /* [n_scores] F16 */
    uint64_t n_scores;
};
/* Floats of shared memory that it needs; 0: heads of that size are too large. */
uint32_t entro_gpu_attention_floats(uint32_t head_dim, uint32_t group, uint32_t *heads_per_block);
/* Biases, norms, rotation; keys and values go into the cache, queries to qkv, and in F16 to `queries` where
 * that is not NULL. */
void entro_gpu_place_heads(const struct entro_gpu_attention *job, cudaStream_t stream);
/* Attention of what was placed. */
void entro_gpu_attend(const struct entro_gpu_attention *job, cudaStream_t stream);

/* --- kernels_batch.cu: what the library's matrix products need for many tokens --- */

/* out[t] = F16 of column*x / scales[t], with scales[t] a power of two near the largest. Rows are `x_stride`
 * floats apart. */
void entro_gpu_halve(const float *x, uint64_t x_stride, const float *columns, uint32_t n, uint32_t n_tokens,
                     uint16_t *out, float *scales, cudaStream_t stream);

/* Rows first ... as F16: of codes less the zero point (outliers in their places), or of the floats. */
void entro_gpu_expand(const struct entro_gpu_matrix *matrix, uint32_t first_row, uint32_t n_rows,
                      uint16_t *out, cudaStream_t stream);

/* y[t][i] *= scales[t] * the row's factor, for i < n_rows; rows of y are y_stride floats apart. */
void entro_gpu_finish(const struct entro_gpu_matrix *matrix, const float *scales, uint32_t n_tokens,
                      uint64_t y_stride, float *y, cudaStream_t stream);

/* --- kernels_sample.cu --- */

struct entro_gpu_picked {
    uint32_t token;
    uint32_t flag; /* 1: a logit is no number */
};
/* `how` and `picked` are the card's. */
void entro_gpu_pick_most_likely(const float *logits, uint32_t n, struct entro_gpu_picked *picked,
                                cudaStream_t stream);
void entro_gpu_pick(const float *logits, uint32_t n, const struct entro_cuda_pick *how,
                    struct entro_gpu_picked *picked, cudaStream_t stream);

#endif
