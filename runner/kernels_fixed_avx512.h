/* What the AVX-512 variants of the whole-number kernels share: how three sums become results. */
#ifndef ENTRO_RUNNER_KERNELS_FIXED_AVX512_H
#define ENTRO_RUNNER_KERNELS_FIXED_AVX512_H

#include <immintrin.h>

#include "runner/kernels_fixed.h"

/* 16 rows' sums of each digit, less what the zero point adds. The differences are exact. */
static inline __m512 entro_fixed_result(const __m512i sums[ENTRO_FIXED_DIGITS],
                                        const struct entro_fixed_block *block, int32_t zero)
{
    __m512 value = _mm512_setzero_ps();
    for (int d = 0; d < ENTRO_FIXED_DIGITS; d++) {
        __m512i exact = _mm512_sub_epi32(sums[d], _mm512_set1_epi32(zero * block->sums[d]));
        value = _mm512_fmadd_ps(value, _mm512_set1_ps(256.0F), _mm512_cvtepi32_ps(exact));
    }
    return _mm512_mul_ps(value, _mm512_set1_ps(block->scale));
}

static inline void entro_fixed_store(float *y, __m512 result, __m512 factors, const float *addend)
{
    if (addend != NULL)
        result = _mm512_fmadd_ps(result, factors, _mm512_loadu_ps(addend));
    else
        result = _mm512_mul_ps(result, factors);
    _mm512_storeu_ps(y, result);
}

#endif
