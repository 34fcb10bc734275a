/*
 * The inner loops of the pivot coder, behind one table a variant. Variants give the same bytes for the same
 * input; the portable one is the reference. The walks (pivot_decode.c, pivot_encode.c) have checked all
 * sizes: kernels trust them. Internal to the pivot coder.
 */
#ifndef ENTRO_PIVOT_KERNELS_H
#define ENTRO_PIVOT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/lengths.h"

/*
 * Kernels may read this many bytes behind each bitmap, packed record and list of ranks, and write as many
 * behind ranks and the two lists of a partition. Everything else (decoded lists, bitmaps, packed records) is
 * written exactly.
 */
#define ENTRO_PIVOT_SLOP_BYTES 64

/*
 * Kernels that pass over n symbols may meanwhile bring the ENTRO_PIVOT_AHEAD_BYTES(n) bytes from `ahead` on
 * into the cache, evenly: memory that will be needed soon, at no cost while the loop computes. (Asked for at
 * once, they stall it.) Any address is allowed; it need not be readable.
 */
#define ENTRO_PIVOT_AHEAD_BYTES(n) ((n) / 4)

/*
 * target[i] is the next byte of right where bit i is set, else of left; returns the number of ones among the
 * n bits. A constant side is one byte, which is never used up. The bitmap need not fit the lists: each may be
 * read n bytes (and the slop) from its start on, and what target holds then means nothing. `ahead`: see
 * above.
 */
typedef size_t entro_pivot_merge(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                                 const uint8_t *right, const uint8_t *ahead);

/* target[i] = symbols[the i-th number of `width` bits]. */
typedef void entro_pivot_unpack(uint8_t *target, size_t n, const uint8_t *packed, const uint8_t *symbols);

/* The inverse: packs ranks[i] - first_rank, each less than 2^width, and clears the unused bits of the last
 * byte. */
typedef void entro_pivot_pack(uint8_t *packed, const uint8_t *ranks, size_t n, uint8_t first_rank);

/*
 * Bit i is set where ranks[i] >= split_rank: those go to right, the others to left, in order; returns the
 * number of ones. Either may be NULL: not wanted; right may be ranks. Clears the unused bits of the bitmap's
 * last byte.
 */
typedef size_t entro_pivot_partition(uint8_t *bitmap, const uint8_t *ranks, size_t n, uint8_t split_rank,
                                     uint8_t *left, uint8_t *right, const uint8_t *ahead);

struct entro_pivot_kernels {
    const char *name;
    entro_pivot_merge *merge[2][2];    /* [left is a constant][right is a constant] */
    entro_pivot_unpack *unpack[8 + 1]; /* [width], 1 to 8 */
    entro_pivot_pack *pack[8 + 1];     /* [width], 1 to 8 */
    entro_pivot_partition *partition;
    size_t (*count_ones)(const uint8_t *bitmap, size_t n); /* among the first n bits, any n */
    /* ranks[i] = rank_of_symbol[symbols[i]]; returns the largest. Symbols have no slop. */
    uint8_t (*rank)(uint8_t *ranks, const uint8_t *symbols, size_t n,
                    const uint8_t rank_of_symbol[ENTRO_N_SYMBOLS]);
};

extern const struct entro_pivot_kernels entro_pivot_portable;
extern const struct entro_pivot_kernels entro_pivot_avx2;   /* x86-64 only */
extern const struct entro_pivot_kernels entro_pivot_avx512; /* x86-64 only */
extern const struct entro_pivot_kernels entro_pivot_neon;   /* aarch64 only */

/* The variant of that name; NULL where there is none or this machine cannot run it. Thread-safe. */
const struct entro_pivot_kernels *entro_pivot_kernels_by_name(const char *name);

/* The variants that this machine runs, slowest (portable) first; `i` from 0 on, NULL behind the last. */
const struct entro_pivot_kernels *entro_pivot_kernels_at(unsigned i);

/* The variant that the environment variable ENTRO_KERNEL names, else the fastest; the choice is made once. A
 * name that cannot be had gives the portable one here, and an error in pivot.h's entro_pivot_check_kernel.
 * Thread-safe. */
const struct entro_pivot_kernels *entro_pivot_kernels_best(void);

#endif
