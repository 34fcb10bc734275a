/* The emulator's matrix products, as kernels of one thread a column so that they are device work like any
 * other. */
#include <cublas_v2.h>

#include "codec/half.h"

struct entro_emulated_cublas {
    cudaStream_t stream;
};

struct operand {
    const void *elements;
    cudaDataType type;
    long long lead, stride;
    bool is_transposed;
};

static float element(const struct operand *matrix, int batch, int row, int column)
{
    long long i = (matrix->is_transposed ? row * matrix->lead + column : column * matrix->lead + row) +
                  batch * matrix->stride;
    switch (matrix->type) {
    case CUDA_R_16F:
        return entro_f16_to_f32(((const uint16_t *)matrix->elements)[i]);
    case CUDA_R_16BF:
        return entro_bf16_to_f32(((const uint16_t *)matrix->elements)[i]);
    case CUDA_R_32F:
        break;
    }
    return ((const float *)matrix->elements)[i];
}

static void store(void *c, cudaDataType type, long long i, float value)
{
    if (type == CUDA_R_16F)
        ((uint16_t *)c)[i] = entro_f32_to_f16(value);
    else if (type == CUDA_R_16BF)
        ((uint16_t *)c)[i] = entro_f32_to_bf16(value);
    else
        ((float *)c)[i] = value;
}

static void gemm(struct operand a, struct operand b, struct operand c, void *target, int m, int n, int k,
                 float alpha, float beta)
{
    int column = (int)(blockIdx.x * blockDim.x + threadIdx.x), batch = (int)blockIdx.y;
    if (column >= n)
        return;
    for (int row = 0; row < m; row++) {
        float sum = 0;
        for (int i = 0; i < k; i++)
            sum += element(&a, batch, row, i) * element(&b, batch, i, column);
        float old = beta == 0 ? 0 : beta * element(&c, batch, row, column);
        store(target, c.type, column * c.lead + row + batch * c.stride, alpha * sum + old);
    }
}

static bool is_valid(struct operand matrix, int rows, int columns)
{
    bool known = matrix.type == CUDA_R_32F || matrix.type == CUDA_R_16F || matrix.type == CUDA_R_16BF;
    return known && matrix.elements != nullptr && matrix.lead >= (matrix.is_transposed ? columns : rows);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa,
                                          cublasOperation_t transb, int m, int n, int k, const void *alpha,
                                          const void *a, cudaDataType a_type, int lda, long long stride_a,
                                          const void *b, cudaDataType b_type, int ldb, long long stride_b,
                                          const void *beta, void *c, cudaDataType c_type, int ldc,
                                          long long stride_c, int n_batches, cublasComputeType_t,
                                          cublasGemmAlgo_t)
{
    struct operand left = {a, a_type, lda, stride_a, transa == CUBLAS_OP_T};
    struct operand right = {b, b_type, ldb, stride_b, transb == CUBLAS_OP_T};
    struct operand old = {c, c_type, ldc, stride_c, false};
    if (handle == nullptr)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (m < 0 || n < 0 || k < 0 || n_batches < 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (m == 0 || n == 0 || n_batches == 0)
        return CUBLAS_STATUS_SUCCESS;
    if (!is_valid(left, m, k) || !is_valid(right, k, n) || !is_valid(old, m, n) || a_type != b_type)
        return CUBLAS_STATUS_INVALID_VALUE;
    struct cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)(n + 31) / 32, (unsigned)n_batches);
    config.blockDim = dim3(32);
    config.stream = handle->stream;
    cudaError_t error = cudaLaunchKernelEx(&config, gemm, left, right, old, c, m, n, k, *(const float *)alpha,
                                           *(const float *)beta);
    return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                            int n, int k, const void *alpha, const void *a, cudaDataType a_type, int lda,
                            const void *b, cudaDataType b_type, int ldb, const void *beta, void *c,
                            cudaDataType c_type, int ldc, cublasComputeType_t compute, cublasGemmAlgo_t algo)
{
    return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, a_type, lda, 0, b, b_type,
                                      ldb, 0, beta, c, c_type, ldc, 0, 1, compute, algo);
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                           int n, int k, const float *alpha, const float *a, int lda, const float *b, int ldb,
                           const float *beta, float *c, int ldc)
{
    return cublasGemmEx(handle, transa, transb, m, n, k, alpha, a, CUDA_R_32F, lda, b, CUDA_R_32F, ldb, beta,
                        c, CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    int device;
    *handle = nullptr;
    if (cudaGetDevice(&device) != cudaSuccess)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = new struct entro_emulated_cublas();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t, void *, size_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "the operation completed successfully" : "cuBLAS failed";
}
