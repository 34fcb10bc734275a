/*
 * A model in GPU memory; see state.h. Everything but layers that stay coded lies in one allocation, laid out
 * twice: once to know how much it takes, so that a card that is too small is told before anything is read,
 * and once in earnest.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runner/cuda/decode.h"
#include "runner/cuda/loader.h"
#include "runner/cuda/state.h"

#define ALIGNMENT      256U
#define GIB            1073741824.0
#define BLAS_WORKSPACE ((uint64_t)32 << 20) /* what cuBLAS asks for on a Hopper */
#define EXPANDED       ((uint64_t)16 << 20) /* elements: 32 MiB, less than an L2 cache of 40 to 60 MB */

/* Zero points up to this are taken off within the 24 bits of F32. */
#define MAX_WHOLE_ZERO 4194304.0F

struct plan {
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
    struct entro_gpu_layer *layer;       /* whose matrices are placed; NULL: none's */
    uint32_t n_groups;
    uint64_t group_bytes;  /* of the layer's */
    uint64_t matrix_bytes; /* in the arena */
    uint64_t decoded_bytes;
    uint64_t read_bytes;
    cudaError_t error;
    bool no_memory; /* of the host */
};

static void *take(struct plan *plan, uint64_t n, uint64_t element_bytes)
{
    uint64_t size_bytes, end, at = plan->used;
    if (__builtin_mul_overflow(n, element_bytes, &size_bytes) ||
        __builtin_add_overflow(size_bytes, (uint64_t)ALIGNMENT - 1, &size_bytes) ||
        __builtin_add_overflow(at, size_bytes / ALIGNMENT * ALIGNMENT, &end)) {
        plan->used = UINT64_MAX;
        return NULL;
    }
    plan->used = end;
    return plan->base == NULL ? NULL : plan->base + at;
}

template <typename T> static T *take_array(struct plan *plan, uint64_t n)
{
    return static_cast<T *>(take(plan, n, sizeof(T)));
}

static void upload(struct plan *plan, void *target, const void *source, size_t size_bytes)
{
    if (plan->base != NULL && plan->error == cudaSuccess && size_bytes > 0)
        plan->error = cudaMemcpy(target, source, size_bytes, cudaMemcpyHostToDevice);
}

static const float *place_vector(struct plan *plan, const float *source, uint64_t n)
{
    if (source == NULL)
        return NULL;
    float *target = take_array<float>(plan, n);
    upload(plan, target, source, (size_t)n * sizeof *source);
    return target;
}

static uint64_t outlier_element(const struct entro_cuda_matrix *matrix, uint64_t i)
{
    uint64_t element;
    memcpy(&element, matrix->outliers + i * 12, sizeof element);
    return element;
}

/* Row by row, with the exact values where the deltas will be. */
static void place_outliers(struct plan *plan, const struct entro_cuda_matrix *matrix,
                           struct entro_gpu_matrix *out)
{
    uint64_t n = matrix->n_outliers, next = 0;
    if (n == 0)
        return;
    uint32_t *rows = take_array<uint32_t>(plan, matrix->n_rows + 1);
    uint32_t *columns = take_array<uint32_t>(plan, n);
    float *values = take_array<float>(plan, n);
    out->n_outliers = (uint32_t)n;
    out->outlier_rows = rows;
    out->outlier_columns = columns;
    out->outlier_deltas = values;
    if (plan->base == NULL)
        return;
    uint32_t *host_rows = static_cast<uint32_t *>(calloc(matrix->n_rows + 1, sizeof *host_rows));
    uint32_t *host_columns = static_cast<uint32_t *>(calloc(n, sizeof *host_columns));
    float *host_values = static_cast<float *>(calloc(n, sizeof *host_values));
    if (host_rows == NULL || host_columns == NULL || host_values == NULL) {
        plan->no_memory = true;
    } else {
        for (uint64_t row = 0; row < matrix->n_rows; row++) {
            host_rows[row] = (uint32_t)next;
            for (; next < n && outlier_element(matrix, next) / matrix->n_columns <= row; next++) {
                host_columns[next] = (uint32_t)(outlier_element(matrix, next) % matrix->n_columns);
                memcpy(&host_values[next], matrix->outliers + next * 12 + 8, sizeof *host_values);
            }
        }
        host_rows[matrix->n_rows] = (uint32_t)next;
        upload(plan, rows, host_rows, (matrix->n_rows + 1) * sizeof *host_rows);
        upload(plan, columns, host_columns, n * sizeof *host_columns);
        upload(plan, values, host_values, n * sizeof *host_values);
    }
    free(host_rows);
    free(host_columns);
    free(host_values);
}

static bool is_codes(const struct entro_cuda_matrix *matrix)
{
    return matrix->encoding == ENTRO_CUDA_U8 || matrix->encoding == ENTRO_CUDA_U4;
}

/* Where a matrix will be while its layer is used. */
static uint8_t *keep_coded(struct plan *plan, const struct entro_cuda_matrix *matrix)
{
    uint64_t at, rounded;
    if (plan->layer->group == ENTRO_GPU_NO_GROUP) {
        plan->layer->group = plan->n_groups++;
        plan->group_bytes = 0;
    }
    at = plan->group_bytes;
    if (__builtin_add_overflow(matrix->size_bytes, (uint64_t)ALIGNMENT - 1, &rounded) ||
        __builtin_add_overflow(at, rounded / ALIGNMENT * ALIGNMENT, &plan->group_bytes)) {
        plan->used = UINT64_MAX;
        return NULL;
    }
    plan->kept[plan->n_kept].coded = matrix->coded;
    plan->kept[plan->n_kept].source = matrix->coded_source;
    plan->kept[plan->n_kept].group = plan->layer->group;
    plan->kept[plan->n_kept++].target = at;
    return plan->resident == NULL ? NULL : entro_gpu_resident_base(plan->resident, plan->layer->group) + at;
}

/* Memory for the elements, and what has to be loaded there. */
static uint8_t *place_elements(struct plan *plan, const struct entro_cuda_matrix *matrix)
{
    bool is_coded = matrix->coded != NULL && matrix->coded->size_bytes == matrix->size_bytes;
    plan->decoded_bytes += matrix->size_bytes;
    plan->read_bytes += is_coded ? matrix->coded->stored_bytes : matrix->size_bytes;
    if (is_coded && plan->keeps_coded && plan->layer != NULL)
        return keep_coded(plan, matrix);
    uint8_t *data = static_cast<uint8_t *>(take(plan, matrix->size_bytes, 1));
    plan->matrix_bytes += matrix->size_bytes;
    if (is_coded) {
        plan->coded[plan->n_coded].coded = matrix->coded;
        plan->coded[plan->n_coded].source = matrix->coded_source;
        plan->coded[plan->n_coded++].target = data == NULL ? 0 : (uint64_t)(data - plan->base);
    } else {
        plan->loads[plan->n_loads].source = matrix->source;
        plan->loads[plan->n_loads].size_bytes = matrix->size_bytes;
        plan->loads[plan->n_loads++].target = data;
    }
    return data;
}

/* `before`, which is on the card as `placed`, lends its factors and its memory where they are the same. */
static void place_matrix(struct plan *plan, const struct entro_cuda_matrix *matrix,
                         const struct entro_cuda_matrix *before, const struct entro_gpu_matrix *placed,
                         struct entro_gpu_matrix *out)
{
    memset(out, 0, sizeof *out);
    if (before != NULL && before->source == matrix->source) {
        *out = *placed;
        return;
    }
    out->n_rows = (uint32_t)matrix->n_rows;
    out->n_columns = (uint32_t)matrix->n_columns;
    out->encoding = matrix->encoding;
    out->data = place_elements(plan, matrix);
    if (!is_codes(matrix))
        return;
    out->scale = matrix->scale;
    out->zero_whole = fabsf(matrix->zero_point) <= MAX_WHOLE_ZERO ? rintf(matrix->zero_point) : 0;
    out->zero_fraction = matrix->zero_point - out->zero_whole;
    out->row_scale = place_vector(plan, matrix->row_scale, matrix->n_rows);
    bool same_columns = before != NULL && before->column_scale != NULL && matrix->column_scale != NULL &&
                        before->n_columns == matrix->n_columns && is_codes(before) &&
                        memcmp(before->column_scale, matrix->column_scale,
                               (size_t)matrix->n_columns * sizeof *matrix->column_scale) == 0;
    out->column_scale =
        same_columns ? placed->column_scale : place_vector(plan, matrix->column_scale, matrix->n_columns);
    place_outliers(plan, matrix, out);
}

static void place_matrices(struct plan *plan, const struct entro_cuda_matrix *matrices, uint32_t n,
                           struct entro_gpu_matrix *out)
{
    for (uint32_t i = 0; i < n; i++)
        place_matrix(plan, &matrices[i], i == 0 ? NULL : &matrices[i - 1], i == 0 ? NULL : &out[i - 1],
                     &out[i]);
}

static void place_layer(struct plan *plan, const struct entro_cuda_model *model,
                        const struct entro_cuda_layer *layer, struct entro_gpu_layer *out)
{
    uint64_t head_dim = model->head_dim, n_hidden = model->n_hidden;
    out->n_qkv = layer->n_qkv;
    out->n_gate_up = layer->n_gate_up;
    out->window = layer->window;
    out->group = ENTRO_GPU_NO_GROUP;
    plan->layer = out;
    out->attention_norm = place_vector(plan, layer->attention_norm, n_hidden);
    out->qkv_bias =
        place_vector(plan, layer->qkv_bias, (model->n_heads + 2 * (uint64_t)model->n_kv_heads) * head_dim);
    out->query_norm = place_vector(plan, layer->query_norm, head_dim);
    out->key_norm = place_vector(plan, layer->key_norm, head_dim);
    out->post_attention_norm = place_vector(plan, layer->post_attention_norm, n_hidden);
    out->mlp_norm = place_vector(plan, layer->mlp_norm, n_hidden);
    out->post_mlp_norm = place_vector(plan, layer->post_mlp_norm, n_hidden);
    place_matrices(plan, layer->qkv, layer->n_qkv, out->qkv);
    place_matrices(plan, &layer->attention_output, 1, &out->attention_output);
    place_matrices(plan, layer->gate_up, layer->n_gate_up, out->gate_up);
    place_matrices(plan, &layer->down, 1, &out->down);
    plan->layer = NULL;
}

static void place_weights(struct entro_gpu_state *self, struct plan *plan,
                          const struct entro_cuda_model *model)
{
    place_matrix(plan, &model->embedding, NULL, NULL, &self->embedding);
    place_matrix(plan, &model->output, &model->embedding, &self->embedding, &self->output);
    self->final_norm = place_vector(plan, model->final_norm, model->n_hidden);
    for (uint32_t i = 0; i < model->n_layers; i++)
        place_layer(plan, model, &model->layers[i], &self->layers[i]);
}

static void place_cache(struct entro_gpu_state *self, struct plan *plan)
{
    for (uint32_t i = 0; i < self->model.n_layers; i++) {
        uint64_t row_bytes = (uint64_t)self->model.n_kv_heads * self->model.head_dim * sizeof(uint16_t);
        self->layers[i].keys = static_cast<uint16_t *>(take(plan, self->n_context, row_bytes));
        self->layers[i].values = static_cast<uint16_t *>(take(plan, self->n_context, row_bytes));
    }
}

static uint64_t largest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Returns where cuBLAS may work. */
static void *place_work(struct entro_gpu_state *self, struct plan *plan)
{
    const struct entro_cuda_model *model = &self->model;
    uint64_t n = self->n_batch, head_dim = model->head_dim, n_query = model->n_heads * head_dim;
    uint64_t widest = largest(largest(model->n_hidden, model->n_intermediate), n_query);
    uint64_t one = entro_gpu_n_splits(self, 1), many = n;
    for (uint32_t i = 2; i <= self->n_batch; i++)
        many = largest(many, (uint64_t)i * entro_gpu_n_splits(self, i));
    self->x = take_array<float>(plan, n * model->n_hidden);
    self->added = take_array<float>(plan, n * model->n_hidden);
    self->normed = take_array<float>(plan, n * model->n_hidden);
    self->qkv = take_array<float>(plan, n * (n_query + 2 * model->n_kv_heads * head_dim));
    self->attended = take_array<float>(plan, n * n_query);
    self->gate_up = take_array<float>(plan, n * 2 * model->n_intermediate);
    self->partial = take_array<float>(plan, largest(one, many) * model->n_heads * (head_dim + 2));
    self->logits = take_array<float>(plan, (uint64_t)ENTRO_GPU_LOGITS_ROWS * model->n_vocabulary);
    /* 1024: a chunk of the widest lanes. */
    for (uint32_t i = 0; i < ENTRO_GPU_MAX_PARTS; i++) {
        self->inputs[i].x = take_array<float>(plan, widest + 1024);
        self->inputs[i].sum = take_array<float>(plan, 1);
    }
    self->gated.x = take_array<float>(plan, widest + 1024);
    self->gated.sum = take_array<float>(plan, 1);
    self->halves = take_array<uint16_t>(plan, n * widest);
    self->scales = take_array<float>(plan, n);
    self->expanded_elements = largest(EXPANDED, widest);
    self->expanded = take_array<uint16_t>(plan, self->expanded_elements);
    self->step = take_array<uint32_t>(plan, entro_gpu_step_words(self, self->n_batch));
    self->how = take_array<struct entro_cuda_pick>(plan, 1);
    self->picked = take_array<struct entro_gpu_picked>(plan, 1);
    return take(plan, BLAS_WORKSPACE, 1);
}

static int failed(struct entro_cuda_message *message, const char *what, cudaError_t error)
{
    snprintf(message->text, sizeof message->text, "%s failed: %s", what, cudaGetErrorString(error));
    cudaGetLastError();
    return ENTRO_CUDA_FAILED;
}

/* How much memory there must be, of which others allocate kept_bytes; the allocation itself where there is as
 * much. */
static int allocate(struct entro_gpu_state *self, uint64_t own_bytes, uint64_t kept_bytes,
                    const struct entro_cuda_figures *figures, struct entro_cuda_message *message)
{
    size_t free_bytes = 0, total_bytes = 0;
    uint64_t needed_bytes = own_bytes > UINT64_MAX - kept_bytes ? UINT64_MAX : own_bytes + kept_bytes;
    cudaError_t error = cudaMemGetInfo(&free_bytes, &total_bytes);
    if (error == cudaSuccess && needed_bytes <= free_bytes)
        error = cudaMalloc(reinterpret_cast<void **>(&self->arena), own_bytes);
    else if (error == cudaSuccess)
        error = cudaErrorMemoryAllocation;
    self->arena_bytes = own_bytes;
    if (error == cudaSuccess)
        return ENTRO_CUDA_OK;
    self->arena = NULL;
    if (error != cudaErrorMemoryAllocation)
        return failed(message, "asking for GPU memory", error);
    cudaGetLastError();
    snprintf(message->text, sizeof message->text,
             "the model needs %.2f GiB of GPU memory (weights %.2f, a context of %llu tokens %.2f, work "
             "%.2f), but "
             "%.2f of %.2f GiB are free: -c makes the context smaller, --device cpu does without the GPU",
             (double)needed_bytes / GIB, (double)figures->weight_bytes / GIB,
             (unsigned long long)self->n_context, (double)figures->cache_bytes / GIB,
             (double)figures->work_bytes / GIB, (double)free_bytes / GIB, (double)total_bytes / GIB);
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
    for (int i = 0; i < 2; i++) {
        self->frequencies[i] = static_cast<float *>(malloc((n_pairs + 1) * sizeof(float)));
        if (self->frequencies[i] == NULL) {
            snprintf(message->text, sizeof message->text, "no memory");
            return ENTRO_CUDA_NO_MEMORY;
        }
        memcpy(self->frequencies[i], frequencies[i], n_pairs * sizeof(float));
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
    cublasSetStream(self->blas, self->stream);
    return ENTRO_CUDA_OK;
}

/* The same for both times but the memory: lists for as many matrices as there can be. */
static bool open_plan(struct plan *plan, const struct entro_cuda_model *model, bool keeps_coded)
{
    size_t n = (size_t)model->n_layers * 7 + 2;
    memset(plan, 0, sizeof *plan);
    plan->keeps_coded = keeps_coded;
    plan->loads = static_cast<struct entro_gpu_load *>(calloc(n, sizeof *plan->loads));
    plan->coded = static_cast<struct entro_gpu_coded_tensor *>(calloc(n, sizeof *plan->coded));
    plan->kept = static_cast<struct entro_gpu_coded_tensor *>(calloc(n, sizeof *plan->kept));
    return plan->loads != NULL && plan->coded != NULL && plan->kept != NULL;
}

static void rewind_plan(struct plan *plan, uint8_t *base, struct entro_gpu_resident *resident)
{
    plan->base = base;
    plan->resident = resident;
    plan->used = plan->matrix_bytes = plan->decoded_bytes = plan->read_bytes = 0;
    plan->n_loads = plan->n_coded = plan->n_kept = 0;
    plan->n_groups = 0;
}

static void close_plan(struct plan *plan)
{
    free(plan->loads);
    free(plan->coded);
    free(plan->kept);
}

/* Everything that `plan` places; the second time with memory. */
static void *lay_out(struct entro_gpu_state *self, struct plan *plan, const struct entro_cuda_model *model,
                     struct entro_cuda_figures *figures)
{
    place_weights(self, plan, model);
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
static int fill_memory(struct entro_gpu_state *self, struct plan *plan, const struct entro_cuda_model *model,
                       unsigned n_threads, struct entro_cuda_message *message)
{
    int status = ENTRO_CUDA_OK;
    if (plan->no_memory) {
        snprintf(message->text, sizeof message->text, "no memory for the lists of outliers");
        return ENTRO_CUDA_NO_MEMORY;
    }
    if (plan->error != cudaSuccess)
        return failed(message, "copying vectors to the GPU", plan->error);
    if (plan->n_loads > 0)
        status =
            entro_gpu_load_all(plan->loads, plan->n_loads, model->fill, n_threads, self->stream, message);
    if (status == ENTRO_CUDA_OK && plan->n_coded > 0)
        status = entro_gpu_load_coded(plan->coded, plan->n_coded, self->arena, model->fill_coded, n_threads,
                                      self->stream, message);
    return status;
}

static int load(struct entro_gpu_state *self, const struct entro_cuda_model *model,
                const struct entro_cuda_settings *settings, struct entro_cuda_figures *figures,
                struct entro_cuda_message *message)
{
    struct plan plan;
    double start = now_seconds();
    uint64_t kept_bytes = 0;
    int status = ENTRO_CUDA_NO_MEMORY;
    if (!open_plan(&plan, model, settings->keep_coded != 0)) {
        snprintf(message->text, sizeof message->text, "no memory for a list of the tensors");
        goto close;
    }
    lay_out(self, &plan, model, figures);
    if (plan.n_kept > 0)
        kept_bytes = entro_gpu_resident_bytes(plan.kept, plan.n_kept);
    figures->weight_bytes =
        kept_bytes > UINT64_MAX - plan.matrix_bytes ? UINT64_MAX : plan.matrix_bytes + kept_bytes;
    status = allocate(self, plan.used, kept_bytes, figures, message);
    if (status == ENTRO_CUDA_OK)
        status = allocate_host(self, model, message);
    if (status == ENTRO_CUDA_OK && plan.n_kept > 0)
        status = entro_gpu_resident_create(&self->resident, plan.kept, plan.n_kept, model->fill_coded,
                                           settings->n_threads, message);
    if (status != ENTRO_CUDA_OK)
        goto close;
    rewind_plan(&plan, self->arena, self->resident);
    cublasSetWorkspace(self->blas, lay_out(self, &plan, model, figures), BLAS_WORKSPACE);
    if (self->resident != NULL)
        figures->weight_bytes += entro_gpu_resident_size(self->resident);
    status = fill_memory(self, &plan, model, settings->n_threads, message);
close:
    close_plan(&plan);
    if (status != ENTRO_CUDA_OK)
        return status;
    prepare_all_outliers(self);
    cudaError_t error = cudaStreamSynchronize(self->stream);
    if (error == cudaSuccess)
        error = cudaGetLastError();
    if (error == cudaSuccess)
        error = self->resident_error;
    figures->load_seconds = now_seconds() - start;
    return error == cudaSuccess ? ENTRO_CUDA_OK : failed(message, "preparing weights on the GPU", error);
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
        status = load(self, model, settings, figures, message);
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
