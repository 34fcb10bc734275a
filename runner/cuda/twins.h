/*
 * The kernels' steps in plain C, one after another and in F64 where they add: what the kernels are checked
 * against. All pointers are the host's; arguments are those of the launchers in kernels.h.
 */
#ifndef ENTRO_CUDA_TWINS_H
#define ENTRO_CUDA_TWINS_H

#include "runner/cuda/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A weight as codec/FORMAT.md has it: factors, zero point, and the outlier in its place. Outliers here are
 * exact values (before entro_gpu_prepare_outliers). */
double entro_twin_weight(const struct entro_gpu_matrix *matrix, uint32_t row, uint32_t column);

void entro_twin_embed(const struct entro_gpu_matrix *embedding, const uint32_t *tokens, uint32_t n_tokens,
                      float factor, float *x);
void entro_twin_norm(const float *x, const float *weight, float epsilon, uint32_t n, uint32_t n_rows,
                     bool add, float *out);
/* y[i] = the sum of weight [i][j] * x[j]; x without column factors. */
void entro_twin_multiply(const struct entro_gpu_matrix *matrix, const float *x, float *y);
float entro_twin_gated(float gate, float up, bool gelu);
/* As entro_gpu_attend, but partial is not written. */
void entro_twin_attend(const struct entro_gpu_attention *job);
/* sampler.h's rules without a penalty. */
uint32_t entro_twin_pick(const float *logits, uint32_t n, const struct entro_cuda_pick *how);

#ifdef __cplusplus
}
#endif

#endif
