/*
 * What the GPU's block decoder is given: plans of codebooks, and a list of blocks whose stored bytes lie in
 * the card's memory as they lie in the image. Plain C; filled in by coded_plan.c, read by decode_kernel.cu.
 * Bytes are hostile, plans and lists are not: what makes them checks them (see coded_plan.h).
 */
#ifndef ENTRO_CUDA_DECODE_H
#define ENTRO_CUDA_DECODE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ENTRO_CUDA_MAX_LEAVES 120
#define ENTRO_CUDA_MAX_STEPS  239
#define ENTRO_CUDA_NO_STEP    255
#define ENTRO_CUDA_NO_PLAN    0xffffffffU

/* codec/pivot_plan.h's leaves and steps, of a fixed size, so that plans are an array. */
struct entro_cuda_leaf {
    uint8_t width;
    uint8_t first_rank;
    uint8_t step; /* its own, ENTRO_CUDA_NO_STEP where width is 0 */
    uint8_t reserved;
};
struct entro_cuda_step {
    uint8_t first_leaf, split_leaf, end_leaf; /* of a leaf: split_leaf is first_leaf */
    uint8_t left, right;                      /* steps, or ENTRO_CUDA_NO_STEP: a leaf of one symbol */
    uint8_t reserved;
    uint8_t is_leaf;
    uint8_t parent; /* ENTRO_CUDA_NO_STEP: the root */
};
struct entro_cuda_plan {
    uint32_t n_leaves;
    uint32_t n_steps; /* in the order of their records, the root the last; at least 1 */
    struct entro_cuda_leaf leaves[ENTRO_CUDA_MAX_LEAVES];
    struct entro_cuda_step steps[ENTRO_CUDA_MAX_STEPS + 1];
    uint8_t symbol_of_rank[512]; /* a leaf's 2^width symbols from any rank on are within */
};

/* enum entro_method's numbers. */
#define ENTRO_CUDA_CONSTANT 0U
#define ENTRO_CUDA_RAW      1U
#define ENTRO_CUDA_CODED    2U

struct entro_cuda_block {
    uint64_t source; /* of the stored bytes, from the start of a buffer on */
    uint64_t target; /* likewise: of its bytes in the plane */
    uint32_t stored_bytes;
    uint32_t size_bytes; /* 1 to 2^17; more than stored_bytes where coded, 1 stored byte where constant */
    uint32_t method;
    uint32_t plan;      /* where coded */
    uint32_t root_plan; /* or ENTRO_CUDA_NO_PLAN */
    uint32_t reserved;
};

/*
 * A stream as it is stored: its planes' blocks, one after another. Their stored bytes are counted as if they
 * lay behind each other, and their targets as if the planes did.
 */
struct entro_cuda_coded {
    const struct entro_cuda_plan *plans;
    const struct entro_cuda_block *blocks;
    uint32_t n_plans;
    uint32_t n_blocks;
    uint64_t stored_bytes;
    uint64_t size_bytes; /* of the stream, and of its planes together */
    uint32_t
        record_bytes; /* 1: the one plane is the stream; else a plane for each byte of a record, at most 8 */
    uint32_t is_rotated;       /* records: right by one bit after they are joined */
    uint32_t max_size_bytes;   /* of a block */
    uint32_t max_stored_bytes; /* of a coded block; at least 1 */
    uint32_t has_root;         /* whether any block has a root_plan */
};

/* The stored bytes' buffer begins at a multiple of 4 and is readable this far behind the last block. */
#define ENTRO_CUDA_SOURCE_SLOP 8

#ifdef __cplusplus
}
#endif

#endif
