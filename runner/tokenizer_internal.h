/* The tokenizer's parts, and what its makers (tokenizer_json.c, tokenizer_vocab.c) share. */
#ifndef ENTRO_TOKENIZER_INTERNAL_H
#define ENTRO_TOKENIZER_INTERNAL_H

#include "runner/bpe.h"
#include "runner/tokenizer.h"
#include "runner/tokenizer_added.h"
#include "runner/tokenizer_steps.h"

/* The pattern that GPT-2 splits with and that ByteLevel means (gpt-2, src/encoder.py). */
#define ENTRO_GPT2_PATTERN                                                                                   \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* U+2581, what SentencePiece writes for a space. */
#define ENTRO_METASPACE "\xE2\x96\x81"

/* How a token becomes text. A token's own part is worked out once, for all tokens, when the tokenizer is
 * made. */
struct entro_decoding {
    struct entro_steps replace;  /* on each token */
    bool byte_level;             /* characters stand for bytes */
    bool byte_fallback;          /* <0xNN> is that byte */
    bool joined_by_spaces;       /* no decoder at all */
    struct entro_text metaspace; /* one character that stands for a space, or empty */
    bool drops_first_metaspace;  /* in the first token it stands for nothing */
    uint32_t strip_code_point;   /* at the start of the text, up to n_strip of these are left out */
    size_t n_strip;
};

/* What one token adds to the text. */
struct entro_decoded_token {
    size_t offset; /* in entro_tokenizer.decoded_texts */
    uint32_t size;
    bool is_byte; /* of <0xNN> */
    bool is_special;
};

struct entro_tokenizer {
    struct entro_bpe bpe;
    struct entro_added added;
    struct entro_steps normalizer;
    struct entro_steps pre_tokenizer;
    struct entro_tokens prefix; /* what the template puts before a text */
    struct entro_tokens suffix; /* and after it */
    uint32_t bos_id;
    uint32_t eos_id;
    size_t n_ids;
    struct entro_decoding decoding;
    struct entro_decoded_token *decoded; /* [n_ids] */
    struct entro_text decoded_texts;
};

/* An empty tokenizer, freed with entro_tokenizer_destroy; NULL: out of memory. */
struct entro_tokenizer *entro_tokenizer_new(struct entro_message *message);
/* The last thing when one is made: builds the search for added tokens and the text of every token. Errors as
 * of the makers. */
enum entro_error entro_tokenizer_finish(struct entro_tokenizer *tokenizer, struct entro_message *message);

/* Steps that both makers need; errors of entro_steps_add and entro_regex_compile. */
enum entro_error entro_steps_add_split(struct entro_steps *steps, const char *pattern, size_t size,
                                       bool literal, enum entro_split_behavior behavior, bool invert,
                                       struct entro_message *message);
enum entro_error entro_steps_add_replace(struct entro_steps *steps, const char *pattern, size_t size,
                                         bool literal, const char *content, size_t content_size,
                                         struct entro_message *message);
enum entro_error entro_steps_add_prefix(struct entro_steps *steps, const char *content, size_t size,
                                        enum entro_prefix_when when, struct entro_message *message);

#endif
