/*
 * Picking a token from logits on the card, by the rules of runner/sampler.h; see kernels.h. One block: a
 * vocabulary is a few hundred kilobytes, which a multiprocessor reads in about 10 us. The k most likely are
 * found by their k-th largest logit, whose 32 bits are decided 8 at a time from histograms.
 */
#include <math.h>

#include "runner/cuda/device.h"
#include "runner/cuda/kernels.h"

#define THREADS 1024
#define WARPS   (THREADS / ENTRO_WARP)
#define MAX_K   ENTRO_CUDA_MAX_TOP_K

/* Larger for larger numbers; both zeros give the same. */
static __device__ __forceinline__ uint32_t order_of(float logit)
{
    uint32_t bits = __float_as_uint(logit + 0.0F);
    return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

static __device__ __forceinline__ float logit_of(uint32_t order)
{
    return __uint_as_float((order & 0x80000000U) != 0 ? order & 0x7fffffffU : ~order);
}

static __device__ bool is_finite(float value)
{
    return (__float_as_uint(value) & 0x7f800000U) != 0x7f800000U;
}

/* The likelier token is the larger key; of equally likely ones, the lower id. */
static __device__ __forceinline__ unsigned long long key_of(float logit, uint32_t token)
{
    return (unsigned long long)order_of(logit) << 32 | (0xffffffffU - token);
}

static __device__ __forceinline__ uint32_t token_of(unsigned long long key)
{
    return 0xffffffffU - (uint32_t)key;
}

static __global__ __launch_bounds__(THREADS) void most_likely(const float *__restrict__ logits, uint32_t n,
                                                              struct entro_gpu_picked *picked)
{
    __shared__ unsigned long long keys[WARPS];
    __shared__ uint32_t flag;
    if (threadIdx.x == 0)
        flag = 0;
    __syncthreads();
    unsigned long long best = 0;
    bool bad = false;
    ENTRO_UNROLL_4
    for (uint32_t i = threadIdx.x; i < n; i += THREADS) {
        unsigned long long key = key_of(logits[i], i);
        bad = bad | !is_finite(logits[i]);
        best = key > best ? key : best;
    }
    if (bad)
        atomicMax(&flag, 1U);
    for (int lane = ENTRO_WARP / 2; lane > 0; lane /= 2) {
        unsigned long long other = __shfl_xor_sync(ENTRO_ALL_LANES, best, lane);
        best = other > best ? other : best;
    }
    if (threadIdx.x % ENTRO_WARP == 0)
        keys[threadIdx.x / ENTRO_WARP] = best;
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    for (uint32_t i = 0; i < WARPS; i++)
        best = keys[i] > best ? keys[i] : best;
    picked->token = token_of(best);
    picked->flag = flag;
}

void entro_gpu_pick_most_likely(const float *logits, uint32_t n, struct entro_gpu_picked *picked,
                                cudaStream_t stream)
{
    entro_launch(most_likely, dim3(1), dim3(THREADS), 0, stream, logits, n, picked);
}

struct room {
    unsigned long long keys[MAX_K];   /* those that were found, in any order */
    unsigned long long sorted[MAX_K]; /* likeliest first */
    double probabilities[MAX_K];
    double sum; /* of them */
    uint32_t histogram[256];
    uint32_t counts[WARPS];
    uint32_t digit, n_above, n_found, flag, n_kept;
};

/* The order of the k-th largest logit; *n_above: how many are larger. */
static __device__ uint32_t find_threshold(const float *__restrict__ logits, uint32_t n, uint32_t k,
                                          room &room, uint32_t *n_above)
{
    uint32_t prefix = 0, above = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        if (threadIdx.x < 256)
            room.histogram[threadIdx.x] = 0;
        __syncthreads();
        ENTRO_UNROLL_4
        for (uint32_t i = threadIdx.x; i < n; i += THREADS) {
            uint32_t order = order_of(logits[i]);
            if (shift == 24 || order >> (shift + 8) == prefix)
                atomicAdd(&room.histogram[order >> shift & 255U], 1U);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            uint32_t digit = 255, count = above;
            while (digit > 0 && count + room.histogram[digit] < k)
                count += room.histogram[digit--];
            room.digit = digit;
            room.n_above = count;
        }
        __syncthreads();
        prefix = prefix << 8 | room.digit;
        above = room.n_above;
        __syncthreads();
    }
    *n_above = above;
    return prefix;
}

/* All above the threshold, and the first of those at it until there are k. */
static __device__ void collect(const float *__restrict__ logits, uint32_t n, uint32_t k, uint32_t threshold,
                               uint32_t n_above, room &room)
{
    uint32_t n_equal = k - n_above, done = 0, lane = threadIdx.x % ENTRO_WARP,
             warp = threadIdx.x / ENTRO_WARP;
    for (uint32_t start = 0; start < n; start += THREADS) {
        uint32_t i = start + threadIdx.x, order = i < n ? order_of(logits[i]) : 0;
        bool equal = i < n && order == threshold;
        if (i < n && order > threshold)
            room.keys[atomicAdd(&room.n_found, 1U)] = key_of(logits[i], i);
        if (done >= n_equal)
            continue; /* `done` is the same in all threads */
        uint32_t ballot = __ballot_sync(ENTRO_ALL_LANES, equal);
        if (lane == 0)
            room.counts[warp] = (uint32_t)__popc(ballot);
        __syncthreads();
        uint32_t before = done;
        for (uint32_t j = 0; j < WARPS; j++) {
            done += room.counts[j];
            before += j < warp ? room.counts[j] : 0;
        }
        before += (uint32_t)__popc(ballot & ((1U << lane) - 1));
        if (equal && before < n_equal)
            room.keys[n_above + before] = key_of(logits[i], i);
        __syncthreads();
    }
    __syncthreads();
}

/* As sampler.c's probabilities_at: F64, summed from the likeliest on. */
static __device__ void probabilities_at(room &room, uint32_t n, double temperature)
{
    double largest = (double)logit_of((uint32_t)(room.sorted[0] >> 32));
    if (threadIdx.x < n)
        room.probabilities[threadIdx.x] =
            exp(((double)logit_of((uint32_t)(room.sorted[threadIdx.x] >> 32)) - largest) / temperature);
    __syncthreads();
    if (threadIdx.x == 0) { /* one thread: most cards have few units for F64 */
        double sum = 0;
        for (uint32_t i = 0; i < n; i++)
            sum += room.probabilities[i];
        room.sum = sum;
    }
    __syncthreads();
    if (threadIdx.x < n)
        room.probabilities[threadIdx.x] /= room.sum;
    __syncthreads();
}

static __device__ uint32_t filter(room &room, uint32_t n, const struct entro_cuda_pick &how)
{
    if (how.top_p < 1.0F) {
        double sum = 0;
        uint32_t kept = 0;
        while (kept < n && (kept == 0 || sum < (double)how.top_p))
            sum += room.probabilities[kept++];
        n = kept;
    }
    if (how.min_p > 0) {
        double smallest = (double)how.min_p * room.probabilities[0];
        uint32_t kept = 1;
        while (kept < n && room.probabilities[kept] >= smallest)
            kept++;
        n = kept;
    }
    return n;
}

static __global__ __launch_bounds__(THREADS) void pick(const float *__restrict__ logits, uint32_t n,
                                                       const struct entro_cuda_pick *how_at,
                                                       struct entro_gpu_picked *picked)
{
    __shared__ struct room room;
    struct entro_cuda_pick how = *how_at;
    uint32_t k = how.top_k < n ? how.top_k : n, n_above;
    if (threadIdx.x == 0) {
        room.n_found = 0;
        room.flag = 0;
    }
    __syncthreads();
    bool bad = false;
    ENTRO_UNROLL_4
    for (uint32_t i = threadIdx.x; i < n; i += THREADS)
        bad = bad | !is_finite(logits[i]); /* no branch between the loads */
    if (bad)
        atomicMax(&room.flag, 1U);
    uint32_t threshold = find_threshold(logits, n, k, room, &n_above);
    collect(logits, n, k, threshold, n_above, room);
    if (threadIdx.x < k) {
        uint32_t rank = 0;
        for (uint32_t i = 0; i < k; i++)
            rank += room.keys[i] > room.keys[threadIdx.x];
        room.sorted[rank] = room.keys[threadIdx.x];
    }
    __syncthreads();
    probabilities_at(room, k, 1.0);
    if (threadIdx.x == 0)
        room.n_kept = filter(room, k, how);
    __syncthreads();
    k = room.n_kept;
    probabilities_at(room, k, (double)how.temperature);
    if (threadIdx.x != 0)
        return;
    double sum = 0;
    uint32_t i = 0;
    while (i + 1 < k && how.point >= (sum += room.probabilities[i]))
        i++;
    picked->token = token_of(room.sorted[i]);
    picked->flag = room.flag;
}

void entro_gpu_pick(const float *logits, uint32_t n, const struct entro_cuda_pick *how,
                    struct entro_gpu_picked *picked, cudaStream_t stream)
{
    entro_launch(pick, dim3(1), dim3(THREADS), 0, stream, logits, n, how, picked);
}
