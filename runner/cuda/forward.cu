/*
 * The forward pass on the card. One token goes through kernels that read quantized weights; several go
 * through the library's matrix products, for which a part of a matrix at a time becomes F16: small enough
 * that it is still in the L2 cache when the product reads it. Everything is put on one stream and nothing
 * waits.
 */
#include "runner/cuda/attention_batch.h"
#include "runner/cuda/device.h"
#include "runner/cuda/state.h"

/* From so many tokens on, attention goes through the library's products. */
#define MANY_TOKENS 16U

uint64_t entro_gpu_step_angles(uint32_t n_tokens)
{
    return ENTRO_GPU_STEP_HEADER + ((uint64_t)n_tokens + 3) / 4 * 4;
}

uint64_t entro_gpu_step_words(const struct entro_gpu_state *self, uint32_t n_tokens)
{
    return entro_gpu_step_angles(n_tokens) + (uint64_t)n_tokens * 4 * (self->model.head_dim / 2);
}

uint32_t entro_gpu_n_splits(const struct entro_gpu_state *self, uint32_t n_tokens)
{
    uint32_t heads_per_block = 1, group = self->model.n_heads / self->model.n_kv_heads;
    entro_gpu_attention_floats(self->model.head_dim, group, &heads_per_block);
    /* About three blocks of attention a multiprocessor, but no more shares than there can be steps. */
    uint64_t n_blocks =
        (uint64_t)n_tokens * self->model.n_kv_heads * ((group + heads_per_block - 1) / heads_per_block);
    uint64_t n_splits = (3 * (uint64_t)self->n_multiprocessors + n_blocks - 1) / n_blocks;
    uint64_t n_steps = (self->n_context + ENTRO_CUDA_STEP - 1) / ENTRO_CUDA_STEP;
    n_splits = n_splits < 64 ? n_splits : 64;
    return (uint32_t)(n_splits < n_steps ? n_splits : n_steps);
}

/* --- layers that stay coded --- */

static void keep_resident_error(struct entro_gpu_state *self, cudaError_t error)
{
    if (self->resident_error == cudaSuccess)
        self->resident_error = error;
}

void entro_gpu_begin_layers(struct entro_gpu_state *self)
{
    if (self->resident != NULL)
        keep_resident_error(self, entro_gpu_resident_start(self->resident, self->stream));
}

void entro_gpu_begin_layer(struct entro_gpu_state *self, uint32_t layer)
{
    if (self->layers[layer].group != ENTRO_GPU_NO_GROUP)
        keep_resident_error(self,
                            entro_gpu_resident_use(self->resident, self->layers[layer].group, self->stream));
}

void entro_gpu_end_layer(struct entro_gpu_state *self, uint32_t layer)
{
    if (self->layers[layer].group != ENTRO_GPU_NO_GROUP)
        keep_resident_error(self,
                            entro_gpu_resident_done(self->resident, self->layers[layer].group, self->stream));
}

/* --- one token --- */

/* The input of each matrix; matrices with the same factors and encoding share one. */
static void prepare_inputs(struct entro_gpu_state *self, const struct entro_gpu_matrix *matrices, uint32_t n,
                           const float *x, const float *norm, struct entro_gpu_input *inputs)
{
    struct entro_gpu_prepare job;
    memset(&job, 0, sizeof job);
    job.x = x;
    job.weight = norm;
    job.epsilon = self->model.norm_epsilon;
    job.n = matrices[0].n_columns;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t lane_elements = entro_cuda_lane_elements(matrices[i].encoding), k = 0;
        while (k < job.n_inputs &&
               (job.columns[k] != matrices[i].column_scale || job.lane_elements[k] != lane_elements))
            k++;
        if (k == job.n_inputs) {
            job.inputs[k] = self->inputs[k];
            job.columns[k] = matrices[i].column_scale;
            job.lane_elements[k] = lane_elements;
            job.n_inputs++;
        }
        inputs[i] = job.inputs[k];
    }
    entro_gpu_prepare_inputs(&job, self->stream);
}

/* Rows of the matrices one after another in y. Matrices of one encoding go together. */
static void multiply_prepared(struct entro_gpu_state *self, const struct entro_gpu_matrix *matrices,
                              uint32_t n, const struct entro_gpu_input *inputs, float *y,
                              enum entro_gpu_output output)
{
    for (uint32_t i = 0; i < n;) {
        struct entro_gpu_gemv job;
        memset(&job, 0, sizeof job);
        job.output = output;
        int encoding = matrices[i].encoding;
        for (; i < n && matrices[i].encoding == encoding; i++) {
            job.parts[job.n_parts].matrix = matrices[i];
            job.parts[job.n_parts].input = inputs[i];
            job.parts[job.n_parts++].y = y;
            y += matrices[i].n_rows;
        }
        entro_gpu_multiply(&job, self->stream);
    }
}

static void multiply_one(struct entro_gpu_state *self, const struct entro_gpu_matrix *matrices, uint32_t n,
                         const float *x, const float *norm, float *y, enum entro_gpu_output output)
{
    struct entro_gpu_input inputs[ENTRO_GPU_MAX_PARTS];
    prepare_inputs(self, matrices, n, x, norm, inputs);
    multiply_prepared(self, matrices, n, inputs, y, output);
}

/* x += what the product with `in` gives, normed where the model says so. */
static void add_product(struct entro_gpu_state *self, const struct entro_gpu_matrix *matrix,
                        const struct entro_gpu_input *input, const float *post_norm)
{
    if (post_norm == NULL) {
        multiply_prepared(self, matrix, 1, input, self->x, ENTRO_GPU_ADD);
        return;
    }
    multiply_prepared(self, matrix, 1, input, self->added, ENTRO_GPU_STORE);
    entro_gpu_norm(self->added, post_norm, self->model.norm_epsilon, self->model.n_hidden, 1, true, self->x,
                   self->stream);
}

/* Gate and up as two matrices, also where they lie in one. */
static void split_gate_up(const struct entro_gpu_layer *layer, uint32_t n, struct entro_gpu_matrix *parts)
{
    parts[0] = layer->gate_up[0];
    parts[1] = layer->gate_up[layer->n_gate_up - 1];
    if (layer->n_gate_up == 2)
        return;
    parts[0].n_rows = parts[1].n_rows = n;
    parts[1].row_scale = parts[1].row_scale == NULL ? NULL : parts[1].row_scale + n;
    parts[1].outlier_rows = parts[1].outlier_rows == NULL ? NULL : parts[1].outlier_rows + n;
    parts[1].data += entro_cuda_bytes(parts[1].encoding, (uint64_t)n * parts[1].n_columns);
}

static bool can_gate_at_once(const struct entro_gpu_layer *layer)
{
    const struct entro_gpu_matrix *gate = &layer->gate_up[0];
    if (layer->down.zero_fraction != 0) /* needs the sum of what it reads */
        return false;
    if (layer->n_gate_up == 2)
        return gate->encoding == layer->gate_up[1].encoding;
    /* The second half must begin with a whole byte. */
    return gate->encoding != ENTRO_CUDA_U4 || (uint64_t)gate->n_rows / 2 * gate->n_columns % 2 == 0;
}

static void run_mlp_of_one(struct entro_gpu_state *self, const struct entro_gpu_layer *layer)
{
    struct entro_gpu_input inputs[2];
    uint32_t n = self->model.n_intermediate;
    if (!can_gate_at_once(layer)) {
        multiply_one(self, layer->gate_up, layer->n_gate_up, self->x, layer->mlp_norm, self->gate_up,
                     ENTRO_GPU_STORE);
        entro_gpu_gate(self->gate_up, n, 1, self->model.gelu != 0, self->stream);
        prepare_inputs(self, &layer->down, 1, self->gate_up, NULL, inputs);
        add_product(self, &layer->down, inputs, layer->post_mlp_norm);
        return;
    }
    struct entro_gpu_matrix parts[2];
    struct entro_gpu_gemv job;
    split_gate_up(layer, n, parts);
    prepare_inputs(self, parts, 2, self->x, layer->mlp_norm, inputs);
    memset(&job, 0, sizeof job);
    for (uint32_t i = 0; i < 2; i++) {
        job.parts[i].matrix = parts[i];
        job.parts[i].input = inputs[i];
    }
    job.n_parts = 2;
    job.output = ENTRO_GPU_GATE;
    job.gelu = self->model.gelu;
    job.next_lane_elements = entro_cuda_lane_elements(layer->down.encoding);
    job.next_columns = layer->down.column_scale;
    job.next_x = self->gated.x;
    entro_gpu_multiply(&job, self->stream);
    add_product(self, &layer->down, &self->gated, layer->post_mlp_norm);
}

/* --- several tokens --- */

/* y[t][i] of the rows of one matrix. The input is in self->halves and self->scales. */
static void multiply_halves(struct entro_gpu_state *self, const struct entro_gpu_matrix *matrix,
                            uint32_t n_tokens, float *y, uint64_t y_stride)
{
    const float one = 1, zero = 0;
    bool as_is = matrix->encoding == ENTRO_CUDA_F16;
    uint64_t n_slice = self->expanded_elements / matrix->n_columns;
    n_slice = as_is || n_slice > matrix->n_rows ? matrix->n_rows
              : n_slice > 128                   ? n_slice / 128 * 128
                                                : n_slice;
    for (uint32_t first = 0; first < matrix->n_rows; first += (uint32_t)n_slice) {
        uint32_t n = matrix->n_rows - first < n_slice ? matrix->n_rows - first : (uint32_t)n_slice;
        const void *weights = as_is ? static_cast<const void *>(matrix->data) : self->expanded;
        if (!as_is)
            entro_gpu_expand(matrix, first, n, self->expanded, self->stream);
        /* To the library, matrices lie column by column: y' = weights'^T halves'. */
        cublasStatus_t status = cublasGemmEx(
            self->blas, CUBLAS_OP_T, CUBLAS_OP_N, (int)n, (int)n_tokens, (int)matrix->n_columns, &one,
            weights, CUDA_R_16F, (int)matrix->n_columns, self->halves, CUDA_R_16F, (int)matrix->n_columns,
            &zero, y + first, CUDA_R_32F, (int)y_stride, ENTRO_SUM_IN_F32, CUBLAS_GEMM_DEFAULT);
        if (status != CUBLAS_STATUS_SUCCESS)
            self->blas_failed = true;
    }
    entro_gpu_finish(matrix, self->scales, n_tokens, y_stride, y, self->stream);
}

static void multiply_batch(struct entro_gpu_state *self, const struct entro_gpu_matrix *matrices, uint32_t n,
                           const float *x, uint64_t x_stride, uint32_t n_tokens, float *y, uint64_t y_stride)
{
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || matrices[i].column_scale != matrices[i - 1].column_scale)
            entro_gpu_halve(x, x_stride, matrices[i].column_scale, matrices[i].n_columns, n_tokens,
                            self->halves, self->scales, self->stream);
        multiply_halves(self, &matrices[i], n_tokens, y, y_stride);
        y += matrices[i].n_rows;
    }
}

static void norm_batch(struct entro_gpu_state *self, const float *x, const float *weight, uint32_t n_tokens,
                       bool add, float *out)
{
    entro_gpu_norm(x, weight, self->model.norm_epsilon, self->model.n_hidden, n_tokens, add, out,
                   self->stream);
}

static void run_mlp_of_batch(struct entro_gpu_state *self, const struct entro_gpu_layer *layer,
                             uint32_t n_tokens)
{
    uint32_t n_hidden = self->model.n_hidden, n = self->model.n_intermediate;
    norm_batch(self, self->x, layer->mlp_norm, n_tokens, false, self->normed);
    multiply_batch(self, layer->gate_up, layer->n_gate_up, self->normed, n_hidden, n_tokens, self->gate_up,
                   2 * (uint64_t)n);
    entro_gpu_gate(self->gate_up, n, n_tokens, self->model.gelu != 0, self->stream);
    multiply_batch(self, &layer->down, 1, self->gate_up, 2 * (uint64_t)n, n_tokens, self->added, n_hidden);
    norm_batch(self, self->added, layer->post_mlp_norm, n_tokens, true, self->x);
}

/* --- both --- */

static struct entro_gpu_step step_of(const struct entro_gpu_state *self, uint32_t n_tokens)
{
    struct entro_gpu_step step;
    step.position = self->step + ENTRO_GPU_STEP_POSITION;
    step.tokens = self->step + ENTRO_GPU_STEP_HEADER;
    step.angles = reinterpret_cast<const float *>(self->step + entro_gpu_step_angles(n_tokens));
    return step;
}

static void attend(struct entro_gpu_state *self, const struct entro_gpu_layer *layer, uint32_t n_tokens)
{
    struct entro_gpu_attention job;
    memset(&job, 0, sizeof job);
    job.step = step_of(self, n_tokens);
    job.n_tokens = n_tokens;
    job.n_heads = self->model.n_heads;
    job.n_kv_heads = self->model.n_kv_heads;
    job.head_dim = self->model.head_dim;
    job.n_splits = entro_gpu_n_splits(self, n_tokens);
    job.sliding = layer->window != 0;
    job.interleaved = self->model.rope_interleaved;
    job.window = layer->window;
    job.n_context = self->n_context;
    job.scale = self->model.attention_scale;
    job.epsilon = self->model.norm_epsilon;
    job.bias = layer->qkv_bias;
    job.query_norm = layer->query_norm;
    job.key_norm = layer->key_norm;
    job.qkv = self->qkv;
    job.keys = layer->keys;
    job.values = layer->values;
    job.partial = self->partial;
    job.attended = self->attended;
    uint64_t position = self->host_step[ENTRO_GPU_STEP_POSITION];
    if (n_tokens >= MANY_TOKENS) { /* what the products before and behind it use lies idle */
        uint64_t n_gate_up = self->n_batch * 2 * (uint64_t)self->model.n_intermediate;
        job.queries = self->halves;
        job.scores = self->gate_up;
        job.exponents = self->expanded;
        job.n_scores = n_gate_up < self->expanded_elements ? n_gate_up : self->expanded_elements;
        if (entro_gpu_choose_tile(&job, position).n_tokens == 0)
            job.queries = NULL;
    }
    entro_gpu_place_heads(&job, self->stream);
    if (job.queries == NULL)
        entro_gpu_attend(&job, self->stream);
    else if (!entro_gpu_attend_batch(&job, position, self->blas, self->stream))
        self->blas_failed = true;
}

static void run_attention(struct entro_gpu_state *self, const struct entro_gpu_layer *layer,
                          uint32_t n_tokens)
{
    const struct entro_cuda_model *model = &self->model;
    uint64_t n_query = (uint64_t)model->n_heads * model->head_dim;
    uint64_t n_qkv = n_query + 2 * (uint64_t)model->n_kv_heads * model->head_dim;
    if (n_tokens == 1) {
        struct entro_gpu_input input;
        multiply_one(self, layer->qkv, layer->n_qkv, self->x, layer->attention_norm, self->qkv,
                     ENTRO_GPU_STORE);
        attend(self, layer, 1);
        prepare_inputs(self, &layer->attention_output, 1, self->attended, NULL, &input);
        add_product(self, &layer->attention_output, &input, layer->post_attention_norm);
        return;
    }
    norm_batch(self, self->x, layer->attention_norm, n_tokens, false, self->normed);
    multiply_batch(self, layer->qkv, layer->n_qkv, self->normed, model->n_hidden, n_tokens, self->qkv, n_qkv);
    attend(self, layer, n_tokens);
    multiply_batch(self, &layer->attention_output, 1, self->attended, n_query, n_tokens, self->added,
                   model->n_hidden);
    norm_batch(self, self->added, layer->post_attention_norm, n_tokens, true, self->x);
}

void entro_gpu_run_layers(struct entro_gpu_state *self, uint32_t n_tokens)
{
    struct entro_gpu_step step = step_of(self, n_tokens);
    entro_gpu_begin_layers(self);
    entro_gpu_embed(&self->embedding, step.tokens, n_tokens, self->model.embedding_scale, self->x,
                    self->stream);
    for (uint32_t i = 0; i < self->model.n_layers; i++) {
        entro_gpu_begin_layer(self, i);
        run_attention(self, &self->layers[i], n_tokens);
        if (n_tokens == 1)
            run_mlp_of_one(self, &self->layers[i]);
        else
            run_mlp_of_batch(self, &self->layers[i], n_tokens);
        entro_gpu_end_layer(self, i);
    }
    entro_gpu_check_finite(self->x, (uint64_t)n_tokens * self->model.n_hidden,
                           self->step + ENTRO_GPU_STEP_FLAG, self->stream);
}

void entro_gpu_run_head(struct entro_gpu_state *self, uint32_t first, uint32_t n)
{
    uint32_t n_hidden = self->model.n_hidden;
    const float *x = self->x + (uint64_t)first * n_hidden;
    if (n == 1)
        multiply_one(self, &self->output, 1, x, self->final_norm, self->logits, ENTRO_GPU_STORE);
    else {
        norm_batch(self, x, self->final_norm, n, false, self->normed);
        multiply_batch(self, &self->output, 1, self->normed, n_hidden, n, self->logits,
                       self->model.n_vocabulary);
    }
    entro_gpu_check_finite(self->logits, (uint64_t)n * self->model.n_vocabulary,
                           self->step + ENTRO_GPU_STEP_FLAG, self->stream);
}
