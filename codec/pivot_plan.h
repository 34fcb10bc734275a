/*
 * The plan that a codebook is turned into: its leaves, and the tree's nodes in post-order. Internal to the
 * pivot coder.
 */
#ifndef ENTRO_PIVOT_PLAN_H
#define ENTRO_PIVOT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/lengths.h"

/* A count of symbols of one length has at most 8 bits set, except 256 itself, which has one. */
#define ENTRO_PIVOT_MAX_LEAVES (8 * ENTRO_MAX_CODE_LENGTH)
#define ENTRO_PIVOT_MAX_STEPS  (2 * ENTRO_PIVOT_MAX_LEAVES - 1)

/* 2^width symbols that the last width bits of their codes tell apart. */
struct entro_pivot_leaf {
    uint8_t depth;
    uint8_t width;
    uint8_t first_rank; /* its symbols are symbol_of_rank[first_rank ...] */
};

/* Where a subtree has no step of its own: a leaf of one symbol. */
#define ENTRO_PIVOT_NO_STEP UINT8_MAX

/*
 * A node that may have a record: an inner node, or a leaf of width > 0. It covers the leaves first_leaf to
 * end_leaf - 1.
 */
struct entro_pivot_step {
    uint8_t first_leaf;
    uint8_t end_leaf;
    uint8_t depth;
    uint8_t parent; /* its step; ENTRO_PIVOT_NO_STEP for the root */
    bool is_leaf;
    /* Of inner nodes: */
    uint8_t split_leaf; /* leaves from here on are on the right */
    uint8_t split_rank; /* as are symbols of this rank and above */
    uint8_t left;       /* the children's steps */
    uint8_t right;
};

/*
 * Ranks number the symbols that have a code in the order of their codes; a subtree is a range of ranks.
 * Leaves are in the order of their prefix codes, steps in post-order: in the order of their records.
 */
struct entro_pivot {
    uint16_t n_leaves;
    uint16_t n_steps; /* at least 1; the root is the last */
    uint16_t n_ranks;
    struct entro_pivot *root; /* the plan of the root's bitmaps, without one of its own; NULL: none */
    struct entro_pivot_leaf leaves[ENTRO_PIVOT_MAX_LEAVES];
    uint8_t rank_of_symbol[ENTRO_N_SYMBOLS];     /* 255 for symbols without a code */
    uint8_t symbol_of_rank[2 * ENTRO_N_SYMBOLS]; /* kernels may load 64 bytes, or a full table of 256, from
                                                    any rank on */
    struct entro_pivot_step steps[];
};

#endif
