/* Groups of coded tensors on the card, and their decoding: what store.cu's two uses share. */
#ifndef ENTRO_CUDA_CODED_GROUPS_H
#define ENTRO_CUDA_CODED_GROUPS_H

#include "runner/cuda/decode_kernel.h"
#include "runner/cuda/loader.h"
#include "runner/cuda/store.h"

/* A tensor of several planes: decoded to a scratch buffer, then joined. */
struct entro_gpu_join {
    struct entro_cuda_layout layout;
    uint64_t target;
    uint64_t n_records;
};

/* Blocks of a group in the list: those that go straight to their tensors, then those of planes. */
struct entro_gpu_coded_group {
    uint32_t first_block, n_direct, n_planes;
    uint32_t first_join, n_joins;
    uint32_t first_tensor, n_tensors;
    uint64_t stored; /* where its stored bytes begin in the buffer */
    uint64_t stored_bytes;
    uint64_t size_bytes;                /* from its base to the end of its last tensor */
    struct entro_cuda_limits limits[2]; /* of the direct blocks, and of those of planes */
};

struct entro_gpu_coded_groups {
    uint32_t n_groups;
    struct entro_gpu_coded_group *groups;
    struct entro_gpu_join *joins;
    /* The host's copies, until they are uploaded: */
    struct entro_cuda_block *blocks;
    struct entro_cuda_plan *plans;
    uint32_t n_blocks, n_plans, n_joins;
    uint64_t stored_bytes; /* of the buffer */
    uint64_t planes_bytes;
    struct entro_cuda_limits limits; /* of all */
    /* The card's: */
    uint8_t *stored;
    uint8_t *planes;
    struct entro_cuda_block *device_blocks;
    struct entro_cuda_plan *device_plans;
    struct entro_cuda_decoder decoder;
};

/*
 * Lays out the tensors: all groups' stored bytes behind each other where they are to stay, else at the same
 * place. max_group_bytes UINT64_MAX: groups as the tensors say; else they are made anew, of at least one
 * tensor each. ENTRO_CUDA_NO_MEMORY. entro_gpu_groups_free frees, after a failure too.
 */
int entro_gpu_groups_plan(struct entro_gpu_coded_groups *self, const struct entro_gpu_coded_tensor *tensors,
                          size_t n_tensors, bool stays, uint64_t max_group_bytes,
                          struct entro_cuda_message *message);
/* What entro_gpu_groups_allocate takes; UINT64_MAX where the card cannot be asked. */
uint64_t entro_gpu_groups_bytes(const struct entro_gpu_coded_groups *self);
/* Lists are copied, and faults set to none, in the order of the stream, as all else that is done with the
 * groups must be. ENTRO_CUDA_NO_MEMORY (the message says how much), _FAILED. */
int entro_gpu_groups_allocate(struct entro_gpu_coded_groups *self, cudaStream_t stream,
                              struct entro_cuda_message *message);
/* Reads a group's stored bytes into the buffer; blocks until they are there. */
int entro_gpu_groups_read(const struct entro_gpu_coded_groups *self, uint32_t group,
                          const struct entro_gpu_coded_tensor *tensors, struct entro_gpu_loader *loader,
                          entro_cuda_fill *fill, cudaStream_t stream, struct entro_cuda_message *message);
/* Puts a group's decoding on the stream. */
cudaError_t entro_gpu_groups_decode(const struct entro_gpu_coded_groups *self, uint32_t group, uint8_t *base,
                                    cudaStream_t stream);
/* Waits for the stream; ENTRO_CUDA_SOURCE where a block was malformed. */
int entro_gpu_groups_check(const struct entro_gpu_coded_groups *self, cudaStream_t stream,
                           struct entro_cuda_message *message);
void entro_gpu_groups_free(struct entro_gpu_coded_groups *self);

/* Sets the message to `what` and the error; ENTRO_CUDA_NO_MEMORY or _FAILED by it. */
int entro_gpu_coded_fail(struct entro_cuda_message *message, const char *what, cudaError_t error);

#endif
