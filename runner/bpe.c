/*
 * Merging one pre-token. The best pair (lowest rank, then leftmost) comes from a binary heap, neighbours from
 * a linked list, and an entry that a merge has overtaken is recognised when it is popped: O(n log n), as in
 * the tokenizers of Hugging Face (models/bpe/word.rs) and SentencePiece (bpe_model.cc). The tables are in
 * bpe_vocabulary.c.
 */
#include "runner/bpe.h"
#include "runner/bpe_internal.h"
#include "runner/tokenizer_utf8.h"

#include <stdlib.h>

#define NO_SYMBOL UINT32_MAX
/* Pre-tokens of that many bytes are cut, into stretches of at least so many; shorter ones are not worth the
 * table that cutting takes. */
#define CUT_FROM ((size_t)32 << 10)
#define STRETCH  ((size_t)4 << 10)

/* A token, or by score a character that is none (id ENTRO_TOKEN_NONE). `size` 0: merged into its left
 * neighbour. */
struct entro_bpe_symbol {
    uint32_t id;
    uint32_t start; /* of its text in the pre-token */
    uint32_t size;
    uint32_t previous;
    uint32_t next;
};

/* A pair that may merge: symbols `position` and the next one give `id`. */
struct entro_bpe_candidate {
    uint32_t rank;
    uint32_t position;
    uint32_t id;
};

struct merging {
    const struct entro_bpe *bpe;
    const char *text;
    struct entro_bpe_workspace *workspace;
    size_t n_symbols;
};

static bool comes_before(const struct entro_bpe_candidate *a, const struct entro_bpe_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static enum entro_error heap_push(struct entro_bpe_workspace *workspace, struct entro_bpe_candidate candidate,
                                  struct entro_message *message)
{
    void *heap = workspace->heap;
    enum entro_error error =
        entro_grow(&heap, &workspace->heap_capacity, workspace->n_heap + 1, sizeof *workspace->heap, message);
    workspace->heap = heap;
    if (error != ENTRO_OK)
        return error;
    size_t at = workspace->n_heap++;
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!comes_before(&candidate, &workspace->heap[parent]))
            break;
        workspace->heap[at] = workspace->heap[parent];
        at = parent;
    }
    workspace->heap[at] = candidate;
    return ENTRO_OK;
}

/* The heap is not empty. */
static struct entro_bpe_candidate heap_pop(struct entro_bpe_workspace *workspace)
{
    struct entro_bpe_candidate *heap = workspace->heap;
    struct entro_bpe_candidate top = heap[0];
    size_t n = --workspace->n_heap;
    struct entro_bpe_candidate last = heap[n];
    size_t at = 0;
    for (size_t child = 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && comes_before(&heap[child + 1], &heap[child]))
            child++;
        if (!comes_before(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

/* What symbols `left` and its next one would become; false where they do not merge. */
static bool find_candidate(const struct merging *merging, uint32_t left,
                           struct entro_bpe_candidate *candidate)
{
    const struct entro_bpe *bpe = merging->bpe;
    const struct entro_bpe_symbol *a = &merging->workspace->symbols[left];
    const struct entro_bpe_symbol *b = &merging->workspace->symbols[a->next];
    candidate->position = left;
    if (bpe->score_ranks != NULL) {
        /* By score there is no list of pairs: neighbours merge where their texts, which are adjacent,
         * together are a token. */
        candidate->id = entro_bpe_find(bpe, merging->text + a->start, (size_t)a->size + b->size);
        if (candidate->id == ENTRO_TOKEN_NONE || bpe->score_ranks[candidate->id] == ENTRO_BPE_NEVER)
            return false;
        candidate->rank = bpe->score_ranks[candidate->id];
        return true;
    }
    const struct entro_bpe_merge *merge = entro_bpe_find_merge(bpe, a->id, b->id);
    if (merge == NULL)
        return false;
    candidate->id = merge->id;
    candidate->rank = merge->rank;
    return true;
}

static enum entro_error push_pair(const struct merging *merging, uint32_t left, struct entro_message *message)
{
    struct entro_bpe_candidate candidate;
    if (left == NO_SYMBOL || merging->workspace->symbols[left].next == NO_SYMBOL ||
        !find_candidate(merging, left, &candidate))
        return ENTRO_OK;
    return heap_push(merging->workspace, candidate, message);
}

static enum entro_error merge_all(const struct merging *merging, struct entro_message *message)
{
    struct entro_bpe_symbol *symbols = merging->workspace->symbols;
    enum entro_error error = ENTRO_OK;
    merging->workspace->n_heap = 0;
    for (size_t i = 0; i + 1 < merging->n_symbols && error == ENTRO_OK; i++)
        error = push_pair(merging, (uint32_t)i, message);

    while (error == ENTRO_OK && merging->workspace->n_heap > 0) {
        struct entro_bpe_candidate top = heap_pop(merging->workspace);
        struct entro_bpe_symbol *left = &symbols[top.position];
        struct entro_bpe_candidate now;
        if (left->size == 0 || left->next == NO_SYMBOL || !find_candidate(merging, top.position, &now) ||
            now.id != top.id)
            continue; /* overtaken: another merge took one of the two */
        struct entro_bpe_symbol *right = &symbols[left->next];
        left->id = top.id;
        left->size += right->size;
        left->next = right->next;
        right->size = 0;
        if (left->next != NO_SYMBOL)
            symbols[left->next].previous = top.position;
        error = push_pair(merging, left->previous, message);
        if (error == ENTRO_OK)
            error = push_pair(merging, top.position, message);
    }
    return error;
}

static enum entro_error add_symbol(struct merging *merging, uint32_t id, size_t start, size_t size,
                                   struct entro_message *message)
{
    struct entro_bpe_workspace *workspace = merging->workspace;
    void *symbols = workspace->symbols;
    enum entro_error error = entro_grow(&symbols, &workspace->symbol_capacity, merging->n_symbols + 1,
                                        sizeof *workspace->symbols, message);
    workspace->symbols = symbols;
    if (error != ENTRO_OK)
        return error;
    uint32_t at = (uint32_t)merging->n_symbols++;
    workspace->symbols[at] = (struct entro_bpe_symbol){.id = id,
                                                       .start = (uint32_t)start,
                                                       .size = (uint32_t)size,
                                                       .previous = at == 0 ? NO_SYMBOL : at - 1,
                                                       .next = NO_SYMBOL};
    if (at > 0)
        workspace->symbols[at - 1].next = at;
    return ENTRO_OK;
}

static uint32_t find_character(const struct entro_bpe *bpe, const char *text, size_t size)
{
    if (size == 1)
        return bpe->low_ids[(unsigned char)text[0]];
    if (size == 2) {
        uint32_t code_point = entro_utf8_code_point(text);
        if (code_point < 512)
            return bpe->low_ids[code_point];
    }
    return entro_bpe_find(bpe, text, size);
}

static bool has_all_bytes(const struct entro_bpe *bpe, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bpe->byte_ids[(unsigned char)text[i]] == ENTRO_TOKEN_NONE)
            return false;
    }
    return true;
}

/* Characters to symbols where merges are a list of pairs: what is no token becomes bytes or the unknown token
 * before anything merges. */
static enum entro_error split_for_pairs(struct merging *merging, size_t size, struct entro_message *message)
{
    const struct entro_bpe *bpe = merging->bpe;
    enum entro_error error = ENTRO_OK;
    /* An unknown token is held back as long as the next character may be fused into it. */
    size_t unknown_start = 0;
    size_t unknown_size = 0;
    size_t length;
    for (size_t at = 0; at < size && error == ENTRO_OK; at += length) {
        const char *text = merging->text + at;
        length = entro_utf8_length(*text);
        uint32_t id = find_character(bpe, text, length);
        if (id == ENTRO_TOKEN_NONE && bpe->byte_fallback && has_all_bytes(bpe, text, length)) {
            for (size_t i = 0; i < length && error == ENTRO_OK; i++)
                error = add_symbol(merging, bpe->byte_ids[(unsigned char)text[i]], at + i, 1, message);
            continue;
        }
        if (id == ENTRO_TOKEN_NONE && bpe->unknown_id == ENTRO_TOKEN_NONE)
            continue;
        if (unknown_size > 0 && (id != ENTRO_TOKEN_NONE || !bpe->fuse_unknown)) {
            error = add_symbol(merging, bpe->unknown_id, unknown_start, unknown_size, message);
            unknown_size = 0;
        }
        if (error == ENTRO_OK && id != ENTRO_TOKEN_NONE) {
            error = add_symbol(merging, id, at, length, message);
        } else if (error == ENTRO_OK) {
            unknown_start = unknown_size == 0 ? at : unknown_start;
            unknown_size += length;
        }
    }
    if (error == ENTRO_OK && unknown_size > 0)
        error = add_symbol(merging, bpe->unknown_id, unknown_start, unknown_size, message);
    return error;
}

/* Characters to symbols where merges go by score: a character that is no token may still merge into one. */
static enum entro_error split_for_scores(struct merging *merging, size_t size, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    size_t length;
    for (size_t at = 0; at < size && error == ENTRO_OK; at += length) {
        length = entro_utf8_length(merging->text[at]);
        uint32_t id = find_character(merging->bpe, merging->text + at, length);
        if (id != ENTRO_TOKEN_NONE && merging->bpe->score_ranks[id] == ENTRO_BPE_NEVER)
            id = ENTRO_TOKEN_NONE;
        error = add_symbol(merging, id, at, length, message);
    }
    return error;
}

/* `*is_unknown`: whether the symbol before became the unknown token; set for this one. */
static enum entro_error put_symbol(const struct merging *merging, const struct entro_bpe_symbol *symbol,
                                   bool *is_unknown, struct entro_tokens *out, struct entro_message *message)
{
    const struct entro_bpe *bpe = merging->bpe;
    bool was_unknown = *is_unknown;
    *is_unknown = false;
    if (symbol->id != ENTRO_TOKEN_NONE)
        return entro_tokens_append(out, symbol->id, message);
    const char *text = merging->text + symbol->start;
    enum entro_error error = ENTRO_OK;
    if (bpe->byte_fallback && has_all_bytes(bpe, text, symbol->size)) {
        for (size_t i = 0; i < symbol->size && error == ENTRO_OK; i++)
            error = entro_tokens_append(out, bpe->byte_ids[(unsigned char)text[i]], message);
    } else if (bpe->unknown_id != ENTRO_TOKEN_NONE) {
        *is_unknown = true;
        if (!was_unknown || !bpe->fuse_unknown)
            error = entro_tokens_append(out, bpe->unknown_id, message);
    }
    return error;
}

static enum entro_error encode_stretch(const struct entro_bpe *bpe, const char *text, size_t size,
                                       struct entro_bpe_workspace *workspace, struct entro_tokens *out,
                                       struct entro_message *message)
{
    if (size > ENTRO_BPE_MAX_STRETCH)
        return entro_fail(
            message, ENTRO_ERROR_UNSUPPORTED,
            "the tokenizer finds no place to split a stretch of %zu bytes; at most %zu are encoded", size,
            ENTRO_BPE_MAX_STRETCH);
    struct merging merging = {.bpe = bpe, .text = text, .workspace = workspace};
    enum entro_error error = bpe->score_ranks != NULL ? split_for_scores(&merging, size, message)
                                                      : split_for_pairs(&merging, size, message);
    if (error == ENTRO_OK)
        error = merge_all(&merging, message);
    bool is_unknown = false;
    for (size_t i = 0; i < merging.n_symbols && error == ENTRO_OK; i++) {
        if (workspace->symbols[i].size > 0)
            error = put_symbol(&merging, &workspace->symbols[i], &is_unknown, out, message);
    }
    return error;
}

enum entro_error entro_bpe_encode(const struct entro_bpe *bpe, const char *text, size_t size,
                                  struct entro_bpe_workspace *workspace, struct entro_tokens *out,
                                  struct entro_message *message)
{
    if (bpe->ignore_merges && size > 0) {
        uint32_t id = entro_bpe_find(bpe, text, size);
        if (id != ENTRO_TOKEN_NONE)
            return entro_tokens_append(out, id, message);
    }
    if (size < CUT_FROM)
        return encode_stretch(bpe, text, size, workspace, out, message);
    enum entro_error error = entro_bpe_prepare_cuts(bpe, workspace, message);
    for (size_t start = 0, end; start < size && error == ENTRO_OK; start = end) {
        end = start + entro_bpe_cut(bpe, workspace, text + start, size - start, STRETCH);
        error = encode_stretch(bpe, text + start, end - start, workspace, out, message);
    }
    return error;
}

void entro_bpe_workspace_free(struct entro_bpe_workspace *workspace)
{
    free(workspace->symbols);
    free(workspace->heap);
    free(workspace->side_by_side);
    *workspace = (struct entro_bpe_workspace){0};
}
