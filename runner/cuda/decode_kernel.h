/* Decoding of blocks on the GPU: memory of a decoder, launches. For host code in C++ or C. */
#ifndef ENTRO_CUDA_DECODE_KERNEL_H
#define ENTRO_CUDA_DECODE_KERNEL_H

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

#include "decode.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Blocks that no encoder writes, of all launches since the last reset; in the card's memory. */
struct entro_cuda_faults {
    uint32_t n;
    uint32_t first; /* the least number of one in its launch; UINT32_MAX: none */
};

/* What the blocks of a launch are at most: the smaller, the more of them are decoded at a time. */
struct entro_cuda_limits {
    uint32_t size_bytes;
    uint32_t stored_bytes; /* of coded blocks */
    uint32_t has_root;     /* whether any has a root_plan */
};

struct entro_cuda_decoder {
    uint8_t *workspace;
    struct entro_cuda_faults *faults;
    size_t workspace_each; /* bytes of a thread block */
    uint32_t n_thread_blocks;
    uint32_t max_shared_bytes; /* larger blocks' words are in the workspace */
    uint32_t scratch_half;
    uint32_t scratch_bytes;
};

/* For launches up to these limits. Takes 300 KiB a multiprocessor for blocks of 64 KiB, more where they are
 * too large for its shared memory. One stream at a time. On an error nothing is left. */
cudaError_t entro_cuda_decoder_create(struct entro_cuda_decoder *decoder,
                                      const struct entro_cuda_limits *limits);
/* What that takes of the card's memory, in bytes; UINT64_MAX where the card cannot be asked. */
uint64_t entro_cuda_decoder_bytes(const struct entro_cuda_limits *limits);
void entro_cuda_decoder_free(struct entro_cuda_decoder *decoder);

/* Before the first launch: clears the workspace and sets `faults` to none, in the order of the stream. Later,
 * it sets `faults` to none again. */
cudaError_t entro_cuda_decoder_reset(const struct entro_cuda_decoder *decoder, cudaStream_t stream);

/*
 * Decodes blocks: all addresses are the card's. Memory-safe for whatever stored bytes; the lists must be true
 * (decode.h). A block that no encoder writes is counted in `faults`, and its target's content undefined.
 */
cudaError_t entro_cuda_decode(const struct entro_cuda_decoder *decoder,
                              const struct entro_cuda_limits *limits, const uint8_t *source, uint8_t *target,
                              const struct entro_cuda_plan *plans, const struct entro_cuda_block *blocks,
                              uint32_t n_blocks, cudaStream_t stream);

/* Records of up to 8 bytes whose fields are a byte each, as floats' are. */
struct entro_cuda_layout {
    const uint8_t *planes[8];
    uint32_t record_bytes;
    uint32_t is_rotated; /* as a whole, by one bit */
};
cudaError_t entro_cuda_join(uint8_t *target, const struct entro_cuda_layout *layout, uint64_t n_records,
                            cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
