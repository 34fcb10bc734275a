/* The emulator itself: kernels whose results are known, and the mistakes that it is there to find. */
#include <cstdlib>
#include <cstring>

#include <cublas_v2.h>

#include "codec/half.h"
#include "device_memory.h"

/* The sum of n numbers: each warp by shuffles, the block by shared memory, the grid by an atomic. */
__global__ static void sum_kernel(const unsigned *values, unsigned n, unsigned *sum)
{
    __shared__ unsigned of_warp[8];
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned value = i < n ? values[i] : 0;
    for (int step = 16; step > 0; step /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, step);
    if (threadIdx.x % 32 == 0)
        of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x < 8) {
        value = of_warp[threadIdx.x];
        for (unsigned step = 4; step > 0; step /= 2)
            value += __shfl_down_sync(0xffu, value, step, 8);
        if (threadIdx.x == 0)
            atomicAdd(sum, value);
    }
}

static void a_reduction_over_warps_blocks_and_grid(void **state)
{
    (void)state;
    unsigned values[1000], sum = 0;
    for (unsigned i = 0; i < 1000; i++)
        values[i] = i;
    unsigned *device_values = upload(values, 1000), *device_sum = upload(&sum, 1);
    assert_int_equal(
        entro_emulated_launch(sum_kernel, dim3(4), dim3(256), 0, nullptr, device_values, 1000u, device_sum),
        cudaSuccess);
    download(&sum, device_sum, 1);
    assert_int_equal(sum, 999 * 1000 / 2);
    cudaFree(device_values);
    cudaFree(device_sum);
    assert_int_equal(entro_emulator_device_bytes(), 0);
}

/* Running sums of a block of 128, in dynamic shared memory, and the even ones' places by ballots. */
__global__ static void scan_kernel(const unsigned *values, unsigned *sums, unsigned *even_places)
{
    unsigned *shared = (unsigned *)entro_emulated_shared();
    unsigned i = threadIdx.x, lane = i % 32;
    unsigned value = values[i];
    for (unsigned step = 1; step < 32; step *= 2) {
        unsigned other = __shfl_up_sync(0xffffffffu, value, step);
        value += lane >= step ? other : 0;
    }
    unsigned even = __ballot_sync(0xffffffffu, values[i] % 2 == 0);
    if (lane == 31)
        shared[i / 32] = value;
    if (lane == 0)
        shared[4 + i / 32] = (unsigned)__popc(even);
    __syncthreads();
    unsigned place = (unsigned)__popc(even & ((1u << lane) - 1));
    for (unsigned warp = 0; warp < i / 32; warp++) {
        value += shared[warp];
        place += shared[4 + warp];
    }
    sums[i] = value;
    even_places[i] = place;
}

static void a_scan_and_ballots(void **state)
{
    (void)state;
    unsigned values[128], sums[128], places[128], sum = 0, place = 0;
    for (unsigned i = 0; i < 128; i++)
        values[i] = i * i % 7;
    unsigned *in = upload(values, 128), *out = upload(values, 128), *even = upload(values, 128);
    assert_int_equal(entro_emulated_launch(scan_kernel, 1, 128, 32, nullptr, in, out, even), cudaSuccess);
    download(sums, out, 128);
    download(places, even, 128);
    for (unsigned i = 0; i < 128; i++) {
        sum += values[i];
        assert_int_equal(sums[i], sum);
        assert_int_equal(places[i], place);
        place += values[i] % 2 == 0;
    }
    cudaFree(in);
    cudaFree(out);
    cudaFree(even);
}

/* How a kernel breaks the rules. */
enum mistake { BARRIER_IN_A_BRANCH, TWO_BARRIERS, LANES_MISSING, LANE_OUTSIDE, ENDED_BEFORE, LARGE_SHARED };

__global__ static void wrong_kernel(enum mistake mistake, unsigned *target)
{
    unsigned i = threadIdx.x, v = i;
    switch (mistake) {
    case BARRIER_IN_A_BRANCH:
    case ENDED_BEFORE:
        if (i < 32)
            __syncthreads();
        break;
    case TWO_BARRIERS:
        if (i % 2 == 0)
            __syncthreads();
        else
            __syncthreads();
        break;
    case LANES_MISSING:
        if (i % 32 < 16)
            v = __shfl_xor_sync(0xffffffffu, v, 1);
        break;
    case LANE_OUTSIDE:
        if (i % 32 < 16)
            v = __shfl_sync(0xffffu, v, 20);
        break;
    case LARGE_SHARED:
        break;
    }
    target[i] = v;
}

static void expect_fault(enum mistake mistake, const char *words)
{
    entro_emulator_reset();
    unsigned values[64] = {};
    unsigned *target = upload(values, 64);
    assert_int_equal(entro_emulated_launch(wrong_kernel, 1, 64, 0, nullptr, mistake, target),
                     cudaErrorLaunchFailure);
    assert_non_null(strstr(entro_emulator_fault_text(), words));
    /* The device is lost until the process ends, as a real one. */
    assert_int_equal(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    entro_emulator_reset();
    cudaFree(target);
}

static void diverged_barriers_and_collectives_are_found(void **state)
{
    (void)state;
    expect_fault(BARRIER_IN_A_BRANCH, "diverged barrier");
    expect_fault(ENDED_BEFORE, "has ended");
    expect_fault(TWO_BARRIERS, "diverged barrier");
    expect_fault(LANES_MISSING, "that do not come");
    expect_fault(LANE_OUTSIDE, "not in the mask");
}

static void launches_that_no_device_runs_are_refused(void **state)
{
    (void)state;
    unsigned values[64] = {};
    unsigned *target = upload(values, 64);
    assert_int_equal(entro_emulated_launch(wrong_kernel, 1, 2048, 0, nullptr, LARGE_SHARED, target),
                     cudaErrorInvalidConfiguration);
    assert_int_equal(entro_emulated_launch(wrong_kernel, 0, 64, 0, nullptr, LARGE_SHARED, target),
                     cudaErrorInvalidConfiguration);
    assert_int_equal(entro_emulated_launch(wrong_kernel, 1, 64, 50000, nullptr, LARGE_SHARED, target),
                     cudaErrorInvalidValue);
    assert_int_equal(cudaFuncSetAttribute(wrong_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 50000),
                     cudaSuccess);
    assert_int_equal(entro_emulated_launch(wrong_kernel, 1, 64, 50000, nullptr, LARGE_SHARED, target),
                     cudaSuccess);
    assert_int_equal(cudaFuncSetAttribute(wrong_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20),
                     cudaErrorInvalidValue);
    cudaFree(target);
}

static void copies_beyond_an_allocation_are_refused(void **state)
{
    (void)state;
    unsigned char host[200] = {}, *device;
    assert_int_equal(cudaMalloc(&device, 100), cudaSuccess);
    assert_int_equal(cudaMemcpy(device, host, 101, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpy(device + 50, host, 51, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpy(host, host, 10, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpy(host, device, 10, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    assert_int_equal(cudaMemset(device + 1, 0, 100), cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpy(device + 50, host, 50, cudaMemcpyHostToDevice), cudaSuccess);
    assert_int_equal(cudaFree(device + 1), cudaErrorInvalidValue);
    assert_int_equal(cudaFree(device), cudaSuccess);
    assert_int_equal(cudaFree(device), cudaErrorInvalidValue);
}

static void memory_runs_out(void **state)
{
    (void)state;
    size_t free_bytes, total_bytes;
    void *first, *second;
    entro_emulator.memory_bytes = 1000;
    assert_int_equal(cudaMalloc(&first, 600), cudaSuccess);
    assert_int_equal(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
    assert_int_equal(free_bytes, 400);
    assert_int_equal(cudaMalloc(&second, 401), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    assert_int_equal(cudaMalloc(&second, 400), cudaSuccess);
    cudaFree(first);
    cudaFree(second);
    entro_emulator.fail_allocation = 1;
    assert_int_equal(cudaMalloc(&first, 10), cudaSuccess);
    assert_int_equal(cudaMallocHost(&second, 10), cudaErrorMemoryAllocation);
    cudaFree(first);
}

static void no_device_no_driver_an_old_driver_and_an_old_card(void **state)
{
    (void)state;
    int n;
    void *memory;
    unsigned *target = nullptr;
    entro_emulator.n_devices = 0;
    assert_int_equal(cudaGetDeviceCount(&n), cudaErrorNoDevice);
    assert_int_equal(n, 0);
    entro_emulator_reset();
    entro_emulator.driver_version = 11000;
    assert_int_equal(cudaMalloc(&memory, 1), cudaErrorInsufficientDriver);
    entro_emulator_reset();
    entro_emulator.major = 5;
    assert_int_equal(entro_emulated_launch(wrong_kernel, 1, 64, 0, nullptr, LARGE_SHARED, target),
                     cudaErrorNoKernelImageForDevice);
    entro_emulator_reset();
    assert_int_equal(setenv("ENTRO_EMULATED_DEVICES", "0", 1), 0);
    assert_int_equal(cudaGetDeviceCount(&n), cudaErrorNoDevice);
    unsetenv("ENTRO_EMULATED_DEVICES");
}

/* Each thread passes its number on to the next one, without a barrier in between. */
__global__ static void racy_kernel(unsigned *target, unsigned offset)
{
    __shared__ unsigned numbers[65];
    numbers[threadIdx.x + 1] = threadIdx.x + offset;
    target[threadIdx.x] = threadIdx.x == 0 ? 0 : numbers[threadIdx.x];
}

static void a_missing_barrier_shows_in_one_of_the_orders(void **state)
{
    (void)state;
    unsigned values[64] = {};
    unsigned *target = upload(values, 64);
    assert_int_equal(entro_emulated_launch(racy_kernel, 1, 64, 0, nullptr, target, 100u), cudaSuccess);
    download(values, target, 64);
    assert_int_equal(values[40], 139);
    entro_emulator.reversed = true;
    assert_int_equal(entro_emulated_launch(racy_kernel, 1, 64, 0, nullptr, target, 200u), cudaSuccess);
    download(values, target, 64);
    assert_int_equal(values[40], 139); /* of before */
    cudaFree(target);
}

static void a_matrix_product_is_column_major(void **state)
{
    (void)state;
    /* op(A) is [2][3], stored transposed: its rows one after another. */
    uint16_t a[6], b[6]; /* BF16 */
    float c[4] = {7, 7, 7, 7}, one = 1, zero = 0;
    for (unsigned i = 0; i < 6; i++) {
        a[i] = entro_f32_to_bf16((float)(i + 1));
        b[i] = entro_f32_to_bf16(i == 0 || i > 3 ? 1 : 0);
    }
    uint16_t *device_a = upload(a, 6), *device_b = upload(b, 6);
    float *device_c = upload(c, 4);
    cublasHandle_t cublas;
    assert_int_equal(cublasCreate(&cublas), CUBLAS_STATUS_SUCCESS);
    assert_int_equal(cublasGemmEx(cublas, CUBLAS_OP_T, CUBLAS_OP_N, 2, 2, 3, &one, device_a, CUDA_R_16BF, 3,
                                  device_b, CUDA_R_16BF, 3, &zero, device_c, CUDA_R_32F, 2,
                                  CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                     CUBLAS_STATUS_SUCCESS);
    download(c, device_c, 4);
    assert_true(c[0] == 1 && c[1] == 4 && c[2] == 5 && c[3] == 11);
    assert_int_equal(cublasGemmEx(cublas, CUBLAS_OP_T, CUBLAS_OP_N, 2, 2, 3, &one, device_a, CUDA_R_16BF, 2,
                                  device_b, CUDA_R_16BF, 3, &zero, device_c, CUDA_R_32F, 2,
                                  CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                     CUBLAS_STATUS_INVALID_VALUE);
    cublasDestroy(cublas);
    cudaFree(device_a);
    cudaFree(device_b);
    cudaFree(device_c);
}

static void intrinsics_give_what_cuda_gives(void **state)
{
    (void)state;
    assert_int_equal(__byte_perm(0x33221100, 0x77665544, 0x7531), 0x77553311);
    assert_int_equal(__byte_perm(0x80, 0, 0x8888), 0xffffffff);
    assert_int_equal(__brev(1), 0x80000000);
    assert_int_equal(__clz(0), 32);
    assert_int_equal(__ffs(0), 0);
    assert_int_equal(__fns(0xb, 0, 2), 1);
    assert_int_equal(__fns(0xb, 31, -1), 3);
    assert_int_equal(__fns(0xb, 0, 4), 0xffffffff);
    assert_int_equal(__funnelshift_r(0x1, 0x2, 1), 0);
    assert_int_equal(__funnelshift_l(0x80000000, 0x2, 1), 5);
    assert_int_equal(__dp4a(0x01ff0203, 0x02020202, 1), 2 * (1 - 1 + 2 + 3) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_reduction_over_warps_blocks_and_grid, reset),
        cmocka_unit_test_setup(a_scan_and_ballots, reset),
        cmocka_unit_test_setup(diverged_barriers_and_collectives_are_found, reset),
        cmocka_unit_test_setup(launches_that_no_device_runs_are_refused, reset),
        cmocka_unit_test_setup(copies_beyond_an_allocation_are_refused, reset),
        cmocka_unit_test_setup(memory_runs_out, reset),
        cmocka_unit_test_setup(no_device_no_driver_an_old_driver_and_an_old_card, reset),
        cmocka_unit_test_setup(a_missing_barrier_shows_in_one_of_the_orders, reset),
        cmocka_unit_test_setup(a_matrix_product_is_column_major, reset),
        cmocka_unit_test_setup(intrinsics_give_what_cuda_gives, reset),
    };
    return cmocka_run_group_tests_name("CUDA emulator", tests, nullptr, nullptr);
}
