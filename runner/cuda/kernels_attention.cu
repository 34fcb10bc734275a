/*
 * Attention of one token or of a few; see kernels.h, and for many attention_batch.h. The positions are shared
 * out among blocks, each of which keeps its softmax up to date from step to step (Milakov and Gimelshein,
 * arXiv 1805.02867); a second kernel joins the shares (Dao et al., "Flash-Decoding for long-context
 * inference", 2023). How many shares there are does not depend on the position, so one captured graph serves
 * all of them. The query heads that share a key-value head go together: their keys and values are read once.
 */
#include <math.h>

#include "runner/cuda/device.h"
#include "runner/cuda/kernels.h"

#define THREADS   128
#define WARPS     (THREADS / ENTRO_WARP)
#define MAX_HEADS 8 /* of a block */
#define STEP      ENTRO_CUDA_STEP

/* What fits the 48 KB of shared memory that every card gives a block without being asked. */
#define SHARED_FLOATS 12000U

uint32_t entro_gpu_attention_floats(uint32_t head_dim, uint32_t group, uint32_t *heads_per_block)
{
    for (uint32_t n = group < MAX_HEADS ? group : MAX_HEADS; n > 0; n--) {
        uint64_t n_floats = (uint64_t)n * (2 * (uint64_t)head_dim + STEP + 3);
        *heads_per_block = n;
        if (n_floats <= SHARED_FLOATS)
            return (uint32_t)n_floats;
    }
    return 0;
}

/* One head of one token: bias, norm, rotation; keys and values go to the cache. */
static __global__ void place(struct entro_gpu_attention job)
{
    ENTRO_SHARED(float, head);
    __shared__ float room[WARPS];
    uint32_t index = blockIdx.x, token = blockIdx.y, head_dim = job.head_dim, n_pairs = head_dim / 2;
    uint32_t n_all = job.n_heads + 2 * job.n_kv_heads, n_rotated = job.n_heads + job.n_kv_heads;
    float *row = job.qkv + ((uint64_t)token * n_all + index) * head_dim;
    for (uint32_t i = threadIdx.x; i < head_dim; i += THREADS)
        head[i] = row[i] + (job.bias == NULL ? 0.0F : job.bias[index * head_dim + i]);
    __syncthreads();
    const float *weight = index < job.n_heads ? job.query_norm : job.key_norm;
    if (weight != NULL && index < n_rotated) {
        float sum = 0;
        for (uint32_t i = threadIdx.x; i < head_dim; i += THREADS)
            sum += head[i] * head[i];
        float factor = 1.0F / sqrtf(entro_block_sum(sum, room) / (float)head_dim + job.epsilon);
        for (uint32_t i = threadIdx.x; i < head_dim; i += THREADS)
            head[i] *= factor * weight[i];
        __syncthreads();
    }
    if (index < n_rotated) {
        const float *cosines = job.step.angles + ((uint64_t)token * 4 + (job.sliding != 0 ? 2 : 0)) * n_pairs;
        const float *sines = cosines + n_pairs;
        for (uint32_t i = threadIdx.x; i < n_pairs; i += THREADS) {
            uint32_t first = job.interleaved != 0 ? 2 * i : i,
                     second = job.interleaved != 0 ? 2 * i + 1 : i + n_pairs;
            float a = head[first], b = head[second];
            head[first] = a * cosines[i] - b * sines[i];
            head[second] = b * cosines[i] + a * sines[i];
        }
        __syncthreads();
    }
    if (index < job.n_heads) {
        uint16_t *rounded =
            job.queries == NULL ? NULL : job.queries + ((uint64_t)token * job.n_heads + index) * head_dim;
        for (uint32_t i = threadIdx.x; i < head_dim; i += THREADS) {
            row[i] = head[i];
            if (rounded != NULL)
                rounded[i] = entro_to_f16(head[i]);
        }
        return;
    }
    uint32_t kv_head = (index - job.n_heads) % job.n_kv_heads;
    uint16_t *cache = (index < n_rotated ? job.keys : job.values) +
                      (kv_head * job.n_context + *job.step.position + token) * head_dim;
    for (uint32_t i = threadIdx.x; i < head_dim; i += THREADS)
        cache[i] = entro_to_f16(head[i]);
}

struct heads {
    float *queries; /* [n][head_dim] */
    float *sums;    /* [n][head_dim] of values, weighted */
    float *scores;  /* [n][STEP] */
    float *largest; /* [n] */
    float *weights; /* [n] */
    float *shrinks; /* [n] */
    uint32_t n;
};

/* Scores of n positions; a warp takes a position at a time, its lanes pairs of elements. */
static __device__ void score(const heads &heads, const uint16_t *keys, uint32_t n, uint32_t head_dim)
{
    uint32_t warp = threadIdx.x / ENTRO_WARP, lane = threadIdx.x % ENTRO_WARP;
    for (uint32_t j = warp; j < n; j += WARPS) {
        const uint32_t *key = reinterpret_cast<const uint32_t *>(keys + (uint64_t)j * head_dim);
        float sums[MAX_HEADS];
        ENTRO_UNROLL
        for (uint32_t q = 0; q < MAX_HEADS; q++)
            sums[q] = 0;
        for (uint32_t i = lane; i < head_dim / 2; i += ENTRO_WARP) {
            uint32_t pair = key[i];
            float low = entro_from_f16((uint16_t)pair), high = entro_from_f16((uint16_t)(pair >> 16));
            ENTRO_UNROLL
            for (uint32_t q = 0; q < MAX_HEADS; q++)
                if (q < heads.n)
                    sums[q] = fmaf(heads.queries[q * head_dim + 2 * i], low,
                                   fmaf(heads.queries[q * head_dim + 2 * i + 1], high, sums[q]));
        }
        ENTRO_UNROLL
        for (uint32_t q = 0; q < MAX_HEADS; q++) {
            if (q >= heads.n)
                break;
            float sum = entro_warp_sum(sums[q]);
            if (lane == 0)
                heads.scores[q * STEP + j] = sum;
        }
    }
}

/* Scores become weights; a warp takes a head at a time. */
static __device__ void weigh(const heads &heads, uint32_t n)
{
    uint32_t warp = threadIdx.x / ENTRO_WARP, lane = threadIdx.x % ENTRO_WARP;
    for (uint32_t q = warp; q < heads.n; q += WARPS) {
        float *scores = heads.scores + q * STEP;
        float largest = -INFINITY, sum = 0;
        for (uint32_t j = lane; j < n; j += ENTRO_WARP)
            largest = fmaxf(largest, scores[j]);
        float before = heads.largest[q];
        largest = fmaxf(entro_warp_max(largest), before);
        for (uint32_t j = lane; j < n; j += ENTRO_WARP) {
            scores[j] = expf(scores[j] - largest);
            sum += scores[j];
        }
        sum = entro_warp_sum(sum);
        __syncwarp();
        if (lane == 0) {
            float shrink = before == -INFINITY ? 0.0F : expf(before - largest);
            heads.shrinks[q] = shrink;
            heads.weights[q] = heads.weights[q] * shrink + sum;
            heads.largest[q] = largest;
        }
    }
}

/* Adds n positions' values. */
static __device__ void add_values(const heads &heads, const uint16_t *values, uint32_t n, uint32_t head_dim)
{
    uint32_t n_pairs = head_dim / 2;
    for (uint32_t i = threadIdx.x; i < heads.n * n_pairs; i += THREADS) {
        uint32_t q = i / n_pairs, pair = i % n_pairs;
        const uint32_t *value = reinterpret_cast<const uint32_t *>(values) + pair;
        float *sums = heads.sums + q * head_dim + 2 * pair;
        float low = sums[0] * heads.shrinks[q], high = sums[1] * heads.shrinks[q];
        for (uint32_t j = 0; j < n; j++) {
            uint32_t both = value[(uint64_t)j * n_pairs];
            float weight = heads.scores[q * STEP + j];
            low = fmaf(weight, entro_from_f16((uint16_t)both), low);
            high = fmaf(weight, entro_from_f16((uint16_t)(both >> 16)), high);
        }
        sums[0] = low;
        sums[1] = high;
    }
}

static __global__ __launch_bounds__(THREADS) void attend(struct entro_gpu_attention job,
                                                         uint32_t heads_per_block)
{
    ENTRO_SHARED(float, shared);
    uint32_t group = job.n_heads / job.n_kv_heads, n_parts = (group + heads_per_block - 1) / heads_per_block;
    uint32_t kv_head = blockIdx.x / n_parts, within = blockIdx.x % n_parts * heads_per_block;
    uint32_t first_head = kv_head * group + within, head_dim = job.head_dim;
    struct heads heads;
    heads.n = group - within < heads_per_block ? group - within : heads_per_block;
    heads.queries = shared;
    heads.sums = heads.queries + heads_per_block * head_dim;
    heads.scores = heads.sums + heads_per_block * head_dim;
    heads.largest = heads.scores + heads_per_block * STEP;
    heads.weights = heads.largest + heads_per_block;
    heads.shrinks = heads.weights + heads_per_block;

    uint64_t token = blockIdx.z, position = *job.step.position + token;
    uint64_t first = entro_cuda_first_seen(position, job.window),
             share = entro_cuda_split(position + 1 - first, job.n_splits);
    uint64_t begin = first + blockIdx.y * share,
             end = begin + share < position + 1 ? begin + share : position + 1;
    const float *queries = job.qkv + (token * (job.n_heads + 2 * job.n_kv_heads) + first_head) * head_dim;
    for (uint32_t i = threadIdx.x; i < heads.n * head_dim; i += THREADS) {
        heads.queries[i] = job.scale * queries[i];
        heads.sums[i] = 0;
    }
    for (uint32_t q = threadIdx.x; q < heads.n; q += THREADS) {
        heads.largest[q] = -INFINITY;
        heads.weights[q] = 0;
    }
    __syncthreads();
    const uint16_t *keys = job.keys + (uint64_t)kv_head * job.n_context * head_dim;
    const uint16_t *values = job.values + (uint64_t)kv_head * job.n_context * head_dim;
    for (uint64_t step = begin; step < end; step += STEP) {
        uint32_t n = end - step < STEP ? (uint32_t)(end - step) : STEP;
        score(heads, keys + step * head_dim, n, head_dim);
        __syncthreads();
        weigh(heads, n);
        __syncthreads();
        add_values(heads, values + step * head_dim, n, head_dim);
        __syncthreads();
    }
    for (uint32_t q = 0; q < heads.n; q++) {
        float *partial = job.partial + ((token * job.n_heads + first_head + q) * job.n_splits + blockIdx.y) *
                                           (head_dim + 2);
        for (uint32_t i = threadIdx.x; i < head_dim; i += THREADS)
            partial[i] = heads.sums[q * head_dim + i];
        if (threadIdx.x == 0) {
            partial[head_dim] = heads.weights[q];
            partial[head_dim + 1] = heads.largest[q];
        }
    }
}

static __global__ void join(struct entro_gpu_attention job)
{
    uint64_t head = (uint64_t)blockIdx.y * job.n_heads + blockIdx.x;
    uint32_t head_dim = job.head_dim, stride = head_dim + 2;
    const float *partial = job.partial + head * job.n_splits * stride;
    float largest = -INFINITY, weight = 0;
    for (uint32_t i = 0; i < job.n_splits; i++)
        largest = fmaxf(largest, partial[i * stride + head_dim + 1]);
    for (uint32_t i = 0; i < job.n_splits; i++)
        weight += partial[i * stride + head_dim] * expf(partial[i * stride + head_dim + 1] - largest);
    for (uint32_t j = threadIdx.x; j < head_dim; j += THREADS) {
        float sum = 0;
        for (uint32_t i = 0; i < job.n_splits; i++)
            sum += partial[i * stride + j] * expf(partial[i * stride + head_dim + 1] - largest);
        job.attended[head * head_dim + j] = sum / weight;
    }
}

void entro_gpu_place_heads(const struct entro_gpu_attention *job, cudaStream_t stream)
{
    entro_launch(place, dim3(job->n_heads + 2 * job->n_kv_heads, job->n_tokens), dim3(THREADS),
                 job->head_dim * sizeof(float), stream, *job);
}

void entro_gpu_attend(const struct entro_gpu_attention *job, cudaStream_t stream)
{
    uint32_t heads_per_block = 1, group = job->n_heads / job->n_kv_heads;
    uint32_t n_floats = entro_gpu_attention_floats(job->head_dim, group, &heads_per_block);
    uint32_t n_parts = (group + heads_per_block - 1) / heads_per_block;
    entro_launch(attend, dim3(job->n_kv_heads * n_parts, job->n_splits, job->n_tokens), dim3(THREADS),
                 n_floats * sizeof(float), stream, *job, heads_per_block);
    entro_launch(join, dim3(job->n_heads, job->n_tokens), dim3(THREADS), 0, stream, *job);
}
