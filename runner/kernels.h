/*
 * The inner loops of the CPU backend: the dot product of one row of weights with an F32 vector, for each way
 * weights are stored. What scales, zero points and outliers add is matrix.h's business.
 */
#ifndef ENTRO_RUNNER_KERNELS_H
#define ENTRO_RUNNER_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runner/kernels_fixed.h"

/*
 * The sum of the products of row[0..n) and x[0..n). `row` needs no alignment and nothing behind its last
 * element is read; n may be 0. The order of the sum, and so the last bits of the result, differ between
 * variants; one variant always gives the same bits.
 */
typedef float entro_dot_function(const uint8_t *row, const float *x, size_t n);

/* out[j] = factor * column[j] * (code j of `row` - zero_point); no column factors where `column` is NULL.
 * Rows as those of dot_u8 and dot_u4. */
typedef void entro_widen_codes_function(const uint8_t *row, size_t n, float zero_point, float factor,
                                        const float *column, float *out);
typedef void entro_widen_function(const uint8_t *row, size_t n, float *out);

/* Rows of weights that are multiplied together. */
#define ENTRO_TILE_ROWS 32

/* panel[j][r] = rows[r][j] for r < ENTRO_TILE_ROWS, j < n. Elements of 4 bytes each, whatever they hold; rows
 * lie `stride` elements apart; the panel is aligned to 64 bytes. */
typedef void entro_transpose_function(const void *rows, size_t stride, size_t n, void *panel);

/*
 * y[t*y_stride + r] = the sum of panel[j][r] * x[t*x_stride + j] over j < n, for r < ENTRO_TILE_ROWS and
 * t < n_tokens; added to what y holds where `add` is true. The panel is aligned to 64 bytes. A token's
 * results do not depend on n_tokens.
 */
typedef void entro_multiply_function(const float *panel, size_t n, const float *x, size_t x_stride,
                                     size_t n_tokens, float *y, size_t y_stride, bool add);

struct entro_kernels {
    const char *name;
    entro_dot_function *dot_u8; /* a byte an element, 0..255 */
    entro_dot_function
        *dot_u4; /* two elements a byte, the even one in the low nibble; element 0 is a low nibble */
    entro_dot_function *dot_f32;  /* little-endian F32 */
    entro_dot_function *dot_f16;  /* little-endian F16 */
    entro_dot_function *dot_bf16; /* little-endian BF16 */
    /* GGUF's blocks of 32, whole ones; NULL where the variant has none. */
    entro_dot_function *dot_q8_0;
    entro_dot_function *dot_q4_0;
    entro_dot_function *dot_q4_1;
    /* y[i] += factor * row[i], row as F16 (the values of the KV cache). */
    void (*add_f16)(float *y, float factor, const uint8_t *row, size_t n);

    /* Rows as F32. */
    entro_widen_codes_function *widen_u8;
    entro_widen_codes_function *widen_u4;
    entro_widen_function *widen_f16;
    entro_widen_function *widen_bf16;

    /* Many vectors at once: see entro_multiply_function. */
    entro_transpose_function *transpose_tile;
    entro_multiply_function *multiply_f32;

    const struct entro_fixed_kernels *fixed; /* products of codes in whole numbers, or NULL */
};

/* The reference for all others. */
extern const struct entro_kernels entro_kernels_portable;

/*
 * The variant called "portable", "avx2", "avx512", "vnni", "amx" or "neon"; NULL where there is no such name
 * or this machine cannot run it. Thread-safe, as is entro_kernels_best: the fastest variant that this machine
 * runs.
 */
const struct entro_kernels *entro_kernels_by_name(const char *name);
const struct entro_kernels *entro_kernels_best(void);

#endif
