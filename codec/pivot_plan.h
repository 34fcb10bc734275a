/*
 * The plan that a codebook is turned into: its leaves, and the tree's nodes in post-order. Internal to the
 * pivot coder.
 */
#ifndef ENTRO_PIVOT_PLAN_H
#define ENTRO_PIVOT_PLAN_H

#include <stdint.h>

#include "codec/lengths.h"

/* A count of symbols of one length has at most 8 bits set, except 256 itself, which has one. */
#define ENTRO_PIVOT_MAX_LEAVES (8 * ENTRO_MAX_CODE_LENGTH)
#define ENTRO_PIVOT_MAX_NODES  (2 * ENTRO_PIVOT_MAX_LEAVES - 1)

/* 2^width symbols that the last width bits of their codes tell apart. */
struct entro_pivot_leaf {
    uint8_t depth;
    uint8_t width;
    uint8_t first_rank; /* its symbols are symbol_of_rank[first_rank ...] */
};

/* The right child of an inner node is the node before it. */
struct entro_pivot_node {
    int16_t left;       /* the left child; -1 for a leaf */
    uint8_t leaf;       /* of a leaf: which */
    uint8_t split_rank; /* of an inner node: symbols of this rank and above go right */
};

/*
 * Ranks number the symbols that have a code in the order of their codes; a subtree is a range of ranks.
 * Leaves are in the order of their prefix codes, which is also their order among the nodes.
 */
struct entro_pivot {
    uint16_t n_leaves;
    uint16_t n_nodes; /* 2 * n_leaves - 1; the root is the last */
    struct entro_pivot_leaf leaves[ENTRO_PIVOT_MAX_LEAVES];
    struct entro_pivot_node nodes[ENTRO_PIVOT_MAX_NODES];
    uint8_t rank_of_symbol[ENTRO_N_SYMBOLS];     /* 0 for symbols without a code */
    uint8_t symbol_of_rank[2 * ENTRO_N_SYMBOLS]; /* kernels may load 64 bytes, or a full table of 256, from
                                                    any rank on */
};

#endif
