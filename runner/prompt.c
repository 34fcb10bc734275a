/* Encoding a prompt; see prompt.h. */
#include "runner/prompt.h"

#include <string.h>

#include "runner/chat.h"

static enum entro_error encode_raw(const struct entro_model *model, const struct entro_prompt *prompt,
                                   struct entro_tokens *tokens, struct entro_message *message)
{
    /* Special tokens written out are meant: a raw prompt is the place for a template of one's own. */
    enum entro_error error =
        entro_tokenizer_encode(model->tokenizer, prompt->text, prompt->size_bytes,
                               ENTRO_ENCODE_SPECIAL | ENTRO_ENCODE_TEMPLATE, tokens, message);
    /* Even nothing needs a token to go on from. */
    if (error == ENTRO_OK && tokens->n == 0 && model->config.bos_id >= 0)
        error = entro_tokens_append(tokens, (uint32_t)model->config.bos_id, message);
    return error;
}

/* A model's template says itself whether a text begins with BOS; one chosen by name leaves that to the
 * tokenizer. */
static unsigned encode_flags(const struct entro_model *model, const struct entro_prompt *prompt)
{
    bool template_adds = prompt->chat_template != NULL || strstr(model->chat_template, "bos_token") != NULL;
    return ENTRO_ENCODE_SPECIAL |
           (template_adds && entro_tokenizer_adds_bos(model->tokenizer) ? ENTRO_ENCODE_TEMPLATE : 0);
}

static enum entro_error encode_chat(struct entro_model *model, const struct entro_prompt *prompt,
                                    const struct entro_chat *chat, struct entro_tokens *tokens,
                                    struct entro_message *message)
{
    struct entro_text text = {0};
    const struct entro_chat_message messages[] = {
        {.role = ENTRO_CHAT_SYSTEM,
         .content = prompt->system,
         .size = prompt->system == NULL ? 0 : strlen(prompt->system)},
        {.role = ENTRO_CHAT_USER, .content = prompt->text, .size = prompt->size_bytes},
    };
    size_t first = prompt->system == NULL ? 1 : 0;
    const char *end = entro_chat_end_of_turn(chat);
    uint32_t end_id = entro_tokenizer_find(model->tokenizer, end, strlen(end));
    if (end_id == ENTRO_TOKEN_NONE)
        return entro_fail(
            message, ENTRO_ERROR_UNSUPPORTED,
            "chat template %s ends turns with %s, which is no token of this model; --no-chat does without",
            entro_chat_name(chat), end);
    if (!entro_config_add_eos(&model->config, end_id))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "the model has too many end-of-text tokens");
    enum entro_error error = entro_chat_render(chat, messages + first, 2 - first, true, &text, message);
    if (error == ENTRO_OK)
        error = entro_tokenizer_encode(model->tokenizer, text.data, text.size, encode_flags(model, prompt),
                                       tokens, message);
    entro_text_free(&text);
    return error;
}

static enum entro_error encode(struct entro_model *model, const struct entro_prompt *prompt,
                               struct entro_tokens *tokens, struct entro_message *message)
{
    struct entro_chat chat;
    enum entro_error error;
    if (!prompt->chat || (prompt->chat_template == NULL && model->chat_template == NULL)) {
        if (prompt->system != NULL)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "a system prompt needs a chat template%s",
                              prompt->chat ? ", and the model has none" : "");
        return encode_raw(model, prompt, tokens, message);
    }
    if (prompt->chat_template != NULL)
        error = entro_chat_by_name(&chat, prompt->chat_template, message);
    else
        error = entro_chat_detect(&chat, model->chat_template, strlen(model->chat_template), message);
    if (error != ENTRO_OK)
        return error;
    error = encode_chat(model, prompt, &chat, tokens, message);
    entro_chat_free(&chat);
    return error;
}

enum entro_error entro_prompt_encode(struct entro_model *model, const struct entro_prompt *prompt,
                                     struct entro_tokens *tokens, struct entro_message *message)
{
    size_t first = tokens->n;
    enum entro_error error = encode(model, prompt, tokens, message);
    for (size_t i = first; error == ENTRO_OK && i < tokens->n; i++)
        if (tokens->ids[i] >= model->config.n_vocabulary)
            error = entro_fail(message, ENTRO_ERROR_FORMAT,
                               "the tokenizer gives token %u, but the model's embedding has %zu: they do not "
                               "belong together",
                               tokens->ids[i], model->config.n_vocabulary);
    return error;
}
