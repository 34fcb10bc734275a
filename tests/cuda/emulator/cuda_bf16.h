/* BF16 of device code; see cuda_fp16.h. Part of the emulator: see emulator.h. */
#ifndef ENTRO_EMULATED_CUDA_BF16_H
#define ENTRO_EMULATED_CUDA_BF16_H

#include <cuda_fp16.h>

struct __nv_bfloat16_raw {
    unsigned short x;
};
struct __nv_bfloat16 {
    unsigned short bits;
    __nv_bfloat16() = default;
    __nv_bfloat16(float value) : bits(entro_f32_to_bf16(value))
    {
    }
    __nv_bfloat16(__nv_bfloat16_raw raw) : bits(raw.x)
    {
    }
    operator float() const
    {
        return entro_bf16_to_f32(bits);
    }
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

static inline float __bfloat162float(__nv_bfloat16 b)
{
    return entro_bf16_to_f32(b.bits);
}
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits)
{
    return __nv_bfloat16(__nv_bfloat16_raw{bits});
}
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b)
{
    return b.bits;
}
static inline __nv_bfloat16 __float2bfloat16(float value)
{
    return __nv_bfloat16(value);
}
static inline __nv_bfloat16 __float2bfloat16_rn(float value)
{
    return __nv_bfloat16(value);
}
static inline float2 __bfloat1622float2(__nv_bfloat162 b)
{
    return {__bfloat162float(b.x), __bfloat162float(b.y)};
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
static inline __nv_bfloat162 __float22bfloat162_rn(float2 v)
{
    return {__nv_bfloat16(v.x), __nv_bfloat16(v.y)};
}
static inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y)
{
    return {x, y};
}
static inline float __low2float(__nv_bfloat162 b)
{
    return __bfloat162float(b.x);
}
static inline float __high2float(__nv_bfloat162 b)
{
    return __bfloat162float(b.y);
}
ENTRO_HALF_OPERATORS(__nv_bfloat16, __bfloat162float, __float2bfloat16)

#endif
