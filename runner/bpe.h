/*
 * Byte-pair encoding: a vocabulary (text <-> id), its merges, and the merging of one pre-token. What comes
 * before (normalizing, splitting) and after (special tokens, templates) is the tokenizer's.
 */
#ifndef ENTRO_BPE_H
#define ENTRO_BPE_H

#include "runner/tokenizer_text.h"

#include <stdbool.h>

/* Where a token's text lies; size is UINT32_MAX for an id that the vocabulary skips. */
struct entro_bpe_token {
    size_t offset;
    uint32_t size;
};

#define ENTRO_BPE_NEVER UINT32_MAX

struct entro_bpe_merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: a free slot */
    uint32_t rank;
    uint32_t id;
};

/* Filled by the functions below, in this order: init, set_token..., index, set_merge... or set_scores;
 * constant and thread-safe afterwards. */
struct entro_bpe {
    struct entro_text texts;
    struct entro_bpe_token *tokens; /* [n_ids] */
    size_t n_ids;
    size_t n_tokens;
    size_t max_token_size;

    uint32_t *id_slots; /* hash of a text -> id; linear probing, 2^k slots at most half full */
    size_t n_id_slots;
    struct entro_bpe_merge *merge_slots; /* likewise for pairs; empty where merges go by score */
    size_t n_merge_slots;
    uint32_t *score_ranks; /* [n_ids] or NULL: rank of a token by falling score, equal ranks for equal scores;
                              ENTRO_BPE_NEVER: no text becomes it */

    uint32_t low_ids[512]; /* ids of the one-character texts below U+0200: nearly all look-ups of a byte-level
                              text */
    uint32_t byte_ids[256]; /* ids of <0x00> .. <0xFF> */
    uint32_t unknown_id;    /* or ENTRO_TOKEN_NONE: unknown characters are dropped */
    bool fuse_unknown;
    bool byte_fallback;
    bool ignore_merges; /* a pre-token that is a token is that token, whatever the merges would give */
};

/* A longer stretch of a pre-token in which no place to cut it is found is refused, in bytes. */
#define ENTRO_BPE_MAX_STRETCH ((size_t)4 << 20)

/* Buffers of one thread, {0} at first; kept from pre-token to pre-token of one vocabulary. */
struct entro_bpe_workspace {
    struct entro_bpe_symbol *symbols;
    size_t symbol_capacity;
    struct entro_bpe_candidate *heap;
    size_t n_heap;
    size_t heap_capacity;
    uint64_t *side_by_side; /* a set of pairs of characters (bpe_cuts.c), or NULL: not made yet */
};

/* A vocabulary of ids 0 .. n_ids-1, all absent yet, with the options off. ENTRO_ERROR_NO_MEMORY. Free with
 * entro_bpe_free in any case. */
enum entro_error entro_bpe_init(struct entro_bpe *bpe, size_t n_ids, struct entro_message *message);
/* ENTRO_ERROR_FORMAT: the id is out of range or has a text already; ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_bpe_set_token(struct entro_bpe *bpe, uint64_t id, const char *text, size_t size,
                                     struct entro_message *message);
/* Builds the look-up by text (of two ids with one text the higher is found) and room for `n_merges`.
 * ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_bpe_index(struct entro_bpe *bpe, size_t n_merges, struct entro_message *message);
/* The merge of that rank; a later one of the same pair replaces an earlier one. ENTRO_ERROR_FORMAT where one
 * of the texts, or both together, is no token. At most `n_merges` calls. */
enum entro_error entro_bpe_set_merge(struct entro_bpe *bpe, uint32_t rank, const char *left, size_t left_size,
                                     const char *right, size_t right_size, struct entro_message *message);
/* Instead of merges: two neighbours merge where their texts together are a token, the highest score first.
 * scores[n_ids]; a NaN is ENTRO_ERROR_FORMAT. ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_bpe_set_scores(struct entro_bpe *bpe, const float *scores,
                                      struct entro_message *message);
void entro_bpe_free(struct entro_bpe *bpe);

/* ENTRO_TOKEN_NONE where the text is no token. */
uint32_t entro_bpe_find(const struct entro_bpe *bpe, const char *text, size_t size);
/* The text of an id, *size bytes, not NUL-terminated, owned by `bpe`; NULL for an absent id or one out of
 * range. */
const char *entro_bpe_token_text(const struct entro_bpe *bpe, uint32_t id, size_t *size);

/* Appends the ids of one pre-token, a well-formed UTF-8 text. O(size log size) time; memory for the longest
 * stretch, about 60 times its bytes. ENTRO_ERROR_NO_MEMORY, ENTRO_ERROR_UNSUPPORTED (a stretch that is too
 * long). */
enum entro_error entro_bpe_encode(const struct entro_bpe *bpe, const char *text, size_t size,
                                  struct entro_bpe_workspace *workspace, struct entro_tokens *out,
                                  struct entro_message *message);
void entro_bpe_workspace_free(struct entro_bpe_workspace *workspace);

#endif
