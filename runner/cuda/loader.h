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

/* The threads' buffers: pinning memory takes longer than filling it, so they serve several runs. */
struct entro_gpu_loader;

/* n_threads read, at least 1. On success the caller frees with entro_gpu_loader_free. ENTRO_CUDA_NO_MEMORY
 * (pinned), _FAILED. */
int entro_gpu_loader_create(struct entro_gpu_loader **out, unsigned n_threads,
                            struct entro_cuda_message *message);
void entro_gpu_loader_free(struct entro_gpu_loader *loader);

/*
 * Blocks until all loads are on the card; its threads end with it. CUDA is called by the calling thread
 * alone. ENTRO_CUDA_SOURCE, _NO_MEMORY (no thread can be started), _FAILED.
 */
int entro_gpu_load_all(struct entro_gpu_loader *loader, const struct entro_gpu_load *loads, size_t n_loads,
                       entro_cuda_fill *fill, cudaStream_t stream, struct entro_cuda_message *message);

#endif
