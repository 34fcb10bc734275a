/*
 * The encoder's walk over the tree, from the root down: the reverse of the order of the records, which are
 * therefore written from the end of the target backwards. The loops over symbols are the kernels'.
 */
#include <stdbool.h>
#include <string.h>

#include "codec/pivot.h"
#include "codec/pivot_scratch.h"

/* The shortest form; the bytes used. */
static size_t put_leb128(uint8_t bytes[5], uint32_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    return n;
}

/* Writes the leaf counts; the bytes used, or 0 where they exceed capacity. */
static size_t put_counts(const struct entro_pivot *pivot, const struct entro_pivot_scratch *scratch,
                         uint8_t *target, size_t capacity)
{
    size_t offset = 0;
    for (unsigned leaf = 0; leaf < pivot->n_leaves; leaf++) {
        uint8_t bytes[5];
        size_t n_bytes = put_leb128(bytes, scratch->leaf_counts[leaf]);
        if (n_bytes > capacity - offset)
            return 0;
        memcpy(target + offset, bytes, n_bytes);
        offset += n_bytes;
    }
    return offset;
}

/* Says how many symbols go to a child, and where its list is. */
static void set_child(struct entro_pivot_scratch *scratch, uint8_t child, uint8_t leaf,
                      struct entro_pivot_list list)
{
    if (child == ENTRO_PIVOT_NO_STEP)
        scratch->leaf_counts[leaf] = list.n;
    else
        scratch->list_of_step[child] = list;
}

/*
 * Partitions the list of an inner node. What goes right stays in its place: it is dealt with next. What goes
 * left waits in the other buffer, behind what waits there already, until all that is right of it is done.
 * True where symbols go both ways: the bitmap is then the node's record.
 */
static bool partition(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch, unsigned number,
                      uint8_t *bitmap)
{
    const struct entro_pivot_step *step = &pivot->steps[number];
    struct entro_pivot_list list = scratch->list_of_step[number];
    uint8_t *const buffers[2] = {scratch->even, scratch->odd};
    uint8_t *ranks = buffers[list.buffer] + list.offset;
    uint8_t *left = step->left == ENTRO_PIVOT_NO_STEP ? NULL : buffers[1 - list.buffer] + list.other_offset;
    uint8_t *right = step->right == ENTRO_PIVOT_NO_STEP ? NULL : ranks;
    uint32_t n_right = 0;
    if (list.n > 0)
        n_right = (uint32_t)scratch->kernels->partition(bitmap, ranks, list.n, step->split_rank, left, right,
                                                        entro_pivot_ahead(scratch, list.n, ranks));
    uint32_t n_left = list.n - n_right;
    set_child(scratch, step->left, step->first_leaf,
              (struct entro_pivot_list){.n = n_left,
                                        .buffer = 1 - list.buffer,
                                        .offset = list.other_offset,
                                        .other_offset = list.offset});
    set_child(scratch, step->right, step->split_leaf,
              (struct entro_pivot_list){.n = n_right,
                                        .buffer = list.buffer,
                                        .offset = list.offset,
                                        .other_offset = list.other_offset + n_left + ENTRO_PIVOT_SLOP_BYTES});
    return n_left > 0 && n_right > 0;
}

/* These write the record of a node so that it ends at `end`, and return its bytes, or SIZE_MAX where `room`
 * bytes before it are too few. */
static size_t encode_inner(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch,
                           unsigned number, uint8_t *end, size_t room)
{
    size_t n_bytes = (scratch->list_of_step[number].n + 7u) / 8;
    /* Where all symbols go one way there is no record: its bits need not fit. */
    uint8_t *bitmap = n_bytes <= room ? end - n_bytes : scratch->bitmap;
    if (!partition(pivot, scratch, number, bitmap))
        return 0;
    return bitmap == scratch->bitmap ? SIZE_MAX : n_bytes;
}

/* Of a pivot with a codebook for the root. Its record is the first to be written: all the room is free. */
static size_t encode_root(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch,
                          unsigned number, uint8_t *end, size_t room)
{
    size_t n_bytes = (scratch->list_of_step[number].n + 7u) / 8;
    if (!partition(pivot, scratch, number, scratch->bitmap))
        return 0;
    size_t capacity = n_bytes - 1 < room ? n_bytes - 1 : room;
    uint8_t *coded = end - capacity;
    size_t coded_bytes =
        entro_pivot_encode(pivot->root, scratch->bitmap, n_bytes, coded, capacity, scratch->root);
    if (coded_bytes > 0) {
        memmove(end - coded_bytes, coded, coded_bytes);
        return coded_bytes;
    }
    if (n_bytes > room)
        return SIZE_MAX;
    memcpy(end - n_bytes, scratch->bitmap, n_bytes);
    return n_bytes;
}

static size_t encode_leaf(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch,
                          unsigned number, uint8_t *end, size_t room)
{
    const struct entro_pivot_step *step = &pivot->steps[number];
    const struct entro_pivot_leaf *leaf = &pivot->leaves[step->first_leaf];
    struct entro_pivot_list list = scratch->list_of_step[number];
    size_t n_bytes = ((size_t)list.n * leaf->width + 7) / 8;
    scratch->leaf_counts[step->first_leaf] = list.n;
    if (n_bytes > room)
        return SIZE_MAX;
    if (list.n > 0)
        scratch->kernels->pack[leaf->width](end - n_bytes,
                                            (list.buffer == 0 ? scratch->even : scratch->odd) + list.offset,
                                            list.n, leaf->first_rank);
    return n_bytes;
}

static size_t encode(const struct entro_pivot *pivot, const uint8_t *symbols, size_t size, uint8_t *target,
                     size_t capacity, struct entro_pivot_scratch *scratch)
{
    if (size == 0 || size > ENTRO_BLOCK_MAX_BYTES)
        return 0;
    if (scratch->kernels->rank(scratch->even, symbols, size, pivot->rank_of_symbol) >= pivot->n_ranks)
        return 0;
    unsigned number = pivot->n_steps;
    scratch->list_of_step[number - 1] = (struct entro_pivot_list){.n = (uint32_t)size};
    size_t room = capacity;
    while (number-- > 0) {
        bool is_root = number + 1u == pivot->n_steps;
        size_t n_bytes =
            pivot->steps[number].is_leaf     ? encode_leaf(pivot, scratch, number, target + room, room)
            : is_root && pivot->root != NULL ? encode_root(pivot, scratch, number, target + room, room)
                                             : encode_inner(pivot, scratch, number, target + room, room);
        if (n_bytes == SIZE_MAX)
            return 0;
        room -= n_bytes;
    }
    size_t counts_bytes = put_counts(pivot, scratch, target, room);
    if (counts_bytes == 0)
        return 0;
    memmove(target + counts_bytes, target + room, capacity - room);
    return counts_bytes + capacity - room;
}

size_t entro_pivot_encode(const struct entro_pivot *pivot, const uint8_t *symbols, size_t size,
                          uint8_t *target, size_t capacity, struct entro_pivot_scratch *scratch)
{
    size_t coded_bytes = encode(pivot, symbols, size, target, capacity, scratch);
    entro_pivot_prefetch(scratch, NULL, 0); /* the hint was for this call */
    return coded_bytes;
}
