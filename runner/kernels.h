/*
 * The inner loops of the CPU backend: the dot product of one row of weights with an F32 vector, for each way
 * weights are stored. What scales, zero points and outliers add is matrix.h's business.
 */
#ifndef ENTRO_RUNNER_KERNELS_H
#define ENTRO_RUNNER_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/*
 * The sum of the products of row[0..n) and x[0..n). `row` needs no alignment and nothing behind its last
 * element is read; n may be 0. The order of the sum, and so the last bits of the result, differ between
 * variants; one variant always gives the same bits.
 */
typedef float entro_dot_function(const uint8_t *row, const float *x, size_t n);

struct entro_kernels {
    const char *name;
    entro_dot_function *dot_u8; /* a byte an element, 0..255 */
    entro_dot_function
        *dot_u4; /* two elements a byte, the even one in the low nibble; element 0 is a low nibble */
    entro_dot_function *dot_f32;  /* little-endian F32 */
    entro_dot_function *dot_f16;  /* little-endian F16 */
    entro_dot_function *dot_bf16; /* little-endian BF16 */
    /* y[i] += factor * row[i], row as F16 (the values of the KV cache). */
    void (*add_f16)(float *y, float factor, const uint8_t *row, size_t n);
};

/* The reference for all others. */
extern const struct entro_kernels entro_kernels_portable;

/*
 * The variant called "portable", "avx2" or "avx512"; NULL where there is no such name or this machine cannot
 * run it. Thread-safe, as is entro_kernels_best: the fastest variant that this machine runs.
 */
const struct entro_kernels *entro_kernels_by_name(const char *name);
const struct entro_kernels *entro_kernels_best(void);

#endif
