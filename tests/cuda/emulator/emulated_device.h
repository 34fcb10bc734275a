/* What device code may call: places in the grid, barriers, collectives of a warp, atomics, intrinsics. Part
 * of the emulator: see emulator.h. */
#ifndef ENTRO_EMULATED_DEVICE_H
#define ENTRO_EMULATED_DEVICE_H

#include <cmath>
#include <cstring>

#include "emulated_types.h"

/* Of the thread that runs now. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
static const int warpSize = 32;

/* The dynamic shared memory of the block; filled with garbage when a block begins. */
void *entro_emulated_shared(void);

enum entro_collective {
    ENTRO_COLLECTIVE_SYNC,
    ENTRO_COLLECTIVE_SHUFFLE,
    ENTRO_COLLECTIVE_VOTE,
    ENTRO_COLLECTIVE_MATCH,
    ENTRO_COLLECTIVE_REDUCE,
};
/* Waits for the lanes of the mask; returns the values of all lanes, those outside the mask undefined. */
const uint64_t *entro_emulated_exchange(unsigned mask, uint64_t value, enum entro_collective kind,
                                        const char *file, int line);
/* Waits for all threads of the block; returns how many came with a `value` that is not 0. */
int entro_emulated_barrier(int value, const char *file, int line);
/* Ends the launch as an error. */
[[noreturn]] void entro_emulated_fault(const char *format, ...) __attribute__((format(printf, 1, 2)));
unsigned entro_emulated_lane(void);

#define __syncthreads()            ((void)entro_emulated_barrier(0, __FILE__, __LINE__))
#define __syncthreads_count(value) entro_emulated_barrier((value) != 0, __FILE__, __LINE__)
#define __syncthreads_or(value)    (entro_emulated_barrier((value) != 0, __FILE__, __LINE__) != 0)
#define __syncthreads_and(value)   (entro_emulated_barrier((value) == 0, __FILE__, __LINE__) == 0)

static inline void entro_emulated_syncwarp(unsigned mask, const char *file, int line)
{
    entro_emulated_exchange(mask, 0, ENTRO_COLLECTIVE_SYNC, file, line);
}
static inline void __syncwarp(unsigned mask = 0xffffffffu, const char *file = __builtin_FILE(),
                              int line = __builtin_LINE())
{
    entro_emulated_syncwarp(mask, file, line);
}
static inline void __threadfence(void)
{
}
static inline void __threadfence_block(void)
{
}

template <typename T>
static inline T entro_emulated_shuffle(unsigned mask, T value, unsigned source, bool stays, const char *file,
                                       int line)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves at most eight bytes");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    const uint64_t *all = entro_emulated_exchange(mask, bits, ENTRO_COLLECTIVE_SHUFFLE, file, line);
    if (stays)
        return value;
    if ((mask >> source & 1) == 0)
        entro_emulated_fault("%s:%d: a shuffle from lane %u, which is not in the mask", file, line, source);
    std::memcpy(&value, &all[source], sizeof value);
    return value;
}
#define ENTRO_WHERE const char *file = __builtin_FILE(), int line = __builtin_LINE()
template <typename T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, ENTRO_WHERE)
{
    unsigned lane = entro_emulated_lane(), w = (unsigned)width;
    return entro_emulated_shuffle(mask, value, (lane & ~(w - 1)) | ((unsigned)source & (w - 1)), false, file,
                                  line);
}
template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, ENTRO_WHERE)
{
    unsigned lane = entro_emulated_lane(), source = lane ^ (unsigned)lane_mask;
    bool stays = source >= ((lane & ~((unsigned)width - 1)) + (unsigned)width);
    return entro_emulated_shuffle(mask, value, source & 31, stays, file, line);
}
template <typename T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, ENTRO_WHERE)
{
    unsigned lane = entro_emulated_lane();
    bool stays = (lane & ((unsigned)width - 1)) + delta >= (unsigned)width;
    return entro_emulated_shuffle(mask, value, (lane + delta) & 31, stays, file, line);
}
template <typename T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, ENTRO_WHERE)
{
    unsigned lane = entro_emulated_lane();
    bool stays = (lane & ((unsigned)width - 1)) < delta;
    return entro_emulated_shuffle(mask, value, (lane - delta) & 31, stays, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, ENTRO_WHERE)
{
    const uint64_t *all = entro_emulated_exchange(mask, predicate != 0, ENTRO_COLLECTIVE_VOTE, file, line);
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < 32; lane++)
        ballot |= mask >> lane & 1 ? (unsigned)all[lane] << lane : 0;
    return ballot;
}
static inline int __any_sync(unsigned mask, int predicate, ENTRO_WHERE)
{
    return __ballot_sync(mask, predicate, file, line) != 0;
}
static inline int __all_sync(unsigned mask, int predicate, ENTRO_WHERE)
{
    return __ballot_sync(mask, predicate, file, line) == mask;
}
template <typename T> static inline unsigned __match_any_sync(unsigned mask, T value, ENTRO_WHERE)
{
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    const uint64_t *all = entro_emulated_exchange(mask, bits, ENTRO_COLLECTIVE_MATCH, file, line);
    unsigned same = 0;
    for (unsigned lane = 0; lane < 32; lane++)
        same |= (mask >> lane & 1) && all[lane] == bits ? 1u << lane : 0;
    return same;
}
#define ENTRO_REDUCE(name, type, expression)                                                                 \
    static inline type name(unsigned mask, type value, ENTRO_WHERE)                                          \
    {                                                                                                        \
        const uint64_t *all =                                                                                \
            entro_emulated_exchange(mask, (uint32_t)value, ENTRO_COLLECTIVE_REDUCE, file, line);             \
        type a = (type)all[__builtin_ctz(mask)];                                                             \
        for (unsigned lane = (unsigned)__builtin_ctz(mask) + 1; lane < 32; lane++) {                         \
            type b = (type)all[lane];                                                                        \
            if (mask >> lane & 1)                                                                            \
                a = (expression);                                                                            \
        }                                                                                                    \
        return a;                                                                                            \
    }
ENTRO_REDUCE(__reduce_add_sync, unsigned, a + b)
ENTRO_REDUCE(__reduce_add_sync, int, (int)((unsigned)a + (unsigned)b))
ENTRO_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
ENTRO_REDUCE(__reduce_max_sync, int, a > b ? a : b)
ENTRO_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
ENTRO_REDUCE(__reduce_min_sync, int, a < b ? a : b)
ENTRO_REDUCE(__reduce_or_sync, unsigned, a | b)
ENTRO_REDUCE(__reduce_and_sync, unsigned, a &b)
#undef ENTRO_REDUCE

/* No two threads run at the same time. */
#define ENTRO_ATOMIC(name, expression)                                                                       \
    template <typename T> static inline T name(T *target, T value)                                           \
    {                                                                                                        \
        T old = *target;                                                                                     \
        *target = (T)(expression);                                                                           \
        return old;                                                                                          \
    }
ENTRO_ATOMIC(atomicAdd, old + value)
ENTRO_ATOMIC(atomicSub, old - value)
ENTRO_ATOMIC(atomicMax, old > value ? old : value)
ENTRO_ATOMIC(atomicMin, old < value ? old : value)
ENTRO_ATOMIC(atomicOr, old | value)
ENTRO_ATOMIC(atomicAnd, old &value)
ENTRO_ATOMIC(atomicXor, old ^ value)
ENTRO_ATOMIC(atomicExch, value)
#undef ENTRO_ATOMIC
template <typename T> static inline T atomicCAS(T *target, T expected, T value)
{
    T old = *target;
    if (old == expected)
        *target = value;
    return old;
}

static inline int __popc(unsigned v)
{
    return __builtin_popcount(v);
}
static inline int __popcll(unsigned long long v)
{
    return __builtin_popcountll(v);
}
static inline int __ffs(int v)
{
    return __builtin_ffs(v);
}
static inline int __ffsll(long long v)
{
    return __builtin_ffsll(v);
}
static inline int __clz(int v)
{
    return v == 0 ? 32 : __builtin_clz((unsigned)v);
}
static inline int __clzll(long long v)
{
    return v == 0 ? 64 : __builtin_clzll((unsigned long long)v);
}
static inline unsigned __brev(unsigned v)
{
    unsigned r = 0;
    for (unsigned bit = 0; bit < 32; bit++)
        r |= (v >> bit & 1) << (31 - bit);
    return r;
}
/* The offset-th set bit from `base` on (negative: backwards; 0: base itself), or 0xffffffff. */
static inline unsigned __fns(unsigned mask, unsigned base, int offset)
{
    if (offset == 0)
        return mask >> base & 1 ? base : 0xffffffffu;
    int step = offset > 0 ? 1 : -1, left = offset > 0 ? offset : -offset;
    for (int bit = (int)base; bit >= 0 && bit < 32; bit += step) {
        if ((mask >> bit & 1) != 0 && --left == 0)
            return (unsigned)bit;
    }
    return 0xffffffffu;
}
static inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector)
{
    uint64_t both = (uint64_t)high << 32 | low;
    unsigned result = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned choice = selector >> 4 * i & 15;
        unsigned byte = (unsigned)(both >> 8 * (choice & 7)) & 255;
        result |= (choice & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
    }
    return result;
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift)
{
    return (unsigned)(((uint64_t)high << 32 | low) >> (shift & 31));
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift)
{
    return (unsigned)(((uint64_t)high << 32 | low) << (shift & 31) >> 32);
}
static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline int __dp4a(int a, int b, int c)
{
    for (unsigned i = 0; i < 4; i++)
        c += (int)(int8_t)(a >> 8 * i) * (int)(int8_t)(b >> 8 * i);
    return c;
}
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (unsigned i = 0; i < 4; i++)
        c += (a >> 8 * i & 255) * (b >> 8 * i & 255);
    return c;
}

template <typename T> static inline T __ldg(const T *source)
{
    return *source;
}
template <typename T> static inline T __ldcs(const T *source)
{
    return *source;
}
template <typename T> static inline T __ldcg(const T *source)
{
    return *source;
}
template <typename T> static inline void __stcs(T *target, T value)
{
    *target = value;
}
template <typename T> static inline void __stcg(T *target, T value)
{
    *target = value;
}

template <typename To, typename From> static inline To entro_emulated_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
static inline unsigned __float_as_uint(float v)
{
    return entro_emulated_bits<unsigned>(v);
}
static inline int __float_as_int(float v)
{
    return entro_emulated_bits<int>(v);
}
static inline float __uint_as_float(unsigned v)
{
    return entro_emulated_bits<float>(v);
}
static inline float __int_as_float(int v)
{
    return entro_emulated_bits<float>(v);
}
static inline float __uint2float_rn(unsigned v)
{
    return (float)v;
}
static inline float __int2float_rn(int v)
{
    return (float)v;
}
static inline int __float2int_rn(float v)
{
    return (int)std::nearbyint(v);
}
static inline float __saturatef(float v)
{
    return v > 0 ? (v < 1 ? v : 1) : 0;
}
static inline float rsqrtf(float v)
{
    return 1 / std::sqrt(v);
}
static inline float __frsqrt_rn(float v)
{
    return 1 / std::sqrt(v);
}
/* Macros, since the C library has declared these names. */
#define __expf(v) expf(v)
#define __logf(v) logf(v)
#define __sinf(v) sinf(v)
#define __cosf(v) cosf(v)
static inline float __fdividef(float a, float b)
{
    return a / b;
}
static inline float __fmaf_rn(float a, float b, float c)
{
    return std::fma(a, b, c);
}
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline float __frcp_rn(float a)
{
    return 1 / a;
}

#define ENTRO_MIN_MAX(type)                                                                                  \
    static inline type min(type a, type b)                                                                   \
    {                                                                                                        \
        return a < b ? a : b;                                                                                \
    }                                                                                                        \
    static inline type max(type a, type b)                                                                   \
    {                                                                                                        \
        return a > b ? a : b;                                                                                \
    }
ENTRO_MIN_MAX(int)
ENTRO_MIN_MAX(unsigned)
ENTRO_MIN_MAX(long)
ENTRO_MIN_MAX(unsigned long)
ENTRO_MIN_MAX(long long)
ENTRO_MIN_MAX(unsigned long long)
ENTRO_MIN_MAX(float)
ENTRO_MIN_MAX(double)
#undef ENTRO_MIN_MAX

[[noreturn]] static inline void __trap(void)
{
    entro_emulated_fault("trap");
}
static inline long long clock64(void)
{
    return 0;
}

#endif
