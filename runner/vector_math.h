/*
 * Elementwise functions over vectors, accurate to about 1e-7 of the result. The same C for every processor
 * (vector_math_loops.h), written so that a compiler makes SIMD of it.
 */
#ifndef ENTRO_RUNNER_VECTOR_MATH_H
#define ENTRO_RUNNER_VECTOR_MATH_H

#include <stddef.h>

struct entro_vector_math {
    /* out[i] = x[i] / sqrt(mean of squares + epsilon) * weight[i]: the root mean square norm (Zhang and
     * Sennrich, arXiv 1910.07467). `out` may be x. */
    void (*rms_norm)(const float *x, const float *weight, float epsilon, size_t n, float *out);
    /* The largest of x[0..n); -infinity for none. NaN may be left out. */
    float (*largest)(const float *x, size_t n);
    /* x[i] = exp(x[i] - shift), and returns their sum. Results below 1e-37 are some number below it. */
    float (*exp_sum)(float *x, float shift, size_t n);
    /* gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i]: SwiGLU (Shazeer, arXiv 2002.05202). */
    void (*silu_times)(float *gate, const float *up, size_t n);
    /* The same with GELU's approximation by tanh (Hendrycks and Gimpel, arXiv 1606.08415, section 2). */
    void (*gelu_times)(float *gate, const float *up, size_t n);
};

extern const struct entro_vector_math entro_vector_math_portable;

/* The variant that goes with the kernels of that name (kernels.h): those need the same instructions or more.
 */
const struct entro_vector_math *entro_vector_math_for(const char *kernels);

#endif
