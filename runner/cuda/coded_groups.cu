/* Layout, memory and launches of groups; see coded_groups.h. */
#include "runner/cuda/coded_groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t STORED_ALIGNMENT = 16;

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

int entro_gpu_coded_fail(struct entro_cuda_message *message, const char *what, cudaError_t error)
{
    snprintf(message->text, sizeof message->text, "%s: %s", what, cudaGetErrorString(error));
    if (error != cudaErrorMemoryAllocation)
        return ENTRO_CUDA_FAILED;
    cudaGetLastError();
    return ENTRO_CUDA_NO_MEMORY;
}

/* Whether a tensor begins a new group, behind one with so many stored bytes. */
static bool begins_group(const struct entro_gpu_coded_tensor *tensors, size_t i, uint64_t group_bytes,
                         uint64_t max_group_bytes)
{
    if (max_group_bytes == UINT64_MAX)
        return tensors[i].group != tensors[i - 1].group;
    return group_bytes + tensors[i].coded->stored_bytes > max_group_bytes;
}

/* Appends a tensor's blocks, those that go to planes or those that do not. */
static void add_blocks(struct entro_gpu_coded_groups *self, const struct entro_gpu_coded_tensor *tensor,
                       uint32_t first_plan, uint64_t stored, uint64_t target)
{
    const struct entro_cuda_coded *coded = tensor->coded;
    for (uint32_t i = 0; i < coded->n_blocks; i++) {
        struct entro_cuda_block block = coded->blocks[i];
        block.source += stored;
        block.target += target;
        block.plan += first_plan;
        if (block.root_plan != ENTRO_CUDA_NO_PLAN)
            block.root_plan += first_plan;
        self->blocks[self->n_blocks++] = block;
    }
}

static void raise_limits(struct entro_cuda_limits *limits, const struct entro_cuda_coded *coded)
{
    if (coded->max_size_bytes > limits->size_bytes)
        limits->size_bytes = coded->max_size_bytes;
    if (coded->max_stored_bytes > limits->stored_bytes)
        limits->stored_bytes = coded->max_stored_bytes;
    limits->has_root |= coded->has_root;
}

static void add_join(struct entro_gpu_coded_groups *self, const struct entro_gpu_coded_tensor *tensor,
                     uint64_t planes)
{
    struct entro_gpu_join *join = &self->joins[self->n_joins++];
    const struct entro_cuda_coded *coded = tensor->coded;
    join->target = tensor->target;
    join->n_records = coded->size_bytes / coded->record_bytes;
    join->layout.record_bytes = coded->record_bytes;
    join->layout.is_rotated = coded->is_rotated;
    for (uint32_t i = 0; i < coded->record_bytes; i++) /* offsets, until there is memory */
        join->layout.planes[i] = reinterpret_cast<const uint8_t *>(planes + i * join->n_records);
}

/* The group of the tensors first..end-1, whose plans begin at first_plan. */
static void add_group(struct entro_gpu_coded_groups *self, const struct entro_gpu_coded_tensor *tensors,
                      size_t first, size_t end, uint64_t stored)
{
    struct entro_gpu_coded_group *group = &self->groups[self->n_groups++];
    uint64_t planes = 0;
    group->first_block = self->n_blocks;
    group->first_join = self->n_joins;
    group->first_tensor = (uint32_t)first;
    group->n_tensors = (uint32_t)(end - first);
    group->stored = stored;
    for (int of_planes = 0; of_planes < 2; of_planes++) {
        uint64_t own_stored = stored;
        uint32_t first_plan = self->n_plans;
        for (size_t i = first; i < end; i++) {
            const struct entro_cuda_coded *coded = tensors[i].coded;
            bool has_planes = coded->record_bytes > 1;
            if (has_planes == (of_planes != 0)) {
                raise_limits(&self->limits, coded);
                raise_limits(&group->limits[of_planes], coded);
                add_blocks(self, &tensors[i], first_plan, own_stored,
                           has_planes ? planes : tensors[i].target);
                if (has_planes) {
                    add_join(self, &tensors[i], planes);
                    planes += round_up(coded->size_bytes, STORED_ALIGNMENT);
                }
            }
            first_plan += coded->n_plans;
            own_stored += coded->stored_bytes;
            if (tensors[i].target + coded->size_bytes > group->size_bytes)
                group->size_bytes = tensors[i].target + coded->size_bytes;
        }
        if (of_planes == 0)
            group->n_direct = self->n_blocks - group->first_block;
        group->stored_bytes = own_stored - stored;
    }
    group->n_planes = self->n_blocks - group->first_block - group->n_direct;
    group->n_joins = self->n_joins - group->first_join;
    for (size_t i = first; i < end; i++) {
        if (tensors[i].coded->n_plans > 0)
            memcpy(&self->plans[self->n_plans], tensors[i].coded->plans,
                   tensors[i].coded->n_plans * sizeof *self->plans);
        self->n_plans += tensors[i].coded->n_plans;
    }
    if (planes > self->planes_bytes)
        self->planes_bytes = planes;
}

int entro_gpu_groups_plan(struct entro_gpu_coded_groups *self, const struct entro_gpu_coded_tensor *tensors,
                          size_t n_tensors, bool stays, uint64_t max_group_bytes,
                          struct entro_cuda_message *message)
{
    uint64_t n_blocks = 0, n_plans = 0, n_joins = 0;
    memset(self, 0, sizeof *self);
    self->limits.size_bytes = self->limits.stored_bytes = 1;
    for (size_t i = 0; i < n_tensors; i++) {
        n_blocks += tensors[i].coded->n_blocks;
        n_plans += tensors[i].coded->n_plans;
        n_joins += tensors[i].coded->record_bytes > 1;
    }
    if (n_blocks > UINT32_MAX || n_plans > UINT32_MAX || n_tensors > UINT32_MAX) {
        snprintf(message->text, sizeof message->text, "too many blocks (%llu) to be decoded on the GPU",
                 static_cast<unsigned long long>(n_blocks));
        return ENTRO_CUDA_FAILED;
    }
    self->groups = static_cast<struct entro_gpu_coded_group *>(calloc(n_tensors + 1, sizeof *self->groups));
    self->joins = static_cast<struct entro_gpu_join *>(calloc(n_joins + 1, sizeof *self->joins));
    self->blocks = static_cast<struct entro_cuda_block *>(calloc(n_blocks + 1, sizeof *self->blocks));
    self->plans = static_cast<struct entro_cuda_plan *>(calloc(n_plans + 1, sizeof *self->plans));
    if (self->groups == NULL || self->joins == NULL || self->blocks == NULL || self->plans == NULL) {
        snprintf(message->text, sizeof message->text, "no memory for a list of %llu blocks",
                 static_cast<unsigned long long>(n_blocks));
        return ENTRO_CUDA_NO_MEMORY;
    }
    uint64_t stored = 0;
    for (size_t first = 0, end; first < n_tensors; first = end) {
        uint64_t group_bytes = tensors[first].coded->stored_bytes;
        for (end = first + 1; end < n_tensors && !begins_group(tensors, end, group_bytes, max_group_bytes);
             end++)
            group_bytes += tensors[end].coded->stored_bytes;
        add_group(self, tensors, first, end, stays ? stored : 0);
        stored = stays                  ? round_up(stored + group_bytes, STORED_ALIGNMENT)
                 : stored > group_bytes ? stored
                                        : group_bytes;
    }
    self->stored_bytes = stored + ENTRO_CUDA_SOURCE_SLOP;
    return ENTRO_CUDA_OK;
}

uint64_t entro_gpu_groups_bytes(const struct entro_gpu_coded_groups *self)
{
    uint64_t decoder_bytes = entro_cuda_decoder_bytes(&self->limits);
    uint64_t own_bytes = self->stored_bytes + self->planes_bytes + 1 +
                         (self->n_blocks + (uint64_t)1) * sizeof *self->blocks +
                         (self->n_plans + (uint64_t)1) * sizeof *self->plans;
    return decoder_bytes > UINT64_MAX - own_bytes ? UINT64_MAX : own_bytes + decoder_bytes;
}

/* What the lists say, and bytes that nobody writes: whole words are read of the stored bytes. */
static cudaError_t upload(const struct entro_gpu_coded_groups *self, cudaStream_t stream)
{
    cudaError_t error = cudaMemsetAsync(self->stored, 0, self->stored_bytes, stream);
    if (error == cudaSuccess && self->n_blocks > 0)
        error = cudaMemcpyAsync(self->device_blocks, self->blocks, self->n_blocks * sizeof *self->blocks,
                                cudaMemcpyHostToDevice, stream);
    if (error == cudaSuccess && self->n_plans > 0)
        error = cudaMemcpyAsync(self->device_plans, self->plans, self->n_plans * sizeof *self->plans,
                                cudaMemcpyHostToDevice, stream);
    return error != cudaSuccess ? error : entro_cuda_decoder_reset(&self->decoder, stream);
}

int entro_gpu_groups_allocate(struct entro_gpu_coded_groups *self, cudaStream_t stream,
                              struct entro_cuda_message *message)
{
    cudaError_t error = cudaMalloc(reinterpret_cast<void **>(&self->stored), self->stored_bytes);
    if (error == cudaSuccess)
        error = cudaMalloc(reinterpret_cast<void **>(&self->planes), self->planes_bytes + 1);
    if (error == cudaSuccess)
        error = cudaMalloc(reinterpret_cast<void **>(&self->device_blocks),
                           (self->n_blocks + (size_t)1) * sizeof *self->blocks);
    if (error == cudaSuccess)
        error = cudaMalloc(reinterpret_cast<void **>(&self->device_plans),
                           (self->n_plans + (size_t)1) * sizeof *self->plans);
    if (error == cudaSuccess)
        error = entro_cuda_decoder_create(&self->decoder, &self->limits);
    if (error == cudaSuccess)
        error = upload(self, stream);
    if (error != cudaSuccess) {
        char what[128];
        snprintf(what, sizeof what, "%.2f GiB on the GPU for coded weights and their decoder",
                 static_cast<double>(entro_gpu_groups_bytes(self)) / (1 << 30));
        return entro_gpu_coded_fail(message, what, error);
    }
    for (uint32_t i = 0; i < self->n_joins; i++) {
        for (uint32_t p = 0; p < self->joins[i].layout.record_bytes; p++)
            self->joins[i].layout.planes[p] =
                self->planes + reinterpret_cast<uintptr_t>(self->joins[i].layout.planes[p]);
    }
    free(self->blocks);
    free(self->plans);
    self->blocks = NULL;
    self->plans = NULL;
    return ENTRO_CUDA_OK;
}

int entro_gpu_groups_read(const struct entro_gpu_coded_groups *self, uint32_t group,
                          const struct entro_gpu_coded_tensor *tensors, struct entro_gpu_loader *loader,
                          entro_cuda_fill *fill, cudaStream_t stream, struct entro_cuda_message *message)
{
    const struct entro_gpu_coded_group *own = &self->groups[group];
    struct entro_gpu_load *loads =
        static_cast<struct entro_gpu_load *>(calloc(own->n_tensors, sizeof *loads));
    if (loads == NULL) {
        snprintf(message->text, sizeof message->text, "no memory for loading weights");
        return ENTRO_CUDA_NO_MEMORY;
    }
    uint64_t stored = own->stored;
    for (uint32_t i = 0; i < own->n_tensors; i++) {
        const struct entro_gpu_coded_tensor *tensor = &tensors[own->first_tensor + i];
        loads[i].source = tensor->source;
        loads[i].size_bytes = tensor->coded->stored_bytes;
        loads[i].target = self->stored + stored;
        stored += tensor->coded->stored_bytes;
    }
    int status = entro_gpu_load_all(loader, loads, own->n_tensors, fill, stream, message);
    free(loads);
    return status;
}

cudaError_t entro_gpu_groups_decode(const struct entro_gpu_coded_groups *self, uint32_t group, uint8_t *base,
                                    cudaStream_t stream)
{
    const struct entro_gpu_coded_group *own = &self->groups[group];
    const struct entro_cuda_block *blocks = self->device_blocks + own->first_block;
    cudaError_t error = entro_cuda_decode(&self->decoder, &own->limits[0], self->stored, base,
                                          self->device_plans, blocks, own->n_direct, stream);
    if (error == cudaSuccess)
        error = entro_cuda_decode(&self->decoder, &own->limits[1], self->stored, self->planes,
                                  self->device_plans, blocks + own->n_direct, own->n_planes, stream);
    for (uint32_t i = 0; i < own->n_joins && error == cudaSuccess; i++) {
        const struct entro_gpu_join *join = &self->joins[own->first_join + i];
        error = entro_cuda_join(base + join->target, &join->layout, join->n_records, stream);
    }
    return error;
}

int entro_gpu_groups_check(const struct entro_gpu_coded_groups *self, cudaStream_t stream,
                           struct entro_cuda_message *message)
{
    struct entro_cuda_faults faults;
    cudaError_t error = cudaStreamSynchronize(stream);
    if (error == cudaSuccess)
        error = cudaMemcpy(&faults, self->decoder.faults, sizeof faults, cudaMemcpyDeviceToHost);
    if (error != cudaSuccess)
        return entro_gpu_coded_fail(message, "decoding weights on the GPU failed", error);
    if (faults.n == 0)
        return ENTRO_CUDA_OK;
    snprintf(message->text, sizeof message->text,
             "%u coded blocks of the image are malformed, though their checksums are right", faults.n);
    return ENTRO_CUDA_SOURCE;
}

void entro_gpu_groups_free(struct entro_gpu_coded_groups *self)
{
    entro_cuda_decoder_free(&self->decoder);
    cudaFree(self->device_plans);
    cudaFree(self->device_blocks);
    cudaFree(self->planes);
    cudaFree(self->stored);
    free(self->plans);
    free(self->blocks);
    free(self->joins);
    free(self->groups);
    memset(self, 0, sizeof *self);
}
