/*
 * Tokenizers: text to token ids and back. Byte-level BPE (GPT-2, SmolLM, Llama 3, Qwen) and
 * SentencePiece-style BPE (Llama 2, TinyLlama, Phi-3, Gemma), from a Hugging Face tokenizer.json or from a
 * GGUF file's metadata. The ids are those of the Hugging Face library (tokenizer.json, and GGUF's "gpt2") and
 * of llama.cpp (GGUF's "llama"). Reading files is the caller's.
 */
#ifndef ENTRO_TOKENIZER_H
#define ENTRO_TOKENIZER_H

#include "codec/error.h"
#include "runner/tokenizer_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer files and texts are refused, in bytes. */
#define ENTRO_TOKENIZER_JSON_LIMIT ((size_t)128 << 20)
#define ENTRO_TOKENIZER_TEXT_LIMIT ((size_t)32 << 20)
/* More tokens, or higher ids, are refused. */
#define ENTRO_TOKENIZER_MAX_TOKENS ((size_t)4 << 20)

/* Opaque; constant once created, so that any number of threads may use it at once. */
struct entro_tokenizer;

/* Not NUL-terminated; {NULL, 0}: absent. */
struct entro_vocab_string {
    const char *data;
    size_t size;
};

enum entro_vocab_choice { ENTRO_VOCAB_UNSAID, ENTRO_VOCAB_NO, ENTRO_VOCAB_YES };

/* A token added to a vocabulary, found in the text before anything else; the flags are those of
 * tokenizer.json. */
struct entro_vocab_added {
    struct entro_vocab_string text;
    uint32_t id; /* beyond the vocabulary, or of the token with that text */
    bool special;
    bool lstrip;
    bool rstrip;
    bool single_word;
    bool normalized;
};

/* What a GGUF file's tokenizer.ggml.* metadata say. {0} plus ENTRO_TOKEN_NONE for the ids is a file that says
 * nothing. Nothing is kept. */
struct entro_tokenizer_vocab {
    struct entro_vocab_string model;         /* .model: "gpt2" or "llama" */
    struct entro_vocab_string pre;           /* .pre, the pre-tokenizer; may be absent */
    const struct entro_vocab_string *tokens; /* [n_tokens] .tokens; the index is the id */
    size_t n_tokens;
    const float *scores;                     /* [n_tokens] .scores; "llama" needs them, else NULL */
    const int32_t *types;                    /* [n_tokens] .token_type, or NULL: all normal */
    const struct entro_vocab_string *merges; /* [n_merges] .merges, "left right"; "gpt2" needs them */
    size_t n_merges;
    uint32_t bos_id; /* .bos_token_id and so on, or ENTRO_TOKEN_NONE */
    uint32_t eos_id;
    uint32_t unknown_id;
    enum entro_vocab_choice add_bos; /* .add_bos_token and so on; unsaid: what the model has by custom */
    enum entro_vocab_choice add_eos;
    enum entro_vocab_choice add_space_prefix;
    bool markers_take_space; /* the white space after an added token is part of it, but after <unk>, <s> and
                                <|endoftext|>: what the tokenizer.json of Phi-3 says and a GGUF file cannot */
    /* Of no GGUF file: */
    bool space_prefix_at_origin_only;      /* not after an added token, nor before a space */
    const struct entro_vocab_added *added; /* [n_added], besides those that the types tell */
    size_t n_added;
};

/* Both set *out to NULL on failure: ENTRO_ERROR_FORMAT (damaged, contradictory, absurd),
 * ENTRO_ERROR_UNSUPPORTED (a component that is not known; the message names it), ENTRO_ERROR_NO_MEMORY. The
 * caller owns *out. */
enum entro_error entro_tokenizer_from_json(struct entro_tokenizer **out, const char *text, size_t size,
                                           struct entro_message *message);
enum entro_error entro_tokenizer_from_vocab(struct entro_tokenizer **out,
                                            const struct entro_tokenizer_vocab *vocab,
                                            struct entro_message *message);
/* NULL is fine. */
void entro_tokenizer_destroy(struct entro_tokenizer *tokenizer);

/* One more than the highest id. */
size_t entro_tokenizer_n_tokens(const struct entro_tokenizer *tokenizer);
/* The tokens that begin and end a text, or ENTRO_TOKEN_NONE. From tokenizer.json only where its
 * post-processor puts them; config.json and generation_config.json know better what ends a generation. */
uint32_t entro_tokenizer_bos(const struct entro_tokenizer *tokenizer);
uint32_t entro_tokenizer_eos(const struct entro_tokenizer *tokenizer);
/* Whether ENTRO_ENCODE_TEMPLATE puts any token before the text. */
bool entro_tokenizer_adds_bos(const struct entro_tokenizer *tokenizer);
/* The id of a token by its text as the file has it: an added token ("<|im_end|>"), else one of the
 * vocabulary; or ENTRO_TOKEN_NONE. */
uint32_t entro_tokenizer_find(const struct entro_tokenizer *tokenizer, const char *text, size_t size);
/* True for control tokens: those that decoding leaves out. */
bool entro_tokenizer_is_special(const struct entro_tokenizer *tokenizer, uint32_t id);
/* The token as the file has it, *size bytes, owned by the tokenizer; NULL for an id that is no token. */
const char *entro_tokenizer_token_text(const struct entro_tokenizer *tokenizer, uint32_t id, size_t *size);

/* Special tokens in the text ("<|im_start|>") are those tokens; without it they are ordinary text. */
#define ENTRO_ENCODE_SPECIAL 1u
/* Adds the tokens that the tokenizer puts around a text (BOS, EOS). */
#define ENTRO_ENCODE_TEMPLATE 2u

/* Appends the ids of `text` to `out`. Bytes that are not UTF-8 count as U+FFFD. O(size log size) time;
 * at most about 30 bytes of memory for each byte of the text, and 60 more for each of the longest stretch
 * that nothing splits. On failure `out` holds what it held: ENTRO_ERROR_UNSUPPORTED (the text or such a
 * stretch is too long, an expression of the tokenizer takes too long), ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_tokenizer_encode(const struct entro_tokenizer *tokenizer, const char *text,
                                        size_t size, unsigned flags, struct entro_tokens *out,
                                        struct entro_message *message);

/* Special tokens are given out as text instead of left out. */
#define ENTRO_DECODE_SPECIAL 1u
/* The text goes on from one before it: a leading space is kept, which some tokenizers strip at the start of a
 * text. */
#define ENTRO_DECODE_CONTINUES 2u

/* Decoding of one text, token by token. Of one thread; set up by entro_token_decoder_start, nothing to free.
 * The fields are the decoder's. */
struct entro_token_decoder {
    const struct entro_tokenizer *tokenizer;
    unsigned flags;
    bool is_first;
    size_t n_to_strip;
    char pending[4]; /* the beginning of a character whose other bytes are still to come */
    size_t n_pending;
};

/* The tokenizer must outlive the decoder. */
void entro_token_decoder_start(struct entro_token_decoder *decoder, const struct entro_tokenizer *tokenizer,
                               unsigned flags);
/* Appends what the token adds to the text: whole characters only; bytes of an unfinished one are held back.
 * An id that is no token adds nothing. ENTRO_ERROR_NO_MEMORY, ENTRO_ERROR_UNSUPPORTED (text too long). */
enum entro_error entro_token_decoder_next(struct entro_token_decoder *decoder, uint32_t id,
                                          struct entro_text *out, struct entro_message *message);
/* The end of the text: bytes held back become U+FFFD. Errors as above. */
enum entro_error entro_token_decoder_finish(struct entro_token_decoder *decoder, struct entro_text *out,
                                            struct entro_message *message);

#endif
