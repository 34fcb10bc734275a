/*
 * The kernels in portable C: the reference for the others. Eight independent sums, so that a compiler may
 * keep them in one vector register.
 */
#include <string.h>

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

static void widen_u8(const uint8_t *row, size_t n, float zero_point, float factor, const float *column,
                     float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = factor * (column == NULL ? 1.0F : column[i]) * (load_u8(row, i) - zero_point);
}

static void widen_u4(const uint8_t *row, size_t n, float zero_point, float factor, const float *column,
                     float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = factor * (column == NULL ? 1.0F : column[i]) * (load_u4(row, i) - zero_point);
}

static void widen_f16(const uint8_t *row, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = load_f16(row, i);
}

static void widen_bf16(const uint8_t *row, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = load_bf16(row, i);
}

static void transpose_tile(const void *rows, size_t stride, size_t n, void *panel)
{
    const uint32_t *source = rows;
    uint32_t *target = panel;
    for (size_t j = 0; j < n; j++)
        for (size_t r = 0; r < ENTRO_TILE_ROWS; r++)
            target[j * ENTRO_TILE_ROWS + r] = source[r * stride + j];
}

static void multiply_f32(const float *panel, size_t n, const float *x, size_t x_stride, size_t n_tokens,
                         float *y, size_t y_stride, bool add)
{
    for (size_t t = 0; t < n_tokens; t++) {
        float sums[ENTRO_TILE_ROWS] = {0};
        if (add)
            memcpy(sums, y + t * y_stride, sizeof sums);
        for (size_t j = 0; j < n; j++)
            for (size_t r = 0; r < ENTRO_TILE_ROWS; r++)
                sums[r] += panel[j * ENTRO_TILE_ROWS + r] * x[t * x_stride + j];
        memcpy(y + t * y_stride, sums, sizeof sums);
    }
}

const struct entro_kernels entro_kernels_portable = {
    .name = "portable",
    .dot_u8 = dot_u8,
    .dot_u4 = dot_u4,
    .dot_f32 = dot_f32,
    .dot_f16 = dot_f16,
    .dot_bf16 = dot_bf16,
    .add_f16 = add_f16,
    .widen_u8 = widen_u8,
    .widen_u4 = widen_u4,
    .widen_f16 = widen_f16,
    .widen_bf16 = widen_bf16,
    .transpose_tile = transpose_tile,
    .multiply_f32 = multiply_f32,
};
