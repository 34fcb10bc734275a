/*
 * The index arithmetic of the GPU's block decoder, as functions for host and device alike: where bits, ones
 * before them and lists lie. The decoder itself (decode_block.cuh) and the unit tests use these.
 */
#ifndef ENTRO_CUDA_DECODE_INDICES_H
#define ENTRO_CUDA_DECODE_INDICES_H

#include <stdint.h>

#include "runner/cuda/decode.h"
#include "runner/cuda/indices.h"

/* A word of stored bits, and the ones in all words before it. Aligned: a load of 8 bytes. */
struct __attribute__((aligned(8))) entro_ranked_word {
    uint32_t bits;
    uint32_t ones;
};

static inline ENTRO_HOST_DEVICE uint32_t entro_cuda_popcount(uint32_t word)
{
#ifdef __CUDA_ARCH__
    return (uint32_t)__popc(word);
#else
    return (uint32_t)__builtin_popcount(word);
#endif
}

/* The ones before a bit of the words, and the bit itself. */
static inline ENTRO_HOST_DEVICE uint32_t entro_rank(const struct entro_ranked_word *words, uint32_t bit,
                                                    uint32_t *value)
{
    struct entro_ranked_word word = words[bit / 32];
    uint32_t place = bit % 32;
    *value = word.bits >> place & 1;
    return word.ones + entro_cuda_popcount(word.bits & ~(0xffffffffU << place));
}

/* `width` (1 to 8) bits from a bit of the words on; the word behind the last one is readable. */
static inline ENTRO_HOST_DEVICE uint32_t entro_bits(const struct entro_ranked_word *words, uint32_t bit,
                                                    uint32_t width)
{
    uint32_t low = words[bit / 32].bits, high = words[bit / 32 + 1].bits;
#ifdef __CUDA_ARCH__
    uint32_t bits = __funnelshift_r(low, high, bit % 32);
#else
    uint32_t bits = (uint32_t)(((uint64_t)high << 32 | low) >> bit % 32);
#endif
    return bits & ((1U << width) - 1);
}

/* Where in the scratch buffer the list of a subtree begins, by the symbols and leaves before it: a multiple
 * of 4, and no two lists share a word. */
static inline ENTRO_HOST_DEVICE uint32_t entro_list_offset(uint32_t n_symbols_before, uint32_t first_leaf)
{
    return (n_symbols_before + 4U * first_leaf) & ~3U;
}
/* Of all lists of a block. */
#define ENTRO_LISTS_BYTES(size) ((size) + 4U * (ENTRO_CUDA_MAX_LEAVES + 2))

#endif
