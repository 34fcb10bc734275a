/* Placing of weights; see place.h. */
#include "runner/cuda/place.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runner/cuda/decode.h"

#define ALIGNMENT 256U

/* Zero points up to this are taken off within the 24 bits of F32. */
#define MAX_WHOLE_ZERO 4194304.0F

bool entro_gpu_plan_open(struct entro_gpu_plan *plan, const struct entro_cuda_model *model, bool keeps_coded,
                         cudaStream_t stream)
{
    size_t n = (size_t)model->n_layers * 7 + 2;
    memset(plan, 0, sizeof *plan);
    plan->keeps_coded = keeps_coded;
    plan->stream = stream;
    plan->loads = static_cast<struct entro_gpu_load *>(calloc(n, sizeof *plan->loads));
    plan->coded = static_cast<struct entro_gpu_coded_tensor *>(calloc(n, sizeof *plan->coded));
    plan->kept = static_cast<struct entro_gpu_coded_tensor *>(calloc(n, sizeof *plan->kept));
    return plan->loads != NULL && plan->coded != NULL && plan->kept != NULL;
}

void entro_gpu_plan_rewind(struct entro_gpu_plan *plan, uint8_t *base, struct entro_gpu_resident *resident)
{
    plan->base = base;
    plan->resident = resident;
    plan->used = plan->matrix_bytes = plan->decoded_bytes = plan->read_bytes = 0;
    plan->n_loads = plan->n_coded = plan->n_kept = 0;
    plan->n_groups = 0;
}

void entro_gpu_plan_close(struct entro_gpu_plan *plan)
{
    free(plan->loads);
    free(plan->coded);
    free(plan->kept);
}

void *entro_gpu_take(struct entro_gpu_plan *plan, uint64_t n, uint64_t element_bytes)
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

/* In the order of the stream: one that does not wait for the default stream, on which a cudaMemcpy from
 * pageable memory may still be under way when it returns. The source may go at once. */
static void upload(struct entro_gpu_plan *plan, void *target, const void *source, size_t size_bytes)
{
    if (plan->base != NULL && plan->error == cudaSuccess && size_bytes > 0)
        plan->error = cudaMemcpyAsync(target, source, size_bytes, cudaMemcpyHostToDevice, plan->stream);
}

static const float *place_vector(struct entro_gpu_plan *plan, const float *source, uint64_t n)
{
    if (source == NULL)
        return NULL;
    float *target = entro_gpu_take_array<float>(plan, n);
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
static void place_outliers(struct entro_gpu_plan *plan, const struct entro_cuda_matrix *matrix,
                           struct entro_gpu_matrix *out)
{
    uint64_t n = matrix->n_outliers, next = 0;
    if (n == 0)
        return;
    uint32_t *rows = entro_gpu_take_array<uint32_t>(plan, matrix->n_rows + 1);
    uint32_t *columns = entro_gpu_take_array<uint32_t>(plan, n);
    float *values = entro_gpu_take_array<float>(plan, n);
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
static uint8_t *keep_coded(struct entro_gpu_plan *plan, const struct entro_cuda_matrix *matrix)
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
static uint8_t *place_elements(struct entro_gpu_plan *plan, const struct entro_cuda_matrix *matrix)
{
    bool is_coded = matrix->coded != NULL && matrix->coded->size_bytes == matrix->size_bytes;
    plan->decoded_bytes += matrix->size_bytes;
    plan->read_bytes += is_coded ? matrix->coded->stored_bytes : matrix->size_bytes;
    if (is_coded && plan->keeps_coded && plan->layer != NULL)
        return keep_coded(plan, matrix);
    uint8_t *data = static_cast<uint8_t *>(entro_gpu_take(plan, matrix->size_bytes, 1));
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
static void place_matrix(struct entro_gpu_plan *plan, const struct entro_cuda_matrix *matrix,
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

static void place_matrices(struct entro_gpu_plan *plan, const struct entro_cuda_matrix *matrices, uint32_t n,
                           struct entro_gpu_matrix *out)
{
    for (uint32_t i = 0; i < n; i++)
        place_matrix(plan, &matrices[i], i == 0 ? NULL : &matrices[i - 1], i == 0 ? NULL : &out[i - 1],
                     &out[i]);
}

static void place_layer(struct entro_gpu_plan *plan, const struct entro_cuda_model *model,
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

void entro_gpu_place_weights(struct entro_gpu_state *self, struct entro_gpu_plan *plan,
                             const struct entro_cuda_model *model)
{
    place_matrix(plan, &model->embedding, NULL, NULL, &self->embedding);
    place_matrix(plan, &model->output, &model->embedding, &self->embedding, &self->output);
    self->final_norm = place_vector(plan, model->final_norm, model->n_hidden);
    for (uint32_t i = 0; i < model->n_layers; i++)
        place_layer(plan, model, &model->layers[i], &self->layers[i]);
}
