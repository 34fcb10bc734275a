/* Coded tensors, decoded when they are loaded or when they are used; see store.h. */
#include "runner/cuda/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "runner/cuda/coded_groups.h"

int entro_gpu_load_coded(const struct entro_gpu_coded_tensor *tensors, size_t n_tensors, uint8_t *base,
                         uint64_t max_stored_bytes, struct entro_gpu_loader *loader, entro_cuda_fill *fill,
                         cudaStream_t stream, struct entro_cuda_message *message)
{
    struct entro_gpu_coded_groups groups;
    int status = entro_gpu_groups_plan(&groups, tensors, n_tensors, false, max_stored_bytes, message);
    if (status == ENTRO_CUDA_OK)
        status = entro_gpu_groups_allocate(&groups, stream, message);
    cudaError_t error = cudaSuccess;
    for (uint32_t i = 0; i < groups.n_groups && status == ENTRO_CUDA_OK && error == cudaSuccess; i++) {
        status = entro_gpu_groups_read(&groups, i, tensors, loader, fill, stream, message);
        if (status == ENTRO_CUDA_OK)
            error = entro_gpu_groups_decode(&groups, i, base, stream);
    }
    if (status == ENTRO_CUDA_OK && error != cudaSuccess)
        status = entro_gpu_coded_fail(message, "decoding weights on the GPU failed", error);
    if (status == ENTRO_CUDA_OK)
        status = entro_gpu_groups_check(&groups, stream, message);
    cudaStreamSynchronize(stream); /* before memory goes that it may still use */
    entro_gpu_groups_free(&groups);
    return status;
}

uint64_t entro_gpu_load_coded_bytes(const struct entro_gpu_coded_tensor *tensors, size_t n_tensors,
                                    uint64_t max_stored_bytes)
{
    struct entro_gpu_coded_groups groups;
    struct entro_cuda_message message;
    uint64_t bytes = UINT64_MAX;
    if (entro_gpu_groups_plan(&groups, tensors, n_tensors, false, max_stored_bytes, &message) ==
        ENTRO_CUDA_OK)
        bytes = entro_gpu_groups_bytes(&groups);
    entro_gpu_groups_free(&groups);
    return bytes;
}

struct entro_gpu_resident {
    struct entro_gpu_coded_groups groups;
    uint8_t *ring; /* ENTRO_GPU_RING_SLOTS slots */
    uint64_t slot_bytes;
    cudaStream_t stream; /* of decoding */
    cudaEvent_t started;
    cudaEvent_t decoded[ENTRO_GPU_RING_SLOTS];
    cudaEvent_t used[ENTRO_GPU_RING_SLOTS];
};

static uint64_t slot_bytes(const struct entro_gpu_coded_groups *groups)
{
    uint64_t most = 1;
    for (uint32_t i = 0; i < groups->n_groups; i++)
        most = groups->groups[i].size_bytes > most ? groups->groups[i].size_bytes : most;
    return (most + 255) / 256 * 256;
}

uint64_t entro_gpu_resident_bytes(const struct entro_gpu_coded_tensor *tensors, size_t n_tensors)
{
    struct entro_gpu_coded_groups groups;
    struct entro_cuda_message message;
    uint64_t bytes = UINT64_MAX;
    if (entro_gpu_groups_plan(&groups, tensors, n_tensors, true, UINT64_MAX, &message) == ENTRO_CUDA_OK)
        bytes = entro_gpu_groups_bytes(&groups);
    uint64_t ring_bytes = ENTRO_GPU_RING_SLOTS * slot_bytes(&groups);
    entro_gpu_groups_free(&groups);
    return bytes > UINT64_MAX - ring_bytes ? UINT64_MAX : bytes + ring_bytes;
}

static int create_ring(struct entro_gpu_resident *self, struct entro_cuda_message *message)
{
    self->slot_bytes = slot_bytes(&self->groups);
    cudaError_t error =
        cudaMalloc(reinterpret_cast<void **>(&self->ring), ENTRO_GPU_RING_SLOTS * self->slot_bytes);
    if (error == cudaSuccess)
        error = cudaStreamCreateWithFlags(&self->stream, cudaStreamNonBlocking);
    if (error == cudaSuccess)
        error = cudaEventCreateWithFlags(&self->started, cudaEventDisableTiming);
    for (unsigned i = 0; i < ENTRO_GPU_RING_SLOTS && error == cudaSuccess; i++) {
        error = cudaEventCreateWithFlags(&self->decoded[i], cudaEventDisableTiming);
        if (error == cudaSuccess)
            error = cudaEventCreateWithFlags(&self->used[i], cudaEventDisableTiming);
    }
    return error == cudaSuccess
               ? ENTRO_CUDA_OK
               : entro_gpu_coded_fail(message, "a ring for decoded layers on the GPU", error);
}

int entro_gpu_resident_create(struct entro_gpu_resident **out, const struct entro_gpu_coded_tensor *tensors,
                              size_t n_tensors, struct entro_gpu_loader *loader, entro_cuda_fill *fill,
                              struct entro_cuda_message *message)
{
    *out = NULL;
    struct entro_gpu_resident *self = static_cast<struct entro_gpu_resident *>(calloc(1, sizeof *self));
    if (self == NULL) {
        snprintf(message->text, sizeof message->text, "no memory for coded weights");
        return ENTRO_CUDA_NO_MEMORY;
    }
    int status = entro_gpu_groups_plan(&self->groups, tensors, n_tensors, true, UINT64_MAX, message);
    if (status == ENTRO_CUDA_OK)
        status = create_ring(self, message);
    if (status == ENTRO_CUDA_OK)
        status = entro_gpu_groups_allocate(&self->groups, self->stream, message);
    cudaError_t error = cudaSuccess;
    for (uint32_t i = 0; i < self->groups.n_groups && status == ENTRO_CUDA_OK && error == cudaSuccess; i++) {
        status = entro_gpu_groups_read(&self->groups, i, tensors, loader, fill, self->stream, message);
        if (status == ENTRO_CUDA_OK)
            error = entro_gpu_groups_decode(&self->groups, i, entro_gpu_resident_base(self, i), self->stream);
    }
    if (status == ENTRO_CUDA_OK && error != cudaSuccess)
        status = entro_gpu_coded_fail(message, "decoding weights on the GPU failed", error);
    if (status == ENTRO_CUDA_OK)
        status = entro_gpu_groups_check(&self->groups, self->stream, message);
    if (status != ENTRO_CUDA_OK) {
        entro_gpu_resident_free(self);
        return status;
    }
    *out = self;
    return ENTRO_CUDA_OK;
}

void entro_gpu_resident_free(struct entro_gpu_resident *self)
{
    if (self == NULL)
        return;
    if (self->stream != NULL) {
        cudaStreamSynchronize(self->stream);
        cudaStreamDestroy(self->stream);
    }
    for (unsigned i = 0; i < ENTRO_GPU_RING_SLOTS; i++) {
        if (self->decoded[i] != NULL)
            cudaEventDestroy(self->decoded[i]);
        if (self->used[i] != NULL)
            cudaEventDestroy(self->used[i]);
    }
    if (self->started != NULL)
        cudaEventDestroy(self->started);
    cudaFree(self->ring);
    entro_gpu_groups_free(&self->groups);
    free(self);
}

uint8_t *entro_gpu_resident_base(const struct entro_gpu_resident *self, uint32_t group)
{
    return self->ring + group % ENTRO_GPU_RING_SLOTS * self->slot_bytes;
}

/* Decodes a group; what used its slot before must be tied to the stream already. */
static cudaError_t decode_ahead(struct entro_gpu_resident *self, uint32_t group)
{
    if (group >= self->groups.n_groups)
        return cudaSuccess;
    cudaError_t error =
        entro_gpu_groups_decode(&self->groups, group, entro_gpu_resident_base(self, group), self->stream);
    return error != cudaSuccess ? error
                                : cudaEventRecord(self->decoded[group % ENTRO_GPU_RING_SLOTS], self->stream);
}

cudaError_t entro_gpu_resident_start(struct entro_gpu_resident *self, cudaStream_t stream)
{
    cudaError_t error = cudaEventRecord(self->started, stream);
    if (error == cudaSuccess)
        error = cudaStreamWaitEvent(self->stream, self->started, 0);
    for (uint32_t i = 0; i < ENTRO_GPU_RING_SLOTS && error == cudaSuccess; i++)
        error = decode_ahead(self, i);
    return error;
}

cudaError_t entro_gpu_resident_use(struct entro_gpu_resident *self, uint32_t group, cudaStream_t stream)
{
    return cudaStreamWaitEvent(stream, self->decoded[group % ENTRO_GPU_RING_SLOTS], 0);
}

cudaError_t entro_gpu_resident_done(struct entro_gpu_resident *self, uint32_t group, cudaStream_t stream)
{
    if (group + ENTRO_GPU_RING_SLOTS >= self->groups.n_groups)
        return cudaSuccess;
    cudaEvent_t used = self->used[group % ENTRO_GPU_RING_SLOTS];
    cudaError_t error = cudaEventRecord(used, stream);
    if (error == cudaSuccess)
        error = cudaStreamWaitEvent(self->stream, used, 0);
    return error != cudaSuccess ? error : decode_ahead(self, group + ENTRO_GPU_RING_SLOTS);
}
