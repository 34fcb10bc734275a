/* From ids back to text; see tokenizer.h. What each token adds is worked out once, in entro_tokenizer_finish.
 */
#include "runner/tokenizer.h"
#include "runner/tokenizer_bytemap.h"
#include "runner/tokenizer_internal.h"
#include "runner/tokenizer_utf8.h"

#include <stdlib.h>
#include <string.h>

/* A few steps can make a short token enormous; no honest one comes near this. */
#define TOKEN_LIMIT ((size_t)64 << 10)

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The byte that <0xNN> stands for, or -1. */
static int byte_of(const char *text, size_t size)
{
    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    int high = hex_digit(text[3]);
    int low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* A token of characters that all stand for bytes is those bytes; any other is its text. */
static enum entro_error append_mapped(struct entro_text *out, const char *text, size_t size,
                                      struct entro_message *message)
{
    size_t before = out->size;
    enum entro_error error = ENTRO_OK;
    for (size_t at = 0; at < size && error == ENTRO_OK; at += entro_utf8_length(text[at])) {
        int byte = entro_character_to_byte(entro_utf8_code_point(text + at));
        if (byte < 0) {
            out->size = before;
            return entro_text_append(out, text, size, message);
        }
        char c = (char)byte;
        error = entro_text_append(out, &c, 1, message);
    }
    return error;
}

/* The text with every metaspace replaced by `space`. */
static enum entro_error append_spaced(struct entro_text *out, const struct entro_text *metaspace,
                                      const char *space, const char *text, size_t size,
                                      struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    size_t length;
    for (size_t at = 0; at < size && error == ENTRO_OK; at += length) {
        length = entro_utf8_length(text[at]);
        if (length == metaspace->size && memcmp(text + at, metaspace->data, length) == 0)
            error = entro_text_append(out, space, strlen(space), message);
        else
            error = entro_text_append(out, text + at, length, message);
    }
    return error;
}

/* What of a token goes through the decoder: of an added token that is looked for in normalized text, its
 * normalized form. NULL: no token. */
static const char *text_to_decode(const struct entro_tokenizer *tokenizer, uint32_t id, size_t *size)
{
    const struct entro_added_token *added = entro_added_by_id(&tokenizer->added, id);
    if (added == NULL)
        return entro_bpe_token_text(&tokenizer->bpe, id, size);
    *size = added->pattern_size;
    return tokenizer->added.texts.data + added->pattern_offset;
}

static enum entro_error decode_one(struct entro_tokenizer *tokenizer, struct entro_steps_workspace *workspace,
                                   uint32_t id, struct entro_message *message)
{
    const struct entro_decoding *decoding = &tokenizer->decoding;
    struct entro_decoded_token *decoded = &tokenizer->decoded[id];
    struct entro_text *out = &tokenizer->decoded_texts;
    enum entro_error error = ENTRO_OK;
    size_t size;
    const char *text = text_to_decode(tokenizer, id, &size);
    decoded->offset = out->size;
    if (text == NULL)
        return ENTRO_OK;
    if (decoding->replace.n > 0) {
        error = entro_steps_start(workspace, text, size, false, message);
        if (error == ENTRO_OK)
            error = entro_steps_run(&decoding->replace, workspace, message);
        text = workspace->now.text.data;
        size = workspace->now.n > 0 ? workspace->now.text.size : 0;
    }
    int byte = decoding->byte_fallback ? byte_of(text, size) : -1;
    if (error == ENTRO_OK && byte >= 0) {
        decoded->is_byte = true;
        char c = (char)byte;
        error = entro_text_append(out, &c, 1, message);
    } else if (error == ENTRO_OK && decoding->byte_level) {
        error = append_mapped(out, text, size, message);
    } else if (error == ENTRO_OK && decoding->metaspace.size > 0) {
        error = append_spaced(out, &decoding->metaspace, " ", text, size, message);
    } else if (error == ENTRO_OK) {
        error = entro_text_append(out, text, size, message);
    }
    decoded->size = (uint32_t)(out->size - decoded->offset);
    return error;
}

static enum entro_error set_patterns(struct entro_tokenizer *tokenizer,
                                     struct entro_steps_workspace *workspace, struct entro_message *message)
{
    struct entro_added *added = &tokenizer->added;
    enum entro_error error = ENTRO_OK;
    for (size_t i = 0; i < added->n && error == ENTRO_OK; i++) {
        if (!added->tokens[i].normalized || tokenizer->normalizer.n == 0) {
            error = entro_added_set_pattern(added, i, NULL, 0, message);
            continue;
        }
        error = entro_steps_start(workspace, added->texts.data + added->tokens[i].offset,
                                  added->tokens[i].size, true, message);
        if (error == ENTRO_OK)
            error = entro_steps_run(&tokenizer->normalizer, workspace, message);
        const struct entro_pieces *pieces = &workspace->now;
        if (error == ENTRO_OK)
            error = entro_added_set_pattern(added, i, pieces->n > 0 ? pieces->text.data : "",
                                            pieces->n > 0 ? pieces->text.size : 0, message);
    }
    return error;
}

enum entro_error entro_tokenizer_finish(struct entro_tokenizer *tokenizer, struct entro_message *message)
{
    struct entro_steps_workspace workspace = {.size_limit = TOKEN_LIMIT};
    tokenizer->decoded = calloc(tokenizer->n_ids > 0 ? tokenizer->n_ids : 1, sizeof *tokenizer->decoded);
    if (tokenizer->decoded == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: a vocabulary of %zu tokens",
                          tokenizer->n_ids);
    enum entro_error error = set_patterns(tokenizer, &workspace, message);
    for (size_t id = 0; id < tokenizer->n_ids && error == ENTRO_OK; id++)
        error = decode_one(tokenizer, &workspace, (uint32_t)id, message);
    for (size_t i = 0; i < tokenizer->added.n && error == ENTRO_OK; i++)
        tokenizer->decoded[tokenizer->added.tokens[i].id].is_special = tokenizer->added.tokens[i].special;
    entro_steps_workspace_free(&workspace);
    return error;
}

void entro_token_decoder_start(struct entro_token_decoder *decoder, const struct entro_tokenizer *tokenizer,
                               unsigned flags)
{
    bool continues = (flags & ENTRO_DECODE_CONTINUES) != 0;
    *decoder = (struct entro_token_decoder){.tokenizer = tokenizer,
                                            .flags = flags,
                                            .is_first = !continues,
                                            .n_to_strip = continues ? 0 : tokenizer->decoding.n_strip};
}

/* Whole characters on their way out. */
static enum entro_error put_characters(struct entro_token_decoder *decoder, const char *text, size_t size,
                                       struct entro_text *out, struct entro_message *message)
{
    while (decoder->n_to_strip > 0 && size > 0) {
        size_t length = entro_utf8_length(text[0]);
        if (entro_utf8_code_point(text) != decoder->tokenizer->decoding.strip_code_point) {
            decoder->n_to_strip = 0;
            break;
        }
        text += length;
        size -= length;
        decoder->n_to_strip--;
    }
    return entro_text_append(out, text, size, message);
}

/* A replacement for bytes that are no character: one for all of them, or with byte tokens one for each. */
static enum entro_error put_invalid(struct entro_token_decoder *decoder, size_t n_bytes,
                                    struct entro_text *out, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    size_t n = decoder->tokenizer->decoding.byte_fallback ? n_bytes : 1;
    for (size_t i = 0; i < n && error == ENTRO_OK; i++)
        error = put_characters(decoder, ENTRO_UTF8_REPLACEMENT, ENTRO_UTF8_REPLACEMENT_SIZE, out, message);
    return error;
}

static enum entro_error flush(struct entro_token_decoder *decoder, struct entro_text *out,
                              struct entro_message *message)
{
    size_t n = decoder->n_pending;
    decoder->n_pending = 0;
    return n > 0 ? put_invalid(decoder, n, out, message) : ENTRO_OK;
}

/* Adds one byte to those held back; *consumed false: it does not belong to them, and they are given out as
 * invalid. */
static enum entro_error complete_pending(struct entro_token_decoder *decoder, char byte, bool *consumed,
                                         struct entro_text *out, struct entro_message *message)
{
    size_t length;
    decoder->pending[decoder->n_pending] = byte;
    enum entro_utf8_kind kind = entro_utf8_next(decoder->pending, decoder->n_pending + 1, &length);
    *consumed = kind != ENTRO_UTF8_INVALID;
    if (kind == ENTRO_UTF8_INVALID)
        return flush(decoder, out, message);
    decoder->n_pending++;
    if (kind == ENTRO_UTF8_INCOMPLETE)
        return ENTRO_OK;
    decoder->n_pending = 0;
    return put_characters(decoder, decoder->pending, length, out, message);
}

static enum entro_error put_bytes(struct entro_token_decoder *decoder, const char *text, size_t size,
                                  struct entro_text *out, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    size_t at = 0;
    while (at < size && error == ENTRO_OK) {
        if (decoder->n_pending > 0) {
            bool consumed;
            error = complete_pending(decoder, text[at], &consumed, out, message);
            at += consumed;
            continue;
        }
        size_t end = at;
        size_t length = 0;
        enum entro_utf8_kind kind = ENTRO_UTF8_CHARACTER;
        while (end < size &&
               (kind = entro_utf8_next(text + end, size - end, &length)) == ENTRO_UTF8_CHARACTER)
            end += length;
        error = put_characters(decoder, text + at, end - at, out, message);
        at = end;
        if (error != ENTRO_OK || at == size)
            break;
        if (kind == ENTRO_UTF8_INVALID) {
            error = put_invalid(decoder, length, out, message);
        } else {
            memcpy(decoder->pending, text + at, length);
            decoder->n_pending = length;
        }
        at += length;
    }
    return error;
}

enum entro_error entro_token_decoder_next(struct entro_token_decoder *decoder, uint32_t id,
                                          struct entro_text *out, struct entro_message *message)
{
    const struct entro_tokenizer *tokenizer = decoder->tokenizer;
    const struct entro_decoding *decoding = &tokenizer->decoding;
    if (id >= tokenizer->n_ids)
        return ENTRO_OK;
    size_t text_size;
    const char *text = text_to_decode(tokenizer, id, &text_size);
    const struct entro_decoded_token *decoded = &tokenizer->decoded[id];
    if (text == NULL || (decoded->is_special && !(decoder->flags & ENTRO_DECODE_SPECIAL)))
        return ENTRO_OK;
    bool is_first = decoder->is_first;
    decoder->is_first = false;

    enum entro_error error = ENTRO_OK;
    if (decoding->byte_fallback && !decoded->is_byte)
        error = flush(decoder, out, message);
    if (error == ENTRO_OK && decoding->joined_by_spaces && !is_first)
        error = put_bytes(decoder, " ", 1, out, message);
    if (error != ENTRO_OK)
        return error;
    if (is_first && decoding->drops_first_metaspace && !decoded->is_byte)
        return append_spaced(out, &decoding->metaspace, "", text, text_size, message);
    if (decoded->size == 0)
        return ENTRO_OK;
    return put_bytes(decoder, tokenizer->decoded_texts.data + decoded->offset, decoded->size, out, message);
}

enum entro_error entro_token_decoder_finish(struct entro_token_decoder *decoder, struct entro_text *out,
                                            struct entro_message *message)
{
    return flush(decoder, out, message);
}
