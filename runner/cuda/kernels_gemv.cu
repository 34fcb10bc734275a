/*
 * Products of quantized matrices with one token; see kernels.h.
 *
 * Cost model: such a product reads each weight once, so it can be no faster than the memory. To keep the
 * memory busy an H100 needs about 18 KB of loads under way in each multiprocessor (3.3 TB/s times 0.7 us over
 * 132): a warp takes two rows, a lane has two 16-byte loads of each in flight, and with 16 or more warps
 * there are 32 KB. Reading about 14 bytes a clock and multiprocessor leaves 9 lane-instructions for each u8
 * code and 4.5 for each u4 code: a code becomes F32 by one byte permutation (it goes below the exponent of
 * 2^23) and one subtraction, which takes off the whole part of the zero point as well, exactly; then one
 * multiply-add. Inputs come through the L1 cache, two rows a load, in the order of entro_cuda_place; weights
 * go past it.
 */
#include "runner/cuda/device.h"
#include "runner/cuda/kernels.h"

#define WARPS 8
#define MAGIC 8388608.0F /* 2^23: its bits are 0x4b000000 */

/* 16 bytes that are read once. */
static __device__ __forceinline__ uint4 load_once(const uint4 *from)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 320
    return __ldcs(from);
#else
    return *from;
#endif
}

/* Byte i of `codes` as a float, less `offset` = 2^23 + the zero point. */
static __device__ __forceinline__ float byte_less(uint32_t codes, uint32_t i, float offset)
{
    return __uint_as_float(__byte_perm(codes, 0x4b000000U, 0x7540U + i)) - offset;
}

static __device__ __forceinline__ float times4(float4 x, float a, float b, float c, float d, float sum)
{
    return fmaf(x.w, d, fmaf(x.z, c, fmaf(x.y, b, fmaf(x.x, a, sum))));
}

/* 4 bytes of u8 codes with their 4 inputs. */
static __device__ __forceinline__ float times_u8(uint32_t codes, float4 x, float offset, float sum)
{
    return times4(x, byte_less(codes, 0, offset), byte_less(codes, 1, offset), byte_less(codes, 2, offset),
                  byte_less(codes, 3, offset), sum);
}

/* 4 bytes of u4 codes, 8 codes, with their 8 inputs. */
static __device__ __forceinline__ float times_u4(uint32_t codes, float4 x, float4 y, float offset, float sum)
{
    uint32_t even = codes & 0x0f0f0f0fU, odd = codes >> 4 & 0x0f0f0f0fU;
    sum = times4(x, byte_less(even, 0, offset), byte_less(odd, 0, offset), byte_less(even, 1, offset),
                 byte_less(odd, 1, offset), sum);
    return times4(y, byte_less(even, 2, offset), byte_less(odd, 2, offset), byte_less(even, 3, offset),
                  byte_less(odd, 3, offset), sum);
}

static __device__ __forceinline__ float times_halves(uint32_t a, uint32_t b, float4 x, int encoding,
                                                     float sum)
{
    if (encoding == ENTRO_CUDA_BF16)
        return times4(x, __uint_as_float(a << 16), __uint_as_float(a & 0xffff0000U), __uint_as_float(b << 16),
                      __uint_as_float(b & 0xffff0000U), sum);
    return times4(x, entro_from_f16((uint16_t)a), entro_from_f16((uint16_t)(a >> 16)),
                  entro_from_f16((uint16_t)b), entro_from_f16((uint16_t)(b >> 16)), sum);
}

/* A lane's 16 bytes with their inputs, which begin at x and lie 32 quadruples apart. */
template <int ENCODING>
static __device__ __forceinline__ float times_lane(uint4 data, const float4 *x, float offset, float sum)
{
    if (ENCODING == ENTRO_CUDA_U8) {
        sum = times_u8(data.x, x[0], offset, sum);
        sum = times_u8(data.y, x[32], offset, sum);
        sum = times_u8(data.z, x[64], offset, sum);
        return times_u8(data.w, x[96], offset, sum);
    }
    if (ENCODING == ENTRO_CUDA_U4) {
        sum = times_u4(data.x, x[0], x[32], offset, sum);
        sum = times_u4(data.y, x[64], x[96], offset, sum);
        sum = times_u4(data.z, x[128], x[160], offset, sum);
        return times_u4(data.w, x[192], x[224], offset, sum);
    }
    if (ENCODING == ENTRO_CUDA_F32)
        return times4(x[0], __uint_as_float(data.x), __uint_as_float(data.y), __uint_as_float(data.z),
                      __uint_as_float(data.w), sum);
    sum = times_halves(data.x, data.y, x[0], ENCODING, sum);
    return times_halves(data.z, data.w, x[32], ENCODING, sum);
}

struct row {
    const uint8_t *data; /* NULL: there is none */
    const float *x;
    float offset;
    float sum;
};

/* A lane's share of two rows. n_vectors: 16-byte vectors of a row. */
template <int ENCODING>
static __device__ __forceinline__ void dot_rows(row &a, row &b, uint32_t n_vectors, bool same_input)
{
    const uint32_t lane_quads = entro_cuda_lane_elements(ENCODING) / 4, lane = threadIdx.x % ENTRO_WARP;
    const uint4 *data_a = reinterpret_cast<const uint4 *>(a.data),
                *data_b = reinterpret_cast<const uint4 *>(b.data);
    const float4 *x_a = reinterpret_cast<const float4 *>(a.x) + lane,
                 *x_b = reinterpret_cast<const float4 *>(b.x) + lane;
    if (same_input)
        x_b = x_a;
    uint32_t j = lane;
    for (; j + 32 < n_vectors; j += 64) {
        uint4 a0 = load_once(data_a + j), b0 = load_once(data_b + j);
        uint4 a1 = load_once(data_a + j + 32), b1 = load_once(data_b + j + 32);
        uint32_t place = (j - lane) * lane_quads, next = place + 32 * lane_quads;
        a.sum = times_lane<ENCODING>(a0, x_a + place, a.offset, a.sum);
        b.sum = times_lane<ENCODING>(b0, x_b + place, b.offset, b.sum);
        a.sum = times_lane<ENCODING>(a1, x_a + next, a.offset, a.sum);
        b.sum = times_lane<ENCODING>(b1, x_b + next, b.offset, b.sum);
    }
    if (j < n_vectors) {
        uint32_t place = (j - lane) * lane_quads;
        a.sum = times_lane<ENCODING>(load_once(data_a + j), x_a + place, a.offset, a.sum);
        b.sum = times_lane<ENCODING>(load_once(data_b + j), x_b + place, b.offset, b.sum);
    }
}

/* Rows that do not begin at a multiple of 16 bytes, element by element. */
template <int ENCODING>
static __device__ void dot_elements(const struct entro_gpu_matrix &matrix, uint32_t row_index,
                                    struct row &row)
{
    const uint32_t lane_elements = entro_cuda_lane_elements(ENCODING);
    uint64_t start = (uint64_t)row_index * matrix.n_columns;
    for (uint32_t i = threadIdx.x % ENTRO_WARP; i < matrix.n_columns; i += ENTRO_WARP) {
        float weight;
        if (ENCODING == ENTRO_CUDA_F32)
            weight = reinterpret_cast<const float *>(matrix.data)[start + i];
        else if (ENCODING == ENTRO_CUDA_F16)
            weight = entro_from_f16(reinterpret_cast<const uint16_t *>(matrix.data)[start + i]);
        else if (ENCODING == ENTRO_CUDA_BF16)
            weight = entro_from_bf16(reinterpret_cast<const uint16_t *>(matrix.data)[start + i]);
        else
            weight = (float)entro_cuda_code(matrix.data, ENCODING, start + i) - matrix.zero_whole;
        row.sum = fmaf(row.x[entro_cuda_place(i, lane_elements)], weight, row.sum);
    }
}

/* The row's result from the lanes' shares, in every lane. */
template <int ENCODING>
static __device__ float finish_row(const struct entro_gpu_part &part, uint32_t row_index, float sum)
{
    const struct entro_gpu_matrix &matrix = part.matrix;
    const uint32_t lane_elements = entro_cuda_lane_elements(ENCODING);
    sum = entro_warp_sum(sum);
    if (ENCODING != ENTRO_CUDA_U8 && ENCODING != ENTRO_CUDA_U4)
        return sum;
    if (matrix.zero_fraction != 0)
        sum -= matrix.zero_fraction * *part.input.sum;
    sum *= matrix.row_scale == NULL ? matrix.scale : matrix.scale * matrix.row_scale[row_index];
    if (matrix.outlier_rows == NULL)
        return sum;
    float share = 0;
    uint32_t end = matrix.outlier_rows[row_index + 1];
    for (uint32_t i = matrix.outlier_rows[row_index] + threadIdx.x % ENTRO_WARP; i < end; i += ENTRO_WARP)
        share += matrix.outlier_deltas[i] *
                 part.input.x[entro_cuda_place(matrix.outlier_columns[i], lane_elements)];
    return sum + entro_warp_sum(share);
}

template <int ENCODING>
static __global__ __launch_bounds__(WARPS *ENTRO_WARP) void gemv(struct entro_gpu_gemv job, bool is_aligned)
{
    uint32_t pair = blockIdx.x * WARPS + threadIdx.x / ENTRO_WARP, part_index = 0;
    bool gated = job.output == ENTRO_GPU_GATE;
    while (!gated && part_index < job.n_parts && pair >= (job.parts[part_index].matrix.n_rows + 1) / 2)
        pair -= (job.parts[part_index++].matrix.n_rows + 1) / 2;
    if (part_index >= job.n_parts || (gated && pair >= job.parts[0].matrix.n_rows))
        return;
    const struct entro_gpu_part &part_a = job.parts[part_index], &part_b = job.parts[gated ? 1 : part_index];
    uint32_t row_a = gated ? pair : 2 * pair, row_b = gated ? pair : 2 * pair + 1;
    uint32_t n_columns = part_a.matrix.n_columns;
    bool has_b = row_b < part_b.matrix.n_rows;
    if (!has_b)
        row_b = row_a; /* read twice, written once */
    struct row a = {part_a.matrix.data, part_a.input.x, MAGIC + part_a.matrix.zero_whole, 0};
    struct row b = {part_b.matrix.data, part_b.input.x, MAGIC + part_b.matrix.zero_whole, 0};
    if (is_aligned) {
        uint64_t row_bytes = entro_cuda_bytes(ENCODING, n_columns);
        a.data += row_a * row_bytes;
        b.data += row_b * row_bytes;
        dot_rows<ENCODING>(a, b, (uint32_t)(row_bytes / 16), a.x == b.x);
    } else {
        dot_elements<ENCODING>(part_a.matrix, row_a, a);
        dot_elements<ENCODING>(part_b.matrix, row_b, b);
    }
    a.sum = finish_row<ENCODING>(part_a, row_a, a.sum);
    b.sum = finish_row<ENCODING>(part_b, row_b, b.sum);
    if (threadIdx.x % ENTRO_WARP != 0)
        return;
    if (gated) {
        job.next_x[entro_cuda_place(row_a, job.next_lane_elements)] =
            entro_gated(a.sum, b.sum, job.gelu != 0) *
            (job.next_columns == NULL ? 1.0F : job.next_columns[row_a]);
        return;
    }
    bool add = job.output == ENTRO_GPU_ADD;
    part_a.y[row_a] = add ? part_a.y[row_a] + a.sum : a.sum;
    if (has_b)
        part_a.y[row_b] = add ? part_a.y[row_b] + b.sum : b.sum;
}

void entro_gpu_multiply(const struct entro_gpu_gemv *job, cudaStream_t stream)
{
    int encoding = job->parts[0].matrix.encoding;
    uint64_t n_pairs = 0;
    bool is_aligned = job->parts[0].matrix.n_columns % entro_cuda_lane_elements(encoding) == 0;
    for (uint32_t i = 0; i < job->n_parts; i++) {
        n_pairs += (job->parts[i].matrix.n_rows + 1) / 2;
        is_aligned = is_aligned && reinterpret_cast<uintptr_t>(job->parts[i].matrix.data) % 16 == 0;
    }
    if (job->output == ENTRO_GPU_GATE)
        n_pairs = job->parts[0].matrix.n_rows;
    dim3 grid((unsigned)((n_pairs + WARPS - 1) / WARPS)), block(WARPS * ENTRO_WARP);
    if (encoding == ENTRO_CUDA_U8)
        entro_launch(gemv<ENTRO_CUDA_U8>, grid, block, 0, stream, *job, is_aligned);
    else if (encoding == ENTRO_CUDA_U4)
        entro_launch(gemv<ENTRO_CUDA_U4>, grid, block, 0, stream, *job, is_aligned);
    else if (encoding == ENTRO_CUDA_BF16)
        entro_launch(gemv<ENTRO_CUDA_BF16>, grid, block, 0, stream, *job, is_aligned);
    else if (encoding == ENTRO_CUDA_F16)
        entro_launch(gemv<ENTRO_CUDA_F16>, grid, block, 0, stream, *job, is_aligned);
    else
        entro_launch(gemv<ENTRO_CUDA_F32>, grid, block, 0, stream, *job, is_aligned);
}

static __global__ void prepare_outliers(struct entro_gpu_matrix matrix)
{
    uint32_t row = blockIdx.x;
    float factor = matrix.row_scale == NULL ? matrix.scale : matrix.scale * matrix.row_scale[row];
    for (uint32_t i = matrix.outlier_rows[row] + threadIdx.x; i < matrix.outlier_rows[row + 1];
         i += blockDim.x) {
        uint32_t column = matrix.outlier_columns[i];
        float code =
            (float)entro_cuda_code(matrix.data, matrix.encoding, (uint64_t)row * matrix.n_columns + column);
        float value =
            matrix.outlier_deltas[i] / (matrix.column_scale == NULL ? 1.0F : matrix.column_scale[column]);
        matrix.outlier_deltas[i] = value - factor * (code - matrix.zero_whole - matrix.zero_fraction);
    }
}

void entro_gpu_prepare_outliers(const struct entro_gpu_matrix *matrix, cudaStream_t stream)
{
    entro_launch(prepare_outliers, dim3(matrix->n_rows), dim3(ENTRO_WARP), 0, stream, *matrix);
}
