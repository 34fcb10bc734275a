/*
 * Decoding a range of a block: as in a wavelet tree, the symbols a..b of a node are, of its left child, those
 * from the zeros before bit a of its bitmap to the zeros before bit b, and of its right child the same with
 * ones. A pass from the root down finds all ranges, a second one from the leaves up decodes them alone.
 * Source: Grossi, Gupta, Vitter, "High-order entropy-compressed text indexes", SODA 2003.
 */
#include <stdbool.h>
#include <string.h>

#include "codec/pivot.h"
#include "codec/pivot_walk.h"

/* Kernels begin with a byte of a bitmap, or of packed numbers: at every eighth symbol. */
#define ALIGN 8u

/* Where each step's record begins, in the scratch; false where they do not end exactly with the block. */
static bool place_records(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch, size_t offset,
                          size_t stored_bytes, bool *is_root_coded)
{
    *is_root_coded = false;
    for (unsigned i = 0; i < pivot->n_steps; i++) {
        const struct entro_pivot_step *step = &pivot->steps[i];
        size_t n = entro_pivot_count(scratch, step->first_leaf, step->end_leaf);
        unsigned width = step->is_leaf ? pivot->leaves[step->first_leaf].width : 1;
        scratch->range_of_step[i] = (struct entro_pivot_range){.record = (uint32_t)offset};
        if (step->is_leaf ? n == 0 : !entro_pivot_is_merge(scratch, step))
            continue;
        size_t n_bytes = (n * width + 7) / 8, left_bytes = stored_bytes - offset;
        if (i + 1u == pivot->n_steps && pivot->root != NULL && left_bytes < n_bytes) {
            *is_root_coded = true;
            n_bytes = left_bytes;
        }
        if (n_bytes > left_bytes)
            return false;
        offset += n_bytes;
    }
    return offset == stored_bytes;
}

/* The root's bitmap as far as it is needed, where it is coded; NULL where no encoder writes it. */
static const uint8_t *decode_root(const struct entro_pivot *pivot, const uint8_t *record, size_t record_bytes,
                                  size_t size, size_t end, struct entro_pivot_scratch *scratch)
{
    if (entro_pivot_decode_range(pivot->root, record, record_bytes, (size + 7) / 8, 0, (end + 7) / 8,
                                 scratch->bitmap, scratch->root) != ENTRO_OK)
        return NULL;
    return scratch->bitmap;
}

/* What its parent wants of a child: symbols begin..end-1, in a list of that buffer that begins at `place` or
 * a little behind. Returns how much room it takes there. */
static uint32_t want(struct entro_pivot_scratch *scratch, unsigned child, unsigned buffer, uint32_t place,
                     uint32_t begin, uint32_t end)
{
    struct entro_pivot_range *range = &scratch->range_of_step[child];
    range->begin = begin / ALIGN * ALIGN;
    range->end = begin < end ? end : range->begin; /* nothing wanted: nothing widened */
    range->place = place;
    scratch->buffer_of_step[child] = (uint8_t)buffer;
    return range->end - range->begin + ENTRO_PIVOT_SLOP_BYTES;
}

/*
 * From the root down: the ranges of all steps. The lists of a merge lie one behind the other in the buffer
 * that it does not write to, from the place on at which it writes in the other: what is alive while the right
 * one is made lies before it. False where a bitmap has more ones or zeros than there are symbols.
 */
static bool place_ranges(const struct entro_pivot *pivot, const uint8_t *stored, const uint8_t *root_bitmap,
                         struct entro_pivot_scratch *scratch)
{
    size_t (*count_ones)(const uint8_t *, size_t) = scratch->kernels->count_ones;
    for (unsigned i = pivot->n_steps; i-- > 0;) {
        const struct entro_pivot_step *step = &pivot->steps[i];
        struct entro_pivot_range *range = &scratch->range_of_step[i];
        if (step->is_leaf || range->begin == range->end)
            continue;
        unsigned buffer = scratch->buffer_of_step[i];
        uint32_t n_left = (uint32_t)entro_pivot_count(scratch, step->first_leaf, step->split_leaf);
        uint32_t n_right = (uint32_t)entro_pivot_count(scratch, step->split_leaf, step->end_leaf);
        if (n_left == 0 || n_right == 0) { /* a node of one child is that child */
            unsigned child = n_left == 0 ? step->right : step->left;
            want(scratch, child, buffer, range->place, range->begin, range->end);
            continue;
        }
        const uint8_t *bitmap =
            i + 1u == pivot->n_steps && root_bitmap != NULL ? root_bitmap : stored + range->record;
        uint32_t from = (uint32_t)count_ones(bitmap, range->begin);
        uint32_t to = from + (uint32_t)count_ones(bitmap + range->begin / 8, range->end - range->begin);
        if (to > n_right || range->end - to > n_left)
            return false;
        range->ones_before = from;
        uint32_t place = range->place;
        if (entro_pivot_constant(pivot, scratch, step->first_leaf, step->split_leaf) == NULL)
            place += want(scratch, step->left, 1 - buffer, place, range->begin - from, range->end - to);
        if (entro_pivot_constant(pivot, scratch, step->split_leaf, step->end_leaf) == NULL)
            want(scratch, step->right, 1 - buffer, place, from, to);
    }
    return true;
}

/* From `begin` on of a child of a merge, or its one symbol. */
static const uint8_t *list_of(const struct entro_pivot_scratch *scratch, const uint8_t *constant,
                              const uint8_t *buffer, unsigned child, uint32_t begin)
{
    return constant != NULL ? constant : buffer + scratch->range_of_step[child].place + begin % ALIGN;
}

/* From the leaves up: the lists of the ranges. Returns that of the whole block; `top`, if not NULL, is where
 * it goes. */
static const uint8_t *decode_ranges(const struct entro_pivot *pivot, const uint8_t *stored,
                                    const uint8_t *root_bitmap, size_t size, uint8_t *top,
                                    struct entro_pivot_scratch *scratch)
{
    const struct entro_pivot_kernels *kernels = scratch->kernels;
    uint8_t *const buffers[2] = {scratch->even, scratch->odd};
    uint8_t *list = NULL;
    for (unsigned i = 0; i < pivot->n_steps; i++) {
        const struct entro_pivot_step *step = &pivot->steps[i];
        const struct entro_pivot_range *range = &scratch->range_of_step[i];
        if (range->begin == range->end || (!step->is_leaf && !entro_pivot_is_merge(scratch, step)))
            continue;
        size_t n = range->end - range->begin;
        bool is_top = entro_pivot_count(scratch, step->first_leaf, step->end_leaf) == size;
        list = is_top && top != NULL ? top : buffers[scratch->buffer_of_step[i]] + range->place;
        const uint8_t *record = stored + range->record;
        if (step->is_leaf) {
            const struct entro_pivot_leaf *leaf = &pivot->leaves[step->first_leaf];
            kernels->unpack[leaf->width](list, n, record + range->begin / ALIGN * leaf->width,
                                         &pivot->symbol_of_rank[leaf->first_rank]);
            continue;
        }
        if (i + 1u == pivot->n_steps && root_bitmap != NULL)
            record = root_bitmap;
        const uint8_t *bitmap = record + range->begin / ALIGN;
        const uint8_t *below = buffers[1 - scratch->buffer_of_step[i]];
        const uint8_t *left = entro_pivot_constant(pivot, scratch, step->first_leaf, step->split_leaf);
        const uint8_t *right = entro_pivot_constant(pivot, scratch, step->split_leaf, step->end_leaf);
        kernels->merge[left != NULL][right != NULL](
            list, n, bitmap, list_of(scratch, left, below, step->left, range->begin - range->ones_before),
            list_of(scratch, right, below, step->right, range->ones_before), bitmap);
    }
    return list;
}

enum entro_error entro_pivot_decode_range(const struct entro_pivot *pivot, const uint8_t *stored,
                                          size_t stored_bytes, size_t size, size_t first, size_t n,
                                          uint8_t *target, struct entro_pivot_scratch *scratch)
{
    if (size == 0 || size > ENTRO_BLOCK_MAX_BYTES)
        return ENTRO_ERROR_FORMAT;
    if (first > size || n > size - first)
        return ENTRO_ERROR_ARGUMENT;
    size_t records = entro_pivot_get_counts(pivot, scratch, stored, stored_bytes, size);
    bool is_root_coded;
    if (records == 0 || !place_records(pivot, scratch, records, stored_bytes, &is_root_coded))
        return ENTRO_ERROR_FORMAT;
    if (n == 0)
        return ENTRO_OK;
    const uint8_t *constant = entro_pivot_constant(pivot, scratch, 0, pivot->n_leaves);
    if (constant != NULL) {
        memset(target, *constant, n);
        return ENTRO_OK;
    }
    unsigned root = pivot->n_steps - 1u;
    const uint8_t *root_bitmap = NULL;
    if (is_root_coded) {
        size_t record = scratch->range_of_step[root].record;
        root_bitmap = decode_root(pivot, stored + record, stored_bytes - record, size, first + n, scratch);
        if (root_bitmap == NULL)
            return ENTRO_ERROR_FORMAT;
    }
    want(scratch, root, 0, 0, (uint32_t)first, (uint32_t)(first + n));
    if (!place_ranges(pivot, stored, root_bitmap, scratch))
        return ENTRO_ERROR_FORMAT;
    bool is_aligned = first % ALIGN == 0;
    const uint8_t *list =
        decode_ranges(pivot, stored, root_bitmap, size, is_aligned ? target : NULL, scratch);
    if (!is_aligned)
        memcpy(target, list + first % ALIGN, n);
    return ENTRO_OK;
}
