/* Input: a tokenizer.json, a zero byte, and a text that the tokenizer, if it is one, encodes and decodes. */
#include "runner/tokenizer.h"
#include "runner/tokenizer_utf8.h"

#include <stdlib.h>
#include <string.h>

/* Long enough for every path; short, since an expression may be as slow as its limit allows at every place.
 */
#define MAX_TEXT_SIZE ((size_t)64)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void decode(const struct entro_tokenizer *tokenizer, const struct entro_tokens *tokens, unsigned flags)
{
    struct entro_text text = {0};
    struct entro_token_decoder decoder;
    entro_token_decoder_start(&decoder, tokenizer, flags);
    enum entro_error error = ENTRO_OK;
    for (size_t i = 0; i < tokens->n && error == ENTRO_OK; i++) {
        size_t before = text.size;
        error = entro_token_decoder_next(&decoder, tokens->ids[i], &text, NULL);
        require(text.size >= before &&
                (text.size == before || entro_utf8_is_valid(text.data + before, text.size - before)));
    }
    if (error == ENTRO_OK)
        error = entro_token_decoder_finish(&decoder, &text, NULL);
    require(text.size == 0 || entro_utf8_is_valid(text.data, text.size));
    require(error == ENTRO_OK || error == ENTRO_ERROR_NO_MEMORY || error == ENTRO_ERROR_UNSUPPORTED);
    entro_text_free(&text);
}

static void use(const struct entro_tokenizer *tokenizer, const char *text, size_t size)
{
    size_t n = entro_tokenizer_n_tokens(tokenizer);
    require(entro_tokenizer_bos(tokenizer) == ENTRO_TOKEN_NONE || entro_tokenizer_bos(tokenizer) < n);
    require(entro_tokenizer_eos(tokenizer) == ENTRO_TOKEN_NONE || entro_tokenizer_eos(tokenizer) < n);
    for (unsigned flags = 0; flags < 4; flags++) {
        struct entro_tokens tokens = {0};
        if (entro_tokenizer_encode(tokenizer, text, size, flags, &tokens, NULL) != ENTRO_OK)
            require(tokens.n == 0);
        for (size_t i = 0; i < tokens.n; i++)
            require(tokens.ids[i] < n);
        decode(tokenizer, &tokens, flags);
        entro_tokens_free(&tokens);
    }
    /* Every token there is, also those that no text gives. */
    struct entro_tokens all = {0};
    for (uint32_t id = 0; id <= n && id < 4096; id++)
        require(entro_tokens_append(&all, id, NULL) == ENTRO_OK);
    decode(tokenizer, &all, ENTRO_DECODE_SPECIAL);
    entro_tokens_free(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t json_size = zero != NULL ? (size_t)(zero - data) : size;
    size_t text_size = zero != NULL ? size - json_size - 1 : 0;
    if (text_size > MAX_TEXT_SIZE)
        text_size = MAX_TEXT_SIZE;
    struct entro_tokenizer *tokenizer = NULL;
    struct entro_message message = {""};
    enum entro_error error = entro_tokenizer_from_json(&tokenizer, (const char *)data, json_size, &message);
    require((error == ENTRO_OK) == (tokenizer != NULL));
    require(error == ENTRO_OK || message.text[0] != '\0');
    if (tokenizer != NULL)
        use(tokenizer, zero != NULL ? (const char *)zero + 1 : "", text_size);
    entro_tokenizer_destroy(tokenizer);
    return 0;
}
