/*
 * Which GPU there is, for tests/gpu.sh, which needs no other program for it (nvidia-smi is not on every
 * machine). Prints its architecture as nvcc's -arch takes it, then a line for a person. Exits 77 and says why
 * where there is none that a program can use.
 */
#include <stdio.h>

#include <cuda_runtime.h>

int main(void)
{
    struct cudaDeviceProp properties;
    int driver = 0, n_devices = 0;
    cudaDriverGetVersion(&driver);
    if (driver == 0) {
        printf("no NVIDIA driver is installed\n");
        return 77;
    }
    cudaError_t error = cudaGetDeviceCount(&n_devices);
    if (error == cudaSuccess && n_devices == 0)
        error = cudaErrorNoDevice;
    if (error == cudaSuccess)
        error = cudaGetDeviceProperties(&properties, 0);
    if (error == cudaSuccess)
        error = cudaFree(NULL); /* opens it */
    if (error != cudaSuccess) {
        printf("%s\n", cudaGetErrorString(error));
        return 77;
    }
    printf("sm_%d%d\n", properties.major, properties.minor);
    printf("%s, %.0f GiB, %d multiprocessors, driver for CUDA %d.%d, built with %d.%d\n", properties.name,
           (double)properties.totalGlobalMem / 1073741824.0, properties.multiProcessorCount, driver / 1000,
           driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    return 0;
}
