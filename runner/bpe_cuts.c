/*
 * Cutting a long pre-token where nothing merges across: between two characters that are tokens and that no
 * token of the vocabulary has side by side. What is on the two sides of such a place is then encoded the same
 * apart as together, in memory and time for the longest part instead of for the whole.
 */
#include "runner/bpe.h"
#include "runner/bpe_internal.h"
#include "runner/tokenizer_utf8.h"

#include <stdlib.h>

/* A set of hashes: a pair that is in it by chance costs a cut, no more. */
#define LOG2_BITS 22
#define N_WORDS   ((size_t)1 << (LOG2_BITS - 6))

static size_t hash_pair(uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 21 | right;
    /* Fibonacci hashing (Knuth, TAOCP 3, 6.4) */
    return (size_t)((pair * 0x9E3779B97F4A7C15u) >> (64 - LOG2_BITS));
}

enum entro_error entro_bpe_prepare_cuts(const struct entro_bpe *bpe, struct entro_bpe_workspace *workspace,
                                        struct entro_message *message)
{
    if (workspace->side_by_side != NULL)
        return ENTRO_OK;
    workspace->side_by_side = calloc(N_WORDS, sizeof *workspace->side_by_side);
    if (workspace->side_by_side == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: a table of pairs of characters");
    for (size_t id = 0; id < bpe->n_ids; id++) {
        size_t size;
        const char *text = entro_bpe_token_text(bpe, (uint32_t)id, &size);
        if (text == NULL || size == 0)
            continue;
        uint32_t left = entro_utf8_code_point(text);
        for (size_t at = entro_utf8_length(text[0]); at < size; at += entro_utf8_length(text[at])) {
            uint32_t right = entro_utf8_code_point(text + at);
            size_t bit = hash_pair(left, right);
            workspace->side_by_side[bit / 64] |= (uint64_t)1 << bit % 64;
            left = right;
        }
    }
    return ENTRO_OK;
}

size_t entro_bpe_cut(const struct entro_bpe *bpe, const struct entro_bpe_workspace *workspace,
                     const char *text, size_t size, size_t at_least)
{
    if (size <= at_least)
        return size;
    size_t at = at_least;
    while (at < size && ((unsigned char)text[at] & 0xC0) == 0x80)
        at++; /* to a character's start */
    for (; at < size; at += entro_utf8_length(text[at])) {
        size_t previous = entro_utf8_previous(text, at);
        size_t bit = hash_pair(entro_utf8_code_point(text + previous), entro_utf8_code_point(text + at));
        if (workspace->side_by_side[bit / 64] >> bit % 64 & 1)
            continue;
        size_t length = entro_utf8_length(text[at]);
        if (entro_bpe_find(bpe, text + previous, at - previous) != ENTRO_TOKEN_NONE &&
            entro_bpe_find(bpe, text + at, length) != ENTRO_TOKEN_NONE)
            return at;
    }
    return size;
}
