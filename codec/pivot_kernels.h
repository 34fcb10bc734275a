/*
 * The inner loops of the pivot coder, behind one table a variant. Variants give the same bytes for the same
 * input; the portable one is the reference. The walk (pivot.c) has checked all sizes: kernels trust them.
 * Internal to the pivot coder.
 */
#ifndef ENTRO_PIVOT_KERNELS_H
#define ENTRO_PIVOT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/lengths.h"

/*
 * Kernels may read this many bytes behind each list, bitmap and packed record, and write as many behind ranks
 * and the two lists of a partition. Everything else (decoded lists, bitmaps, packed records) is written
 * exactly.
 */
#define ENTRO_PIVOT_SLOP_BYTES 64

/* target[i] is the next byte of right where bit i is set, else of left. A constant side is one byte, which is
 * never used up. */
typedef void entro_pivot_merge(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                               const uint8_t *right);

/* target[i] = symbols[the i-th number of `width` bits]. */
typedef void entro_pivot_unpack(uint8_t *target, size_t n, const uint8_t *packed, const uint8_t *symbols);

/* The inverse: packs ranks[i] - first_rank, each less than 2^width, and clears the unused bits of the last
 * byte. */
typedef void entro_pivot_pack(uint8_t *packed, const uint8_t *ranks, size_t n, uint8_t first_rank);

/*
 * Bit i is set where ranks[i] >= split_rank: those go to right, the others to left, in order. Either may be
 * NULL: not wanted. Clears the unused bits of the bitmap's last byte.
 */
typedef void entro_pivot_partition(uint8_t *bitmap, const uint8_t *ranks, size_t n, uint8_t split_rank,
                                   uint8_t *left, uint8_t *right);

struct entro_pivot_kernels {
    const char *name;
    size_t (*count_ones)(const uint8_t *bytes, size_t n_bytes);
    entro_pivot_merge *merge[2][2];    /* [left is a constant][right is a constant] */
    entro_pivot_unpack *unpack[8 + 1]; /* [width], 1 to 8 */
    entro_pivot_pack *pack[8 + 1];     /* [width], 1 to 8 */
    entro_pivot_partition *partition;
    /* ranks[i] = rank_of_symbol[symbols[i]]; sets counts to how often each symbol occurs (n < 2^32). Symbols
     * have no slop. */
    void (*rank)(uint8_t *ranks, const uint8_t *symbols, size_t n,
                 const uint8_t rank_of_symbol[ENTRO_N_SYMBOLS], uint32_t counts[ENTRO_N_SYMBOLS]);
};

extern const struct entro_pivot_kernels entro_pivot_portable;

#endif
