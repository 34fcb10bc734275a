/*
 * Added tokens: texts that are found in the input before anything is split or merged, leftmost and longest.
 * Special ones (<s>, <|im_end|>) are a kind of them.
 */
#ifndef ENTRO_TOKENIZER_ADDED_H
#define ENTRO_TOKENIZER_ADDED_H

#include "runner/tokenizer_text.h"

#include <stdbool.h>

/* A longer added token is refused: the search is bounded by it at every position. */
#define ENTRO_ADDED_TOKEN_MAX ((size_t)1024)

struct entro_added_token {
    uint32_t id;
    bool special;
    bool lstrip;      /* takes the white space before it */
    bool rstrip;      /* takes the white space after it */
    bool single_word; /* not next to a word character */
    bool normalized;  /* looked for in the normalized text */
    size_t offset;    /* its text in entro_added.texts */
    size_t size;
    size_t pattern_offset; /* what is looked for, likewise */
    size_t pattern_size;
};

/* A byte trie; node 0 is unused. */
struct entro_added_trie {
    struct entro_added_node *nodes;
    size_t n;
    size_t capacity;
    uint32_t roots[256]; /* node of a first byte, or 0 */
};

/* {0} at first; constant and thread-safe once filled. */
struct entro_added {
    struct entro_added_token *tokens; /* by rising id once sorted */
    size_t n;
    size_t capacity;
    struct entro_text texts;
    struct entro_added_trie raw;        /* of the tokens looked for in the text as it came */
    struct entro_added_trie normalized; /* of those looked for after the normalizer */
};

/* Adds a token of that text (its offset and size are set here). ENTRO_ERROR_FORMAT: empty or too long;
 * ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_added_add(struct entro_added *added, struct entro_added_token token, const char *text,
                                 size_t size, struct entro_message *message);
/* After the last entro_added_add: sorts by id. ENTRO_ERROR_FORMAT: two have one id. */
enum entro_error entro_added_sort(struct entro_added *added, struct entro_message *message);
/* After sorting: token `index` is looked for by this pattern (NULL: its own text), in the trie its flag says.
 * ENTRO_ERROR_FORMAT: empty, too long, or there is one already; ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_added_set_pattern(struct entro_added *added, size_t index, const char *pattern,
                                         size_t size, struct entro_message *message);
void entro_added_free(struct entro_added *added);

/* NULL where the id is no added token. */
const struct entro_added_token *entro_added_by_id(const struct entro_added *added, uint32_t id);
/* The added token of exactly that text, or NULL. Linear in the number of added tokens. */
const struct entro_added_token *entro_added_by_text(const struct entro_added *added, const char *text,
                                                    size_t size);

/* A walk over a text: sections without added tokens, and the tokens between them. Fill the first four fields.
 */
struct entro_added_scan {
    const struct entro_added *added;
    const struct entro_added_trie *trie;
    const char *text; /* well-formed UTF-8 */
    size_t size;
    bool skip_special; /* special tokens are ordinary text */

    size_t at;   /* where the search goes on */
    size_t done; /* what has been given out */
    const struct entro_added_token *held;
    size_t held_end;
    size_t spaces_start;
    size_t spaces_end;
};

/* Either the next section text[*start .. *end) with *token NULL, or the next token; false at the end. */
bool entro_added_scan_next(struct entro_added_scan *scan, const struct entro_added_token **token,
                           size_t *start, size_t *end);

#endif
