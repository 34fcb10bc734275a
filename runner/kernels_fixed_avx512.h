/* What the AVX-512 variants of the whole-number kernels share: how three sums become results. */
#ifndef ENTRO_RUNNER_KERNELS_FIXED_AVX512_H
#define ENTRO_RUNNER_KERNELS_FIXED_AVX512_H

#include <immintrin.h>

#include "runner/kernels_fixed.h"

static inline __m512 entro_fixed_less_zero(__m512i sums, int32_t digits_sum, int32_t zero)
{
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, _mm512_set1_epi32(zero * digits_sum)));
}

/* 16 rows' sums of each digit, less what the zero point adds. The differences are exact. */
static inline __m512 entro_fixed_result(__m512i high, __m512i middle, __m512i low,
                                        const struct entro_fixed_block *block, int32_t zero)
{
    const __m512 base = _mm512_set1_ps(256.0F);
    __m512 value = entro_fixed_less_zero(high, block->sums[0], zero);
    value = _mm512_fmadd_ps(value, base, entro_fixed_less_zero(middle, block->sums[1], zero));
    value = _mm512_fmadd_ps(value, base, entro_fixed_less_zero(low, block->sums[2], zero));
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
