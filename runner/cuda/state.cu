/*
 * A model in GPU memory; see state.h. Everything but layers that stay coded lies in one allocation. Weights
 * are placed by place.cu; here is the rest: the cache, the running state, what it takes and where it is from.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runner/cuda/loader.h"
#include "runner/cuda/place.h"
#include "runner/cuda/state.h"

#define GIB            1073741824.0
#define BLAS_WORKSPACE ((uint64_t)32 << 20) /* what cuBLAS asks for on a Hopper */
#define EXPANDED       ((uint64_t)16 << 20) /* elements: 32 MiB, less than an L2 cache of 40 to 60 MB */

/* Kernels, ours and cuBLAS's, go to the card when they are first used, and so does the graph. */
#define RESERVE ((uint64_t)64 << 20)

static void place_cache(struct entro_gpu_state *self, struct entro_gpu_plan *plan)
{
    for (uint32_t i = 0; i < self->model.n_layers; i++) {
        uint64_t row_bytes = (uint64_t)self->model.n_kv_heads * self->model.head_dim * sizeof(uint16_t);
        self->layers[i].keys = static_cast<uint16_t *>(entro_gpu_take(plan, self->n_context, row_bytes));
        self->layers[i].values = static_cast<uint16_t *>(entro_gpu_take(plan, self->n_context, row_bytes));
    }
}

static uint64_t largest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Returns where cuBLAS may work. */
static void *place_work(struct entro_gpu_state *self, struct entro_gpu_plan *plan)
{
    const struct entro_cuda_model *model = &self->model;
    uint64_t n = self->n_batch, head_dim = model->head_dim, n_query = model->n_heads * head_dim;
    uint64_t widest = largest(largest(model->n_hidden, model->n_intermediate), n_query);
    uint64_t one = entro_gpu_n_splits(self, 1), many = n;
    for (uint32_t i = 2; i <= self->n_batch; i++)
        many = largest(many, (uint64_t)i * entro_gpu_n_splits(self, i));
    self->x = entro_gpu_take_array<float>(plan, n * model->n_hidden);
    self->added = entro_gpu_take_array<float>(plan, n * model->n_hidden);
    self->normed = entro_gpu_take_array<float>(plan, n * model->n_hidden);
    self->qkv = entro_gpu_take_array<float>(plan, n * (n_query + 2 * model->n_kv_heads * head_dim));
    self->attended = entro_gpu_take_array<float>(plan, n * n_query);
    self->gate_up = entro_gpu_take_array<float>(plan, n * 2 * model->n_intermediate);
    self->partial = entro_gpu_take_array<float>(plan, largest(one, many) * model->n_heads * (head_dim + 2));
    self->logits = entro_gpu_take_array<float>(plan, (uint64_t)ENTRO_GPU_LOGITS_ROWS * model->n_vocabulary);
    /* 1024: a chunk of the widest lanes. */
    for (uint32_t i = 0; i < ENTRO_GPU_MAX_PARTS; i++) {
        self->inputs[i].x = entro_gpu_take_array<float>(plan, widest + 1024);
        self->inputs[i].sum = entro_gpu_take_array<float>(plan, 1);
    }
    self->gated.x = entro_gpu_take_array<float>(plan, widest + 1024);
    self->gated.sum = entro_gpu_take_array<float>(plan, 1);
    self->halves = entro_gpu_take_array<uint16_t>(plan, n * widest);
    self->scales = entro_gpu_take_array<float>(plan, n);
    self->expanded_elements = largest(EXPANDED, widest);
    self->expanded = entro_gpu_take_array<uint16_t>(plan, self->expanded_elements);
    self->step = entro_gpu_take_array<uint32_t>(plan, entro_gpu_step_words(self, self->n_batch));
    self->how = entro_gpu_take_array<struct entro_cuda_pick>(plan, 1);
    self->picked = entro_gpu_take_array<struct entro_gpu_picked>(plan, 1);
    return entro_gpu_take(plan, BLAS_WORKSPACE, 1);
}

static int failed(struct entro_cuda_message *message, const char *what, cudaError_t error)
{
    snprintf(message->text, sizeof message->text, "%s failed: %s", what, cudaGetErrorString(error));
    cudaGetLastError();
    return ENTRO_CUDA_FAILED;
}

/* What a model takes of the card's memory. */
struct needs {
    uint64_t own_bytes;        /* the arena */
    uint64_t kept_bytes;       /* what stays coded, and its decoder */
    uint64_t passing_bytes;    /* what is only needed until all is loaded */
    uint64_t max_stored_bytes; /* that are decoded at a time until then */
};

/* UINT64_MAX: too much to count. */
static uint64_t sum_of(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t sum_of_needs(const struct needs *needs)
{
    return sum_of(sum_of(needs->own_bytes, needs->kept_bytes), sum_of(needs->passing_bytes, RESERVE));
}

/* How much of coded weights is decoded at a time: less where that makes the model fit. */
static void choose_load_bytes(struct needs *needs, const struct entro_gpu_plan *plan, uint64_t free_bytes)
{
    static const uint64_t choices[] = {ENTRO_GPU_LOAD_BYTES, 0};
    for (size_t i = 0; plan->n_coded > 0 && i < sizeof choices / sizeof choices[0]; i++) {
        needs->max_stored_bytes = choices[i];
        needs->passing_bytes = entro_gpu_load_coded_bytes(plan->coded, plan->n_coded, choices[i]);
        if (sum_of_needs(needs) <= free_bytes)
            return;
    }
}

/* Fails where the card has less than all the needs, even if the arena itself would fit. */
static int allocate(struct entro_gpu_state *self, struct needs *needs, const struct entro_gpu_plan *plan,
                    const struct entro_cuda_figures *figures, struct entro_cuda_message *message)
{
    size_t free_bytes = 0, total_bytes = 0;
    cudaError_t error = cudaMemGetInfo(&free_bytes, &total_bytes);
    if (error == cudaSuccess) {
        choose_load_bytes(needs, plan, free_bytes);
        error = sum_of_needs(needs) <= free_bytes
                    ? cudaMalloc(reinterpret_cast<void **>(&self->arena), needs->own_bytes)
                    : cudaErrorMemoryAllocation;
    }
    if (error == cudaSuccess)
        return ENTRO_CUDA_OK;
    self->arena = NULL;
    if (error != cudaErrorMemoryAllocation)
        return failed(message, "asking for GPU memory", error);
    cudaGetLastError();
    snprintf(message->text, sizeof message->text,
             "the model needs %.2f GiB of GPU memory (weights %.2f, a context of %llu tokens %.2f, work "
             "%.2f), but %.2f of %.2f GiB are free: -c makes the context smaller, --device cpu does without "
             "the GPU",
             (double)sum_of_needs(needs) / GIB, (double)figures->weight_bytes / GIB,
             (unsigned long long)self->n_context, (double)figures->cache_bytes / GIB,
             (double)sum_of(figures->work_bytes, sum_of(needs->passing_bytes, RESERVE)) / GIB,
             (double)free_bytes / GIB, (double)total_bytes / GIB);
    return ENTRO_CUDA_NO_MEMORY;
}

static int allocate_host(struct entro_gpu_state *self, const struct entro_cuda_model *model,
                         struct entro_cuda_message *message)
{
    uint32_t n_pairs = model->head_dim / 2;
    const float *frequencies[] = {model->frequencies, model->sliding_frequencies};
    uint64_t logits_bytes = (uint64_t)ENTRO_GPU_LOGITS_ROWS * model->n_vocabulary * sizeof(float);
    if (cudaMallocHost(reinterpret_cast<void **>(&self->host_step),
                       entro_gpu_step_words(self, self->n_batch) * sizeof(uint32_t)) != cudaSuccess ||
        cudaMallocHost(reinterpret_cast<void **>(&self->host_logits), logits_bytes) != cudaSuccess ||
        cudaMallocHost(reinterpret_cast<void **>(&self->host_how), sizeof *self->host_how) != cudaSuccess ||
        cudaMallocHost(reinterpret_cast<void **>(&self->host_picked), sizeof *self->host_picked) !=
            cudaSuccess) {
        cudaGetLastError();
        snprintf(message->text, sizeof message->text, "no pinned memory for logits of %u tokens",
                 ENTRO_GPU_LOGITS_ROWS);
        return ENTRO_CUDA_NO_MEMORY;
    }
    for (uint32_t i = 0; i < model->n_layers; i++) {
        float **own = &self->frequencies[model->layers[i].window != 0];
        if (*own != NULL)
            continue;
        *own = static_cast<float *>(malloc((n_pairs + 1) * sizeof **own));
        if (*own == NULL) {
            snprintf(message->text, sizeof message->text, "no memory");
            return ENTRO_CUDA_NO_MEMORY;
        }
        memcpy(*own, frequencies[model->layers[i].window != 0], n_pairs * sizeof **own);
    }
    return ENTRO_CUDA_OK;
}

static void prepare_outliers_of(struct entro_gpu_state *self, const struct entro_gpu_matrix *matrix)
{
    if (matrix->outlier_rows != NULL)
        entro_gpu_prepare_outliers(matrix, self->stream);
}

static void prepare_all_outliers(struct entro_gpu_state *self)
{
    prepare_outliers_of(self, &self->embedding);
    if (self->output.data != self->embedding.data)
        prepare_outliers_of(self, &self->output);
    entro_gpu_begin_layers(self);
    for (uint32_t i = 0; i < self->model.n_layers; i++) {
        const struct entro_gpu_layer *layer = &self->layers[i];
        entro_gpu_begin_layer(self, i); /* the codes in place of the outliers are read */
        for (uint32_t j = 0; j < layer->n_qkv; j++)
            prepare_outliers_of(self, &layer->qkv[j]);
        prepare_outliers_of(self, &layer->attention_output);
        for (uint32_t j = 0; j < layer->n_gate_up; j++)
            prepare_outliers_of(self, &layer->gate_up[j]);
        prepare_outliers_of(self, &layer->down);
        entro_gpu_end_layer(self, i);
    }
}

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int open_stream(struct entro_gpu_state *self, struct entro_cuda_message *message)
{
    struct cudaDeviceProp properties;
    cudaError_t error = cudaSetDevice(0);
    if (error == cudaSuccess)
        error = cudaGetDeviceProperties(&properties, 0);
    if (error == cudaSuccess)
        error = cudaStreamCreateWithFlags(&self->stream, cudaStreamNonBlocking);
    if (error != cudaSuccess)
        return failed(message, "opening the GPU", error);
    self->n_multiprocessors = (uint32_t)properties.multiProcessorCount;
    if (cublasCreate(&self->blas) != CUBLAS_STATUS_SUCCESS) {
        self->blas = NULL;
        cudaGetLastError();
        snprintf(message->text, sizeof message->text, "cuBLAS does not start: is the GPU's memory full?");
        return ENTRO_CUDA_NO_MEMORY;
    }
    if (cublasSetStream(self->blas, self->stream) != CUBLAS_STATUS_SUCCESS) {
        snprintf(message->text, sizeof message->text, "cuBLAS does not take the stream");
        return ENTRO_CUDA_FAILED;
    }
    return ENTRO_CUDA_OK;
}

/* Everything that `plan` places; the second time with memory. */
static void *lay_out(struct entro_gpu_state *self, struct entro_gpu_plan *plan,
                     const struct entro_cuda_model *model, struct entro_cuda_figures *figures)
{
    entro_gpu_place_weights(self, plan, model);
    uint64_t weights_end = plan->used;
    place_cache(self, plan);
    uint64_t cache_end = plan->used;
    void *workspace = place_work(self, plan);
    figures->read_bytes = plan->read_bytes;
    figures->weight_bytes = plan->matrix_bytes;
    figures->decoded_bytes = plan->decoded_bytes;
    figures->cache_bytes = cache_end - weights_end;
    figures->work_bytes = plan->used - cache_end + (weights_end - plan->matrix_bytes);
    return workspace;
}

/* Reads everything into its place, which `plan` says. */
static int fill_memory(struct entro_gpu_state *self, struct entro_gpu_plan *plan,
                       const struct entro_cuda_model *model, uint64_t max_stored_bytes,
                       struct entro_gpu_loader *loader, struct entro_cuda_message *message)
{
    int status = ENTRO_CUDA_OK;
    if (plan->no_memory) {
        snprintf(message->text, sizeof message->text, "no memory for the lists of outliers");
        return ENTRO_CUDA_NO_MEMORY;
    }
    if (plan->error != cudaSuccess)
        return failed(message, "copying vectors to the GPU", plan->error);
    if (plan->n_loads > 0)
        status = entro_gpu_load_all(loader, plan->loads, plan->n_loads, model->fill, self->stream, message);
    if (status == ENTRO_CUDA_OK && plan->n_coded > 0)
        status = entro_gpu_load_coded(plan->coded, plan->n_coded, self->arena, max_stored_bytes, loader,
                                      model->fill_coded, self->stream, message);
    return status;
}

/* Lays out the model, allocates and fills the memory. */
static int load(struct entro_gpu_state *self, const struct entro_cuda_model *model,
                struct entro_gpu_plan *plan, struct entro_gpu_loader *loader,
                struct entro_cuda_figures *figures, struct entro_cuda_message *message)
{
    struct needs needs = {};
    lay_out(self, plan, model, figures);
    needs.own_bytes = plan->used;
    if (plan->n_kept > 0)
        needs.kept_bytes = entro_gpu_resident_bytes(plan->kept, plan->n_kept);
    figures->weight_bytes = sum_of(plan->matrix_bytes, needs.kept_bytes);
    int status = allocate(self, &needs, plan, figures, message);
    if (status == ENTRO_CUDA_OK)
        status = allocate_host(self, model, message);
    if (status == ENTRO_CUDA_OK && plan->n_kept > 0)
        status = entro_gpu_resident_create(&self->resident, plan->kept, plan->n_kept, loader,
                                           model->fill_coded, message);
    if (status != ENTRO_CUDA_OK)
        return status;
    entro_gpu_plan_rewind(plan, self->arena, self->resident);
    void *workspace = lay_out(self, plan, model, figures);
    figures->weight_bytes = sum_of(plan->matrix_bytes, needs.kept_bytes);
#if CUDART_VERSION >= 11000
    if (cublasSetWorkspace(self->blas, workspace, BLAS_WORKSPACE) != CUBLAS_STATUS_SUCCESS) {
        snprintf(message->text, sizeof message->text, "cuBLAS does not take its workspace");
        return ENTRO_CUDA_FAILED;
    }
#else
    (void)workspace;
#endif
    status = fill_memory(self, plan, model, needs.max_stored_bytes, loader, message);
    if (status != ENTRO_CUDA_OK)
        return status;
    prepare_all_outliers(self);
    cudaError_t error = cudaStreamSynchronize(self->stream);
    if (error == cudaSuccess)
        error = cudaGetLastError();
    if (error == cudaSuccess)
        error = self->resident_error;
    return error == cudaSuccess ? ENTRO_CUDA_OK : failed(message, "preparing weights on the GPU", error);
}

/* With what a load needs, and how long it took. */
static int prepare_load(struct entro_gpu_state *self, const struct entro_cuda_model *model,
                        const struct entro_cuda_settings *settings, struct entro_cuda_figures *figures,
                        struct entro_cuda_message *message)
{
    struct entro_gpu_plan plan;
    struct entro_gpu_loader *loader = NULL;
    double start = now_seconds();
    int status = ENTRO_CUDA_NO_MEMORY;
    if (!entro_gpu_plan_open(&plan, model, settings->keep_coded != 0, self->stream))
        snprintf(message->text, sizeof message->text, "no memory for a list of the tensors");
    else
        status = entro_gpu_loader_create(&loader, settings->n_threads, message);
    if (status == ENTRO_CUDA_OK)
        status = load(self, model, &plan, loader, figures, message);
    figures->load_seconds = now_seconds() - start;
    entro_gpu_loader_free(loader);
    entro_gpu_plan_close(&plan);
    return status;
}

int entro_gpu_state_create(struct entro_gpu_state **out, const struct entro_cuda_model *model,
                           const struct entro_cuda_settings *settings, struct entro_cuda_figures *figures,
                           struct entro_cuda_message *message)
{
    uint32_t heads_per_block;
    struct entro_gpu_state *self = static_cast<struct entro_gpu_state *>(calloc(1, sizeof *self));
    int status = ENTRO_CUDA_NO_MEMORY;
    if (self != NULL) {
        self->model = *model;
        self->n_context = settings->n_context;
        self->n_batch = settings->n_batch;
        self->layers =
            static_cast<struct entro_gpu_layer *>(calloc((size_t)model->n_layers + 1, sizeof *self->layers));
    }
    if (self == NULL || self->layers == NULL)
        snprintf(message->text, sizeof message->text, "no memory for %u layers", model->n_layers);
    else if (entro_gpu_attention_floats(model->head_dim, model->n_heads / model->n_kv_heads,
                                        &heads_per_block) == 0) {
        snprintf(message->text, sizeof message->text,
                 "heads of %u elements are too large for the GPU's kernels", model->head_dim);
        status = ENTRO_CUDA_UNSUPPORTED;
    } else if ((status = open_stream(self, message)) == ENTRO_CUDA_OK)
        status = prepare_load(self, model, settings, figures, message);
    if (status != ENTRO_CUDA_OK) {
        entro_gpu_state_free(self);
        return status;
    }
    *out = self;
    return ENTRO_CUDA_OK;
}

void entro_gpu_state_free(struct entro_gpu_state *self)
{
    if (self == NULL)
        return;
    if (self->stream != NULL)
        cudaStreamSynchronize(self->stream);
    if (self->graph != NULL)
        cudaGraphExecDestroy(self->graph);
    if (self->blas != NULL)
        cublasDestroy(self->blas);
    entro_gpu_resident_free(self->resident);
    if (self->arena != NULL)
        cudaFree(self->arena);
    if (self->host_step != NULL)
        cudaFreeHost(self->host_step);
    if (self->host_logits != NULL)
        cudaFreeHost(self->host_logits);
    if (self->host_how != NULL)
        cudaFreeHost(self->host_how);
    if (self->host_picked != NULL)
        cudaFreeHost(self->host_picked);
    if (self->stream != NULL)
        cudaStreamDestroy(self->stream);
    free(self->frequencies[0]);
    free(self->frequencies[1]);
    free(self->layers);
    free(self);
}
