/* CUDA's qualifiers and small types, for a host compiler. Part of the emulator: see emulator.h. */
#ifndef ENTRO_EMULATED_TYPES_H
#define ENTRO_EMULATED_TYPES_H

#include <cstddef>
#include <cstdint>

/* A source asks by this whether it is emulated; __CUDACC__ and __CUDA_ARCH__ are not defined. */
#ifndef ENTRO_CUDA_EMULATED
#define ENTRO_CUDA_EMULATED 1
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__    __attribute__((noinline))
#define __launch_bounds__(...)
#define __constant__ static
#define __managed__  static
#define __grid_constant__
#ifndef __restrict__
#define __restrict__ __restrict
#endif
#define __align__(n) __attribute__((aligned(n)))
/* Blocks run one after another in one thread, so a static object is shared by those of one block. */
#define __shared__ static

#define ENTRO_VECTOR(type, name, align)                                                                      \
    struct name##1                                                                                           \
    {                                                                                                        \
        type x;                                                                                              \
    };                                                                                                       \
    struct alignas(2 * (align)) name##2                                                                      \
    {                                                                                                        \
        type x, y;                                                                                           \
    };                                                                                                       \
    struct name##3                                                                                           \
    {                                                                                                        \
        type x, y, z;                                                                                        \
    };                                                                                                       \
    struct alignas(4 * (align) > 16 ? 16 : 4 * (align)) name##4                                              \
    {                                                                                                        \
        type x, y, z, w;                                                                                     \
    };                                                                                                       \
    static inline name##1 make_##name##1(type x)                                                             \
    {                                                                                                        \
        return {x};                                                                                          \
    }                                                                                                        \
    static inline name##2 make_##name##2(type x, type y)                                                     \
    {                                                                                                        \
        return {x, y};                                                                                       \
    }                                                                                                        \
    static inline name##3 make_##name##3(type x, type y, type z)                                             \
    {                                                                                                        \
        return {x, y, z};                                                                                    \
    }                                                                                                        \
    static inline name##4 make_##name##4(type x, type y, type z, type w)                                     \
    {                                                                                                        \
        return {x, y, z, w};                                                                                 \
    }

ENTRO_VECTOR(signed char, char, 1)
ENTRO_VECTOR(unsigned char, uchar, 1)
ENTRO_VECTOR(short, short, 2)
ENTRO_VECTOR(unsigned short, ushort, 2)
ENTRO_VECTOR(int, int, 4)
ENTRO_VECTOR(unsigned int, uint, 4)
ENTRO_VECTOR(long long, longlong, 8)
ENTRO_VECTOR(unsigned long long, ulonglong, 8)
ENTRO_VECTOR(float, float, 4)
ENTRO_VECTOR(double, double, 8)
#undef ENTRO_VECTOR

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

#endif
