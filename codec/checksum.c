/* The choice between the builds of xxHash; see checksum.h. The library's own is the reference. */
#include "codec/checksum.h"

#include <stdatomic.h>
#include <xxhash.h>

static uint64_t checksum64_library(const void *bytes, size_t size_bytes)
{
    return XXH3_64bits(bytes, size_bytes);
}

void entro_checksum_variants(struct entro_checksum_variant variants[ENTRO_CHECKSUM_MAX_VARIANTS], size_t *n)
{
    *n = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        variants[(*n)++] = (struct entro_checksum_variant){"avx512", entro_checksum64_avx512};
    if (__builtin_cpu_supports("avx2"))
        variants[(*n)++] = (struct entro_checksum_variant){"avx2", entro_checksum64_avx2};
#endif
    variants[(*n)++] = (struct entro_checksum_variant){"library", checksum64_library};
}

uint64_t entro_checksum64(const void *bytes, size_t size_bytes)
{
    static _Atomic(entro_checksum64_function *) chosen; /* by whoever comes first: all choose the same */
    entro_checksum64_function *function = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (function == NULL) {
        struct entro_checksum_variant variants[ENTRO_CHECKSUM_MAX_VARIANTS];
        size_t n;
        entro_checksum_variants(variants, &n);
        function = variants[0].checksum64;
        atomic_store_explicit(&chosen, function, memory_order_relaxed);
    }
    return function(bytes, size_bytes);
}
