/*
 * The one place for unaligned little-endian access and for overflow-checked size arithmetic. No other file
 * casts a byte pointer.
 */
#ifndef ENTRO_BYTES_H
#define ENTRO_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "entrofs maps little-endian files as they are: big-endian machines are not supported"
#endif

#define ENTRO_BYTES_ACCESS(type, suffix)                                                                     \
    static inline type entro_load_##suffix(const void *source)                                               \
    {                                                                                                        \
        type value;                                                                                          \
        memcpy(&value, source, sizeof value);                                                                \
        return value;                                                                                        \
    }                                                                                                        \
    static inline void entro_store_##suffix(void *target, type value)                                        \
    {                                                                                                        \
        memcpy(target, &value, sizeof value);                                                                \
    }

ENTRO_BYTES_ACCESS(uint16_t, u16)
ENTRO_BYTES_ACCESS(uint32_t, u32)
ENTRO_BYTES_ACCESS(uint64_t, u64)
ENTRO_BYTES_ACCESS(int32_t, i32)
ENTRO_BYTES_ACCESS(int64_t, i64)
ENTRO_BYTES_ACCESS(float, f32)
ENTRO_BYTES_ACCESS(double, f64)
#undef ENTRO_BYTES_ACCESS

/* True and *result set, or false where the exact result does not fit. */
static inline bool entro_mul_u64(uint64_t a, uint64_t b, uint64_t *result)
{
    return !__builtin_mul_overflow(a, b, result);
}

static inline bool entro_add_u64(uint64_t a, uint64_t b, uint64_t *result)
{
    return !__builtin_add_overflow(a, b, result);
}

/* Ceiling of a / b without overflow; b > 0. */
static inline uint64_t entro_div_ceil_u64(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

#endif
