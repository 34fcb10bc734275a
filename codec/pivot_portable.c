/* The kernels in plain C: the reference for all others. Branch-free, words where words help. */
#include <stdbool.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/pivot_kernels.h"
#include "codec/pivot_rows.h"
#include "codec/pivot_variant.h"

#define LOW_BITS ((uint64_t)0x0101010101010101)

/* For a merge: where each of 8 outputs comes from, 0 to 7 for the left list's bytes, 8 to 15 for the right
 * one's. */
#define FROM(bits, i) (ENTRO_BIT_AT(bits, i) ? 8 + ENTRO_ONES_BELOW(bits, i) : (i)-ENTRO_ONES_BELOW(bits, i))
#define MERGE_ROW(bits)                                                                                      \
    {                                                                                                        \
        ENTRO_ROW(FROM, bits)                                                                                \
    }
#define ONES_ROW(bits) ENTRO_ONES_BELOW(bits, 8)
static const uint8_t ones_in_byte[256] = {ENTRO_ALL_ROWS(ONES_ROW)};
static const uint8_t merge_rows[256][8] = {ENTRO_ALL_ROWS(MERGE_ROW)};

/* Eight outputs. The lists are read beyond what is used: into their slop. */
static inline void merge_eight(uint8_t *target, uint8_t bits, uint64_t left, uint64_t right)
{
    uint8_t both[16];
    entro_store_u64(both, left);
    entro_store_u64(both + 8, right);
    const uint8_t *from = merge_rows[bits];
    for (unsigned i = 0; i < 8; i++)
        target[i] = both[from[i]];
}

static inline size_t merge(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                           const uint8_t *right, const uint8_t *ahead, bool left_constant,
                           bool right_constant)
{
    (void)ahead; /* this loop is slower than the hardware's own prefetching */
    uint64_t left_bytes = *left * LOW_BITS, right_bytes = *right * LOW_BITS;
    size_t sum = 0;
    for (size_t i = 0; i < n; i += 8) {
        uint8_t bits = *bitmap++;
        if (n - i < 8)
            bits = (uint8_t)(bits & ((1 << (n - i)) - 1));
        size_t n_right = ones_in_byte[bits];
        sum += n_right;
        if (!left_constant) {
            left_bytes = entro_load_u64(left);
            left += 8 - n_right;
        }
        if (!right_constant) {
            right_bytes = entro_load_u64(right);
            right += n_right;
        }
        if (n - i >= 8) {
            merge_eight(target + i, bits, left_bytes, right_bytes);
        } else {
            uint8_t last[8];
            merge_eight(last, bits, left_bytes, right_bytes);
            memcpy(target + i, last, n - i);
        }
    }
    return sum;
}

/* 8 bits to 8 bytes, 0 or 0xff. */
static uint64_t spread_bits(uint8_t bits)
{
    uint64_t spread = bits * LOW_BITS & 0x8040201008040201;
    return (((spread + 0x7f7f7f7f7f7f7f7f) >> 7) & LOW_BITS) * 0xff;
}

static size_t merge_constants(uint8_t *target, size_t n, const uint8_t *bitmap, const uint8_t *left,
                              const uint8_t *right, const uint8_t *ahead)
{
    (void)ahead;
    uint64_t from_left = *left * LOW_BITS, difference = from_left ^ *right * LOW_BITS;
    size_t sum = 0;
    for (; n >= 8; target += 8, n -= 8) {
        sum += ones_in_byte[*bitmap];
        entro_store_u64(target, from_left ^ (difference & spread_bits(*bitmap++)));
    }
    if (n > 0) {
        uint8_t bits = (uint8_t)(*bitmap & ((1 << n) - 1));
        uint64_t bytes = from_left ^ (difference & spread_bits(bits));
        sum += ones_in_byte[bits];
        memcpy(target, &bytes, n);
    }
    return sum;
}

/* Eight numbers are `width` whole bytes. */
static inline void unpack(uint8_t *target, size_t n, const uint8_t *packed, const uint8_t *symbols,
                          unsigned width)
{
    uint64_t mask = ((uint64_t)1 << width) - 1;
    for (; n >= 8; target += 8, packed += width, n -= 8) {
        uint64_t word = entro_load_u64(packed);
        for (unsigned i = 0; i < 8; i++)
            target[i] = symbols[word >> i * width & mask];
    }
    if (n > 0) {
        uint64_t word = entro_load_u64(packed);
        for (unsigned i = 0; i < n; i++)
            target[i] = symbols[word >> i * width & mask];
    }
}

/* Eight bytes of `width` bits each, moved together: in pairs, in fours, all. */
static inline uint64_t pack_eight(uint64_t bytes, unsigned width)
{
    bytes = (bytes & 0x00ff00ff00ff00ff) | (bytes >> 8 & 0x00ff00ff00ff00ff) << width;
    bytes = (bytes & 0x0000ffff0000ffff) | (bytes >> 16 & 0x0000ffff0000ffff) << 2 * width;
    return (bytes & 0x00000000ffffffff) | (bytes >> 32) << 4 * width;
}

static inline void pack(uint8_t *packed, const uint8_t *ranks, size_t n, uint8_t first_rank, unsigned width)
{
    for (; n >= 8; packed += width, ranks += 8, n -= 8) {
        uint64_t word = pack_eight(entro_load_u64(ranks) - first_rank * LOW_BITS, width);
        memcpy(packed, &word, width);
    }
    if (n > 0) {
        /* The ranks behind the last one are whatever was there: not only their bits, but what a subtraction
         * borrows from them. */
        uint64_t used = ~(uint64_t)0 >> (64 - 8 * n);
        uint64_t word = pack_eight((entro_load_u64(ranks) & used) - (first_rank * LOW_BITS & used), width);
        memcpy(packed, &word, (n * width + 7) / 8);
    }
}

/* Bit i: whether byte i is at least byte i of the split. */
static inline uint8_t at_least(uint64_t bytes, uint64_t split)
{
    const uint64_t high = 0x80 * LOW_BITS;
    /* Without the high bits nothing is borrowed from the next byte; they are compared apart. */
    uint64_t low_at_least = (bytes | high) - (split & ~high);
    uint64_t result = ((bytes & ~split) | (~(bytes ^ split) & low_at_least)) & high;
    return (uint8_t)((result >> 7) * 0x0102040810204080 >> 56);
}

/* Eight bytes go to each list, of which those that belong there count: the others are overwritten, or end in
 * the slop. */
static inline size_t partition(uint8_t *bitmap, const uint8_t *ranks, size_t n, uint8_t split_rank,
                               uint8_t *left, uint8_t *right, const uint8_t *ahead, bool to_left,
                               bool to_right)
{
    (void)ahead;
    uint64_t split = split_rank * LOW_BITS;
    size_t sum = 0;
    for (size_t i = 0; i < n; i += 8) {
        uint8_t bits = at_least(entro_load_u64(ranks + i), split);
        if (n - i < 8)
            bits = (uint8_t)(bits & ((1 << (n - i)) - 1));
        *bitmap++ = bits;
        size_t n_right = ones_in_byte[bits];
        sum += n_right;
        uint64_t parted = 0;
        const uint8_t *from = entro_pivot_partition_rows[bits][0];
        for (unsigned k = 0; k < 8; k++)
            parted |= (uint64_t)ranks[i + from[k]] << 8 * k;
        if (to_left) {
            entro_store_u64(left, parted);
            left += 8 - n_right;
        }
        if (to_right) {
            size_t half_shift = 4 * (8 - n_right); /* in two halves: a shift by 64 is none */
            entro_store_u64(right, parted >> half_shift >> half_shift);
            right += n_right;
        }
    }
    return sum;
}

static size_t count_ones(const uint8_t *bitmap, size_t n)
{
    /* Bits in pairs, fours, eights: Warren, "Hacker's Delight", 5-1. The sums of bytes of 31 words are at
     * most 248. */
    size_t sum = 0;
    while (n >= 64) {
        size_t n_words = n / 64 < 31 ? n / 64 : 31;
        uint64_t sums = 0;
        for (size_t i = 0; i < n_words; i++, bitmap += 8) {
            uint64_t word = entro_load_u64(bitmap);
            word -= word >> 1 & 0x55 * LOW_BITS;
            word = (word & 0x33 * LOW_BITS) + (word >> 2 & 0x33 * LOW_BITS);
            sums += (word + (word >> 4)) & 0x0f * LOW_BITS;
        }
        for (unsigned i = 0; i < 8; i++)
            sum += sums >> 8 * i & 0xff;
        n -= 64 * n_words;
    }
    for (; n >= 8; n -= 8)
        sum += ones_in_byte[*bitmap++];
    if (n > 0)
        sum += ones_in_byte[*bitmap & ((1 << n) - 1)];
    return sum;
}

static uint8_t rank(uint8_t *ranks, const uint8_t *symbols, size_t n,
                    const uint8_t rank_of_symbol[ENTRO_N_SYMBOLS])
{
    uint8_t largest = 0;
    for (size_t i = 0; i < n; i++)
        ranks[i] = rank_of_symbol[symbols[i]];
    for (size_t i = 0; i < n; i++) /* apart: this loop compilers make words of */
        largest = ranks[i] > largest ? ranks[i] : largest;
    return largest;
}

const struct entro_pivot_kernels entro_pivot_portable = {
    .name = "portable",
    ENTRO_PIVOT_VARIANT,
    .count_ones = count_ones,
    .rank = rank,
};
