/*
 * What the decoders of whole blocks (pivot_decode.c) and of ranges (pivot_range.c) find out from a block's
 * counts before they touch its records. Internal to the pivot coder.
 */
#ifndef ENTRO_PIVOT_WALK_H
#define ENTRO_PIVOT_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/pivot_plan.h"
#include "codec/pivot_scratch.h"

/* Reads the leaf counts, which must add up to size, and what follows from them, into the scratch; the bytes
 * used, or 0 where no encoder writes them. */
size_t entro_pivot_get_counts(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch,
                              const uint8_t *stored, size_t stored_bytes, size_t size);

/* How many of the block's symbols are in the leaves first..end-1. */
static inline size_t entro_pivot_count(const struct entro_pivot_scratch *scratch, unsigned first,
                                       unsigned end)
{
    return scratch->symbols_before[end] - scratch->symbols_before[first];
}

/* Whether symbols go both ways: else an inner node has no record, and its list is its child's. */
static inline bool entro_pivot_is_merge(const struct entro_pivot_scratch *scratch,
                                        const struct entro_pivot_step *step)
{
    const uint32_t *before = scratch->leaves_before;
    return before[step->first_leaf] < before[step->split_leaf] &&
           before[step->split_leaf] < before[step->end_leaf];
}

/* The one symbol of the leaves first..end-1, which are not all empty; NULL where they have several. */
static inline const uint8_t *entro_pivot_constant(const struct entro_pivot *pivot,
                                                  const struct entro_pivot_scratch *scratch, unsigned first,
                                                  unsigned end)
{
    uint32_t used = scratch->leaves_before[first];
    if (scratch->leaves_before[end] != used + 1)
        return NULL;
    const struct entro_pivot_leaf *leaf = &pivot->leaves[scratch->used_leaves[used]];
    return leaf->width == 0 ? &pivot->symbol_of_rank[leaf->first_rank] : NULL;
}

#endif
