/*
 * From a variant's loops, which are written once for all constants, to the functions of its table: included
 * by the kernel files alone, each of which defines the first five here. Internal to the pivot coder.
 */
#ifndef ENTRO_PIVOT_VARIANT_H
#define ENTRO_PIVOT_VARIANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/pivot_kernels.h"

/* As entro_pivot_merge, with the constants known when it is compiled; that of two constants has a loop of its
 * own, or is the same one. */
static inline size_t merge(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                           const uint8_t *right, const uint8_t *ahead, bool left_constant,
                           bool right_constant);
static size_t merge_constants(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                              const uint8_t *right, const uint8_t *ahead);

/* Of widths from 2 on. */
static inline void unpack(uint8_t *target, size_t n, const uint8_t *packed, const uint8_t *symbols,
                          unsigned width);

static inline void pack(uint8_t *packed, const uint8_t *ranks, size_t n, uint8_t first_rank, unsigned width);

/* As entro_pivot_partition: a list that is not wanted is not looked at. */
static inline size_t partition(uint8_t *bitmap, const uint8_t *ranks, size_t n, uint8_t split_rank,
                               uint8_t *left, uint8_t *right, const uint8_t *ahead, bool to_left,
                               bool to_right);

static size_t merge_lists(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                          const uint8_t *right, const uint8_t *ahead)
{
    return merge(target, n, bitmap, left, right, ahead, false, false);
}

static size_t merge_constant_left(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                                  const uint8_t *right, const uint8_t *ahead)
{
    return merge(target, n, bitmap, left, right, ahead, true, false);
}

static size_t merge_constant_right(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                                   const uint8_t *right, const uint8_t *ahead)
{
    return merge(target, n, bitmap, left, right, ahead, false, true);
}

/* A bit a symbol is a bitmap. */
static void unpack_1(uint8_t *target, size_t n, const uint8_t *packed, const uint8_t *symbols)
{
    merge_constants(target, n, packed, symbols, symbols + 1, packed);
}

#define ENTRO_UNPACK_KERNEL(width)                                                                           \
    static void unpack_##width(uint8_t *target, size_t n, const uint8_t *packed, const uint8_t *symbols)     \
    {                                                                                                        \
        unpack(target, n, packed, symbols, width);                                                           \
    }
#define ENTRO_PACK_KERNEL(width)                                                                             \
    static void pack_##width(uint8_t *packed, const uint8_t *ranks, size_t n, uint8_t first_rank)            \
    {                                                                                                        \
        pack(packed, ranks, n, first_rank, width);                                                           \
    }
ENTRO_UNPACK_KERNEL(2)
ENTRO_UNPACK_KERNEL(3)
ENTRO_UNPACK_KERNEL(4)
ENTRO_UNPACK_KERNEL(5)
ENTRO_UNPACK_KERNEL(6)
ENTRO_UNPACK_KERNEL(7)
ENTRO_UNPACK_KERNEL(8)
ENTRO_PACK_KERNEL(1)
ENTRO_PACK_KERNEL(2)
ENTRO_PACK_KERNEL(3)
ENTRO_PACK_KERNEL(4)
ENTRO_PACK_KERNEL(5)
ENTRO_PACK_KERNEL(6)
ENTRO_PACK_KERNEL(7)
ENTRO_PACK_KERNEL(8)

static size_t partition_any(uint8_t *bitmap, const uint8_t *ranks, size_t n, uint8_t split_rank,
                            uint8_t *left, uint8_t *right, const uint8_t *ahead)
{
    if (left != NULL && right != NULL)
        return partition(bitmap, ranks, n, split_rank, left, right, ahead, true, true);
    if (left != NULL)
        return partition(bitmap, ranks, n, split_rank, left, right, ahead, true, false);
    if (right != NULL)
        return partition(bitmap, ranks, n, split_rank, left, right, ahead, false, true);
    return partition(bitmap, ranks, n, split_rank, left, right, ahead, false, false);
}

/* All but the three that a variant has as they are: name, count_ones and rank. */
#define ENTRO_PIVOT_VARIANT                                                                                  \
    .merge = {{merge_lists, merge_constant_right}, {merge_constant_left, merge_constants}},                  \
    .unpack = {NULL, unpack_1, unpack_2, unpack_3, unpack_4, unpack_5, unpack_6, unpack_7, unpack_8},        \
    .pack = {NULL, pack_1, pack_2, pack_3, pack_4, pack_5, pack_6, pack_7, pack_8},                          \
    .partition = partition_any

#endif
