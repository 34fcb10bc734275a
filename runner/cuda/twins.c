/* The kernels' steps in plain C; see twins.h. */
#include "runner/cuda/twins.h"

#include <math.h>
#include <stdlib.h>

#include "codec/half.h"

static double code_weight(const struct entro_gpu_matrix *matrix, uint32_t row, uint32_t column)
{
    double factor = (double)matrix->scale;
    double code = entro_cuda_code(matrix->data, matrix->encoding, (uint64_t)row * matrix->n_columns + column);
    if (matrix->row_scale != NULL)
        factor *= (double)matrix->row_scale[row];
    if (matrix->column_scale != NULL)
        factor *= (double)matrix->column_scale[column];
    return factor * (code - (double)matrix->zero_whole - (double)matrix->zero_fraction);
}

double entro_twin_weight(const struct entro_gpu_matrix *matrix, uint32_t row, uint32_t column)
{
    uint64_t i = (uint64_t)row * matrix->n_columns + column;
    if (matrix->encoding == ENTRO_CUDA_F32)
        return (double)entro_load_f32(matrix->data + 4 * i);
    if (matrix->encoding == ENTRO_CUDA_F16)
        return (double)entro_f16_to_f32(entro_load_u16(matrix->data + 2 * i));
    if (matrix->encoding == ENTRO_CUDA_BF16)
        return (double)entro_bf16_to_f32(entro_load_u16(matrix->data + 2 * i));
    for (uint32_t j = matrix->outlier_rows == NULL ? 0 : matrix->outlier_rows[row];
         matrix->outlier_rows != NULL && j < matrix->outlier_rows[row + 1]; j++)
        if (matrix->outlier_columns[j] == column)
            return (double)matrix->outlier_deltas[j];
    return code_weight(matrix, row, column);
}

void entro_twin_embed(const struct entro_gpu_matrix *embedding, const uint32_t *tokens, uint32_t n_tokens,
                      float factor, float *x)
{
    for (uint32_t t = 0; t < n_tokens; t++)
        for (uint32_t i = 0; i < embedding->n_columns; i++)
            *x++ = (float)((double)factor * entro_twin_weight(embedding, tokens[t], i));
}

void entro_twin_norm(const float *x, const float *weight, float epsilon, uint32_t n, uint32_t n_rows,
                     bool add, float *out)
{
    for (uint32_t t = 0; t < n_rows; t++, x += n, out += n) {
        double sum = 0;
        for (uint32_t i = 0; i < n; i++)
            sum += (double)x[i] * (double)x[i];
        double factor = 1 / sqrt(sum / n + (double)epsilon);
        for (uint32_t i = 0; i < n; i++) {
            double value = (double)x[i] * (weight == NULL ? 1 : factor * (double)weight[i]);
            out[i] = (float)(add ? (double)out[i] + value : value);
        }
    }
}

void entro_twin_multiply(const struct entro_gpu_matrix *matrix, const float *x, float *y)
{
    for (uint32_t row = 0; row < matrix->n_rows; row++) {
        double sum = 0;
        for (uint32_t i = 0; i < matrix->n_columns; i++)
            sum += entro_twin_weight(matrix, row, i) * (double)x[i];
        y[row] = (float)sum;
    }
}

float entro_twin_gated(float gate, float up, bool gelu)
{
    double g = (double)gate;
    if (gelu)
        return (float)(g * (1 + tanh(0.7978845608028654 * (g + 0.044715 * g * g * g))) / 2 * (double)up);
    return (float)(g / (1 + exp(-g)) * (double)up);
}

/* One head in place. */
static void place_head(const struct entro_gpu_attention *job, uint32_t token, uint32_t index, float *head)
{
    uint32_t head_dim = job->head_dim, n_pairs = head_dim / 2;
    const float *norm = index < job->n_heads ? job->query_norm : job->key_norm;
    for (uint32_t i = 0; job->bias != NULL && i < head_dim; i++)
        head[i] += job->bias[index * head_dim + i];
    if (index >= job->n_heads + job->n_kv_heads)
        return;
    if (norm != NULL)
        entro_twin_norm(head, norm, job->epsilon, head_dim, 1, false, head);
    const float *cosines = job->step.angles + ((uint64_t)token * 4 + (job->sliding != 0 ? 2 : 0)) * n_pairs;
    const float *sines = cosines + n_pairs;
    for (uint32_t i = 0; i < n_pairs; i++) {
        float *first = head + (job->interleaved != 0 ? 2 * i : i);
        float *second = job->interleaved != 0 ? first + 1 : first + n_pairs;
        float a = *first, b = *second;
        *first = a * cosines[i] - b * sines[i];
        *second = b * cosines[i] + a * sines[i];
    }
}

static void attend_head(const struct entro_gpu_attention *job, uint32_t token, uint32_t head)
{
    uint32_t head_dim = job->head_dim, kv_head = head / (job->n_heads / job->n_kv_heads);
    uint64_t position = *job->step.position + token, first = entro_cuda_first_seen(position, job->window);
    const float *query =
        job->qkv + ((uint64_t)token * (job->n_heads + 2 * job->n_kv_heads) + head) * head_dim;
    float *out = job->attended + ((uint64_t)token * job->n_heads + head) * head_dim;
    double largest = -INFINITY, weights = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; pass == 1 && i < head_dim; i++)
            out[i] = 0;
        for (uint64_t j = first; j <= position; j++) {
            uint64_t at = (kv_head * job->n_context + j) * head_dim;
            double score = 0;
            for (uint32_t i = 0; i < head_dim; i++)
                score += (double)query[i] * (double)entro_f16_to_f32(job->keys[at + i]);
            score *= (double)job->scale;
            if (pass == 0) {
                largest = score > largest ? score : largest;
                continue;
            }
            weights += exp(score - largest);
            for (uint32_t i = 0; i < head_dim; i++)
                out[i] += (float)(exp(score - largest) * (double)entro_f16_to_f32(job->values[at + i]));
        }
    }
    for (uint32_t i = 0; i < head_dim; i++)
        out[i] = (float)((double)out[i] / weights);
}

void entro_twin_attend(const struct entro_gpu_attention *job)
{
    uint32_t n_all = job->n_heads + 2 * job->n_kv_heads, n_rotated = job->n_heads + job->n_kv_heads;
    for (uint32_t token = 0; token < job->n_tokens; token++)
        for (uint32_t index = 0; index < n_all; index++) {
            float *head = job->qkv + ((uint64_t)token * n_all + index) * job->head_dim;
            place_head(job, token, index, head);
            if (index < job->n_heads)
                continue;
            uint64_t kv_head = (index - job->n_heads) % job->n_kv_heads;
            uint16_t *cache = (index < n_rotated ? job->keys : job->values) +
                              (kv_head * job->n_context + *job->step.position + token) * job->head_dim;
            for (uint32_t i = 0; i < job->head_dim; i++)
                cache[i] = entro_f32_to_f16(head[i]);
        }
    for (uint32_t token = 0; token < job->n_tokens; token++)
        for (uint32_t head = 0; head < job->n_heads; head++)
            attend_head(job, token, head);
}

/* The likeliest token that is not above (`logit`, `token`) in the order; false where there is none. */
static bool next_likely(const float *logits, uint32_t n, float *logit, uint32_t *token, bool is_first)
{
    bool found = false;
    float best = 0;
    uint32_t best_token = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool below = is_first || logits[i] < *logit || (logits[i] == *logit && i > *token);
        if (below && (!found || logits[i] > best)) {
            found = true;
            best = logits[i];
            best_token = i;
        }
    }
    *logit = best;
    *token = best_token;
    return found;
}

uint32_t entro_twin_pick(const float *logits, uint32_t n, const struct entro_cuda_pick *how)
{
    float sorted[ENTRO_CUDA_MAX_TOP_K], logit = 0;
    uint32_t tokens[ENTRO_CUDA_MAX_TOP_K], token = 0, k = 0, kept = 0;
    double probabilities[ENTRO_CUDA_MAX_TOP_K], sum = 0;
    while (k < (how->temperature <= 0 ? 1 : how->top_k) && next_likely(logits, n, &logit, &token, k == 0)) {
        sorted[k] = logit;
        tokens[k++] = token;
    }
    if (how->temperature <= 0)
        return tokens[0];
    for (uint32_t i = 0; i < k; i++)
        sum += probabilities[i] = exp((double)sorted[i] - (double)sorted[0]);
    for (double taken = 0; kept < k; kept++) {
        if (kept > 0 && how->top_p < 1 && taken >= (double)how->top_p)
            break;
        if (how->min_p > 0 && probabilities[kept] < (double)how->min_p * probabilities[0])
            break;
        taken += probabilities[kept] / sum;
    }
    sum = 0;
    for (uint32_t i = 0; i < kept; i++)
        sum += probabilities[i] = exp(((double)sorted[i] - (double)sorted[0]) / (double)how->temperature);
    double taken = 0;
    for (uint32_t i = 0; i + 1 < kept; i++)
        if (how->point < (taken += probabilities[i] / sum))
            return tokens[i];
    return tokens[kept - 1];
}
