/*
 * Attention of many tokens, through the library's matrix products: scores of queries with keys, their
 * exponents, and products of those with values. What the kernels of kernels_attention.cu do for each token by
 * itself, at the price of a room for scores.
 */
#ifndef ENTRO_CUDA_ATTENTION_BATCH_H
#define ENTRO_CUDA_ATTENTION_BATCH_H

#include <cublas_v2.h>

#include "runner/cuda/kernels.h"

/* Tokens and key-value heads whose scores are in the room at a time. */
struct entro_gpu_attention_tile {
    uint32_t n_tokens; /* 0: there is not room for one */
    uint32_t n_kv_heads;
};
struct entro_gpu_attention_tile entro_gpu_choose_tile(const struct entro_gpu_attention *job,
                                                      uint64_t position);

/* As entro_gpu_attend, for tokens from `position` on, where the tile has at least one; `queries` must have
 * been placed, and n_splits has no meaning. False: a product of the library's failed. */
bool entro_gpu_attend_batch(const struct entro_gpu_attention *job, uint64_t position, cublasHandle_t blas,
                            cudaStream_t stream);

#endif
