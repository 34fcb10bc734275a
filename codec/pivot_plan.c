/* From code lengths to the plan: flat leaves, canonical order, post-order steps; see pivot.h for the rules.
 */
#include "codec/pivot_plan.h"

#include <stdlib.h>
#include <string.h>

#include "codec/pivot.h"

/* A leaf as it is made, with its symbols still in their place among those of their length. */
struct made_leaf {
    uint8_t depth, width;
    uint8_t symbols_from; /* index into the list of all symbols by (length, symbol) */
};

static unsigned make_leaves(const uint8_t lengths[ENTRO_N_SYMBOLS], uint8_t sorted[ENTRO_N_SYMBOLS],
                            struct made_leaf made[ENTRO_PIVOT_MAX_LEAVES])
{
    unsigned n_sorted = 0, n_made = 0;
    for (unsigned length = 1; length <= ENTRO_MAX_CODE_LENGTH; length++) {
        unsigned from = n_sorted;
        for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
            if (lengths[symbol] == length)
                sorted[n_sorted++] = (uint8_t)symbol;
        }
        unsigned n_symbols = n_sorted - from;
        for (unsigned width = 9; width-- > 0;) {
            if ((n_symbols >> width & 1) == 0)
                continue;
            made[n_made++] = (struct made_leaf){
                .depth = (uint8_t)(length - width), .width = (uint8_t)width, .symbols_from = (uint8_t)from};
            from += 1u << width;
        }
    }
    return n_made;
}

/* Stable sort by depth, and ranks along it. */
static void order_leaves(struct entro_pivot *pivot, const struct made_leaf *made, unsigned n_made,
                         const uint8_t sorted[ENTRO_N_SYMBOLS])
{
    unsigned rank = 0;
    memset(pivot->rank_of_symbol, UINT8_MAX, sizeof pivot->rank_of_symbol);
    for (unsigned depth = 0; depth <= ENTRO_MAX_CODE_LENGTH; depth++) {
        for (unsigned i = 0; i < n_made; i++) {
            if (made[i].depth != depth)
                continue;
            pivot->leaves[pivot->n_leaves++] = (struct entro_pivot_leaf){
                .depth = made[i].depth, .width = made[i].width, .first_rank = (uint8_t)rank};
            for (unsigned k = 0; k < 1u << made[i].width; k++) {
                uint8_t symbol = sorted[made[i].symbols_from + k];
                pivot->rank_of_symbol[symbol] = (uint8_t)rank;
                pivot->symbol_of_rank[rank++] = symbol;
            }
        }
    }
    pivot->n_ranks = (uint16_t)rank;
}

/*
 * Adds the steps of the subtree whose root is at this depth and whose first leaf is *leaf; returns that of
 * its root. Canonical prefixes of a complete code mean that the next leaf is the leftmost one below. At most
 * 15 deep.
 */
static uint8_t add_subtree(struct entro_pivot *pivot, unsigned depth, unsigned *leaf)
{
    struct entro_pivot_step step = {
        .first_leaf = (uint8_t)*leaf, .depth = (uint8_t)depth, .parent = ENTRO_PIVOT_NO_STEP};
    if (pivot->leaves[*leaf].depth == depth) {
        step.is_leaf = true;
        step.end_leaf = (uint8_t)++ * leaf;
        if (pivot->leaves[step.first_leaf].width == 0)
            return ENTRO_PIVOT_NO_STEP;
    } else {
        step.left = add_subtree(pivot, depth + 1, leaf);
        step.split_leaf = (uint8_t)*leaf;
        step.split_rank = pivot->leaves[*leaf].first_rank;
        step.right = add_subtree(pivot, depth + 1, leaf);
        step.end_leaf = (uint8_t)*leaf;
    }
    uint8_t number = (uint8_t)pivot->n_steps++;
    pivot->steps[number] = step;
    if (!step.is_leaf && step.left != ENTRO_PIVOT_NO_STEP)
        pivot->steps[step.left].parent = number;
    if (!step.is_leaf && step.right != ENTRO_PIVOT_NO_STEP)
        pivot->steps[step.right].parent = number;
    return number;
}

enum entro_error entro_pivot_create(struct entro_pivot **out, const uint8_t lengths[ENTRO_N_SYMBOLS])
{
    *out = NULL;
    if (entro_lengths_fault(lengths) != NULL)
        return ENTRO_ERROR_FORMAT;
    uint8_t sorted[ENTRO_N_SYMBOLS];
    struct made_leaf made[ENTRO_PIVOT_MAX_LEAVES];
    unsigned n_made = make_leaves(lengths, sorted, made);
    struct entro_pivot *pivot = calloc(1, sizeof *pivot + (2 * n_made - 1) * sizeof pivot->steps[0]);
    if (pivot == NULL)
        return ENTRO_ERROR_NO_MEMORY;

    order_leaves(pivot, made, n_made, sorted);
    unsigned first_leaf = 0;
    add_subtree(pivot, 0, &first_leaf);
    *out = pivot;
    return ENTRO_OK;
}

enum entro_error entro_pivot_create_with_root(struct entro_pivot **out,
                                              const uint8_t lengths[ENTRO_N_SYMBOLS],
                                              const uint8_t root_lengths[ENTRO_N_SYMBOLS])
{
    struct entro_pivot *pivot;
    enum entro_error error = entro_pivot_create(&pivot, lengths);
    *out = NULL;
    if (error != ENTRO_OK)
        return error;
    error = pivot->n_leaves == 1 ? ENTRO_ERROR_FORMAT : entro_pivot_create(&pivot->root, root_lengths);
    if (error != ENTRO_OK) {
        entro_pivot_free(pivot);
        return error;
    }
    *out = pivot;
    return ENTRO_OK;
}

void entro_pivot_free(struct entro_pivot *pivot)
{
    if (pivot != NULL)
        free(pivot->root);
    free(pivot);
}
