/* Input: a tokenizer.model, a tokenizer_config.json (or nothing), and the number of its bytes in the last two
 * bytes. The tokenizer, if it is one, encodes a text and decodes every token. */
#include "runner/sentencepiece.h"
#include "runner/tokenizer_utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void use(const struct entro_tokenizer *tokenizer)
{
    static const char text[] = "ab <s>abb\u00e9\u2581 \U0001F600<|end|> \n x\xff";
    size_t n = entro_tokenizer_n_tokens(tokenizer);
    struct entro_text decoded = {0};
    struct entro_token_decoder decoder;
    for (unsigned flags = 0; flags < 4; flags++) {
        struct entro_tokens tokens = {0};
        enum entro_error error =
            entro_tokenizer_encode(tokenizer, text, sizeof text - 1, flags, &tokens, NULL);
        require(error == ENTRO_OK || tokens.n == 0);
        for (size_t i = 0; i < tokens.n; i++)
            require(tokens.ids[i] < n);
        entro_tokens_free(&tokens);
    }
    entro_token_decoder_start(&decoder, tokenizer, ENTRO_DECODE_SPECIAL);
    for (uint32_t id = 0; id <= n && id < 4096; id++)
        require(entro_token_decoder_next(&decoder, id, &decoded, NULL) == ENTRO_OK);
    require(entro_token_decoder_finish(&decoder, &decoded, NULL) == ENTRO_OK);
    require(decoded.size == 0 || entro_utf8_is_valid(decoded.data, decoded.size));
    entro_text_free(&decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t config_size = size >= 2 ? (size_t)data[size - 2] | (size_t)data[size - 1] << 8 : 0;
    size_t model_size = size >= 2 ? size - 2 : size;
    const char *config = NULL;
    if (config_size > 0 && config_size <= model_size) {
        model_size -= config_size;
        config = (const char *)data + model_size;
    }
    struct entro_tokenizer *tokenizer = NULL;
    struct entro_message message = {""};
    enum entro_error error = entro_tokenizer_from_sentencepiece(&tokenizer, (const char *)data, model_size,
                                                                config, config_size, &message);
    require((error == ENTRO_OK) == (tokenizer != NULL));
    require(error == ENTRO_OK || message.text[0] != '\0');
    if (tokenizer != NULL)
        use(tokenizer);
    entro_tokenizer_destroy(tokenizer);
    return 0;
}
