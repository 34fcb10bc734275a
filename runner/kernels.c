/* Which variant of the kernels this machine runs; see kernels.h. */
#include "runner/kernels.h"

#include <stdbool.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "runner/kernels_internal.h"

#ifdef __x86_64__
/* By hand: not every compiler's __builtin_cpu_supports knows this name. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool has_vnni(void)
{
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

/* Linux gives a process the use of the tile registers when it asks, and with it the memory to save them. */
static bool has_amx(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, TILE = 1 << 24, INT8 = 1 << 25 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & TILE) != 0 && (d & INT8) != 0 &&
           syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

const struct entro_kernels *entro_kernels_by_name(const char *name)
{
    if (strcmp(name, "portable") == 0)
        return &entro_kernels_portable;
#ifdef __aarch64__
    if (strcmp(name, "neon") == 0)
        return &entro_kernels_neon;
#endif
#ifdef __x86_64__
    if (strcmp(name, "avx2") == 0 && has_avx2())
        return &entro_kernels_avx2;
    if (strcmp(name, "avx512") == 0 && has_avx512())
        return &entro_kernels_avx512;
    if (strcmp(name, "vnni") == 0 && has_avx512() && has_vnni())
        return &entro_kernels_vnni;
    if (strcmp(name, "amx") == 0 && has_avx512() && has_vnni() && has_amx())
        return &entro_kernels_amx;
#endif
    return NULL;
}

const struct entro_kernels *entro_kernels_best(void)
{
    static const char *const fastest_first[] = {"amx", "vnni", "avx512", "avx2", "neon"};
    for (size_t i = 0; i < sizeof fastest_first / sizeof fastest_first[0]; i++) {
        const struct entro_kernels *kernels = entro_kernels_by_name(fastest_first[i]);
        if (kernels != NULL)
            return kernels;
    }
    return &entro_kernels_portable;
}
