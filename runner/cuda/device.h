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

#ifdef ENTRO_CUDA_EMULATED
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
#define ENTRO_UNROLL _Pragma("unroll")
#else
#define ENTRO_UNROLL
#endif

#define ENTRO_WARP      32
#define ENTRO_ALL_LANES 0xffffffffU

static __device__ __forceinline__ float entro_bits_float(uint32_t bits)
{
    return __uint_as_float(bits);
}

static __device__ __forceinline__ float entro_from_bf16(uint32_t bits)
{
    return __uint_as_float(bits << 16);
}

#ifdef ENTRO_CUDA_EMULATED
/* IEEE 754 binary16, in integers. */
static inline float entro_from_f16(uint16_t bits)
{
    uint32_t sign = (bits & 0x8000U) << 16, rest = bits & 0x7fffU;
    if (rest >= 0x7c00U)
        return __uint_as_float(sign | 0x7f800000U | (rest & 0x3ffU) << 13);
    if (rest >= 0x400U)
        return __uint_as_float(sign | ((rest << 13) + 0x38000000U));
    float value = (float)rest * 5.9604644775390625e-8F;
    return sign != 0 ? -value : value;
}

static inline uint16_t entro_to_f16(float value)
{
    uint32_t bits = __float_as_uint(value), sign = bits >> 16 & 0x8000U, rest = bits & 0x7fffffffU;
    if (rest > 0x7f800000U)
        return (uint16_t)(sign | 0x7e00U);
    if (rest >= 0x477ff000U)
        return (uint16_t)(sign | 0x7c00U);
    if (rest >= 0x38800000U)
        return (uint16_t)(sign | (rest - 0x38000000U + 0xfffU + (rest >> 13 & 1U)) >> 13);
    /* Adding 0.5 aligns a subnormal's units with the last bit, and rounds. */
    return (uint16_t)(sign | (__float_as_uint(__uint_as_float(rest) + 0.5F) - 0x3f000000U));
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
