/* Which variant of the view kernels runs; see view_kernels.h. */
#include "codec/view_kernels.h"

#include <stdbool.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* By hand: not every compiler's __builtin_cpu_supports knows this name. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && has_f16c();
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi");
}
#endif

const struct entro_view_kernels *entro_view_kernels_at(unsigned i)
{
#if defined(__x86_64__)
    if (has_avx512() && i-- == 0)
        return &entro_view_avx512;
    if (has_avx2() && i-- == 0)
        return &entro_view_avx2;
#endif
    (void)i;
    return NULL;
}
