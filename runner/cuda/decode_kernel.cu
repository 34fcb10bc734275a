/* The kernel that decodes lists of blocks, and its launch. What a block is: decode_block.cuh. */
#include "decode_kernel.h"

#include "decode_block.cuh"

/* A raw block: n bytes from any address to any address. */
static __device__ void copy_bytes(uint8_t *target, const uint8_t *source, uint32_t n)
{
    uint32_t shift = (uint32_t)(reinterpret_cast<uintptr_t>(source) % 4), n_words = 0;
    if (reinterpret_cast<uintptr_t>(target) % 4 == 0) {
        const uint32_t *aligned = reinterpret_cast<const uint32_t *>(source - shift);
        n_words = n / 4;
        for (uint32_t i = threadIdx.x; i < n_words; i += blockDim.x) {
            uint32_t next = shift != 0 ? aligned[i + 1] : 0;
            reinterpret_cast<uint32_t *>(target)[i] = __funnelshift_r(aligned[i], next, 8 * shift);
        }
    }
    for (uint32_t i = 4 * n_words + threadIdx.x; i < n; i += blockDim.x)
        target[i] = source[i];
}

static __device__ void fill_bytes(uint8_t *target, uint8_t value, uint32_t n)
{
    uint32_t n_words = 0;
    if (reinterpret_cast<uintptr_t>(target) % 4 == 0) {
        n_words = n / 4;
        for (uint32_t i = threadIdx.x; i < n_words; i += blockDim.x)
            reinterpret_cast<uint32_t *>(target)[i] = value * 0x01010101U;
    }
    for (uint32_t i = 4 * n_words + threadIdx.x; i < n; i += blockDim.x)
        target[i] = value;
}

/* False where no encoder writes the block. */
static __device__ bool decode_coded(const struct entro_cuda_plan *plans, const struct entro_cuda_block *block,
                                    const uint8_t *stored, uint8_t *target, struct entro_decode_tables *t,
                                    struct entro_ranked_word *words, uint8_t *scratch, uint32_t scratch_half)
{
    const struct entro_cuda_plan *plan = &plans[block->plan];
    uint32_t size = block->size_bytes, stored_bytes = block->stored_bytes;
    bool has_root_plan = block->root_plan != ENTRO_CUDA_NO_PLAN;
    entro_load_words(words, stored, stored_bytes);
    if (!entro_prepare(plan, t, words, stored_bytes, size, has_root_plan, false))
        return false;
    uint32_t root_bytes = t->root_bytes, root_source = t->root_source;
    if (root_bytes != 0) {
        const struct entro_cuda_plan *root_plan = &plans[block->root_plan];
        uint8_t *bitmap = scratch + 2 * scratch_half;
        uint32_t bitmap_bytes = (size + 7) / 8;
        __syncthreads();
        entro_load_words(words, stored + root_source, root_bytes);
        if (!entro_prepare(root_plan, t, words, root_bytes, bitmap_bytes, false, false))
            return false;
        entro_decode_prepared(root_plan, t, words, scratch, scratch_half, bitmap, bitmap_bytes);
        __syncthreads();
        entro_load_words(words, stored, stored_bytes);
        entro_load_words(words + (stored_bytes + 3) / 4, bitmap, bitmap_bytes);
        if (!entro_prepare(plan, t, words, stored_bytes, size, true, true))
            return false;
    }
    entro_decode_prepared(plan, t, words, scratch, scratch_half, target, size);
    return true;
}

/* Words of a block's stored bytes, of its root's bitmap, and one behind. */
static uint32_t words_bytes(const struct entro_cuda_limits *limits)
{
    uint32_t n_words = (limits->stored_bytes + 3) / 4 + 2;
    if (limits->has_root != 0)
        n_words += ((limits->size_bytes + 7) / 8 + 3) / 4;
    return n_words * (uint32_t)sizeof(struct entro_ranked_word);
}

static uint32_t scratch_half_bytes(uint32_t size_bytes)
{
    return (ENTRO_LISTS_BYTES(size_bytes) + 15) / 16 * 16;
}

/* A thread block decodes every gridDim.x-th block. Its words are in shared memory, or where that is too small
 * for them, like its lists in the workspace. */
template <bool in_shared>
static __global__ __launch_bounds__(ENTRO_DECODE_THREADS) void decode_kernel(
    const uint8_t *source, uint8_t *target, const struct entro_cuda_plan *plans,
    const struct entro_cuda_block *blocks, uint32_t n_blocks, uint8_t *workspace, size_t workspace_each,
    uint32_t scratch_half, uint32_t scratch_bytes, struct entro_cuda_faults *faults)
{
    __shared__ struct entro_decode_tables tables;
    ENTRO_SHARED(struct entro_ranked_word, shared_words);
    uint8_t *scratch = workspace + blockIdx.x * workspace_each;
    struct entro_ranked_word *words =
        in_shared ? shared_words : reinterpret_cast<struct entro_ranked_word *>(scratch + scratch_bytes);
    for (uint32_t i = blockIdx.x; i < n_blocks; i += gridDim.x) {
        struct entro_cuda_block block = blocks[i];
        const uint8_t *stored = source + block.source;
        uint8_t *own = target + block.target;
        __syncthreads();
        if (block.method == ENTRO_CUDA_CONSTANT) {
            fill_bytes(own, stored[0], block.size_bytes);
        } else if (block.method == ENTRO_CUDA_RAW) {
            copy_bytes(own, stored, block.size_bytes);
        } else if (!decode_coded(plans, &block, stored, own, &tables, words, scratch, scratch_half) &&
                   threadIdx.x == 0) {
            atomicAdd(&faults->n, 1U);
            atomicMin(&faults->first, i);
        }
    }
}

/* Thread blocks a multiprocessor: registers and, at 5.7 bits a byte, shared memory suffice for two of them.
 */
#define THREAD_BLOCKS_EACH 2U

/* The decoder's sizes, on the device in use. */
static cudaError_t describe(struct entro_cuda_decoder *decoder, const struct entro_cuda_limits *limits)
{
    int device, max_shared = 0, n_multiprocessors = 0;
    memset(decoder, 0, sizeof *decoder);
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess)
        error = cudaDeviceGetAttribute(&n_multiprocessors, cudaDevAttrMultiProcessorCount, device);
    if (error == cudaSuccess)
        error = cudaDeviceGetAttribute(&max_shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (error != cudaSuccess)
        return error;
    uint32_t words = words_bytes(limits), tables = (uint32_t)sizeof(struct entro_decode_tables);
    decoder->scratch_half = scratch_half_bytes(limits->size_bytes);
    decoder->scratch_bytes = 2 * decoder->scratch_half + ((limits->size_bytes + 7) / 8 + 31) / 16 * 16;
    decoder->workspace_each = decoder->scratch_bytes;
    decoder->max_shared_bytes = (uint32_t)max_shared - tables;
    if (words > decoder->max_shared_bytes)
        decoder->workspace_each += (words + 15) / 16 * 16;
    decoder->n_thread_blocks = (uint32_t)n_multiprocessors * THREAD_BLOCKS_EACH;
    return cudaSuccess;
}

extern "C" uint64_t entro_cuda_decoder_bytes(const struct entro_cuda_limits *limits)
{
    struct entro_cuda_decoder decoder;
    if (describe(&decoder, limits) != cudaSuccess)
        return UINT64_MAX;
    return decoder.n_thread_blocks * (uint64_t)decoder.workspace_each + sizeof *decoder.faults;
}

extern "C" cudaError_t entro_cuda_decoder_create(struct entro_cuda_decoder *decoder,
                                                 const struct entro_cuda_limits *limits)
{
    cudaError_t error = describe(decoder, limits);
    if (error == cudaSuccess)
        error = cudaFuncSetAttribute(decode_kernel<true>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     (int)decoder->max_shared_bytes);
    if (error == cudaSuccess)
        error = cudaMalloc(&decoder->workspace, decoder->n_thread_blocks * decoder->workspace_each);
    if (error == cudaSuccess)
        error = cudaMalloc(&decoder->faults, sizeof *decoder->faults);
    if (error != cudaSuccess)
        entro_cuda_decoder_free(decoder);
    return error;
}

extern "C" void entro_cuda_decoder_free(struct entro_cuda_decoder *decoder)
{
    cudaFree(decoder->workspace);
    cudaFree(decoder->faults);
    memset(decoder, 0, sizeof *decoder);
}

extern "C" cudaError_t entro_cuda_decoder_reset(const struct entro_cuda_decoder *decoder, cudaStream_t stream)
{
    /* Whole words are read of the workspace, of which some bytes may be nobody's: compute-sanitizer's
     * initcheck takes that for a mistake. */
    cudaError_t error =
        cudaMemsetAsync(decoder->workspace, 0, decoder->n_thread_blocks * decoder->workspace_each, stream);
    if (error == cudaSuccess)
        error = cudaMemsetAsync(&decoder->faults->n, 0, sizeof decoder->faults->n, stream);
    return error != cudaSuccess
               ? error
               : cudaMemsetAsync(&decoder->faults->first, 0xff, sizeof decoder->faults->first, stream);
}

extern "C" cudaError_t entro_cuda_decode(const struct entro_cuda_decoder *decoder,
                                         const struct entro_cuda_limits *limits, const uint8_t *source,
                                         uint8_t *target, const struct entro_cuda_plan *plans,
                                         const struct entro_cuda_block *blocks, uint32_t n_blocks,
                                         cudaStream_t stream)
{
    if (n_blocks == 0)
        return cudaSuccess;
    dim3 grid(n_blocks < decoder->n_thread_blocks ? n_blocks : decoder->n_thread_blocks);
    uint32_t words = words_bytes(limits);
    bool in_shared = words <= decoder->max_shared_bytes;
    entro_launch(in_shared ? decode_kernel<true> : decode_kernel<false>, grid, dim3(ENTRO_DECODE_THREADS),
                 in_shared ? words : 0, stream, source, target, plans, blocks, n_blocks, decoder->workspace,
                 decoder->workspace_each, decoder->scratch_half, decoder->scratch_bytes, decoder->faults);
    return cudaPeekAtLastError();
}

/* Record r of a stream: byte 0 from plane 0, and so on; then rotated right by one bit. A record a thread:
 * each plane is read, and the target written, by neighbours side by side. */
template <uint32_t n_bytes>
static __global__ void join_kernel(uint8_t *target, struct entro_cuda_layout layout, uint64_t n_records)
{
    uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
    for (uint64_t r = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; r < n_records; r += stride) {
        uint64_t word = 0;
        ENTRO_UNROLL
        for (uint32_t i = 0; i < n_bytes; i++)
            word |= (uint64_t)layout.planes[i][r] << 8 * i;
        if (layout.is_rotated != 0)
            word = word >> 1 | (word & 1) << (8 * n_bytes - 1);
        ENTRO_UNROLL
        for (uint32_t i = 0; i < n_bytes; i++)
            target[r * n_bytes + i] = (uint8_t)(word >> 8 * i);
    }
}

static void (*join_kernel_of(uint32_t n_bytes))(uint8_t *, struct entro_cuda_layout, uint64_t)
{
    switch (n_bytes) {
    case 1:
        return join_kernel<1>;
    case 2:
        return join_kernel<2>;
    case 3:
        return join_kernel<3>;
    case 4:
        return join_kernel<4>;
    case 5:
        return join_kernel<5>;
    case 6:
        return join_kernel<6>;
    case 7:
        return join_kernel<7>;
    default:
        return join_kernel<8>;
    }
}

extern "C" cudaError_t entro_cuda_join(uint8_t *target, const struct entro_cuda_layout *layout,
                                       uint64_t n_records, cudaStream_t stream)
{
    if (n_records == 0)
        return cudaSuccess;
    uint64_t n = (n_records + 255) / 256;
    entro_launch(join_kernel_of(layout->record_bytes), dim3(n < 65536 ? (unsigned)n : 65536U), dim3(256), 0,
                 stream, target, *layout, n_records);
    return cudaPeekAtLastError();
}
