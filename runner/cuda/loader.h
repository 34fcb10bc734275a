/*
 * Weights from their source to GPU memory: several threads read into pinned buffers, and each full buffer is
 * copied while others are being filled. What a source is, `fill` knows.
 */
#ifndef ENTRO_CUDA_LOADER_H
#define ENTRO_CUDA_LOADER_H

#include <cuda_runtime.h>

#include "runner/cuda/abi.h"

struct entro_gpu_load {
    const void *source;
    uint64_t size_bytes;
    uint8_t *target; /* the card's */
};

/*
 * Blocks until all loads are on the card; its threads and buffers end with it. CUDA is called by the calling
 * thread alone. ENTRO_CUDA_SOURCE, _NO_MEMORY (pinned), _FAILED.
 */
int entro_gpu_load_all(const struct entro_gpu_load *loads, size_t n_loads, entro_cuda_fill *fill,
                       unsigned n_threads, cudaStream_t stream, struct entro_cuda_message *message);

#endif
