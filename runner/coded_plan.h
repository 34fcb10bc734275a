/* A codebook's plan as the GPU's decoder takes it (runner/cuda/decode.h). */
#ifndef ENTRO_RUNNER_CODED_PLAN_H
#define ENTRO_RUNNER_CODED_PLAN_H

#include "codec/error.h"
#include "codec/lengths.h"
#include "runner/cuda/decode.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ENTRO_ERROR_FORMAT where the lengths make no code, _NO_MEMORY. */
enum entro_error entro_coded_plan(struct entro_cuda_plan *plan, const uint8_t lengths[ENTRO_N_SYMBOLS]);

#ifdef __cplusplus
}
#endif

#endif
