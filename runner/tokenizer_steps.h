/*
 * Normalizers and pre-tokenizers of tokenizer.json, reduced to a few kinds of step. A step takes a list of
 * pieces of text and gives another: rewritten, or cut finer. Reading them from JSON is tokenizer_json's.
 */
#ifndef ENTRO_TOKENIZER_STEPS_H
#define ENTRO_TOKENIZER_STEPS_H

#include "runner/tokenizer_regex.h"
#include "runner/tokenizer_text.h"

enum entro_step_kind {
    ENTRO_STEP_PREFIX,    /* puts `content` before a piece, as `when` says */
    ENTRO_STEP_REPLACE,   /* every match of `regex` by `content` */
    ENTRO_STEP_NORMALIZE, /* a Unicode normalization form: `form` */
    ENTRO_STEP_SPLIT,     /* at the matches of `regex`, as `behavior` and `invert` say */
    ENTRO_STEP_BYTES      /* each byte by the character that stands for it (tokenizer_bytemap.h) */
};

enum entro_prefix_when {
    ENTRO_PREFIX_ALWAYS,       /* on every piece */
    ENTRO_PREFIX_UNLESS_THERE, /* on every piece that does not start with it */
    ENTRO_PREFIX_AT_ORIGIN     /* likewise, but only on what starts the whole text */
};

/* What becomes of the matches (`invert`: of what lies between them). */
enum entro_split_behavior {
    ENTRO_SPLIT_REMOVED,
    ENTRO_SPLIT_ISOLATED,
    ENTRO_SPLIT_CONTIGUOUS,
    ENTRO_SPLIT_MERGED_WITH_PREVIOUS,
    ENTRO_SPLIT_MERGED_WITH_NEXT
};

enum entro_normalization { ENTRO_NFC, ENTRO_NFD, ENTRO_NFKC, ENTRO_NFKD };

struct entro_step {
    enum entro_step_kind kind;
    struct entro_regex *regex; /* owned */
    struct entro_text content; /* owned */
    enum entro_prefix_when when;
    enum entro_split_behavior behavior;
    bool invert;
    enum entro_normalization form;
};

/* {0} at first; constant and thread-safe once filled. */
struct entro_steps {
    struct entro_step *items;
    size_t n;
    size_t capacity;
};

/* Appends `step` and takes over what it owns, also on failure (ENTRO_ERROR_NO_MEMORY; ENTRO_ERROR_FORMAT: too
 * many). */
enum entro_error entro_steps_add(struct entro_steps *steps, struct entro_step step,
                                 struct entro_message *message);
void entro_steps_free(struct entro_steps *steps);

/* There may be a piece for every character: they are small (no text is longer than ENTRO_TEXT_LIMIT). */
struct entro_piece {
    uint32_t start;
    uint32_t size;
};

struct entro_pieces {
    struct entro_text text;
    struct entro_piece *items;
    size_t n;
    size_t capacity;
    bool at_origin; /* the first piece starts where the whole text starts; no other ever does */
};

/* Of one thread: `now` holds the pieces, `next` is where a step writes. {0} at first, `regex` created on
 * demand. A step that writes more than `size_limit` bytes fails; 0: only ENTRO_TEXT_LIMIT counts. */
struct entro_steps_workspace {
    size_t size_limit;
    struct entro_pieces now;
    struct entro_pieces next;
    struct entro_regex_workspace *regex;
};

/* Makes `text` the only piece (none where it is empty). */
enum entro_error entro_steps_start(struct entro_steps_workspace *workspace, const char *text, size_t size,
                                   bool at_origin, struct entro_message *message);
/* Runs the steps over workspace->now. The text is well-formed UTF-8 and stays so; empty pieces are dropped.
 * ENTRO_ERROR_NO_MEMORY, ENTRO_ERROR_UNSUPPORTED (the text grows too long, an expression takes too long). */
enum entro_error entro_steps_run(const struct entro_steps *steps, struct entro_steps_workspace *workspace,
                                 struct entro_message *message);
void entro_steps_workspace_free(struct entro_steps_workspace *workspace);

#endif
