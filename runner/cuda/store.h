/*
 * Tensors that come to the card as they are stored in the image: decoded once, when they are loaded, or kept
 * so and decoded group by group (a layer is a group) ahead of each use. What reads an image is `fill`'s.
 */
#ifndef ENTRO_CUDA_STORE_H
#define ENTRO_CUDA_STORE_H

#include <cuda_runtime.h>

#include "runner/cuda/abi.h"
#include "runner/cuda/decode.h"
#include "runner/cuda/loader.h"

/* A tensor; those of a group are next to each other, groups ascend from 0. */
struct entro_gpu_coded_tensor {
    const struct entro_cuda_coded *coded; /* not kept */
    const void *source;                   /* of which `fill` gives the stored bytes */
    uint32_t group;
    uint64_t target; /* its bytes, from the group's base on */
};

/* Stored bytes that are on the card at a time where memory is not short: enough that the threads and buffers
 * that read them are well used. */
#define ENTRO_GPU_LOAD_BYTES ((uint64_t)256 << 20)

/*
 * Decodes all tensors to base + target. Groups need not be given (all 0): it makes its own, of so many stored
 * bytes at most, or of a tensor where that has more. Blocks until all is done. ENTRO_CUDA_SOURCE (`fill`
 * failed, or a block is malformed), _NO_MEMORY, _FAILED; nothing is left.
 */
int entro_gpu_load_coded(const struct entro_gpu_coded_tensor *tensors, size_t n_tensors, uint8_t *base,
                         uint64_t max_stored_bytes, struct entro_gpu_loader *loader, entro_cuda_fill *fill,
                         cudaStream_t stream, struct entro_cuda_message *message);

/* Memory on the card that this takes until it is done. UINT64_MAX: more than can be listed. */
uint64_t entro_gpu_load_coded_bytes(const struct entro_gpu_coded_tensor *tensors, size_t n_tensors,
                                    uint64_t max_stored_bytes);

/* --- resident --- */

/* Groups whose decoded tensors are in memory at the same time: one is used, the next is being decoded. */
#define ENTRO_GPU_RING_SLOTS 2U

struct entro_gpu_resident;

/* Memory on the card that tensors take if they stay coded: stored bytes, lists, the decoder's workspace and
 * the ring. UINT64_MAX: more than can be listed. */
uint64_t entro_gpu_resident_bytes(const struct entro_gpu_coded_tensor *tensors, size_t n_tensors);

/* Loads the stored bytes, decodes each group once and so finds malformed blocks. Errors as above; the caller
 * frees on success. */
int entro_gpu_resident_create(struct entro_gpu_resident **out, const struct entro_gpu_coded_tensor *tensors,
                              size_t n_tensors, struct entro_gpu_loader *loader, entro_cuda_fill *fill,
                              struct entro_cuda_message *message);
void entro_gpu_resident_free(struct entro_gpu_resident *self);

/* Where a group's tensors are while it is in use: always the same place, + the tensor's target. */
uint8_t *entro_gpu_resident_base(const struct entro_gpu_resident *self, uint32_t group);

/*
 * A pass over all groups in order: `start`, then for each group `use`, the work that reads it on `stream`,
 * `done`. Decoding goes on a stream of its own, tied to `stream` by events, so that all of it may be captured
 * in a graph.
 */
cudaError_t entro_gpu_resident_start(struct entro_gpu_resident *self, cudaStream_t stream);
cudaError_t entro_gpu_resident_use(struct entro_gpu_resident *self, uint32_t group, cudaStream_t stream);
cudaError_t entro_gpu_resident_done(struct entro_gpu_resident *self, uint32_t group, cudaStream_t stream);

#endif
