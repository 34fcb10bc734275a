/*
 * Where a model's weights lie in GPU memory, and how they get there: factors, norms and outliers are copied,
 * matrices noted as loads for the files that read them. A model is placed twice: once to know how much memory
 * it takes, so that a card that is too small is told before anything is read, and once in earnest.
 */
#ifndef ENTRO_CUDA_PLACE_H
#define ENTRO_CUDA_PLACE_H

#include "runner/cuda/loader.h"
#include "runner/cuda/state.h"

struct entro_gpu_plan {
    uint8_t *base; /* NULL: only counts */
    uint64_t used; /* UINT64_MAX: too much to count */
    struct entro_gpu_load *loads;
    size_t n_loads;
    struct entro_gpu_coded_tensor *coded; /* decoded when they are loaded */
    size_t n_coded;
    struct entro_gpu_coded_tensor *kept; /* those that stay coded, a group a layer */
    size_t n_kept;
    bool keeps_coded;
    struct entro_gpu_resident *resident; /* where they lie; NULL: not yet known */
    uint64_t matrix_bytes;               /* in the arena */
    uint64_t decoded_bytes;
    uint64_t read_bytes;
    cudaStream_t stream; /* of the copies */
    cudaError_t error;   /* the first of a copy */
    bool no_memory;      /* of the host */
    /* While a layer is placed: */
    struct entro_gpu_layer *layer; /* NULL: none is */
    uint32_t n_groups;
    uint64_t group_bytes; /* of the layer's */
};

/* Lists for as many matrices as there can be; false: no memory. Closed also after a failure. */
bool entro_gpu_plan_open(struct entro_gpu_plan *plan, const struct entro_cuda_model *model, bool keeps_coded,
                         cudaStream_t stream);
/* Back to the start, now with memory. */
void entro_gpu_plan_rewind(struct entro_gpu_plan *plan, uint8_t *base, struct entro_gpu_resident *resident);
void entro_gpu_plan_close(struct entro_gpu_plan *plan);

/* The next n elements of the arena; NULL while it only counts. */
void *entro_gpu_take(struct entro_gpu_plan *plan, uint64_t n, uint64_t element_bytes);
template <typename T> static inline T *entro_gpu_take_array(struct entro_gpu_plan *plan, uint64_t n)
{
    return static_cast<T *>(entro_gpu_take(plan, n, sizeof(T)));
}

/* All weights: fills in self's layers, embedding, output and final_norm. Copies are on the plan's stream;
 * outliers hold exact values (see entro_gpu_prepare_outliers). */
void entro_gpu_place_weights(struct entro_gpu_state *self, struct entro_gpu_plan *plan,
                             const struct entro_cuda_model *model);

#endif
