/*
 * What the library's matrix products need for many tokens; see kernels.h. Codes less their zero point are
 * whole numbers that F16 holds exactly, so only the inputs are rounded, to 11 bits: each token's are divided
 * by a power of two first, so that none overflows.
 */
#include "runner/cuda/device.h"
#include "runner/cuda/kernels.h"

#define THREADS 256
#define PIECE   8 /* elements of a thread of `expand` */

static __global__ void halve(const float *x, uint64_t x_stride, const float *columns, uint32_t n,
                             uint16_t *out, float *scales)
{
    __shared__ float room[THREADS / ENTRO_WARP];
    const float *row = x + blockIdx.x * x_stride;
    uint16_t *to = out + (uint64_t)blockIdx.x * n;
    float largest = 0;
    for (uint32_t i = threadIdx.x; i < n; i += THREADS)
        largest = fmaxf(largest, fabsf(row[i] * (columns == NULL ? 1.0F : columns[i])));
    uint32_t exponent = __float_as_uint(entro_block_max(largest, room)) >> 23;
    /* 2^exponent, kept away from the ends, where its inverse is none. */
    exponent = exponent < 32 ? 32 : exponent > 222 ? 222 : exponent;
    float scale = __uint_as_float(exponent << 23), inverse = __uint_as_float((254 - exponent) << 23);
    for (uint32_t i = threadIdx.x; i < n; i += THREADS)
        to[i] = entro_to_f16(row[i] * (columns == NULL ? 1.0F : columns[i]) * inverse);
    if (threadIdx.x == 0)
        scales[blockIdx.x] = scale;
}

void entro_gpu_halve(const float *x, uint64_t x_stride, const float *columns, uint32_t n, uint32_t n_tokens,
                     uint16_t *out, float *scales, cudaStream_t stream)
{
    entro_launch(halve, dim3(n_tokens), dim3(THREADS), 0, stream, x, x_stride, columns, n, out, scales);
}

static __device__ __forceinline__ uint16_t element_as_f16(const struct entro_gpu_matrix &matrix, uint64_t i,
                                                          float zero)
{
    if (matrix.encoding == ENTRO_CUDA_F32)
        return entro_to_f16(reinterpret_cast<const float *>(matrix.data)[i]);
    if (matrix.encoding == ENTRO_CUDA_F16)
        return reinterpret_cast<const uint16_t *>(matrix.data)[i];
    if (matrix.encoding == ENTRO_CUDA_BF16)
        return entro_to_f16(entro_from_bf16(reinterpret_cast<const uint16_t *>(matrix.data)[i]));
    return entro_to_f16((float)entro_cuda_code(matrix.data, matrix.encoding, i) - zero);
}

/* The element i of a piece whose bytes are in `bytes`. */
static __device__ __forceinline__ uint32_t element_of_piece(uint4 bytes, uint32_t i, int encoding, float zero)
{
    if (encoding == ENTRO_CUDA_BF16) {
        uint32_t word = i < 2 ? bytes.x : i < 4 ? bytes.y : i < 6 ? bytes.z : bytes.w;
        return entro_to_f16(entro_from_bf16(i % 2 != 0 ? word >> 16 : word & 0xffffU));
    }
    uint32_t word = encoding == ENTRO_CUDA_U4 || i < 4 ? bytes.x : bytes.y;
    uint32_t code = encoding == ENTRO_CUDA_U4 ? word >> (i * 4) & 15U : word >> (i % 4 * 8) & 255U;
    return entro_to_f16((float)code - zero);
}

/* A run of elements, row after row; a thread's 8 in one load and one store where they are aligned. */
static __global__ void expand(struct entro_gpu_matrix matrix, uint64_t start, uint64_t n, uint16_t *out)
{
    uint64_t i = ((uint64_t)blockIdx.x * THREADS + threadIdx.x) * PIECE;
    float zero = matrix.zero_whole + matrix.zero_fraction;
    if (i >= n)
        return;
    int encoding = matrix.encoding;
    if (start % PIECE != 0 || n - i < PIECE || encoding == ENTRO_CUDA_F32 || encoding == ENTRO_CUDA_F16) {
        for (uint64_t j = i; j < n && j < i + PIECE; j++)
            out[j] = element_as_f16(matrix, start + j, zero);
        return;
    }
    const uint8_t *from = matrix.data + entro_cuda_bytes(encoding, start + i);
    uint4 bytes = make_uint4(0, 0, 0, 0), halves;
    if (encoding == ENTRO_CUDA_BF16)
        bytes = *reinterpret_cast<const uint4 *>(from);
    else if (encoding == ENTRO_CUDA_U4)
        bytes.x = *reinterpret_cast<const uint32_t *>(from);
    else {
        uint2 codes = *reinterpret_cast<const uint2 *>(from);
        bytes.x = codes.x;
        bytes.y = codes.y;
    }
    halves.x = element_of_piece(bytes, 0, encoding, zero) | element_of_piece(bytes, 1, encoding, zero) << 16;
    halves.y = element_of_piece(bytes, 2, encoding, zero) | element_of_piece(bytes, 3, encoding, zero) << 16;
    halves.z = element_of_piece(bytes, 4, encoding, zero) | element_of_piece(bytes, 5, encoding, zero) << 16;
    halves.w = element_of_piece(bytes, 6, encoding, zero) | element_of_piece(bytes, 7, encoding, zero) << 16;
    *reinterpret_cast<uint4 *>(out + i) = halves;
}

/* An outlier's exact value, as what its code would have to be. */
static __global__ void place_outliers(struct entro_gpu_matrix matrix, uint32_t first_row, uint16_t *out)
{
    uint32_t row = first_row + blockIdx.x;
    float factor = matrix.row_scale == NULL ? matrix.scale : matrix.scale * matrix.row_scale[row];
    for (uint32_t i = matrix.outlier_rows[row] + threadIdx.x; i < matrix.outlier_rows[row + 1];
         i += blockDim.x) {
        uint32_t column = matrix.outlier_columns[i];
        float code =
            (float)entro_cuda_code(matrix.data, matrix.encoding, (uint64_t)row * matrix.n_columns + column);
        out[(uint64_t)blockIdx.x * matrix.n_columns + column] =
            entro_to_f16(code - matrix.zero_whole - matrix.zero_fraction + matrix.outlier_deltas[i] / factor);
    }
}

void entro_gpu_expand(const struct entro_gpu_matrix *matrix, uint32_t first_row, uint32_t n_rows,
                      uint16_t *out, cudaStream_t stream)
{
    uint64_t n = (uint64_t)n_rows * matrix->n_columns, pieces = (n + PIECE - 1) / PIECE;
    entro_launch(expand, dim3((unsigned)((pieces + THREADS - 1) / THREADS)), dim3(THREADS), 0, stream,
                 *matrix, (uint64_t)first_row * matrix->n_columns, n, out);
    if (matrix->outlier_rows != NULL)
        entro_launch(place_outliers, dim3(n_rows), dim3(ENTRO_WARP), 0, stream, *matrix, first_row, out);
}

static __global__ void finish(struct entro_gpu_matrix matrix, const float *scales, uint64_t y_stride,
                              float *y)
{
    uint32_t row = blockIdx.x * THREADS + threadIdx.x;
    if (row >= matrix.n_rows)
        return;
    float factor = 1.0F;
    if (matrix.encoding == ENTRO_CUDA_U8 || matrix.encoding == ENTRO_CUDA_U4)
        factor = matrix.row_scale == NULL ? matrix.scale : matrix.scale * matrix.row_scale[row];
    y[blockIdx.y * y_stride + row] *= scales[blockIdx.y] * factor;
}

void entro_gpu_finish(const struct entro_gpu_matrix *matrix, const float *scales, uint32_t n_tokens,
                      uint64_t y_stride, float *y, cudaStream_t stream)
{
    entro_launch(finish, dim3((matrix->n_rows + THREADS - 1) / THREADS, n_tokens), dim3(THREADS), 0, stream,
                 *matrix, scales, y_stride, y);
}
