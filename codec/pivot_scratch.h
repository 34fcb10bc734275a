/* Scratch memory of the pivot coder's walks. Internal to the pivot coder. */
#ifndef ENTRO_PIVOT_SCRATCH_H
#define ENTRO_PIVOT_SCRATCH_H

#include <stdint.h>

#include "codec/format.h"
#include "codec/pivot_kernels.h"
#include "codec/pivot_plan.h"

/* A list for each leaf at most, one behind another, each with its slop. */
#define ENTRO_PIVOT_LISTS_BYTES (ENTRO_BLOCK_MAX_BYTES + ENTRO_PIVOT_MAX_LEAVES * ENTRO_PIVOT_SLOP_BYTES)

/* The ranks that reach a node of an encoder's tree. */
struct entro_pivot_list {
    uint32_t n;
    uint32_t buffer; /* 0 even, 1 odd */
    uint32_t offset;
    uint32_t other_offset; /* from where on the other buffer is free */
};

/* What a decoder of a range needs of a step's symbols. */
struct entro_pivot_range {
    uint32_t begin, end;  /* the symbols, from a multiple of 8 on */
    uint32_t place;       /* of their list in a buffer */
    uint32_t record;      /* offset of the step's record in the block */
    uint32_t ones_before; /* of a merge: in its bitmap before `begin` */
};

struct entro_pivot_scratch {
    const struct entro_pivot_kernels *kernels;
    struct entro_pivot_scratch *root; /* for the root's bitmaps; NULL in that one itself */
    const uint8_t *next;              /* to be prefetched; NULL: nothing */
    size_t next_bytes;
    uint32_t leaf_counts[ENTRO_PIVOT_MAX_LEAVES];
    /* Of a decoder, before each leaf and behind the last one: the symbols, the leaves that have any, and
     * where in a buffer the list of a subtree begins whose first leaf this is. */
    uint32_t symbols_before[ENTRO_PIVOT_MAX_LEAVES + 1];
    uint32_t leaves_before[ENTRO_PIVOT_MAX_LEAVES + 1];
    uint32_t lists[ENTRO_PIVOT_MAX_LEAVES + 1];
    uint8_t used_leaves[ENTRO_PIVOT_MAX_LEAVES]; /* those that have symbols */
    uint8_t buffer_of_step[ENTRO_PIVOT_MAX_STEPS];
    struct entro_pivot_range range_of_step[ENTRO_PIVOT_MAX_STEPS];
    uint8_t bitmap[ENTRO_BLOCK_MAX_BYTES / 8 + ENTRO_PIVOT_SLOP_BYTES]; /* the root's */
    /* Of an encoder: */
    struct entro_pivot_list list_of_step[ENTRO_PIVOT_MAX_STEPS];
    /*
     * Two buffers for lists of symbols (of an encoder: ranks): what a merge reads is in one, what it writes
     * in the other. A merge under a hostile bitmap may read a whole block's size from the start of any list
     * on. The first one is no multiple of 4 KiB, so that the second does not lie where a store to one looks
     * like a conflict with a load from the other.
     */
    uint8_t even[ENTRO_PIVOT_LISTS_BYTES + ENTRO_BLOCK_MAX_BYTES + 2048 + 64];
    uint8_t odd[ENTRO_PIVOT_LISTS_BYTES + ENTRO_BLOCK_MAX_BYTES + ENTRO_PIVOT_SLOP_BYTES];
};

/* What a kernel that passes over n symbols is to fetch: the next part of what is to be prefetched, or, when
 * all of that is done, nothing new: `near`, which is in the cache. */
static inline const uint8_t *entro_pivot_ahead(struct entro_pivot_scratch *scratch, size_t n,
                                               const uint8_t *near)
{
    if (scratch->next_bytes == 0)
        return near;
    const uint8_t *ahead = scratch->next;
    size_t n_bytes = ENTRO_PIVOT_AHEAD_BYTES(n);
    n_bytes = n_bytes < scratch->next_bytes ? n_bytes : scratch->next_bytes;
    scratch->next += n_bytes;
    scratch->next_bytes -= n_bytes;
    return ahead;
}

_Static_assert((ENTRO_PIVOT_LISTS_BYTES + ENTRO_BLOCK_MAX_BYTES + 2048 + 64) % 4096 >= 1024 &&
                   (ENTRO_PIVOT_LISTS_BYTES + ENTRO_BLOCK_MAX_BYTES + 2048 + 64) % 4096 <= 3072,
               "the buffers are apart from a multiple of 4 KiB");

#endif
