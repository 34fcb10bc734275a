/* Encoding a prompt; see prompt.h. */
#include "runner/prompt.h"

#include <string.h>

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

static enum entro_error check_embedding(const struct entro_model *model, const struct entro_tokens *tokens,
                                        size_t first, struct entro_message *message)
{
    for (size_t i = first; i < tokens->n; i++)
        if (tokens->ids[i] >= model->config.n_vocabulary)
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "the tokenizer gives token %u, but the model's embedding has %zu: they do not "
                              "belong together",
                              tokens->ids[i], model->config.n_vocabulary);
    return ENTRO_OK;
}

/* Generation stops at the token that ends a turn. */
static enum entro_error add_end_of_turn(struct entro_model *model, const struct entro_chat *chat,
                                        struct entro_message *message)
{
    const char *end = entro_chat_end_of_turn(chat);
    if (end == NULL)
        return ENTRO_OK;
    uint32_t end_id = entro_tokenizer_find(model->tokenizer, end, strlen(end));
    if (end_id == ENTRO_TOKEN_NONE)
        return entro_fail(
            message, ENTRO_ERROR_UNSUPPORTED,
            "chat template %s ends turns with %s, which is no token of this model; --no-chat does without",
            entro_chat_name(chat), end);
    if (!entro_config_add_eos(&model->config, end_id))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "the model has too many end-of-text tokens");
    return ENTRO_OK;
}

enum entro_error entro_prompt_choose_chat(struct entro_model *model, const char *name,
                                          struct entro_chat *chat, struct entro_message *message)
{
    enum entro_error error;
    if (name != NULL)
        error = entro_chat_by_name(chat, name, message);
    else if (model->chat_template != NULL)
        error = entro_chat_detect(chat, model->chat_template, strlen(model->chat_template), message);
    else
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "the model has no chat template");
    if (error != ENTRO_OK)
        return error;
    /* A model's template says itself whether a text begins with BOS; one chosen by name leaves that to the
     * tokenizer. */
    if (name != NULL)
        chat->starts_with_bos = entro_tokenizer_adds_bos(model->tokenizer);
    error = add_end_of_turn(model, chat, message);
    if (error != ENTRO_OK)
        entro_chat_free(chat);
    return error;
}

/* The texts of the tokens that begin and end a text: what the tokenizer says, else the configuration. */
static struct entro_chat_ends find_ends(const struct entro_model *model)
{
    struct entro_chat_ends ends = {.bos = "", .eos = ""};
    uint32_t bos = entro_tokenizer_bos(model->tokenizer);
    uint32_t eos = entro_tokenizer_eos(model->tokenizer);
    if (bos == ENTRO_TOKEN_NONE && model->config.bos_id >= 0)
        bos = (uint32_t)model->config.bos_id;
    if (eos == ENTRO_TOKEN_NONE && model->config.n_eos_ids > 0)
        eos = model->config.eos_ids[0];
    const char *text = entro_tokenizer_token_text(model->tokenizer, bos, &ends.bos_size);
    if (text != NULL)
        ends.bos = text;
    text = entro_tokenizer_token_text(model->tokenizer, eos, &ends.eos_size);
    if (text != NULL)
        ends.eos = text;
    return ends;
}

enum entro_error entro_prompt_encode_chat(const struct entro_model *model, const struct entro_chat *chat,
                                          const struct entro_chat_message *messages, size_t n_messages,
                                          struct entro_tokens *tokens, struct entro_message *message)
{
    struct entro_text text = {0};
    struct entro_chat_ends ends = find_ends(model);
    size_t first = tokens->n;
    enum entro_error error = entro_chat_render(chat, messages, n_messages, true, &ends, &text, message);
    if (error == ENTRO_OK)
        error = entro_tokenizer_encode(model->tokenizer, text.data, text.size, ENTRO_ENCODE_SPECIAL, tokens,
                                       message);
    if (error == ENTRO_OK)
        error = check_embedding(model, tokens, first, message);
    if (error != ENTRO_OK)
        tokens->n = first;
    entro_text_free(&text);
    return error;
}

enum entro_error entro_prompt_encode(struct entro_model *model, const struct entro_prompt *prompt,
                                     struct entro_tokens *tokens, struct entro_message *message)
{
    size_t first = tokens->n;
    if (!prompt->chat || (prompt->chat_template == NULL && model->chat_template == NULL)) {
        if (prompt->system != NULL)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "a system prompt needs a chat template%s",
                              prompt->chat ? ", and the model has none" : "");
        enum entro_error error = encode_raw(model, prompt, tokens, message);
        return error == ENTRO_OK ? check_embedding(model, tokens, first, message) : error;
    }
    const struct entro_chat_message messages[] = {
        {.role = ENTRO_CHAT_SYSTEM,
         .content = prompt->system,
         .size = prompt->system == NULL ? 0 : strlen(prompt->system)},
        {.role = ENTRO_CHAT_USER, .content = prompt->text, .size = prompt->size_bytes},
    };
    size_t skip = prompt->system == NULL ? 1 : 0;
    struct entro_chat chat;
    enum entro_error error = entro_prompt_choose_chat(model, prompt->chat_template, &chat, message);
    if (error != ENTRO_OK)
        return error;
    error = entro_prompt_encode_chat(model, &chat, messages + skip, 2 - skip, tokens, message);
    entro_chat_free(&chat);
    return error;
}
