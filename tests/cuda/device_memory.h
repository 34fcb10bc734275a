/* What the emulator's own tests share: arrays to the device and back, and a device as it is at the start. */
#ifndef ENTRO_CUDA_DEVICE_MEMORY_H
#define ENTRO_CUDA_DEVICE_MEMORY_H

#include "cmocka_cpp.h"
#include "emulator.h"

static inline int reset(void **state)
{
    (void)state;
    entro_emulator_reset();
    return 0;
}

template <typename T> static T *upload(const T *values, size_t n)
{
    T *device;
    assert_int_equal(cudaMalloc(&device, n * sizeof *values), cudaSuccess);
    assert_int_equal(cudaMemcpy(device, values, n * sizeof *values, cudaMemcpyHostToDevice), cudaSuccess);
    return device;
}

template <typename T> static void download(T *values, const T *device, size_t n)
{
    assert_int_equal(cudaMemcpy(values, device, n * sizeof *values, cudaMemcpyDeviceToHost), cudaSuccess);
}

#endif
