/* The walk over the tree, of encoder and decoder alike: places, checks and the order of kernels. The loops
 * over symbols are the kernels'. */
#include "codec/pivot.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/pivot_kernels.h"
#include "codec/pivot_plan.h"

/* A list for each leaf at most, one behind another, each with its slop. */
#define LISTS_BYTES (ENTRO_BLOCK_MAX_BYTES + ENTRO_PIVOT_MAX_LEAVES * ENTRO_PIVOT_SLOP_BYTES)
/* Keeps the two buffers from lying a multiple of 4 KiB apart, where a store to one looks like a conflict with
 * a load from the other. */
#define SKEW_BYTES (4096 + 2048 + 64 - LISTS_BYTES % 4096)

/* Which of a block's nodes do something, and where; made anew for each block from its leaf counts. */
struct place {
    uint32_t n_symbols;
    uint32_t list;   /* offset of the node's symbols in their buffer */
    uint32_t record; /* offset in the stored bytes */
    /*
     * The node that makes this node's list: itself where it has a record or is a constant leaf, else the one
     * below that all its symbols pass through.
     */
    int16_t maker;
    uint8_t buffer; /* of a maker that is no constant: which of the two its list is in */
};

struct entro_pivot_scratch {
    struct place places[ENTRO_PIVOT_MAX_NODES];
    int16_t steps[ENTRO_PIVOT_MAX_NODES]; /* the nodes that have a record, in the order of the records */
    unsigned n_steps;
    uint32_t leaf_counts[ENTRO_PIVOT_MAX_LEAVES];
    uint32_t symbol_counts[ENTRO_N_SYMBOLS];
    uint8_t first[LISTS_BYTES];
    uint8_t skew[SKEW_BYTES];
    uint8_t second[LISTS_BYTES];
};

struct entro_pivot_scratch *entro_pivot_scratch_create(void)
{
    return malloc(sizeof(struct entro_pivot_scratch));
}

void entro_pivot_scratch_free(struct entro_pivot_scratch *scratch)
{
    free(scratch);
}

static uint8_t *list_of(struct entro_pivot_scratch *scratch, const struct place *place)
{
    return (place->buffer == 0 ? scratch->first : scratch->second) + place->list;
}

static bool is_constant(const struct entro_pivot *pivot, int16_t node)
{
    return pivot->nodes[node].left < 0 && pivot->leaves[pivot->nodes[node].leaf].width == 0;
}

/*
 * Fills places and steps from leaf_counts, with the first record at record_offset; returns where the last one
 * ends. The counts' sum is at most ENTRO_BLOCK_MAX_BYTES and not 0. Lists of one buffer do not overlap, slop
 * included.
 */
static size_t lay_out(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch,
                      size_t record_offset)
{
    struct place *places = scratch->places;
    uint32_t list = 0;
    scratch->n_steps = 0;
    for (int16_t node = 0; node < pivot->n_nodes; node++) {
        const struct entro_pivot_node *shape = &pivot->nodes[node];
        struct place *place = &places[node];
        size_t n_bits;
        if (shape->left < 0) {
            uint32_t n = scratch->leaf_counts[shape->leaf];
            *place = (struct place){.n_symbols = n, .list = list, .maker = node};
            list += n > 0 ? n + ENTRO_PIVOT_SLOP_BYTES : 0;
            n_bits = (size_t)n * pivot->leaves[shape->leaf].width;
        } else {
            const struct place *left = &places[shape->left], *right = &places[node - 1];
            uint32_t n = left->n_symbols + right->n_symbols;
            *place = (struct place){.n_symbols = n, .list = left->list, .maker = node};
            if (left->n_symbols == 0)
                place->maker = right->maker;
            else if (right->n_symbols == 0)
                place->maker = left->maker;
            n_bits = place->maker == node ? n : 0;
        }
        if (n_bits > 0) {
            place->record = (uint32_t)record_offset;
            record_offset += (n_bits + 7) / 8;
            scratch->steps[scratch->n_steps++] = node;
        }
    }
    /* From the root down: a child's list is in the buffer that its parent's is not in. */
    for (unsigned i = scratch->n_steps; i-- > 0;) {
        int16_t node = scratch->steps[i];
        if (pivot->nodes[node].left < 0)
            continue;
        uint8_t buffer = (uint8_t)(1 - places[node].buffer);
        places[places[pivot->nodes[node].left].maker].buffer = buffer;
        places[places[node - 1].maker].buffer = buffer;
    }
    return record_offset;
}

/* The shortest form of at most five bytes that fits 32 bits; the bytes used, or 0. */
static size_t get_leb128(const uint8_t *bytes, size_t n_bytes, uint32_t *value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n_bytes && i < 5; i++) {
        sum |= (uint64_t)(bytes[i] & 0x7f) << 7 * i;
        if ((bytes[i] & 0x80) == 0) {
            bool is_shortest = i == 0 || bytes[i] != 0;
            *value = (uint32_t)sum;
            return is_shortest && sum <= UINT32_MAX ? i + 1 : 0;
        }
    }
    return 0;
}

static size_t put_leb128(uint8_t bytes[5], uint32_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    return n;
}

/* Reads the leaf counts, which must add up to size; the bytes used, or 0. */
static size_t get_counts(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch,
                         const uint8_t *stored, size_t stored_bytes, size_t size)
{
    size_t offset = 0, sum = 0;
    for (unsigned leaf = 0; leaf < pivot->n_leaves; leaf++) {
        size_t used = get_leb128(stored + offset, stored_bytes - offset, &scratch->leaf_counts[leaf]);
        if (used == 0 || scratch->leaf_counts[leaf] > size - sum)
            return 0;
        sum += scratch->leaf_counts[leaf];
        offset += used;
    }
    return sum == size ? offset : 0;
}

/* The bits of a record's last byte that belong to no symbol are zero. */
static bool has_clear_end(const uint8_t *record, size_t n_bits)
{
    return n_bits % 8 == 0 || record[n_bits / 8] >> n_bits % 8 == 0;
}

struct decoder {
    const struct entro_pivot *pivot;
    const struct entro_pivot_kernels *kernels;
    struct entro_pivot_scratch *scratch;
    const uint8_t *stored;
};

/* The list of a child for a merge: a constant's is its one symbol. */
static const uint8_t *child_list(const struct decoder *decoder, int16_t maker, bool constant)
{
    const struct entro_pivot *pivot = decoder->pivot;
    if (constant)
        return &pivot->symbol_of_rank[pivot->leaves[pivot->nodes[maker].leaf].first_rank];
    return list_of(decoder->scratch, &decoder->scratch->places[maker]);
}

/* Makes the list of one node from its record; false for a record that no encoder writes. */
static bool decode_step(const struct decoder *decoder, int16_t node, uint8_t *target)
{
    const struct entro_pivot *pivot = decoder->pivot;
    const struct entro_pivot_node *shape = &pivot->nodes[node];
    const struct place *places = decoder->scratch->places;
    const uint8_t *record = decoder->stored + places[node].record;
    size_t n = places[node].n_symbols;
    if (shape->left < 0) {
        const struct entro_pivot_leaf *leaf = &pivot->leaves[shape->leaf];
        if (!has_clear_end(record, n * leaf->width))
            return false;
        decoder->kernels->unpack[leaf->width](target, n, record, &pivot->symbol_of_rank[leaf->first_rank]);
        return true;
    }
    /* With as many ones as there are symbols on the right, the merge uses up its lists exactly. */
    if (!has_clear_end(record, n) ||
        decoder->kernels->count_ones(record, (n + 7) / 8) != places[node - 1].n_symbols)
        return false;
    int16_t left = places[shape->left].maker, right = places[node - 1].maker;
    bool left_constant = is_constant(pivot, left), right_constant = is_constant(pivot, right);
    decoder->kernels->merge[left_constant][right_constant](target, n, record,
                                                           child_list(decoder, left, left_constant),
                                                           child_list(decoder, right, right_constant));
    return true;
}

enum entro_error entro_pivot_decode(const struct entro_pivot *pivot, const uint8_t *stored,
                                    size_t stored_bytes, uint8_t *target, size_t size,
                                    struct entro_pivot_scratch *scratch)
{
    if (size == 0 || size > ENTRO_BLOCK_MAX_BYTES)
        return ENTRO_ERROR_FORMAT;
    size_t records = get_counts(pivot, scratch, stored, stored_bytes, size);
    if (records == 0 || lay_out(pivot, scratch, records) != stored_bytes)
        return ENTRO_ERROR_FORMAT;

    int16_t root = scratch->places[pivot->n_nodes - 1].maker;
    if (is_constant(pivot, root)) {
        memset(target, pivot->symbol_of_rank[pivot->leaves[pivot->nodes[root].leaf].first_rank], size);
        return ENTRO_OK;
    }
    struct decoder decoder = {
        .pivot = pivot, .kernels = &entro_pivot_portable, .scratch = scratch, .stored = stored};
    for (unsigned i = 0; i < scratch->n_steps; i++) {
        int16_t node = scratch->steps[i];
        if (!decode_step(&decoder, node, node == root ? target : list_of(scratch, &scratch->places[node])))
            return ENTRO_ERROR_FORMAT;
    }
    return ENTRO_OK;
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

/* Sums the counts of symbols by leaf; false where a symbol occurs that has no code. */
static bool count_leaves(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch, size_t size)
{
    size_t sum = 0;
    for (unsigned i = 0; i < pivot->n_leaves; i++) {
        const struct entro_pivot_leaf *leaf = &pivot->leaves[i];
        uint32_t n = 0;
        for (unsigned k = 0; k < 1u << leaf->width; k++)
            n += scratch->symbol_counts[pivot->symbol_of_rank[leaf->first_rank + k]];
        scratch->leaf_counts[i] = n;
        sum += n;
    }
    return sum == size;
}

static void encode_step(const struct entro_pivot *pivot, const struct entro_pivot_kernels *kernels,
                        struct entro_pivot_scratch *scratch, int16_t node, uint8_t *record)
{
    const struct entro_pivot_node *shape = &pivot->nodes[node];
    const struct place *places = scratch->places;
    const uint8_t *ranks = list_of(scratch, &places[node]);
    size_t n = places[node].n_symbols;
    if (shape->left < 0) {
        const struct entro_pivot_leaf *leaf = &pivot->leaves[shape->leaf];
        kernels->pack[leaf->width](record, ranks, n, leaf->first_rank);
        return;
    }
    int16_t left = places[shape->left].maker, right = places[node - 1].maker;
    kernels->partition(record, ranks, n, shape->split_rank,
                       is_constant(pivot, left) ? NULL : list_of(scratch, &places[left]),
                       is_constant(pivot, right) ? NULL : list_of(scratch, &places[right]));
}

size_t entro_pivot_encode(const struct entro_pivot *pivot, const uint8_t *symbols, size_t size,
                          uint8_t *target, size_t capacity, struct entro_pivot_scratch *scratch)
{
    if (size == 0 || size > ENTRO_BLOCK_MAX_BYTES)
        return 0;
    const struct entro_pivot_kernels *kernels = &entro_pivot_portable;
    kernels->rank(scratch->first, symbols, size, pivot->rank_of_symbol, scratch->symbol_counts);
    if (!count_leaves(pivot, scratch, size))
        return 0;
    size_t records = put_counts(pivot, scratch, target, capacity);
    if (records == 0)
        return 0;
    size_t coded_bytes = lay_out(pivot, scratch, records);
    if (coded_bytes > capacity)
        return 0;
    for (unsigned i = scratch->n_steps; i-- > 0;)
        encode_step(pivot, kernels, scratch, scratch->steps[i],
                    target + scratch->places[scratch->steps[i]].record);
    return coded_bytes;
}
