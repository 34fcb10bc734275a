/*
 * When the bitmaps of a tree's root are worth a codebook of their own. Huffman codes spend at least a bit on
 * each symbol; where one symbol is most of all, the root's bits are nearly all alike, and eight of them
 * together have a code of much less than eight bits. Rows of different spread have the same effect.
 */
#include <math.h>
#include <stddef.h>

#include "codec/codebook.h"
#include "codec/histogram.h"
#include "codec/pivot.h"
#include "codec/pivot_kernels.h"
#include "codec/pivot_plan.h"

/* What must be saved of all bits before the root's second pass is worth its time: one part in so many. */
#define MIN_SAVED_PART 256

#define PIECE_BYTES ((size_t)8192)

/* Counts the bytes of the sample's root, as an encoder makes them. */
static void count_root(const struct entro_pivot *pivot, const uint8_t *sample, size_t n_sampled,
                       uint64_t counts[ENTRO_N_SYMBOLS])
{
    const struct entro_pivot_kernels *kernels = entro_pivot_kernels_best();
    uint8_t ranks[PIECE_BYTES + ENTRO_PIVOT_SLOP_BYTES], bitmap[PIECE_BYTES / 8];
    uint8_t split_rank = pivot->steps[pivot->n_steps - 1].split_rank;
    for (size_t i = 0; i < n_sampled; i += PIECE_BYTES) {
        size_t n = n_sampled - i < PIECE_BYTES ? n_sampled - i : PIECE_BYTES;
        kernels->rank(ranks, sample + i, n, pivot->rank_of_symbol);
        kernels->partition(bitmap, ranks, n, split_rank, NULL, NULL, ranks);
        entro_histogram(bitmap, n / 8, counts);
    }
}

/* Of all bits, and at least what the codebook takes. */
static bool pays(double saved_bits, double n_bits)
{
    return saved_bits > n_bits / MIN_SAVED_PART && saved_bits > 8 * ENTRO_CODEBOOK_BYTES;
}

bool entro_pivot_root_lengths(const uint8_t lengths[ENTRO_N_SYMBOLS], const uint64_t counts[ENTRO_N_SYMBOLS],
                              const uint8_t *sample, size_t n_sampled, uint8_t root_lengths[ENTRO_N_SYMBOLS])
{
    struct entro_pivot *pivot;
    if (n_sampled < 8 || entro_pivot_create(&pivot, lengths) != ENTRO_OK)
        return false;
    /* Each byte once more than it comes up, so that all have a code. */
    uint64_t root_counts[ENTRO_N_SYMBOLS], n_root_bits = 0, n_bits = 0, n = 0;
    for (unsigned byte = 0; byte < ENTRO_N_SYMBOLS; byte++)
        root_counts[byte] = 1;
    bool has_root = pivot->n_leaves > 1;
    if (has_root)
        count_root(pivot, sample, n_sampled, root_counts);
    entro_pivot_free(pivot);
    if (!has_root || !entro_code_lengths(root_counts, ENTRO_MAX_CODE_LENGTH, root_lengths))
        return false;
    /* With the 256 bytes that were not there: what the sample does not show is not held to be certain. */
    for (unsigned byte = 0; byte < ENTRO_N_SYMBOLS; byte++) {
        n_root_bits += root_counts[byte] * root_lengths[byte];
        n_bits += counts[byte] * lengths[byte];
        n += counts[byte];
    }
    double saved_bits = (double)n * (1 - (double)n_root_bits / (double)n_sampled);
    return pays(saved_bits, (double)n_bits);
}

/* How many of the symbols pass to the right of the root; false where it is a leaf, or memory is short. */
static bool share_on_the_right(const uint8_t lengths[ENTRO_N_SYMBOLS], const uint64_t counts[ENTRO_N_SYMBOLS],
                               double n, double *share)
{
    struct entro_pivot *pivot;
    if (entro_pivot_create(&pivot, lengths) != ENTRO_OK)
        return false;
    uint64_t n_right = 0;
    bool has_root = pivot->n_leaves > 1;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS && has_root; symbol++)
        if (counts[symbol] > 0 &&
            pivot->rank_of_symbol[symbol] >= pivot->steps[pivot->n_steps - 1].split_rank)
            n_right += counts[symbol];
    entro_pivot_free(pivot);
    *share = (double)n_right / n;
    return has_root;
}

static double entropy_of_share(double share)
{
    return share <= 0 || share >= 1 ? 0 : -share * log2(share) - (1 - share) * log2(1 - share);
}

/* Bits a symbol of the best code for eight bits at once that are 1 with this probability. */
static double bits_in_eights(double share)
{
    uint64_t counts[ENTRO_N_SYMBOLS], n_bits = 0, n = 0;
    uint8_t lengths[ENTRO_N_SYMBOLS];
    for (unsigned byte = 0; byte < ENTRO_N_SYMBOLS; byte++) {
        int n_ones = __builtin_popcount(byte);
        counts[byte] = (uint64_t)(0x1p40 * pow(share, n_ones) * pow(1 - share, 8 - n_ones)) + 1;
    }
    if (!entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, lengths))
        return 1;
    for (unsigned byte = 0; byte < ENTRO_N_SYMBOLS; byte++) {
        n_bits += counts[byte] * lengths[byte];
        n += counts[byte];
    }
    return (double)n_bits / (double)n / 8;
}

double entro_pivot_root_bits(const uint8_t lengths[ENTRO_N_SYMBOLS], const uint64_t counts[ENTRO_N_SYMBOLS])
{
    double n = 0, n_bits = 0, share;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        n += (double)counts[symbol];
        n_bits += (double)counts[symbol] * lengths[symbol];
    }
    /* No code is better than the entropy: most trees end here. */
    if (!share_on_the_right(lengths, counts, n, &share) || !pays(n * (1 - entropy_of_share(share)), n_bits))
        return 1;
    double bits = bits_in_eights(share);
    return pays(n * (1 - bits), n_bits) ? bits : 1;
}
