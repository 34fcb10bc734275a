/* What the files of the plug-in share: a model in GPU memory and its running state. */
#ifndef ENTRO_CUDA_STATE_H
#define ENTRO_CUDA_STATE_H

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include "runner/cuda/abi.h"
#include "runner/cuda/kernels.h"
#include "runner/cuda/store.h"

#define ENTRO_GPU_NO_GROUP UINT32_MAX

/* As struct entro_cuda_layer, on the card. */
struct entro_gpu_layer {
    const float *attention_norm, *qkv_bias, *query_norm, *key_norm, *post_attention_norm, *mlp_norm,
        *post_mlp_norm;
    uint32_t n_qkv, n_gate_up;
    struct entro_gpu_matrix qkv[3], attention_output, gate_up[2], down;
    uint64_t window;
    uint32_t group; /* of its matrices that stay coded, which lie in the ring; or ENTRO_GPU_NO_GROUP */
    uint16_t *keys, *values; /* [n_kv_heads][n_context][head_dim] F16 */
};

/* Words of a step before its tokens: the position, and the flag that says that a result is no number. */
#define ENTRO_GPU_STEP_POSITION 0
#define ENTRO_GPU_STEP_FLAG     1
#define ENTRO_GPU_STEP_HEADER   4

/* Rows of logits that are computed and copied together. */
#define ENTRO_GPU_LOGITS_ROWS 32U

struct entro_gpu_state {
    struct entro_cuda_model model; /* numbers only: its pointers are not kept */
    uint64_t n_context;
    uint32_t n_batch;
    uint32_t n_multiprocessors;
    float *frequencies[2]; /* the host's: [head_dim / 2] without and with a window; NULL: no layer's */

    uint8_t *arena;                      /* all of the card's memory, but for what stays coded */
    struct entro_gpu_resident *resident; /* matrices that stay coded; NULL: none */
    cudaError_t resident_error;          /* the first since the last look */
    struct entro_gpu_layer *layers;
    struct entro_gpu_matrix embedding, output;
    const float *final_norm;

    /* Running state; rows are tokens. */
    float *x;        /* [n_batch][n_hidden] */
    float *added;    /* [n_batch][n_hidden] what a block adds */
    float *normed;   /* [n_batch][n_hidden] */
    float *qkv;      /* [n_batch][(n_heads + 2 * n_kv_heads) * head_dim] */
    float *attended; /* [n_batch][n_heads * head_dim] */
    float *gate_up;  /* [n_batch][2 * n_intermediate] */
    float *partial;  /* see struct entro_gpu_attention */
    float *logits;   /* [ENTRO_GPU_LOGITS_ROWS][n_vocabulary] */
    struct entro_gpu_input inputs[ENTRO_GPU_MAX_PARTS];
    struct entro_gpu_input gated; /* the input of `down` where the product before it writes that */
    uint16_t *halves;             /* [n_batch][widest input] F16 */
    float *scales;                /* [n_batch] */
    uint16_t *expanded;           /* F16 rows of a matrix for the library's product */
    uint64_t expanded_elements;
    uint32_t *step; /* the card's copy of host_step */
    struct entro_cuda_pick *how;
    struct entro_gpu_picked *picked;

    /* Pinned. */
    uint32_t *host_step; /* header, tokens, angles */
    float *host_logits;  /* [ENTRO_GPU_LOGITS_ROWS][n_vocabulary] */
    struct entro_cuda_pick *host_how;
    struct entro_gpu_picked *host_picked;

    cudaStream_t stream;
    cublasHandle_t blas;
    bool blas_failed;      /* since the last look */
    bool has_run_one;      /* every kernel of a single token has been loaded */
    cudaGraphExec_t graph; /* a run of one token; NULL: not captured yet */

    bool is_running;      /* a run was started and not waited for */
    uint32_t n_tokens;    /* of the last run */
    bool has_last_logits; /* logits[0] is of the last token of the last run */
};

/* Words of host_step for n tokens, and where the angles begin. */
uint64_t entro_gpu_step_angles(uint32_t n_tokens);
uint64_t entro_gpu_step_words(const struct entro_gpu_state *self, uint32_t n_tokens);

/* Shares of the positions for the attention of a batch of n tokens. */
uint32_t entro_gpu_n_splits(const struct entro_gpu_state *self, uint32_t n_tokens);

/* --- state.cu --- */
/* ENTRO_CUDA_NO_MEMORY says how much was needed; nothing is left allocated by any error. */
int entro_gpu_state_create(struct entro_gpu_state **out, const struct entro_cuda_model *model,
                           const struct entro_cuda_settings *settings, struct entro_cuda_figures *figures,
                           struct entro_cuda_message *message);
void entro_gpu_state_free(struct entro_gpu_state *self);

/* --- forward.cu: puts the work on the stream --- */
/* Around what reads matrices of all layers in order: where they stay coded, they are decoded ahead of it. */
void entro_gpu_begin_layers(struct entro_gpu_state *self);
void entro_gpu_begin_layer(struct entro_gpu_state *self, uint32_t layer);
void entro_gpu_end_layer(struct entro_gpu_state *self, uint32_t layer);

void entro_gpu_run_layers(struct entro_gpu_state *self, uint32_t n_tokens);
/* Logits of the tokens first .. first + n - 1, n <= ENTRO_GPU_LOGITS_ROWS, to self->logits. */
void entro_gpu_run_head(struct entro_gpu_state *self, uint32_t first, uint32_t n);

#endif
