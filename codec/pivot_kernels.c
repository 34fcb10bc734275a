/* Which variant of the kernels runs: by what the processor has, or by name. */
#include "codec/pivot_kernels.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/pivot.h"

static bool always(void)
{
    return true;
}

#if defined(__x86_64__)
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("popcnt");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vpopcntdq");
}
#endif

/* Slowest first. */
static const struct {
    const struct entro_pivot_kernels *kernels;
    bool (*runs_here)(void);
} variants[] = {
    {&entro_pivot_portable, always},
#if defined(__x86_64__)
    {&entro_pivot_avx2, has_avx2},
    {&entro_pivot_avx512, has_avx512},
#elif defined(__aarch64__)
    {&entro_pivot_neon, always},
#endif
};

#define N_VARIANTS (sizeof variants / sizeof variants[0])

const struct entro_pivot_kernels *entro_pivot_kernels_at(unsigned i)
{
    for (size_t k = 0; k < N_VARIANTS; k++) {
        if (variants[k].runs_here() && i-- == 0)
            return variants[k].kernels;
    }
    return NULL;
}

const struct entro_pivot_kernels *entro_pivot_kernels_by_name(const char *name)
{
    const struct entro_pivot_kernels *kernels;
    for (unsigned i = 0; (kernels = entro_pivot_kernels_at(i)) != NULL; i++) {
        if (strcmp(kernels->name, name) == 0)
            return kernels;
    }
    return NULL;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct entro_pivot_kernels *best;
static const char *missing; /* the name that was asked for in vain */

static void choose(void)
{
    const char *name = getenv("ENTRO_KERNEL");
    if (name != NULL && *name != '\0') {
        best = entro_pivot_kernels_by_name(name);
        if (best == NULL) {
            missing = name;
            best = &entro_pivot_portable;
        }
        return;
    }
    const struct entro_pivot_kernels *kernels;
    for (unsigned i = 0; (kernels = entro_pivot_kernels_at(i)) != NULL; i++)
        best = kernels;
}

const struct entro_pivot_kernels *entro_pivot_kernels_best(void)
{
    pthread_once(&once, choose);
    return best;
}

enum entro_error entro_pivot_check_kernel(struct entro_message *message)
{
    pthread_once(&once, choose);
    if (missing == NULL)
        return ENTRO_OK;
    char names[64] = "";
    const struct entro_pivot_kernels *kernels;
    for (unsigned i = 0; (kernels = entro_pivot_kernels_at(i)) != NULL; i++) {
        strncat(names, i > 0 ? ", " : "", sizeof names - strlen(names) - 1);
        strncat(names, kernels->name, sizeof names - strlen(names) - 1);
    }
    return entro_fail(message, ENTRO_ERROR_ARGUMENT, "ENTRO_KERNEL=%s: this machine runs %s", missing, names);
}
