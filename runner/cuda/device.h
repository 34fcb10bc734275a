/*
 * What every CUDA source needs of its compiler: nvcc, or a C++ compiler with the emulator of tests/cuda,
 * which runs the same kernels on the CPU. C++14 and CUDA 10.2 suffice.
 */
#ifndef ENTRO_CUDA_DEVICE_H
#define ENTRO_CUDA_DEVICE_H

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <stdint.h>
#include <string.h>

/* The library's word for sums in F32. */
#if CUDART_VERSION < 11000
#define ENTRO_SUM_IN_F32 CUDA_R_32F
#else
#define ENTRO_SUM_IN_F32 CUBLAS_COMPUTE_32F
#endif

#ifdef ENTRO_CUDA_EMULATED
#include "codec/half.h"
#define ENTRO_SHARED(type, name) type *name = reinterpret_cast<type *>(entro_emulated_shared())
#define entro_launch             entro_emulated_launch
#else
#include <cuda_fp16.h>
#define ENTRO_SHARED(type, name)                                                                             \
    extern __shared__ __align__(16) unsigned char entro_shared_bytes[];                                      \
    type *name = reinterpret_cast<type *>(entro_shared_bytes)

/* The arguments are converted to what the kernel takes. Errors are those of cudaGetLastError. */
template <typename... Parameters, typename... Arguments>
static inline void entro_launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                                cudaStream_t stream, Arguments... arguments)
{
    kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameters>(arguments)...);
}
#endif

#ifdef __CUDACC__
#define ENTRO_UNROLL   _Pragma("unroll")
#define ENTRO_UNROLL_4 _Pragma("unroll 4") /* of a loop of any length: so many loads at a time */
#else
#define ENTRO_UNROLL
#define ENTRO_UNROLL_4
#endif

#define ENTRO_WARP      32
#define ENTRO_ALL_LANES 0xffffffffU

static __device__ __forceinline__ float entro_from_bf16(uint32_t bits)
{
    return __uint_as_float(bits << 16);
}

#ifdef ENTRO_CUDA_EMULATED
static inline float entro_from_f16(uint16_t bits)
{
    return entro_f16_to_f32(bits);
}

static inline uint16_t entro_to_f16(float value)
{
    return entro_f32_to_f16(value);
}
#else
static __device__ __forceinline__ float entro_from_f16(uint16_t bits)
{
    return __half2float(__ushort_as_half(bits));
}

static __device__ __forceinline__ uint16_t entro_to_f16(float value)
{
    return __half_as_ushort(__float2half_rn(value));
}
#endif

static __device__ __forceinline__ float entro_warp_sum(float value)
{
    for (int lane = ENTRO_WARP / 2; lane > 0; lane /= 2)
        value += __shfl_xor_sync(ENTRO_ALL_LANES, value, lane);
    return value;
}

static __device__ __forceinline__ float entro_warp_max(float value)
{
    for (int lane = ENTRO_WARP / 2; lane > 0; lane /= 2)
        value = fmaxf(value, __shfl_xor_sync(ENTRO_ALL_LANES, value, lane));
    return value;
}

/* Of a whole block, for every thread; `room` is shared, one float a warp. */
static __device__ __forceinline__ float entro_block_sum(float value, float *room)
{
    uint32_t n_warps = blockDim.x / ENTRO_WARP;
    value = entro_warp_sum(value);
    __syncthreads();
    if (threadIdx.x % ENTRO_WARP == 0)
        room[threadIdx.x / ENTRO_WARP] = value;
    __syncthreads();
    value = 0;
    for (uint32_t i = 0; i < n_warps; i++)
        value += room[i];
    return value;
}

static __device__ __forceinline__ float entro_block_max(float value, float *room)
{
    uint32_t n_warps = blockDim.x / ENTRO_WARP;
    value = entro_warp_max(value);
    __syncthreads();
    if (threadIdx.x % ENTRO_WARP == 0)
        room[threadIdx.x / ENTRO_WARP] = value;
    __syncthreads();
    value = room[0];
    for (uint32_t i = 1; i < n_warps; i++)
        value = fmaxf(value, room[i]);
    return value;
}

/* activation(gate) * up: SiLU, or GELU by its approximation with tanh. */
static __device__ __forceinline__ float entro_gated(float gate, float up, bool gelu)
{
    float inner = gelu ? 2 * 0.797884561F * (gate + 0.044715F * gate * gate * gate) : gate;
    /* exp overflows to infinity and the quotient to 0, as it should. */
    return gate / (1.0F + expf(-inner)) * up;
}

#endif
