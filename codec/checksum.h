/*
 * XXH3-64 of a block's stored bytes, by the widest instructions that this processor has: the decoder runs at
 * several GB/s a core, and a library built for SSE2 alone would take a third of its time.
 */
#ifndef ENTRO_CHECKSUM_H
#define ENTRO_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The same as XXH3_64bits for any input. Thread-safe. */
uint64_t entro_checksum64(const void *bytes, size_t size_bytes);

/* A way to compute it: all give the same. Internal; for the choice at run time and for tests. */
typedef uint64_t entro_checksum64_function(const void *bytes, size_t size_bytes);

struct entro_checksum_variant {
    const char *name;
    entro_checksum64_function *checksum64;
};

/* The variants that this processor can run, best first; *n is their number, at least 1. */
#define ENTRO_CHECKSUM_MAX_VARIANTS 3
void entro_checksum_variants(struct entro_checksum_variant variants[ENTRO_CHECKSUM_MAX_VARIANTS], size_t *n);

#if defined(__x86_64__)
entro_checksum64_function entro_checksum64_avx2;
entro_checksum64_function entro_checksum64_avx512;
#endif

#endif
