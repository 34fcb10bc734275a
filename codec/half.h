/*
 * Conversions between F32 and the 16-bit float types: exact upwards, round to nearest, ties to even downwards
 * (IEEE 754-2019, 4.3.1). NaN stays NaN (quiet), overflow gives infinity, subnormals are kept. Integer
 * arithmetic only: the same bits on every machine.
 */
#ifndef ENTRO_HALF_H
#define ENTRO_HALF_H

#include <stdint.h>

#include "codec/bytes.h"

static inline uint32_t entro_f32_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float entro_f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float entro_bf16_to_f32(uint16_t half)
{
    return entro_f32_from_bits((uint32_t)half << 16);
}

static inline uint16_t entro_f32_to_bf16(float value)
{
    uint32_t bits = entro_f32_bits(value);
    if ((bits & 0x7fffffffU) > 0x7f800000U)
        return (uint16_t)(bits >> 16 | 0x0040U);
    return (uint16_t)((bits + 0x7fffU + (bits >> 16 & 1)) >> 16);
}

static inline float entro_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000U) << 16;
    uint32_t exponent = half >> 10 & 0x1fU;
    uint32_t mantissa = half & 0x3ffU;
    if (exponent == 31)
        return entro_f32_from_bits(sign | 0x7f800000U | mantissa << 13);
    if (exponent != 0)
        return entro_f32_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    if (mantissa == 0)
        return entro_f32_from_bits(sign);
    /* Subnormal: shift the leading one into place. */
    unsigned shift = (unsigned)__builtin_clz(mantissa) - 21;
    return entro_f32_from_bits(sign | (113 - shift) << 23 | (mantissa << shift & 0x3ffU) << 13);
}

static inline uint16_t entro_f32_to_f16(float value)
{
    uint32_t bits = entro_f32_bits(value);
    uint32_t sign = bits >> 16 & 0x8000U;
    uint32_t magnitude = bits & 0x7fffffffU;
    if (magnitude > 0x7f800000U)
        return (uint16_t)(sign | 0x7e00U | (magnitude >> 13 & 0x3ffU));
    if (magnitude >= 0x477ff000U) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00U);
    if (magnitude >= 0x38800000U) /* normal in F16 */
        return (uint16_t)(sign | (magnitude - 0x38000000U + 0xfffU + (magnitude >> 13 & 1)) >> 13);
    if (magnitude < 0x33000000U) /* less than half of the smallest subnormal */
        return (uint16_t)sign;
    uint32_t mantissa = (magnitude & 0x7fffffU) | 0x800000U;
    unsigned shift = 126 - (magnitude >> 23); /* 14 to 24 */
    uint32_t half = mantissa >> shift;
    uint32_t rest = mantissa & ((1U << shift) - 1);
    uint32_t tie = 1U << (shift - 1);
    half += rest > tie || (rest == tie && (half & 1));
    return (uint16_t)(sign | half);
}

#endif
