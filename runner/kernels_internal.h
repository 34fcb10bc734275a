/* The variants of the kernels that kernels.c chooses from. */
#ifndef ENTRO_RUNNER_KERNELS_INTERNAL_H
#define ENTRO_RUNNER_KERNELS_INTERNAL_H

#include "runner/kernels.h"

#ifdef __x86_64__
extern const struct entro_kernels entro_kernels_avx2;
extern const struct entro_kernels entro_kernels_avx512;
#endif

#endif
