/*
 * How fast the GPU and its kernels are: the card's copy bandwidth and its matrix throughput, which is what
 * the rest is measured by; products with one token and attention of 512 in Mistral 7B's shapes. Run by
 * tests/gpu.sh.
 */
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <vector>

#include "runner/cuda/attention_batch.h"
#include "runner/cuda/kernels.h"

#define CHECK(call)                                                                                          \
    do {                                                                                                     \
        cudaError_t check_error = (call);                                                                    \
        if (check_error != cudaSuccess) {                                                                    \
            fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(check_error));                             \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

template <typename T> static T *allocate(size_t n)
{
    void *p;
    CHECK(cudaMalloc(&p, n * sizeof(T)));
    CHECK(cudaMemset(p, 0x11, n * sizeof(T)));
    return static_cast<T *>(p);
}

/* Median seconds of a call, of 15 after two to warm up. */
template <typename F> static double seconds_of(F call)
{
    cudaEvent_t start, end;
    std::vector<float> all;
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&end));
    for (int i = 0; i < 17; i++) {
        float milliseconds;
        CHECK(cudaEventRecord(start, NULL));
        call(i);
        CHECK(cudaEventRecord(end, NULL));
        CHECK(cudaEventSynchronize(end));
        CHECK(cudaEventElapsedTime(&milliseconds, start, end));
        if (i >= 2)
            all.push_back(milliseconds);
    }
    CHECK(cudaEventDestroy(start));
    CHECK(cudaEventDestroy(end));
    std::sort(all.begin(), all.end());
    return (double)all[all.size() / 2] * 1e-3;
}

static double bench_copy(void)
{
    const size_t n = (size_t)1 << 30;
    char *a = allocate<char>(n), *b = allocate<char>(n);
    double seconds =
        seconds_of([&](int) { CHECK(cudaMemcpyAsync(b, a, n, cudaMemcpyDeviceToDevice, NULL)); });
    double bandwidth = 2 * (double)n / seconds;
    printf("copy                                %8.0f GB/s (read and written)\n", bandwidth * 1e-9);
    CHECK(cudaFree(a));
    CHECK(cudaFree(b));
    return bandwidth;
}

static void bench_library(cudaDataType_t type, const char *name)
{
    const int n = 8192;
    const float one = 1, zero = 0;
    uint16_t *a = allocate<uint16_t>((size_t)n * n), *b = allocate<uint16_t>((size_t)n * n);
    float *c = allocate<float>((size_t)n * n);
    cublasHandle_t blas;
    if (cublasCreate(&blas) != CUBLAS_STATUS_SUCCESS)
        exit(1);
    double seconds = seconds_of([&](int) {
        if (cublasGemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, a, type, n, b, type, n, &zero, c,
                         CUDA_R_32F, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) != CUBLAS_STATUS_SUCCESS)
            exit(1);
    });
    printf("cuBLAS %s, 8192^3                 %8.1f TFLOP/s\n", name, 2e-12 * n * n * n / seconds);
    cublasDestroy(blas);
    CHECK(cudaFree(a));
    CHECK(cudaFree(b));
    CHECK(cudaFree(c));
}

/* Copies of the matrix, so that none is in the L2 cache when it is read again. */
static void bench_product(int encoding, const char *name, uint32_t n_rows, uint32_t n_columns,
                          double bandwidth)
{
    uint64_t size_bytes = entro_cuda_bytes(encoding, (uint64_t)n_rows * n_columns);
    int n_copies = (int)(((uint64_t)512 << 20) / size_bytes) + 1;
    uint8_t *data = allocate<uint8_t>(size_bytes * n_copies);
    float *x = allocate<float>(n_columns + 1024), *y = allocate<float>(n_rows), *sum = allocate<float>(1);
    struct entro_gpu_gemv job;
    memset(&job, 0, sizeof job);
    job.n_parts = 1;
    job.output = ENTRO_GPU_STORE;
    job.parts[0].matrix.n_rows = n_rows;
    job.parts[0].matrix.n_columns = n_columns;
    job.parts[0].matrix.encoding = encoding;
    job.parts[0].matrix.scale = 1;
    job.parts[0].matrix.zero_whole = 7;
    job.parts[0].input.x = x;
    job.parts[0].input.sum = sum;
    job.parts[0].y = y;
    double seconds = seconds_of([&](int) {
        for (int j = 0; j < n_copies; j++) {
            job.parts[0].matrix.data = data + size_bytes * j;
            entro_gpu_multiply(&job, NULL);
        }
    });
    double rate = (double)size_bytes * n_copies / seconds;
    printf("product, %-4s %6u x %-6u        %8.0f GB/s, %3.0f %% of a copy\n", name, n_rows, n_columns,
           rate * 1e-9, 100 * rate / bandwidth);
    CHECK(cudaFree(data));
    CHECK(cudaFree(x));
    CHECK(cudaFree(y));
    CHECK(cudaFree(sum));
}

/* Of 512 tokens behind `position` others: token by token, and through the library's products. */
static void bench_attention(uint32_t position)
{
    const uint64_t n_tokens = 512, n_heads = 32, n_kv_heads = 8, head_dim = 128,
                   n_context = position + n_tokens;
    struct entro_gpu_attention job;
    memset(&job, 0, sizeof job);
    uint32_t *at = allocate<uint32_t>(1);
    cublasHandle_t blas;
    if (cublasCreate(&blas) != CUBLAS_STATUS_SUCCESS)
        exit(1);
    CHECK(cudaMemcpy(at, &position, sizeof position, cudaMemcpyHostToDevice));
    job.step.position = at;
    job.n_tokens = (uint32_t)n_tokens;
    job.n_heads = (uint32_t)n_heads;
    job.n_kv_heads = (uint32_t)n_kv_heads;
    job.head_dim = (uint32_t)head_dim;
    job.n_splits = 1;
    job.n_context = n_context;
    job.scale = 0.09F;
    job.qkv = allocate<float>(n_tokens * (n_heads + 2 * n_kv_heads) * head_dim);
    job.keys = allocate<uint16_t>(n_kv_heads * n_context * head_dim);
    job.values = allocate<uint16_t>(n_kv_heads * n_context * head_dim);
    job.partial = allocate<float>(n_tokens * n_heads * (head_dim + 2));
    job.attended = allocate<float>(n_tokens * n_heads * head_dim);
    job.queries = allocate<uint16_t>(n_tokens * n_heads * head_dim);
    job.n_scores = n_tokens * 2 * 14336; /* as much as such a model has */
    job.scores = allocate<float>(job.n_scores);
    job.exponents = allocate<uint16_t>(job.n_scores);
    double one_by_one = seconds_of([&](int) { entro_gpu_attend(&job, NULL); });
    double products = seconds_of([&](int) {
        if (!entro_gpu_attend_batch(&job, position, blas, NULL))
            exit(1);
    });
    printf("attention, 512 tokens behind %-5u  %8.3f ms token by token, %.3f ms in products\n", position,
           1e3 * one_by_one, 1e3 * products);
    cublasDestroy(blas);
    void *all[] = {at,           job.qkv,     job.keys,   job.values,   job.partial,
                   job.attended, job.queries, job.scores, job.exponents};
    for (void *one : all)
        CHECK(cudaFree(one));
}

int main(void)
{
    static const char *const names[] = {"u8", "u4", "BF16"};
    static const uint32_t shapes[][2] = {
        {6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}, {32000, 4096}};
    double bandwidth = bench_copy();
    bench_library(CUDA_R_16BF, "BF16");
    bench_library(CUDA_R_16F, "F16 ");
    for (int encoding = ENTRO_CUDA_U8; encoding <= ENTRO_CUDA_BF16; encoding++)
        for (const uint32_t *shape : shapes)
            bench_product(encoding, names[encoding], shape[0], shape[1], bandwidth);
    for (uint32_t position : {0U, 3584U})
        bench_attention(position);
    CHECK(cudaDeviceSynchronize());
    return 0;
}
