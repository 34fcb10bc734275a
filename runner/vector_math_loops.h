/*
 * The loops of vector_math.h, compiled once for each set of instructions: the file that includes this defines
 * VARIANT, the name of its struct entro_vector_math.
 */
#include <math.h>

#include "codec/half.h"
#include "runner/vector_math.h"

/* Partial results: as many as the widest vectors have elements. */
#define LANES 16

/* Elements that a step of several loops takes at a time. */
#define PIECE ((size_t)256)

/*
 * exp(x) = 2^n exp(r) with n = round(x / ln 2), |r| <= ln 2 / 2. Polynomial and constants: Cephes Math
 * Library, expf.c (Moshier). x is clamped to what F32 holds; NaN stays NaN.
 */
static inline float exp_one(float x)
{
    const float magic = 12582912.0F; /* 1.5 * 2^23: adding it rounds to a whole number */
    x = x < -87.0F ? -87.0F : x;
    x = x > 88.0F ? 88.0F : x;
    float shifted = x * 1.44269504F + magic;
    float whole = shifted - magic;
    float r = x - whole * 0.693359375F + whole * 2.12194440e-4F;
    float y = 1.9875691500e-4F;
    y = y * r + 1.3981999507e-3F;
    y = y * r + 8.3334519073e-3F;
    y = y * r + 4.1665795894e-2F;
    y = y * r + 1.6666665459e-1F;
    y = y * r + 5.0000001201e-1F;
    y = y * r * r + r + 1.0F;
    /* The whole number is in the low bits of `shifted`: it goes to the exponent. */
    return y * entro_f32_from_bits((entro_f32_bits(shifted) << 23) + 0x3f800000U);
}

static void rms_norm(const float *x, const float *weight, float epsilon, size_t n, float *out)
{
    double lanes[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    float factor = 1.0F / sqrtf((float)(sum / (double)n) + epsilon);
    for (i = 0; i < n; i++)
        out[i] = x[i] * factor * weight[i];
}

static float largest(const float *x, size_t n)
{
    float lanes[LANES], result = -INFINITY;
    size_t i = 0;
    for (size_t j = 0; j < LANES; j++)
        lanes[j] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    for (; i < n; i++)
        result = x[i] > result ? x[i] : result;
    for (size_t j = 0; j < LANES; j++)
        result = lanes[j] > result ? lanes[j] : result;
    return result;
}

static float exp_sum(float *x, float shift, size_t n)
{
    float lanes[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            x[i + j] = exp_one(x[i + j] - shift);
            lanes[j] += x[i + j];
        }
    for (; i < n; i++) {
        x[i] = exp_one(x[i] - shift);
        sum += x[i];
    }
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

/* exps[i] = exp(x[i]), in a loop of its own: joined to a division, a compiler divides by the limits of
 * exp_one too, for which there are no normal results, and those take a hundred times as long. */
static void exps_of(const float *restrict x, float *restrict exps, size_t n)
{
    for (size_t i = 0; i < n; i++)
        exps[i] = exp_one(x[i]);
}

static void silu_times(float *restrict gate, const float *restrict up, size_t n)
{
    float inner[PIECE], exps[PIECE];
    for (; n > 0; gate += PIECE, up += PIECE) {
        size_t n_piece = n < PIECE ? n : PIECE;
        for (size_t i = 0; i < n_piece; i++)
            inner[i] = -gate[i];
        exps_of(inner, exps, n_piece);
        for (size_t i = 0; i < n_piece; i++)
            gate[i] = gate[i] / (1.0F + exps[i]) * up[i];
        n -= n_piece;
    }
}

static void gelu_times(float *restrict gate, const float *restrict up, size_t n)
{
    float inner[PIECE], exps[PIECE];
    for (; n > 0; gate += PIECE, up += PIECE) {
        size_t n_piece = n < PIECE ? n : PIECE;
        for (size_t i = 0; i < n_piece; i++)
            inner[i] = 2 * 0.797884561F * (gate[i] + 0.044715F * gate[i] * gate[i] * gate[i]);
        exps_of(inner, exps, n_piece);
        /* x * (1 + tanh(inner / 2)) / 2 */
        for (size_t i = 0; i < n_piece; i++)
            gate[i] = gate[i] * (1.0F - 1.0F / (1.0F + exps[i])) * up[i];
        n -= n_piece;
    }
}

const struct entro_vector_math VARIANT = {
    .rms_norm = rms_norm,
    .largest = largest,
    .exp_sum = exp_sum,
    .silu_times = silu_times,
    .gelu_times = gelu_times,
};
