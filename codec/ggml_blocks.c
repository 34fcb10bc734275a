/*
 * The arithmetic of GGUF's block types; see ggml_blocks.h. Each routine reads one block. The order of the
 * float operations is part of the result, so that no product is moved out of or into a sum here.
 */
#include "codec/ggml_blocks.h"

#include "codec/bytes.h"
#include "codec/half.h"

#define SMALL_BLOCK 32
#define SUPER_BLOCK 256

static float load_f16(const uint8_t *source)
{
    return entro_f16_to_f32(entro_load_u16(source));
}

/* Q8_0: d, 32 signed bytes. */
static void dequantize_q8_0(const uint8_t *block, float *target)
{
    float d = load_f16(block);
    for (unsigned i = 0; i < SMALL_BLOCK; i++)
        target[i] = (float)(int8_t)block[2 + i] * d;
}

/* Q4_0: d, 16 bytes whose low nibbles are the first 16 codes and whose high ones the others; 8 means zero. */
static void dequantize_q4_0(const uint8_t *block, float *target)
{
    float d = load_f16(block);
    const uint8_t *codes = block + 2;
    for (unsigned i = 0; i < SMALL_BLOCK / 2; i++) {
        target[i] = d * (float)((codes[i] & 15) - 8);
        target[i + SMALL_BLOCK / 2] = d * (float)((codes[i] >> 4) - 8);
    }
}

/* Q4_1: d, m, nibbles as in Q4_0. */
static void dequantize_q4_1(const uint8_t *block, float *target)
{
    float d = load_f16(block);
    float m = load_f16(block + 2);
    const uint8_t *codes = block + 4;
    for (unsigned i = 0; i < SMALL_BLOCK / 2; i++) {
        target[i] = d * (float)(codes[i] & 15) + m;
        target[i + SMALL_BLOCK / 2] = d * (float)(codes[i] >> 4) + m;
    }
}

/* The fifth bits of Q5_0 and Q5_1 are one 32-bit word, bit i for element i. */
static unsigned fifth_bit(uint32_t word, unsigned i)
{
    return (word >> i & 1) << 4;
}

/* Q5_0: d, word of fifth bits, nibbles; 16 means zero. */
static void dequantize_q5_0(const uint8_t *block, float *target)
{
    float d = load_f16(block);
    uint32_t high = entro_load_u32(block + 2);
    const uint8_t *codes = block + 6;
    for (unsigned i = 0; i < SMALL_BLOCK / 2; i++) {
        int low_code = (int)((codes[i] & 15U) | fifth_bit(high, i));
        int high_code = (int)((unsigned)codes[i] >> 4 | fifth_bit(high, i + 16));
        target[i] = d * (float)(low_code - 16);
        target[i + SMALL_BLOCK / 2] = d * (float)(high_code - 16);
    }
}

/* Q5_1: d, m, word of fifth bits, nibbles. */
static void dequantize_q5_1(const uint8_t *block, float *target)
{
    float d = load_f16(block);
    float m = load_f16(block + 2);
    uint32_t high = entro_load_u32(block + 4);
    const uint8_t *codes = block + 8;
    for (unsigned i = 0; i < SMALL_BLOCK / 2; i++) {
        target[i] = d * (float)((codes[i] & 15U) | fifth_bit(high, i)) + m;
        target[i + SMALL_BLOCK / 2] = d * (float)((unsigned)codes[i] >> 4 | fifth_bit(high, i + 16)) + m;
    }
}

/*
 * The 6-bit scales and minima of the eight parts of a Q4_K or Q5_K block lie in 12 bytes: the low six bits of
 * bytes 0 to 3 and 4 to 7 are scales and minima 0 to 3; bytes 8 to 11 hold the low four bits of scale and
 * minimum 4 to 7, whose high two are on top of bytes 0 to 7.
 */
static void unpack_scale(const uint8_t *packed, unsigned part, unsigned *scale, unsigned *minimum)
{
    if (part < 4) {
        *scale = packed[part] & 63U;
        *minimum = packed[part + 4] & 63U;
    } else {
        *scale = (packed[part + 4] & 15U) | (packed[part - 4] >> 6U) << 4;
        *minimum = (packed[part + 4] >> 4U) | (packed[part] >> 6U) << 4;
    }
}

/*
 * What Q4_K and Q5_K share: d, dmin, 12 bytes of scales, then codes in parts of 32. Byte i of the pair of
 * parts p, p + 1 holds code i of part p in its low nibble and of part p + 1 in the high one. `fifth` (NULL
 * for Q4_K) has bit p of its byte i as fifth bit of code i of part p.
 */
static void dequantize_k(const uint8_t *block, const uint8_t *fifth, const uint8_t *codes, float *target)
{
    float d = load_f16(block);
    float dmin = load_f16(block + 2);
    for (unsigned part = 0; part < SUPER_BLOCK / 32; part++) {
        unsigned scale, minimum;
        unpack_scale(block + 4, part, &scale, &minimum);
        float part_d = d * (float)scale;
        float part_minimum = dmin * (float)minimum;
        const uint8_t *pair = codes + (size_t)(part / 2) * 32;
        for (unsigned i = 0; i < 32; i++) {
            unsigned code = pair[i] >> part % 2 * 4 & 15U;
            if (fifth != NULL)
                code |= (fifth[i] >> part & 1U) << 4;
            target[part * 32 + i] = part_d * (float)code - part_minimum;
        }
    }
}

static void dequantize_q4_k(const uint8_t *block, float *target)
{
    dequantize_k(block, NULL, block + 16, target);
}

static void dequantize_q5_k(const uint8_t *block, float *target)
{
    dequantize_k(block, block + 16, block + 48, target);
}

/*
 * Q6_K: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales, d. Each half of 128 elements
 * is four runs of 32: run r has its nibbles in bytes (r % 2) * 32 + i of the half's 64, low ones for r < 2,
 * and its high bits at bit 2 * r of the half's 32 bytes.
 */
static void dequantize_q6_k(const uint8_t *block, float *target)
{
    const uint8_t *scales = block + 192;
    float d = load_f16(block + 208);
    for (unsigned run = 0; run < 8; run++) {
        const uint8_t *low = block + (size_t)(run / 4) * 64 + (size_t)(run % 2) * 32;
        const uint8_t *high = block + 128 + (size_t)(run / 4) * 32;
        unsigned low_shift = run % 4 / 2 * 4;
        unsigned high_shift = run % 4 * 2;
        for (unsigned i = 0; i < 32; i++) {
            float scale = d * (float)(int8_t)scales[run * 2 + i / 16];
            int code = (int)((low[i] >> low_shift & 15U) | (high[i] >> high_shift & 3U) << 4);
            target[run * 32 + i] = scale * (float)(code - 32);
        }
    }
}

/*
 * Q2_K: a byte for each run of 16 (scale in the low nibble, minimum in the high one), 64 bytes of bit pairs,
 * d, dmin. Part p of 32 elements has its pairs at bit 2 * (p % 4) of the 32 bytes of its half.
 */
static void dequantize_q2_k(const uint8_t *block, float *target)
{
    float d = load_f16(block + 80);
    float dmin = load_f16(block + 82);
    for (unsigned part = 0; part < SUPER_BLOCK / 32; part++) {
        const uint8_t *pairs = block + 16 + (size_t)(part / 4) * 32;
        for (unsigned i = 0; i < 32; i++) {
            unsigned scale = block[part * 2 + i / 16];
            float run_d = d * (float)(scale & 15U);
            float run_minimum = dmin * (float)(scale >> 4U);
            target[part * 32 + i] = run_d * (float)(pairs[i] >> part % 4 * 2 & 3U) - run_minimum;
        }
    }
}

/*
 * Q3_K: 32 bytes of third bits (bit p of byte i for element i of part p; 0 means 4 less), 64 bytes of bit
 * pairs as in Q2_K, 12 bytes of 6-bit scales, d. The low nibbles of scales 0 to 7 and 8 to 15 lie in bytes 0
 * to 7; byte 8 + s % 4 has the high two bits of scale s at bit 2 * (s / 4); 32 means zero.
 */
static void dequantize_q3_k(const uint8_t *block, float *target)
{
    const uint8_t *packed = block + 96;
    float d = load_f16(block + 108);
    for (unsigned part = 0; part < SUPER_BLOCK / 32; part++) {
        const uint8_t *pairs = block + 32 + (size_t)(part / 4) * 32;
        for (unsigned i = 0; i < 32; i++) {
            unsigned run = part * 2 + i / 16;
            unsigned low = packed[run % 8] >> run / 8 * 4 & 15U;
            unsigned high = packed[8 + run % 4] >> run / 4 * 2 & 3U;
            float scale = d * (float)((int)(low | high << 4) - 32);
            int code = (int)(pairs[i] >> part % 4 * 2 & 3U) - (block[i] >> part & 1U ? 0 : 4);
            target[part * 32 + i] = scale * (float)code;
        }
    }
}

/* What the 16 codes of the IQ4 types mean, times the scale: finer around zero. */
static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

/* Nibbles of 32 elements as in Q4_0, codes of iq4_values. */
static void dequantize_iq4(const uint8_t *codes, float scale, float *target)
{
    for (unsigned i = 0; i < SMALL_BLOCK / 2; i++) {
        target[i] = scale * (float)iq4_values[codes[i] & 15];
        target[i + SMALL_BLOCK / 2] = scale * (float)iq4_values[codes[i] >> 4];
    }
}

/* IQ4_NL: d, nibbles. */
static void dequantize_iq4_nl(const uint8_t *block, float *target)
{
    dequantize_iq4(block + 2, load_f16(block), target);
}

/* IQ4_XS: d, a word with the high two bits of each part's scale, 4 bytes with two low nibbles each, nibbles
 * of the parts; 32 means zero. */
static void dequantize_iq4_xs(const uint8_t *block, float *target)
{
    float d = load_f16(block);
    unsigned high = entro_load_u16(block + 2);
    for (unsigned part = 0; part < SUPER_BLOCK / 32; part++) {
        unsigned scale = (block[4 + part / 2] >> part % 2 * 4 & 15U) | (high >> part * 2 & 3U) << 4;
        dequantize_iq4(block + 8 + (size_t)part * 16, d * (float)((int)scale - 32),
                       target + (size_t)part * 32);
    }
}

/* The reader of one block; NULL for plain types and for those that are not read. */
static void (*block_reader(enum entro_dtype dtype))(const uint8_t *block, float *target)
{
    switch (dtype) {
    case ENTRO_DTYPE_Q8_0:
        return dequantize_q8_0;
    case ENTRO_DTYPE_Q4_0:
        return dequantize_q4_0;
    case ENTRO_DTYPE_Q4_1:
        return dequantize_q4_1;
    case ENTRO_DTYPE_Q5_0:
        return dequantize_q5_0;
    case ENTRO_DTYPE_Q5_1:
        return dequantize_q5_1;
    case ENTRO_DTYPE_Q2_K:
        return dequantize_q2_k;
    case ENTRO_DTYPE_Q3_K:
        return dequantize_q3_k;
    case ENTRO_DTYPE_Q4_K:
        return dequantize_q4_k;
    case ENTRO_DTYPE_Q5_K:
        return dequantize_q5_k;
    case ENTRO_DTYPE_Q6_K:
        return dequantize_q6_k;
    case ENTRO_DTYPE_IQ4_NL:
        return dequantize_iq4_nl;
    case ENTRO_DTYPE_IQ4_XS:
        return dequantize_iq4_xs;
    default:
        return NULL;
    }
}

bool entro_can_dequantize(enum entro_dtype dtype)
{
    return dtype == ENTRO_DTYPE_F32 || dtype == ENTRO_DTYPE_F16 || dtype == ENTRO_DTYPE_BF16 ||
           block_reader(dtype) != NULL;
}

void entro_dequantize_f32(enum entro_dtype dtype, const uint8_t *source, size_t n_elements, float *target)
{
    if (dtype == ENTRO_DTYPE_F32) {
        if (n_elements > 0)
            memcpy(target, source, n_elements * sizeof *target);
    } else if (dtype == ENTRO_DTYPE_F16) {
        for (size_t i = 0; i < n_elements; i++)
            target[i] = load_f16(source + 2 * i);
    } else if (dtype == ENTRO_DTYPE_BF16) {
        for (size_t i = 0; i < n_elements; i++)
            target[i] = entro_bf16_to_f32(entro_load_u16(source + 2 * i));
    } else {
        const struct entro_dtype_info *info = entro_dtype_info(dtype);
        void (*read_block)(const uint8_t *, float *) = block_reader(dtype);
        for (size_t i = 0; i < n_elements / info->block_elements; i++)
            read_block(source + i * info->block_bytes, target + i * info->block_elements);
    }
}
