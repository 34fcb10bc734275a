/* From a prompt's text to the tokens that the model is given: a conversation in the model's chat template, or
 * the text as it is. */
#ifndef ENTRO_RUNNER_PROMPT_H
#define ENTRO_RUNNER_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/error.h"
#include "runner/chat.h"
#include "runner/model.h"
#include "runner/tokenizer_text.h"

struct entro_prompt {
    const char *text; /* UTF-8, size_bytes of them */
    size_t size_bytes;
    bool chat;                 /* use a chat template, where there is one */
    const char *chat_template; /* its name; NULL: the model's own */
    const char *system;        /* system message; NULL: the template's default */
};

/*
 * Appends the tokens to `tokens`. Where a chat template is used, the token that ends its turns joins the
 * model's end-of-text ids. ENTRO_ERROR_UNSUPPORTED (the model's chat template is not known), _ARGUMENT (a
 * system message without a template, a template's name that is not known), _FORMAT (tokens that the embedding
 * lacks), and those of the tokenizer.
 */
enum entro_error entro_prompt_encode(struct entro_model *model, const struct entro_prompt *prompt,
                                     struct entro_tokens *tokens, struct entro_message *message);

/* For conversations of more than one turn: the template by that name, or (NULL) the model's own, which must
 * then have one. The token that ends its turns joins the model's end-of-text ids. The caller frees *chat.
 * Errors as above. */
enum entro_error entro_prompt_choose_chat(struct entro_model *model, const char *name,
                                          struct entro_chat *chat, struct entro_message *message);
/* Appends the tokens of the conversation, and of what makes the model answer. On failure `tokens` holds what
 * it held. Errors as above. */
enum entro_error entro_prompt_encode_chat(const struct entro_model *model, const struct entro_chat *chat,
                                          const struct entro_chat_message *messages, size_t n_messages,
                                          struct entro_tokens *tokens, struct entro_message *message);

#endif
