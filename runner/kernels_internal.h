/* The variants of the kernels that kernels.c chooses from. */
#ifndef ENTRO_RUNNER_KERNELS_INTERNAL_H
#define ENTRO_RUNNER_KERNELS_INTERNAL_H

#include "runner/kernels.h"

#ifdef __aarch64__
extern const struct entro_kernels entro_kernels_neon;
#endif

#ifdef __x86_64__
extern const struct entro_kernels entro_kernels_avx2;
extern const struct entro_kernels entro_kernels_avx512;
extern const struct entro_kernels entro_kernels_vnni;
extern const struct entro_kernels entro_kernels_amx;
extern const struct entro_fixed_kernels entro_fixed_vnni;
extern const struct entro_fixed_kernels entro_fixed_amx;

void entro_amx_multiply(const uint8_t *panel, const struct entro_fixed_batch *batch, int32_t zero,
                        const float *factors, const float *addend, size_t addend_stride, float *y,
                        size_t y_stride);

entro_dot_function entro_avx2_dot_q8_0;
entro_dot_function entro_avx2_dot_q4_0;
entro_dot_function entro_avx2_dot_q4_1;
entro_widen_codes_function entro_avx2_widen_u8;
entro_widen_codes_function entro_avx2_widen_u4;
entro_widen_function entro_avx2_widen_f16;
entro_widen_function entro_avx2_widen_bf16;
entro_transpose_function entro_avx2_transpose_tile;
entro_multiply_function entro_avx2_multiply_f32;

entro_widen_codes_function entro_avx512_widen_u8;
entro_widen_codes_function entro_avx512_widen_u4;
entro_widen_function entro_avx512_widen_f16;
entro_widen_function entro_avx512_widen_bf16;
entro_transpose_function entro_avx512_transpose_tile;
entro_multiply_function entro_avx512_multiply_f32;
#endif

#endif
