/* Embeddings, norms, gates, and the inputs of products with one token; see kernels.h. */
#include "runner/cuda/device.h"
#include "runner/cuda/kernels.h"

#define THREADS   256
#define WIDE      1024
#define MAX_WARPS 32

/* An element of a matrix in F32, as codec/FORMAT.md has it, without the outliers. */
static __device__ float element_at(const struct entro_gpu_matrix &matrix, uint32_t row, uint32_t column)
{
    uint64_t i = (uint64_t)row * matrix.n_columns + column;
    if (matrix.encoding == ENTRO_CUDA_F32)
        return reinterpret_cast<const float *>(matrix.data)[i];
    if (matrix.encoding == ENTRO_CUDA_F16)
        return entro_from_f16(reinterpret_cast<const uint16_t *>(matrix.data)[i]);
    if (matrix.encoding == ENTRO_CUDA_BF16)
        return entro_from_bf16(reinterpret_cast<const uint16_t *>(matrix.data)[i]);
    float factor = matrix.scale * (matrix.row_scale == NULL ? 1.0F : matrix.row_scale[row]);
    factor *= matrix.column_scale == NULL ? 1.0F : matrix.column_scale[column];
    float code = (float)entro_cuda_code(matrix.data, matrix.encoding, i);
    return factor * (code - matrix.zero_whole - matrix.zero_fraction);
}

static __global__ void embed(struct entro_gpu_matrix matrix, const uint32_t *tokens, float factor, float *x)
{
    uint32_t row = tokens[blockIdx.x];
    float *out = x + (uint64_t)blockIdx.x * matrix.n_columns;
    for (uint32_t i = threadIdx.x; i < matrix.n_columns; i += blockDim.x)
        out[i] = factor * element_at(matrix, row, i);
    if (matrix.outlier_rows == NULL)
        return;
    __syncthreads();
    float row_factor = factor;
    for (uint32_t i = matrix.outlier_rows[row] + threadIdx.x; i < matrix.outlier_rows[row + 1];
         i += blockDim.x) {
        uint32_t column = matrix.outlier_columns[i];
        out[column] += row_factor * matrix.outlier_deltas[i] *
                       (matrix.column_scale == NULL ? 1.0F : matrix.column_scale[column]);
    }
}

void entro_gpu_embed(const struct entro_gpu_matrix *embedding, const uint32_t *tokens, uint32_t n_tokens,
                     float factor, float *x, cudaStream_t stream)
{
    entro_launch(embed, dim3(n_tokens), dim3(THREADS), 0, stream, *embedding, tokens, factor, x);
}

/* 1 / the root of the mean square, for every thread of the block. */
static __device__ float norm_factor(const float *x, uint32_t n, float epsilon, float *room)
{
    float sum = 0;
    for (uint32_t i = threadIdx.x; i < n; i += blockDim.x)
        sum += x[i] * x[i];
    return 1.0F / sqrtf(entro_block_sum(sum, room) / (float)n + epsilon);
}

static __global__ void norm(const float *x, const float *weight, float epsilon, uint32_t n, bool add,
                            float *out)
{
    __shared__ float room[MAX_WARPS];
    const float *row = x + (uint64_t)blockIdx.x * n;
    float *to = out + (uint64_t)blockIdx.x * n;
    float factor = weight == NULL ? 1.0F : norm_factor(row, n, epsilon, room);
    for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
        float value = weight == NULL ? row[i] : row[i] * factor * weight[i];
        to[i] = add ? to[i] + value : value;
    }
}

void entro_gpu_norm(const float *x, const float *weight, float epsilon, uint32_t n, uint32_t n_rows, bool add,
                    float *out, cudaStream_t stream)
{
    entro_launch(norm, dim3(n_rows), dim3(THREADS), 0, stream, x, weight, epsilon, n, add, out);
}

/* One block: the vector is small, and the norm needs all of it. */
static __global__ __launch_bounds__(WIDE) void prepare(struct entro_gpu_prepare job)
{
    __shared__ float room[MAX_WARPS];
    float factor = job.weight == NULL ? 1.0F : norm_factor(job.x, job.n, job.epsilon, room);
    for (uint32_t k = 0; k < job.n_inputs; k++) {
        const float *columns = job.columns[k];
        uint32_t n_padded = entro_cuda_padded(job.n, job.lane_elements[k]);
        float sum = 0;
        for (uint32_t i = threadIdx.x; i < n_padded; i += blockDim.x) {
            float value = 0;
            if (i < job.n)
                value = job.x[i] * (job.weight == NULL ? 1.0F : factor * job.weight[i]) *
                        (columns == NULL ? 1.0F : columns[i]);
            job.inputs[k].x[entro_cuda_place(i, job.lane_elements[k])] = value;
            sum += value;
        }
        sum = entro_block_sum(sum, room);
        if (threadIdx.x == 0)
            *job.inputs[k].sum = sum;
    }
}

void entro_gpu_prepare_inputs(const struct entro_gpu_prepare *job, cudaStream_t stream)
{
    entro_launch(prepare, dim3(1), dim3(job->n < WIDE ? THREADS : WIDE), 0, stream, *job);
}

static __global__ void gate(float *gate_up, uint32_t n, bool gelu)
{
    float *row = gate_up + (uint64_t)blockIdx.y * 2 * n;
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        row[i] = entro_gated(row[i], row[n + i], gelu);
}

void entro_gpu_gate(float *gate_up, uint32_t n, uint32_t n_tokens, bool gelu, cudaStream_t stream)
{
    entro_launch(gate, dim3((n + THREADS - 1) / THREADS, n_tokens), dim3(THREADS), 0, stream, gate_up, n,
                 gelu);
}

static __global__ void check_finite(const float *x, uint64_t n, uint32_t *flag)
{
    bool bad = false;
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (uint64_t)gridDim.x * blockDim.x)
        bad = bad || (__float_as_uint(x[i]) & 0x7f800000U) == 0x7f800000U;
    if (bad)
        atomicMax(flag, 1U);
}

void entro_gpu_check_finite(const float *x, uint64_t n, uint32_t *flag, cudaStream_t stream)
{
    uint64_t n_blocks = (n + THREADS - 1) / THREADS;
    entro_launch(check_finite, dim3((unsigned)(n_blocks < 256 ? n_blocks : 256)), dim3(THREADS), 0, stream, x,
                 n, flag);
}

const void *entro_gpu_some_kernel(void)
{
    return reinterpret_cast<const void *>(check_finite);
}
