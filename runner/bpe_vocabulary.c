/* The tables of a byte-pair encoding: texts, ids, merges, scores. Merging itself is in bpe.c. */
#include "codec/bytes.h"
#include "runner/bpe.h"
#include "runner/bpe_internal.h"
#include "runner/tokenizer_utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum entro_error entro_bpe_init(struct entro_bpe *bpe, size_t n_ids, struct entro_message *message)
{
    *bpe = (struct entro_bpe){.n_ids = n_ids, .unknown_id = ENTRO_TOKEN_NONE};
    memset(bpe->low_ids, 0xFF, sizeof bpe->low_ids);
    memset(bpe->byte_ids, 0xFF, sizeof bpe->byte_ids);
    bpe->tokens = calloc(n_ids > 0 ? n_ids : 1, sizeof *bpe->tokens);
    if (bpe->tokens == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: a vocabulary of %zu tokens", n_ids);
    for (size_t i = 0; i < n_ids; i++)
        bpe->tokens[i].size = UINT32_MAX;
    return ENTRO_OK;
}

enum entro_error entro_bpe_set_token(struct entro_bpe *bpe, uint64_t id, const char *text, size_t size,
                                     struct entro_message *message)
{
    if (id >= bpe->n_ids || size >= UINT32_MAX)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "the vocabulary's token id %llu is out of range",
                          (unsigned long long)id);
    struct entro_bpe_token *token = &bpe->tokens[id];
    if (token->size != UINT32_MAX)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "the vocabulary has two tokens with id %llu",
                          (unsigned long long)id);
    token->offset = bpe->texts.size;
    enum entro_error error = entro_text_append(&bpe->texts, text, size, message);
    if (error != ENTRO_OK)
        return error;
    token->size = (uint32_t)size;
    bpe->n_tokens++;
    if (size > bpe->max_token_size)
        bpe->max_token_size = size;
    return ENTRO_OK;
}

/* The slot that holds the text, or the free one where it belongs. */
static size_t id_slot(const struct entro_bpe *bpe, const char *text, size_t size)
{
    size_t mask = bpe->n_id_slots - 1;
    size_t slot = (size_t)XXH3_64bits(text, size) & mask;
    while (bpe->id_slots[slot] != ENTRO_TOKEN_NONE) {
        const struct entro_bpe_token *token = &bpe->tokens[bpe->id_slots[slot]];
        if (token->size == size && (size == 0 || memcmp(bpe->texts.data + token->offset, text, size) == 0))
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static size_t merge_slot(const struct entro_bpe *bpe, uint64_t pair)
{
    size_t mask = bpe->n_merge_slots - 1;
    /* Fibonacci hashing (Knuth, TAOCP 3, 6.4): the product's high half depends on every bit of both ids. */
    size_t slot = (size_t)((pair * 0x9E3779B97F4A7C15u) >> 32) & mask;
    while (bpe->merge_slots[slot].pair != pair && bpe->merge_slots[slot].pair != UINT64_MAX)
        slot = (slot + 1) & mask;
    return slot;
}

static size_t slots_for(size_t n)
{
    size_t n_slots = 16;
    while (n_slots / 2 < n)
        n_slots *= 2;
    return n_slots;
}

static void index_single_characters(struct entro_bpe *bpe)
{
    for (uint32_t code_point = 0; code_point < 512; code_point++) {
        char text[4];
        size_t size = entro_utf8_encode(code_point, text);
        bpe->low_ids[code_point] = entro_bpe_find(bpe, text, size);
    }
    static const char digits[] = "0123456789ABCDEF";
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        bpe->byte_ids[byte] = entro_bpe_find(bpe, text, sizeof text);
    }
}

enum entro_error entro_bpe_index(struct entro_bpe *bpe, size_t n_merges, struct entro_message *message)
{
    if (n_merges > ENTRO_TEXT_LIMIT)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "the vocabulary has %zu merges, too many", n_merges);
    bpe->n_id_slots = slots_for(bpe->n_tokens);
    bpe->n_merge_slots = slots_for(n_merges);
    bpe->id_slots = malloc(bpe->n_id_slots * sizeof *bpe->id_slots);
    bpe->merge_slots = malloc(bpe->n_merge_slots * sizeof *bpe->merge_slots);
    if (bpe->id_slots == NULL || bpe->merge_slots == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                          "out of memory: tables of %zu tokens and %zu merges", bpe->n_tokens, n_merges);
    memset(bpe->id_slots, 0xFF, bpe->n_id_slots * sizeof *bpe->id_slots);
    memset(bpe->merge_slots, 0xFF, bpe->n_merge_slots * sizeof *bpe->merge_slots);

    for (size_t id = 0; id < bpe->n_ids; id++) {
        size_t size;
        const char *text = entro_bpe_token_text(bpe, (uint32_t)id, &size);
        if (text != NULL)
            bpe->id_slots[id_slot(bpe, text, size)] = (uint32_t)id;
    }
    index_single_characters(bpe);
    return ENTRO_OK;
}

enum entro_error entro_bpe_set_merge(struct entro_bpe *bpe, uint32_t rank, const char *left, size_t left_size,
                                     const char *right, size_t right_size, struct entro_message *message)
{
    uint32_t left_id = entro_bpe_find(bpe, left, left_size);
    uint32_t right_id = entro_bpe_find(bpe, right, right_size);
    if (left_id == ENTRO_TOKEN_NONE || right_id == ENTRO_TOKEN_NONE) {
        bool is_left = left_id == ENTRO_TOKEN_NONE;
        size_t size = is_left ? left_size : right_size;
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "merge %u names \"%.*s\", which is no token of the vocabulary", rank,
                          (int)(size < 100 ? size : 100), is_left ? left : right);
    }
    /* Together behind the tokens' texts for the moment: that needs no memory of its own for each merge. */
    size_t n_before = bpe->texts.size;
    enum entro_error error = entro_text_append(&bpe->texts, left, left_size, message);
    if (error == ENTRO_OK)
        error = entro_text_append(&bpe->texts, right, right_size, message);
    size_t size = bpe->texts.size - n_before;
    bpe->texts.size = n_before;
    if (error != ENTRO_OK)
        return error;
    const char *together = size > 0 ? bpe->texts.data + n_before : "";
    uint32_t id = entro_bpe_find(bpe, together, size);
    if (id == ENTRO_TOKEN_NONE)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "merge %u gives \"%.*s\", which is no token of the vocabulary", rank,
                          (int)(size < 100 ? size : 100), together);
    uint64_t pair = (uint64_t)left_id << 32 | right_id;
    bpe->merge_slots[merge_slot(bpe, pair)] = (struct entro_bpe_merge){.pair = pair, .rank = rank, .id = id};
    return ENTRO_OK;
}

struct scored {
    float score;
    uint32_t id;
};

static int higher_score_first(const void *left, const void *right)
{
    float a = ((const struct scored *)left)->score;
    float b = ((const struct scored *)right)->score;
    return (a < b) - (a > b);
}

enum entro_error entro_bpe_set_scores(struct entro_bpe *bpe, const float *scores,
                                      struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    struct scored *order = calloc(bpe->n_ids > 0 ? bpe->n_ids : 1, sizeof *order);
    bpe->score_ranks = calloc(bpe->n_ids > 0 ? bpe->n_ids : 1, sizeof *bpe->score_ranks);
    if (order == NULL || bpe->score_ranks == NULL) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: %zu scores", bpe->n_ids);
        goto out;
    }
    for (size_t id = 0; id < bpe->n_ids; id++) {
        if (isnan(scores[id])) {
            error = entro_fail(message, ENTRO_ERROR_FORMAT, "the score of token %zu is not a number", id);
            goto out;
        }
        order[id] = (struct scored){.score = scores[id], .id = (uint32_t)id};
    }
    qsort(order, bpe->n_ids, sizeof *order, higher_score_first);
    uint32_t rank = 0;
    for (size_t i = 0; i < bpe->n_ids; i++) {
        if (i > 0 && order[i].score < order[i - 1].score)
            rank++;
        bpe->score_ranks[order[i].id] = rank;
    }
out:
    free(order);
    return error;
}

void entro_bpe_free(struct entro_bpe *bpe)
{
    entro_text_free(&bpe->texts);
    free(bpe->tokens);
    free(bpe->id_slots);
    free(bpe->merge_slots);
    free(bpe->score_ranks);
    *bpe = (struct entro_bpe){0};
}

uint32_t entro_bpe_find(const struct entro_bpe *bpe, const char *text, size_t size)
{
    if (size > bpe->max_token_size || bpe->n_id_slots == 0)
        return ENTRO_TOKEN_NONE;
    return bpe->id_slots[id_slot(bpe, text, size)];
}

const char *entro_bpe_token_text(const struct entro_bpe *bpe, uint32_t id, size_t *size)
{
    *size = 0;
    if (id >= bpe->n_ids || bpe->tokens[id].size == UINT32_MAX)
        return NULL;
    *size = bpe->tokens[id].size;
    /* An arena of nothing but empty texts has no address. */
    return *size == 0 ? "" : bpe->texts.data + bpe->tokens[id].offset;
}

const struct entro_bpe_merge *entro_bpe_find_merge(const struct entro_bpe *bpe, uint32_t left, uint32_t right)
{
    const struct entro_bpe_merge *merge = &bpe->merge_slots[merge_slot(bpe, (uint64_t)left << 32 | right)];
    return merge->pair == UINT64_MAX ? NULL : merge;
}
