/*
 * When the bitmaps of a tree's root are worth a codebook of their own. Huffman codes spend at least a bit on
 * each symbol; where one symbol is most of all, the root's bits are nearly all alike, and eight of them
 * together have a code of much less than eight bits. Rows of different spread have the same effect.
 */
#include <stdlib.h>

#include "codec/pivot.h"
#include "codec/pivot_plan.h"

/* What must be saved of all bits before the root's second pass is worth its time: one part in so many. */
#define MIN_SAVED_PART 256

/* Bits of the sample's root by bytes, and its coded bits; each byte value is counted once more than it comes
 * up, so that all have a code. */
static uint64_t count_root(const struct entro_pivot *pivot, const uint8_t lengths[ENTRO_N_SYMBOLS],
                           const uint8_t *sample, size_t n_sampled, uint64_t counts[ENTRO_N_SYMBOLS])
{
    unsigned split_rank = pivot->steps[pivot->n_steps - 1].split_rank;
    uint64_t n_bits = 0;
    for (unsigned byte = 0; byte < ENTRO_N_SYMBOLS; byte++)
        counts[byte] = 1;
    for (size_t i = 0; i + 8 <= n_sampled; i += 8) {
        unsigned byte = 0;
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t symbol = sample[i + bit];
            byte |= (unsigned)(pivot->rank_of_symbol[symbol] >= split_rank) << bit;
            n_bits += lengths[symbol];
        }
        counts[byte]++;
    }
    return n_bits;
}

bool entro_pivot_root_lengths(const uint8_t lengths[ENTRO_N_SYMBOLS], uint64_t size_bytes,
                              const uint8_t *sample, size_t n_sampled, uint8_t root_lengths[ENTRO_N_SYMBOLS])
{
    struct entro_pivot *pivot;
    uint64_t counts[ENTRO_N_SYMBOLS], n_bits, coded_bits = 0;
    if (n_sampled < 8 || entro_pivot_create(&pivot, lengths) != ENTRO_OK)
        return false;
    bool has_root = pivot->n_leaves > 1;
    if (has_root)
        n_bits = count_root(pivot, lengths, sample, n_sampled, counts);
    entro_pivot_free(pivot);
    if (!has_root || !entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, root_lengths))
        return false;
    /* With the 256 bytes that were not there: what the sample does not show is not held to be certain. */
    for (unsigned byte = 0; byte < ENTRO_N_SYMBOLS; byte++)
        coded_bits += counts[byte] * root_lengths[byte];
    double saved_bits = (double)n_sampled - (double)coded_bits;
    double all_saved_bits = saved_bits * ((double)size_bytes / (double)n_sampled);
    return saved_bits > (double)n_bits / MIN_SAVED_PART && all_saved_bits > 8 * ENTRO_N_SYMBOLS / 2;
}
