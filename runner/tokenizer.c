/* The pipeline from text to ids, and what a tokenizer's parts have in common; see tokenizer.h. Decoding is in
 * tokenizer_decode.c. */
#include "runner/tokenizer.h"
#include "runner/tokenizer_internal.h"
#include "runner/tokenizer_utf8.h"

#include <stdlib.h>

struct entro_tokenizer *entro_tokenizer_new(struct entro_message *message)
{
    struct entro_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer == NULL) {
        entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: a tokenizer");
        return NULL;
    }
    tokenizer->bos_id = ENTRO_TOKEN_NONE;
    tokenizer->eos_id = ENTRO_TOKEN_NONE;
    return tokenizer;
}

void entro_tokenizer_destroy(struct entro_tokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    entro_bpe_free(&tokenizer->bpe);
    entro_added_free(&tokenizer->added);
    entro_steps_free(&tokenizer->normalizer);
    entro_steps_free(&tokenizer->pre_tokenizer);
    entro_tokens_free(&tokenizer->prefix);
    entro_tokens_free(&tokenizer->suffix);
    entro_steps_free(&tokenizer->decoding.replace);
    entro_text_free(&tokenizer->decoding.metaspace);
    free(tokenizer->decoded);
    entro_text_free(&tokenizer->decoded_texts);
    free(tokenizer);
}

enum entro_error entro_steps_add_split(struct entro_steps *steps, const char *pattern, size_t size,
                                       bool literal, enum entro_split_behavior behavior, bool invert,
                                       struct entro_message *message)
{
    struct entro_step step = {.kind = ENTRO_STEP_SPLIT, .behavior = behavior, .invert = invert};
    enum entro_error error = entro_regex_compile(&step.regex, pattern, size, literal, message);
    return error != ENTRO_OK ? error : entro_steps_add(steps, step, message);
}

enum entro_error entro_steps_add_replace(struct entro_steps *steps, const char *pattern, size_t size,
                                         bool literal, const char *content, size_t content_size,
                                         struct entro_message *message)
{
    struct entro_step step = {.kind = ENTRO_STEP_REPLACE};
    enum entro_error error = entro_text_append(&step.content, content, content_size, message);
    if (error == ENTRO_OK)
        error = entro_regex_compile(&step.regex, pattern, size, literal, message);
    if (error != ENTRO_OK) {
        entro_text_free(&step.content);
        return error;
    }
    return entro_steps_add(steps, step, message);
}

enum entro_error entro_steps_add_prefix(struct entro_steps *steps, const char *content, size_t size,
                                        enum entro_prefix_when when, struct entro_message *message)
{
    struct entro_step step = {.kind = ENTRO_STEP_PREFIX, .when = when};
    enum entro_error error = entro_text_append(&step.content, content, size, message);
    return error != ENTRO_OK ? error : entro_steps_add(steps, step, message);
}

size_t entro_tokenizer_n_tokens(const struct entro_tokenizer *tokenizer)
{
    return tokenizer->n_ids;
}

uint32_t entro_tokenizer_bos(const struct entro_tokenizer *tokenizer)
{
    return tokenizer->bos_id;
}

uint32_t entro_tokenizer_eos(const struct entro_tokenizer *tokenizer)
{
    return tokenizer->eos_id;
}

bool entro_tokenizer_adds_bos(const struct entro_tokenizer *tokenizer)
{
    return tokenizer->prefix.n > 0;
}

uint32_t entro_tokenizer_find(const struct entro_tokenizer *tokenizer, const char *text, size_t size)
{
    const struct entro_added_token *added = entro_added_by_text(&tokenizer->added, text, size);
    return added != NULL ? added->id : entro_bpe_find(&tokenizer->bpe, text, size);
}

bool entro_tokenizer_is_special(const struct entro_tokenizer *tokenizer, uint32_t id)
{
    return id < tokenizer->n_ids && tokenizer->decoded[id].is_special;
}

const char *entro_tokenizer_token_text(const struct entro_tokenizer *tokenizer, uint32_t id, size_t *size)
{
    const struct entro_added_token *added = entro_added_by_id(&tokenizer->added, id);
    if (added == NULL)
        return entro_bpe_token_text(&tokenizer->bpe, id, size);
    *size = added->size;
    return tokenizer->added.texts.data + added->offset;
}

/* The state of one call. */
struct encoding {
    const struct entro_tokenizer *tokenizer;
    bool skip_special;
    struct entro_steps_workspace normalizing;
    struct entro_steps_workspace splitting;
    struct entro_bpe_workspace merging;
    struct entro_tokens *out;
    struct entro_message *message;
};

/* Normalized text without added tokens. */
static enum entro_error encode_plain(struct encoding *encoding, const char *text, size_t size, bool at_origin)
{
    const struct entro_tokenizer *tokenizer = encoding->tokenizer;
    struct entro_steps_workspace *splitting = &encoding->splitting;
    enum entro_error error = entro_steps_start(splitting, text, size, at_origin, encoding->message);
    if (error == ENTRO_OK)
        error = entro_steps_run(&tokenizer->pre_tokenizer, splitting, encoding->message);
    for (size_t i = 0; i < splitting->now.n && error == ENTRO_OK; i++) {
        const struct entro_piece *piece = &splitting->now.items[i];
        error = entro_bpe_encode(&tokenizer->bpe, splitting->now.text.data + piece->start, piece->size,
                                 &encoding->merging, encoding->out, encoding->message);
    }
    return error;
}

/* Text as it came, without those added tokens that are looked for there. */
static enum entro_error encode_section(struct encoding *encoding, const char *text, size_t size,
                                       bool at_origin)
{
    const struct entro_tokenizer *tokenizer = encoding->tokenizer;
    struct entro_steps_workspace *normalizing = &encoding->normalizing;
    enum entro_error error = entro_steps_start(normalizing, text, size, at_origin, encoding->message);
    if (error == ENTRO_OK)
        error = entro_steps_run(&tokenizer->normalizer, normalizing, encoding->message);
    if (error != ENTRO_OK || normalizing->now.n == 0)
        return error;
    /* A normalizer rewrites: one piece stays one piece. */
    struct entro_added_scan scan = {.added = &tokenizer->added,
                                    .trie = &tokenizer->added.normalized,
                                    .text = normalizing->now.text.data,
                                    .size = normalizing->now.text.size,
                                    .skip_special = encoding->skip_special};
    const struct entro_added_token *token;
    size_t start;
    size_t end;
    while (error == ENTRO_OK && entro_added_scan_next(&scan, &token, &start, &end)) {
        if (token != NULL)
            error = entro_tokens_append(encoding->out, token->id, encoding->message);
        else
            error = encode_plain(encoding, scan.text + start, end - start, at_origin && start == 0);
    }
    return error;
}

static enum entro_error encode_text(struct encoding *encoding, const char *text, size_t size)
{
    struct entro_added_scan scan = {.added = &encoding->tokenizer->added,
                                    .trie = &encoding->tokenizer->added.raw,
                                    .text = text,
                                    .size = size,
                                    .skip_special = encoding->skip_special};
    enum entro_error error = ENTRO_OK;
    const struct entro_added_token *token;
    size_t start;
    size_t end;
    while (error == ENTRO_OK && entro_added_scan_next(&scan, &token, &start, &end)) {
        if (token != NULL)
            error = entro_tokens_append(encoding->out, token->id, encoding->message);
        else
            error = encode_section(encoding, text + start, end - start, start == 0);
    }
    return error;
}

static enum entro_error append_all(struct entro_tokens *out, const struct entro_tokens *ids,
                                   struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    for (size_t i = 0; i < ids->n && error == ENTRO_OK; i++)
        error = entro_tokens_append(out, ids->ids[i], message);
    return error;
}

enum entro_error entro_tokenizer_encode(const struct entro_tokenizer *tokenizer, const char *text,
                                        size_t size, unsigned flags, struct entro_tokens *out,
                                        struct entro_message *message)
{
    if (size > ENTRO_TOKENIZER_TEXT_LIMIT)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "the text has %zu bytes; the tokenizer takes at most %zu", size,
                          ENTRO_TOKENIZER_TEXT_LIMIT);
    struct encoding encoding = {.tokenizer = tokenizer,
                                .skip_special = !(flags & ENTRO_ENCODE_SPECIAL),
                                .out = out,
                                .message = message};
    struct entro_text repaired = {0};
    size_t n_before = out->n;
    enum entro_error error = ENTRO_OK;
    if (!entro_utf8_is_valid(text, size)) {
        error = entro_utf8_repair(text, size, &repaired, message);
        text = repaired.data;
        size = repaired.size;
    }
    if (error == ENTRO_OK && (flags & ENTRO_ENCODE_TEMPLATE))
        error = append_all(out, &tokenizer->prefix, message);
    if (error == ENTRO_OK)
        error = encode_text(&encoding, text, size);
    if (error == ENTRO_OK && (flags & ENTRO_ENCODE_TEMPLATE))
        error = append_all(out, &tokenizer->suffix, message);
    if (error != ENTRO_OK)
        out->n = n_before;

    entro_steps_workspace_free(&encoding.normalizing);
    entro_steps_workspace_free(&encoding.splitting);
    entro_bpe_workspace_free(&encoding.merging);
    entro_text_free(&repaired);
    return error;
}
