/* Code lengths by package-merge, and what is a code; see lengths.h. What a code of these lengths looks like
 * is pivot_plan.c's business. */
#include "codec/lengths.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ITEMS (2 * ENTRO_N_SYMBOLS)

struct leaf {
    uint64_t count;
    uint8_t symbol;
};

/* One level of the algorithm: symbols and packages of the level before, merged by weight. */
struct level {
    bool is_leaf[MAX_ITEMS];
};

static int compare_leaves(const void *a, const void *b)
{
    const struct leaf *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return (x->symbol > y->symbol) - (x->symbol < y->symbol);
}

/* Packages the items before in pairs, merges them with the leaves (a leaf first where weights are equal) and
 * returns the new items' number. */
static unsigned merge_level(struct level *level, uint64_t weights[MAX_ITEMS], unsigned n_before,
                            const struct leaf *leaves, unsigned n_leaves)
{
    uint64_t packages[ENTRO_N_SYMBOLS];
    unsigned n_packages = n_before / 2;
    for (size_t i = 0; i < n_packages; i++)
        packages[i] = weights[2 * i] + weights[2 * i + 1];

    unsigned next_leaf = 0, next_package = 0, n_items = 0;
    while (next_leaf < n_leaves || next_package < n_packages) {
        bool is_leaf = next_package == n_packages ||
                       (next_leaf < n_leaves && leaves[next_leaf].count <= packages[next_package]);
        level->is_leaf[n_items] = is_leaf;
        weights[n_items++] = is_leaf ? leaves[next_leaf++].count : packages[next_package++];
    }
    return n_items;
}

bool entro_code_lengths(const uint64_t counts[ENTRO_N_SYMBOLS], unsigned max_length,
                        uint8_t lengths[ENTRO_N_SYMBOLS])
{
    memset(lengths, 0, ENTRO_N_SYMBOLS);
    struct leaf leaves[ENTRO_N_SYMBOLS];
    unsigned n_leaves = 0;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        if (counts[symbol] > 0)
            leaves[n_leaves++] = (struct leaf){.count = counts[symbol], .symbol = (uint8_t)symbol};
    }
    if (n_leaves < 2 || max_length > ENTRO_MAX_CODE_LENGTH || n_leaves > 1u << max_length)
        return false;
    qsort(leaves, n_leaves, sizeof leaves[0], compare_leaves);

    struct level levels[ENTRO_MAX_CODE_LENGTH];
    uint64_t weights[MAX_ITEMS];
    unsigned n_items = 0;
    for (unsigned i = 0; i < max_length; i++)
        n_items = merge_level(&levels[i], weights, n_items, leaves, n_leaves);

    /* The 2n - 2 lightest items of the last level make the code; each package among them takes two of the
     * level before. */
    unsigned n_taken = 2 * n_leaves - 2;
    for (unsigned i = max_length; i-- > 0 && n_taken > 0;) {
        unsigned n_leaves_taken = 0;
        for (unsigned item = 0; item < n_taken; item++)
            n_leaves_taken += levels[i].is_leaf[item];
        for (unsigned leaf = 0; leaf < n_leaves_taken; leaf++)
            lengths[leaves[leaf].symbol]++;
        n_taken = 2 * (n_taken - n_leaves_taken);
    }
    return true;
}

const char *entro_lengths_fault(const uint8_t lengths[ENTRO_N_SYMBOLS])
{
    unsigned n_symbols = 0;
    uint32_t kraft = 0; /* in units of the longest code's part */
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        if (lengths[symbol] > ENTRO_MAX_CODE_LENGTH)
            return "has a length beyond 15";
        if (lengths[symbol] > 0) {
            n_symbols++;
            kraft += (uint32_t)1 << (ENTRO_MAX_CODE_LENGTH - lengths[symbol]);
        }
    }
    if (n_symbols < 2)
        return "has fewer than two symbols";
    return kraft == (uint32_t)1 << ENTRO_MAX_CODE_LENGTH ? NULL : "is no complete code";
}

double entro_entropy_bits(const uint64_t counts[ENTRO_N_SYMBOLS])
{
    double total = 0, sum = 0;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
        total += (double)counts[symbol];
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        if (counts[symbol] > 0)
            sum += (double)counts[symbol] * log2(total / (double)counts[symbol]);
    }
    return total > 0 ? sum / total : 0;
}
