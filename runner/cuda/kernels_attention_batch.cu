/*
 * Attention of many tokens; see attention_batch.h. Queries, keys and values are F16, as the exponents of
 * scores less a row's largest, which are at most 1; sums are F32. A product takes a query head of each
 * key-value head's group: so matrices of a batch are as far from each other as the library wants them,
 * without a list of pointers.
 */
#include <math.h>

#include "runner/cuda/attention_batch.h"
#include "runner/cuda/device.h"

#define THREADS 256

/* Rows of scores begin at a multiple of so many, for the library's fastest kernels. */
#define ROW_ALIGNMENT 8U

/* Tokens that make a product of the library's worthwhile: as many as its tiles have rows. */
#define GOOD_TOKENS 128U

static uint64_t row_of(uint64_t n_positions)
{
    return (n_positions + ROW_ALIGNMENT - 1) / ROW_ALIGNMENT * ROW_ALIGNMENT;
}

struct entro_gpu_attention_tile entro_gpu_choose_tile(const struct entro_gpu_attention *job,
                                                      uint64_t position)
{
    uint64_t group = job->n_heads / job->n_kv_heads;
    uint64_t row = row_of(position + job->n_tokens - entro_cuda_first_seen(position, job->window));
    uint32_t wanted = job->n_tokens < GOOD_TOKENS ? job->n_tokens : GOOD_TOKENS;
    struct entro_gpu_attention_tile tile = {0, job->n_kv_heads};
    for (;; tile.n_kv_heads--) {
        uint64_t n = job->n_scores / (tile.n_kv_heads * group * row);
        tile.n_tokens = n < job->n_tokens ? (uint32_t)n : job->n_tokens;
        if (tile.n_tokens >= wanted || tile.n_kv_heads == 1)
            return tile;
    }
}

/* Some tokens' and heads' scores: [n_heads][n_tokens][row]. */
struct part {
    uint32_t first_token, n_tokens;
    uint32_t first_head, n_heads; /* query heads */
    uint64_t first, n_positions;  /* that any of the tokens sees */
    uint64_t row;
};

/* A row of scores becomes exponents, 0 where the token does not look; their sum goes to `partial`. */
static __global__ __launch_bounds__(THREADS) void exponents(struct entro_gpu_attention job, struct part part,
                                                            uint64_t position)
{
    __shared__ float room[THREADS / ENTRO_WARP];
    uint64_t at = ((uint64_t)blockIdx.x * part.n_tokens + blockIdx.y) * part.row;
    const float *scores = job.scores + at;
    uint16_t *out = job.exponents + at;
    uint64_t token = part.first_token + blockIdx.y, own = position + token;
    uint64_t begin = entro_cuda_first_seen(own, job.window) - part.first, end = own + 1 - part.first;
    float largest = -INFINITY, sum = 0;
    for (uint64_t j = begin + threadIdx.x; j < end; j += THREADS)
        largest = fmaxf(largest, scores[j]);
    largest = entro_block_max(largest, room);
    for (uint64_t j = threadIdx.x; j < part.n_positions; j += THREADS) {
        uint16_t rounded = j >= begin && j < end ? entro_to_f16(expf(scores[j] - largest)) : (uint16_t)0;
        out[j] = rounded;
        sum += entro_from_f16(rounded);
    }
    sum = entro_block_sum(sum, room);
    if (threadIdx.x == 0)
        job.partial[token * job.n_heads + part.first_head + blockIdx.x] = sum;
}

static __global__ __launch_bounds__(THREADS) void divide(struct entro_gpu_attention job)
{
    uint64_t head = (uint64_t)blockIdx.y * job.n_heads + blockIdx.x;
    for (uint32_t i = threadIdx.x; i < job.head_dim; i += THREADS)
        job.attended[head * job.head_dim + i] /= job.partial[head];
}

/* To the library, matrices lie column by column: scores' = keys'^T queries', attended' = values' exponents'.
 */
static bool multiply_part(const struct entro_gpu_attention *job, const struct part *part, bool with_values,
                          cublasHandle_t blas)
{
    const float one = 1, zero = 0;
    uint64_t group = job->n_heads / job->n_kv_heads, head_dim = job->head_dim,
             width = job->n_heads * head_dim;
    uint64_t scores_stride = part->n_tokens * part->row;
    uint64_t cached = (part->first_head / group * job->n_context + part->first) * head_dim;
    int n_batches = (int)(part->n_heads / group);
    for (uint64_t g = 0; g < group; g++) {
        uint64_t query = part->first_token * width + (part->first_head + g) * head_dim,
                 score = g * scores_stride;
        cublasStatus_t status =
            with_values
                ? cublasGemmStridedBatchedEx(
                      blas, CUBLAS_OP_N, CUBLAS_OP_N, (int)head_dim, (int)part->n_tokens,
                      (int)part->n_positions, &one, job->values + cached, CUDA_R_16F, (int)head_dim,
                      (long long)(job->n_context * head_dim), job->exponents + score, CUDA_R_16F,
                      (int)part->row, (long long)(group * scores_stride), &zero, job->attended + query,
                      CUDA_R_32F, (int)width, (long long)(group * head_dim), n_batches, ENTRO_SUM_IN_F32,
                      CUBLAS_GEMM_DEFAULT)
                : cublasGemmStridedBatchedEx(
                      blas, CUBLAS_OP_T, CUBLAS_OP_N, (int)part->n_positions, (int)part->n_tokens,
                      (int)head_dim, &job->scale, job->keys + cached, CUDA_R_16F, (int)head_dim,
                      (long long)(job->n_context * head_dim), job->queries + query, CUDA_R_16F, (int)width,
                      (long long)(group * head_dim), &zero, job->scores + score, CUDA_R_32F, (int)part->row,
                      (long long)(group * scores_stride), n_batches, ENTRO_SUM_IN_F32, CUBLAS_GEMM_DEFAULT);
        if (status != CUBLAS_STATUS_SUCCESS)
            return false;
    }
    return true;
}

bool entro_gpu_attend_batch(const struct entro_gpu_attention *job, uint64_t position, cublasHandle_t blas,
                            cudaStream_t stream)
{
    const struct entro_gpu_attention_tile tile = entro_gpu_choose_tile(job, position);
    uint32_t group = job->n_heads / job->n_kv_heads;
    bool ok = true;
    for (uint32_t head = 0; ok && head < job->n_kv_heads; head += tile.n_kv_heads)
        for (uint32_t token = 0; ok && token < job->n_tokens; token += tile.n_tokens) {
            struct part part;
            uint32_t heads_left = job->n_kv_heads - head, tokens_left = job->n_tokens - token;
            part.first_head = head * group;
            part.n_heads = (heads_left < tile.n_kv_heads ? heads_left : tile.n_kv_heads) * group;
            part.first_token = token;
            part.n_tokens = tokens_left < tile.n_tokens ? tokens_left : tile.n_tokens;
            part.first = entro_cuda_first_seen(position + token, job->window);
            part.n_positions = position + token + part.n_tokens - part.first;
            part.row = row_of(part.n_positions);
            ok = multiply_part(job, &part, false, blas);
            entro_launch(exponents, dim3(part.n_heads, part.n_tokens), dim3(THREADS), 0, stream, *job, part,
                         position);
            ok = ok && multiply_part(job, &part, true, blas);
        }
    entro_launch(divide, dim3(job->n_heads, job->n_tokens), dim3(THREADS), 0, stream, *job);
    return ok;
}
