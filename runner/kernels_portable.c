/*
 * The kernels in portable C: the reference for the others. Eight independent sums, so that a compiler may
 * keep them in one vector register.
 */
#include "codec/bytes.h"
#include "codec/half.h"
#include "runner/kernels.h"

#define LANES 8

static float sum_lanes(const float sums[LANES])
{
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

static inline float load_u8(const uint8_t *row, size_t i)
{
    return (float)row[i];
}

static inline float load_u4(const uint8_t *row, size_t i)
{
    return (float)(row[i / 2] >> (i % 2 * 4) & 15);
}

static inline float load_f32(const uint8_t *row, size_t i)
{
    return entro_load_f32(row + 4 * i);
}

static inline float load_f16(const uint8_t *row, size_t i)
{
    return entro_f16_to_f32(entro_load_u16(row + 2 * i));
}

static inline float load_bf16(const uint8_t *row, size_t i)
{
    return entro_bf16_to_f32(entro_load_u16(row + 2 * i));
}

#define DEFINE_DOT(suffix)                                                                                   \
    static float dot_##suffix(const uint8_t *row, const float *x, size_t n)                                  \
    {                                                                                                        \
        float sums[LANES] = {0};                                                                             \
        size_t n_whole = n - n % LANES;                                                                      \
        for (size_t i = 0; i < n_whole; i += LANES)                                                          \
            for (size_t lane = 0; lane < LANES; lane++)                                                      \
                sums[lane] += load_##suffix(row, i + lane) * x[i + lane];                                    \
        for (size_t i = n_whole; i < n; i++)                                                                 \
            sums[i - n_whole] += load_##suffix(row, i) * x[i];                                               \
        return sum_lanes(sums);                                                                              \
    }

DEFINE_DOT(u8)
DEFINE_DOT(u4)
DEFINE_DOT(f32)
DEFINE_DOT(f16)
DEFINE_DOT(bf16)

static void add_f16(float *y, float factor, const uint8_t *row, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += factor * load_f16(row, i);
}

const struct entro_kernels entro_kernels_portable = {
    .name = "portable",
    .dot_u8 = dot_u8,
    .dot_u4 = dot_u4,
    .dot_f32 = dot_f32,
    .dot_f16 = dot_f16,
    .dot_bf16 = dot_bf16,
    .add_f16 = add_f16,
};
