/* The decoder's walk over the tree: places, checks and the order of kernels. The loops over symbols are the
 * kernels'. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/pivot.h"
#include "codec/pivot_walk.h"

struct entro_pivot_scratch *entro_pivot_scratch_create(const struct entro_pivot_kernels *kernels)
{
    struct entro_pivot_scratch *scratch = calloc(1, sizeof *scratch);
    struct entro_pivot_scratch *root = calloc(1, sizeof *root);
    if (scratch == NULL || root == NULL) {
        free(root);
        free(scratch);
        return NULL;
    }
    scratch->kernels = root->kernels = kernels != NULL ? kernels : entro_pivot_kernels_best();
    scratch->root = root;
    return scratch;
}

void entro_pivot_scratch_free(struct entro_pivot_scratch *scratch)
{
    if (scratch != NULL)
        free(scratch->root);
    free(scratch);
}

void entro_pivot_prefetch(struct entro_pivot_scratch *scratch, const uint8_t *next, size_t n_bytes)
{
    scratch->next = next;
    scratch->next_bytes = n_bytes;
}

/* The two lists of a merge are in one buffer, its own list is in the other: that of the merges above it,
 * odd or even. */
static void choose_buffers(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch)
{
    uint8_t *buffers = scratch->buffer_of_step;
    bool none_empty = scratch->leaves_before[pivot->n_leaves] == pivot->n_leaves;
    buffers[pivot->n_steps - 1] = 0;
    for (unsigned i = pivot->n_steps - 1u; i-- > 0;) {
        unsigned parent = pivot->steps[i].parent;
        buffers[i] = buffers[parent] ^ (none_empty || entro_pivot_is_merge(scratch, &pivot->steps[parent]));
    }
}

/* The bits of a record's last byte that belong to no symbol are zero. */
static inline bool has_clear_end(const uint8_t *record, size_t n_bits)
{
    return n_bits % 8 == 0 || record[n_bits / 8] >> n_bits % 8 == 0;
}

struct side {
    const uint8_t *list;
    bool is_constant;
};

/* The symbols of the leaves first..end-1, which are not all empty, in `buffer`; a constant's is its one
 * symbol. */
static inline struct side side_of(const struct entro_pivot *pivot, const struct entro_pivot_scratch *scratch,
                                  const uint8_t *buffer, unsigned first, unsigned end)
{
    const uint8_t *constant = entro_pivot_constant(pivot, scratch, first, end);
    if (constant != NULL)
        return (struct side){constant, true};
    return (struct side){buffer + scratch->lists[first], false};
}

/* The root's record where it is coded: the bitmap, or NULL where no encoder writes it. */
static const uint8_t *decode_root(const struct entro_pivot *pivot, const uint8_t *record, size_t record_bytes,
                                  size_t n_bytes, struct entro_pivot_scratch *scratch)
{
    if (entro_pivot_decode(pivot->root, record, record_bytes, scratch->bitmap, n_bytes, scratch->root) !=
        ENTRO_OK)
        return NULL;
    return scratch->bitmap;
}

/* Makes the lists one after another; false for records that no encoder writes. */
static bool decode_records(const struct entro_pivot *pivot, const uint8_t *stored, size_t offset,
                           size_t stored_bytes, uint8_t *target, size_t size,
                           struct entro_pivot_scratch *scratch)
{
    const struct entro_pivot_kernels *kernels = scratch->kernels;
    const uint32_t *before = scratch->symbols_before;
    uint8_t *const buffers[2] = {scratch->even, scratch->odd};
    for (unsigned i = 0; i < pivot->n_steps; i++) {
        const struct entro_pivot_step *step = &pivot->steps[i];
        size_t n = before[step->end_leaf] - before[step->first_leaf];
        unsigned width = step->is_leaf ? pivot->leaves[step->first_leaf].width : 1;
        if (step->is_leaf ? n == 0 : !entro_pivot_is_merge(scratch, step))
            continue;
        size_t n_bits = n * width, n_bytes = (n_bits + 7) / 8, left_bytes = stored_bytes - offset;
        const uint8_t *record = stored + offset;
        if (i + 1u == pivot->n_steps && pivot->root != NULL && left_bytes < n_bytes) {
            record = decode_root(pivot, record, left_bytes, n_bytes, scratch);
            n_bytes = left_bytes;
        }
        if (record == NULL || n_bytes > left_bytes || !has_clear_end(record, n_bits))
            return false;
        offset += n_bytes;
        unsigned buffer = scratch->buffer_of_step[i];
        uint8_t *list = n == size ? target : buffers[buffer] + scratch->lists[step->first_leaf];
        if (step->is_leaf) {
            kernels->unpack[width](list, n, record,
                                   &pivot->symbol_of_rank[pivot->leaves[step->first_leaf].first_rank]);
            continue;
        }
        const uint8_t *below = buffers[1 - buffer];
        struct side left = side_of(pivot, scratch, below, step->first_leaf, step->split_leaf);
        struct side right = side_of(pivot, scratch, below, step->split_leaf, step->end_leaf);
        /* With as many ones as there are symbols on the right, the merge has used up its lists exactly. */
        if (kernels->merge[left.is_constant][right.is_constant](list, n, record, left.list, right.list,
                                                                entro_pivot_ahead(scratch, n, record)) !=
            before[step->end_leaf] - before[step->split_leaf])
            return false;
    }
    return offset == stored_bytes;
}

static bool decode(const struct entro_pivot *pivot, const uint8_t *stored, size_t stored_bytes,
                   uint8_t *target, size_t size, struct entro_pivot_scratch *scratch)
{
    if (size == 0 || size > ENTRO_BLOCK_MAX_BYTES)
        return false;
    size_t records = entro_pivot_get_counts(pivot, scratch, stored, stored_bytes, size);
    if (records == 0)
        return false;
    struct side all = side_of(pivot, scratch, target, 0, pivot->n_leaves);
    if (all.is_constant) {
        memset(target, *all.list, size);
        return records == stored_bytes;
    }
    choose_buffers(pivot, scratch);
    return decode_records(pivot, stored, records, stored_bytes, target, size, scratch);
}

enum entro_error entro_pivot_decode(const struct entro_pivot *pivot, const uint8_t *stored,
                                    size_t stored_bytes, uint8_t *target, size_t size,
                                    struct entro_pivot_scratch *scratch)
{
    bool is_good = decode(pivot, stored, stored_bytes, target, size, scratch);
    entro_pivot_prefetch(scratch, NULL, 0); /* the hint was for this call */
    return is_good ? ENTRO_OK : ENTRO_ERROR_FORMAT;
}
