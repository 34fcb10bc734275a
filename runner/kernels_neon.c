/* The kernels for NEON, as every 64-bit Arm has it. */
#include "runner/kernels_internal.h"

#ifdef __aarch64__
#include <arm_neon.h>

#include "codec/bytes.h"
#include "codec/half.h"

#define WIDTH 8

struct eight {
    float32x4_t low, high;
};

static inline struct eight widen_bytes(uint8x8_t codes)
{
    uint16x8_t words = vmovl_u8(codes);
    return (struct eight){vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))),
                          vcvtq_f32_u32(vmovl_u16(vget_high_u16(words)))};
}

/* Eight elements as F32. */
static inline struct eight load8_u8(const uint8_t *row)
{
    return widen_bytes(vld1_u8(row));
}

static inline struct eight load8_f32(const uint8_t *row)
{
    return (struct eight){vreinterpretq_f32_u8(vld1q_u8(row)), vreinterpretq_f32_u8(vld1q_u8(row + 16))};
}

static inline struct eight load8_f16(const uint8_t *row)
{
    float16x8_t halves = vreinterpretq_f16_u8(vld1q_u8(row));
    return (struct eight){vcvt_f32_f16(vget_low_f16(halves)), vcvt_f32_f16(vget_high_f16(halves))};
}

static inline struct eight load8_bf16(const uint8_t *row)
{
    uint16x8_t halves = vreinterpretq_u16_u8(vld1q_u8(row));
    return (struct eight){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(halves), 16)),
                          vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(halves), 16))};
}

static inline float load1_u8(const uint8_t *row)
{
    return (float)*row;
}

static inline float load1_f32(const uint8_t *row)
{
    return entro_load_f32(row);
}

static inline float load1_f16(const uint8_t *row)
{
    return entro_f16_to_f32(entro_load_u16(row));
}

static inline float load1_bf16(const uint8_t *row)
{
    return entro_bf16_to_f32(entro_load_u16(row));
}

static inline void add_products(struct eight *sums, struct eight weights, const float *x)
{
    sums->low = vfmaq_f32(sums->low, weights.low, vld1q_f32(x));
    sums->high = vfmaq_f32(sums->high, weights.high, vld1q_f32(x + 4));
}

static inline float sum_lanes(struct eight a, struct eight b)
{
    return vaddvq_f32(vaddq_f32(vaddq_f32(a.low, a.high), vaddq_f32(b.low, b.high)));
}

/* Four sums hide the latency of the multiply-add. */
#define DEFINE_DOT(suffix, bytes)                                                                            \
    static float dot_##suffix(const uint8_t *row, const float *x, size_t n)                                  \
    {                                                                                                        \
        struct eight a = {vdupq_n_f32(0), vdupq_n_f32(0)}, b = a;                                            \
        size_t i = 0;                                                                                        \
        for (; n - i >= 2 * WIDTH; i += 2 * WIDTH) {                                                         \
            add_products(&a, load8_##suffix(row + i * (bytes)), x + i);                                      \
            add_products(&b, load8_##suffix(row + (i + WIDTH) * (bytes)), x + i + WIDTH);                    \
        }                                                                                                    \
        float sum = sum_lanes(a, b);                                                                         \
        for (; i < n; i++)                                                                                   \
            sum += load1_##suffix(row + i * (bytes)) * x[i];                                                 \
        return sum;                                                                                          \
    }

DEFINE_DOT(u8, 1)
DEFINE_DOT(f32, 4)
DEFINE_DOT(f16, 2)
DEFINE_DOT(bf16, 2)

/* The 16 codes of 8 bytes, in order. */
static inline uint8x8x2_t split_nibbles(const uint8_t *row)
{
    uint8x8_t bytes = vld1_u8(row);
    return vzip_u8(vand_u8(bytes, vdup_n_u8(15)), vshr_n_u8(bytes, 4));
}

static inline unsigned code_u4(const uint8_t *row, size_t i)
{
    return row[i / 2] >> (i % 2 * 4) & 15U;
}

static float dot_u4(const uint8_t *row, const float *x, size_t n)
{
    struct eight a = {vdupq_n_f32(0), vdupq_n_f32(0)}, b = a;
    size_t i = 0;
    for (; n - i >= 2 * WIDTH; i += 2 * WIDTH) {
        uint8x8x2_t codes = split_nibbles(row + i / 2);
        add_products(&a, widen_bytes(codes.val[0]), x + i);
        add_products(&b, widen_bytes(codes.val[1]), x + i + WIDTH);
    }
    float sum = sum_lanes(a, b);
    for (; i < n; i++)
        sum += (float)code_u4(row, i) * x[i];
    return sum;
}

static void add_f16(float *y, float factor, const uint8_t *row, size_t n)
{
    size_t i = 0;
    for (; n - i >= WIDTH; i += WIDTH) {
        struct eight values = load8_f16(row + 2 * i);
        vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), values.low, factor));
        vst1q_f32(y + i + 4, vfmaq_n_f32(vld1q_f32(y + i + 4), values.high, factor));
    }
    for (; i < n; i++)
        y[i] += factor * load1_f16(row + 2 * i);
}

static inline void store_codes(struct eight codes, float zero_point, float factor, const float *column,
                               float *out)
{
    float32x4_t zero = vdupq_n_f32(zero_point), low = vdupq_n_f32(factor), high = low;
    if (column != NULL) {
        low = vmulq_f32(low, vld1q_f32(column));
        high = vmulq_f32(high, vld1q_f32(column + 4));
    }
    vst1q_f32(out, vmulq_f32(low, vsubq_f32(codes.low, zero)));
    vst1q_f32(out + 4, vmulq_f32(high, vsubq_f32(codes.high, zero)));
}

static inline float one_code(unsigned code, float zero_point, float factor, const float *column)
{
    return factor * (column == NULL ? 1.0F : *column) * ((float)code - zero_point);
}

static inline const float *from(const float *column, size_t i)
{
    return column == NULL ? NULL : column + i;
}

static void widen_u8(const uint8_t *row, size_t n, float zero_point, float factor, const float *column,
                     float *out)
{
    size_t i = 0;
    for (; n - i >= WIDTH; i += WIDTH)
        store_codes(load8_u8(row + i), zero_point, factor, from(column, i), out + i);
    for (; i < n; i++)
        out[i] = one_code(row[i], zero_point, factor, from(column, i));
}

static void widen_u4(const uint8_t *row, size_t n, float zero_point, float factor, const float *column,
                     float *out)
{
    size_t i = 0;
    for (; n - i >= 2 * WIDTH; i += 2 * WIDTH) {
        uint8x8x2_t codes = split_nibbles(row + i / 2);
        store_codes(widen_bytes(codes.val[0]), zero_point, factor, from(column, i), out + i);
        store_codes(widen_bytes(codes.val[1]), zero_point, factor, from(column, i + WIDTH), out + i + WIDTH);
    }
    for (; i < n; i++)
        out[i] = one_code(code_u4(row, i), zero_point, factor, from(column, i));
}

#define DEFINE_WIDEN(suffix)                                                                                 \
    static void widen_##suffix(const uint8_t *row, size_t n, float *out)                                     \
    {                                                                                                        \
        size_t i = 0;                                                                                        \
        for (; n - i >= WIDTH; i += WIDTH) {                                                                 \
            struct eight values = load8_##suffix(row + 2 * i);                                               \
            vst1q_f32(out + i, values.low);                                                                  \
            vst1q_f32(out + i + 4, values.high);                                                             \
        }                                                                                                    \
        for (; i < n; i++)                                                                                   \
            out[i] = load1_##suffix(row + 2 * i);                                                            \
    }

DEFINE_WIDEN(f16)
DEFINE_WIDEN(bf16)

static void transpose_tile(const void *rows, size_t stride, size_t n, void *panel)
{
    const uint32_t *source = rows;
    uint32_t *target = panel;
    size_t j = 0;
    for (; n - j >= 4; j += 4)
        for (size_t r = 0; r < ENTRO_TILE_ROWS; r += 4) {
            const uint32_t *at = source + r * stride + j;
            uint32x4_t a = vld1q_u32(at), b = vld1q_u32(at + stride), c = vld1q_u32(at + 2 * stride),
                       d = vld1q_u32(at + 3 * stride);
            /* Four vectors stored together are stored by columns, one element of each after the other. */
            uint32x4x4_t block = {{a, b, c, d}};
            uint32_t columns[16];
            vst4q_u32(columns, block);
            for (size_t k = 0; k < 4; k++)
                vst1q_u32(target + (j + k) * ENTRO_TILE_ROWS + r, vld1q_u32(columns + 4 * k));
        }
    for (; j < n; j++)
        for (size_t r = 0; r < ENTRO_TILE_ROWS; r++)
            target[j * ENTRO_TILE_ROWS + r] = source[r * stride + j];
}

/* A quarter of a tile's rows. `n_tokens` is a constant wherever this is inlined: the sums are registers, two
 * a token. */
static inline __attribute__((always_inline)) void multiply_tokens(const float *panel, size_t n,
                                                                  const float *x, size_t x_stride,
                                                                  size_t n_tokens, float *y, size_t y_stride,
                                                                  bool add)
{
    float32x4_t low[8], high[8];
#pragma GCC unroll 8
    for (size_t t = 0; t < n_tokens; t++) {
        low[t] = add ? vld1q_f32(y + t * y_stride) : vdupq_n_f32(0);
        high[t] = add ? vld1q_f32(y + t * y_stride + 4) : vdupq_n_f32(0);
    }
    for (size_t j = 0; j < n; j++) {
        float32x4_t first = vld1q_f32(panel + j * ENTRO_TILE_ROWS);
        float32x4_t second = vld1q_f32(panel + j * ENTRO_TILE_ROWS + 4);
#pragma GCC unroll 8
        for (size_t t = 0; t < n_tokens; t++) {
            low[t] = vfmaq_n_f32(low[t], first, x[t * x_stride + j]);
            high[t] = vfmaq_n_f32(high[t], second, x[t * x_stride + j]);
        }
    }
#pragma GCC unroll 8
    for (size_t t = 0; t < n_tokens; t++) {
        vst1q_f32(y + t * y_stride, low[t]);
        vst1q_f32(y + t * y_stride + 4, high[t]);
    }
}

static void multiply_f32(const float *panel, size_t n, const float *x, size_t x_stride, size_t n_tokens,
                         float *y, size_t y_stride, bool add)
{
    for (size_t part = 0; part < ENTRO_TILE_ROWS; part += 8) {
        size_t t = 0;
        for (; n_tokens - t >= 8; t += 8)
            multiply_tokens(panel + part, n, x + t * x_stride, x_stride, 8, y + t * y_stride + part, y_stride,
                            add);
        for (; t < n_tokens; t++)
            multiply_tokens(panel + part, n, x + t * x_stride, x_stride, 1, y + t * y_stride + part, y_stride,
                            add);
    }
}

const struct entro_kernels entro_kernels_neon = {
    .name = "neon",
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
#else
/* ISO C wants a declaration in every file. */
typedef int entro_no_neon_here;
#endif
