/*
 * The index arithmetic of the GPU kernels, as functions for host and device alike: the kernels, their plain C
 * twins and the unit tests all use these.
 */
#ifndef ENTRO_CUDA_INDICES_H
#define ENTRO_CUDA_INDICES_H

#include <stdint.h>

#include "runner/cuda/abi.h"

#ifdef __CUDACC__
#define ENTRO_HOST_DEVICE __host__ __device__
#else
#define ENTRO_HOST_DEVICE
#endif

#define ENTRO_CUDA_WARP 32U

/* Elements in 16 bytes, what a lane loads at once. */
static inline ENTRO_HOST_DEVICE uint32_t entro_cuda_lane_elements(int encoding)
{
    return encoding == ENTRO_CUDA_U4    ? 32U
           : encoding == ENTRO_CUDA_U8  ? 16U
           : encoding == ENTRO_CUDA_F32 ? 4U
                                        : 8U;
}

/* Bytes of n elements that start at an even one. */
static inline ENTRO_HOST_DEVICE uint64_t entro_cuda_bytes(int encoding, uint64_t n)
{
    return encoding == ENTRO_CUDA_U4    ? (n + 1) / 2
           : encoding == ENTRO_CUDA_U8  ? n
           : encoding == ENTRO_CUDA_F32 ? n * 4
                                        : n * 2;
}

/*
 * Where element i of a product's input lies. A lane's 16 bytes of weights hold `lane_elements` elements;
 * their inputs are read four at a time, so the k-th quadruples of all 32 lanes lie side by side: each warp's
 * load of 16 bytes a lane is one run of 512 bytes, without bank conflicts.
 */
static inline ENTRO_HOST_DEVICE uint32_t entro_cuda_place(uint32_t i, uint32_t lane_elements)
{
    uint32_t chunk = ENTRO_CUDA_WARP * lane_elements;
    uint32_t within = i % chunk, lane = within / lane_elements, element = within % lane_elements;
    return i - within + element / 4 * (4 * ENTRO_CUDA_WARP) + lane * 4 + element % 4;
}

/* Floats of such an input: whole chunks, those behind the last element are 0. */
static inline ENTRO_HOST_DEVICE uint32_t entro_cuda_padded(uint32_t n, uint32_t lane_elements)
{
    uint32_t chunk = ENTRO_CUDA_WARP * lane_elements;
    return (n + chunk - 1) / chunk * chunk;
}

/* The first position that a token at `position` sees. */
static inline ENTRO_HOST_DEVICE uint64_t entro_cuda_first_seen(uint64_t position, uint64_t window)
{
    return window != 0 && position + 1 > window ? position + 1 - window : 0;
}

/* Positions of a step of attention. */
#define ENTRO_CUDA_STEP 64U

/* Positions of each of n_splits shares of n positions: whole steps, the last shares may be empty. */
static inline ENTRO_HOST_DEVICE uint64_t entro_cuda_split(uint64_t n, uint32_t n_splits)
{
    uint64_t n_steps = (n + ENTRO_CUDA_STEP - 1) / ENTRO_CUDA_STEP;
    return (n_steps + n_splits - 1) / n_splits * ENTRO_CUDA_STEP;
}

/* The code of an element. */
static inline ENTRO_HOST_DEVICE uint32_t entro_cuda_code(const uint8_t *codes, int encoding, uint64_t element)
{
    return encoding == ENTRO_CUDA_U8 ? codes[element] : codes[element / 2] >> (element % 2 * 4) & 15U;
}

#endif
