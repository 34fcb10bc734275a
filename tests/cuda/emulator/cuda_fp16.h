/* F16 of device code: conversions, and arithmetic that rounds after each operation. Part of the emulator: see
 * emulator.h. */
#ifndef ENTRO_EMULATED_CUDA_FP16_H
#define ENTRO_EMULATED_CUDA_FP16_H

#include <cuda_runtime.h>

#include "codec/half.h"

#define ENTRO_HALF_OPERATORS(type, to, from)                                                                 \
    static inline type operator+(type a, type b)                                                             \
    {                                                                                                        \
        return from(to(a) + to(b));                                                                          \
    }                                                                                                        \
    static inline type operator-(type a, type b)                                                             \
    {                                                                                                        \
        return from(to(a) - to(b));                                                                          \
    }                                                                                                        \
    static inline type operator*(type a, type b)                                                             \
    {                                                                                                        \
        return from(to(a) * to(b));                                                                          \
    }                                                                                                        \
    static inline type __hadd(type a, type b)                                                                \
    {                                                                                                        \
        return a + b;                                                                                        \
    }                                                                                                        \
    static inline type __hmul(type a, type b)                                                                \
    {                                                                                                        \
        return a * b;                                                                                        \
    }                                                                                                        \
    static inline type __hsub(type a, type b)                                                                \
    {                                                                                                        \
        return a - b;                                                                                        \
    }

struct __half_raw {
    unsigned short x;
};
struct __half {
    unsigned short bits;
    __half() = default;
    __half(float value) : bits(entro_f32_to_f16(value))
    {
    }
    __half(__half_raw raw) : bits(raw.x)
    {
    }
    operator float() const
    {
        return entro_f16_to_f32(bits);
    }
};
struct alignas(4) __half2 {
    __half x, y;
};
typedef __half half;
typedef __half2 half2;

static inline float __half2float(__half h)
{
    return entro_f16_to_f32(h.bits);
}
static inline __half __ushort_as_half(unsigned short bits)
{
    return __half(__half_raw{bits});
}
static inline unsigned short __half_as_ushort(__half h)
{
    return h.bits;
}
static inline __half __float2half(float value)
{
    return __half(value);
}
static inline __half __float2half_rn(float value)
{
    return __half(value);
}
static inline float2 __half22float2(__half2 h)
{
    return {__half2float(h.x), __half2float(h.y)};
}
static inline __half2 __floats2half2_rn(float x, float y)
{
    return {__half(x), __half(y)};
}
static inline __half2 __float22half2_rn(float2 v)
{
    return {__half(v.x), __half(v.y)};
}
static inline __half2 __halves2half2(__half x, __half y)
{
    return {x, y};
}
static inline __half2 __half2half2(__half x)
{
    return {x, x};
}
static inline float __low2float(__half2 h)
{
    return __half2float(h.x);
}
static inline float __high2float(__half2 h)
{
    return __half2float(h.y);
}
ENTRO_HALF_OPERATORS(__half, __half2float, __float2half)

#endif
