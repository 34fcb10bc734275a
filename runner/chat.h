/*
 * Chat templates: a conversation written the way a model was trained to read it. Models carry their template
 * as a Jinja program; the usual ones are few, so they are recognised by what their text contains and written
 * by a table. Tokenizing the result is the tokenizer's.
 */
#ifndef ENTRO_CHAT_H
#define ENTRO_CHAT_H

#include "codec/error.h"
#include "runner/tokenizer_text.h"

#include <stdbool.h>

enum entro_chat_role { ENTRO_CHAT_SYSTEM, ENTRO_CHAT_USER, ENTRO_CHAT_ASSISTANT };

struct entro_chat_message {
    enum entro_chat_role role;
    const char *content; /* UTF-8, `size` bytes */
    size_t size;
};

/* A chosen template, set up by one of the two functions below. Constant afterwards, thread-safe. */
struct entro_chat {
    const struct entro_chat_format *format;
    struct entro_text
        default_system; /* what a conversation without a system message starts with; empty: nothing. Owned. */
};

/* From the text of a model's chat_template. ENTRO_ERROR_UNSUPPORTED names the known ones;
 * ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_chat_detect(struct entro_chat *chat, const char *text, size_t size,
                                   struct entro_message *message);
/* By name ("chatml"), without a default system message. ENTRO_ERROR_ARGUMENT names the known ones. */
enum entro_error entro_chat_by_name(struct entro_chat *chat, const char *name, struct entro_message *message);
void entro_chat_free(struct entro_chat *chat);

const char *entro_chat_name(const struct entro_chat *chat);
/* The text of the token that ends a turn: generation stops at it. */
const char *entro_chat_end_of_turn(const struct entro_chat *chat);

/* Appends the conversation, with `add_generation_prompt` also what makes the model answer. To be encoded with
 * ENTRO_ENCODE_SPECIAL, which reads markers within a content as markers, as the Jinja programs do.
 * ENTRO_ERROR_NO_MEMORY, ENTRO_ERROR_UNSUPPORTED (too long). */
enum entro_error entro_chat_render(const struct entro_chat *chat, const struct entro_chat_message *messages,
                                   size_t n_messages, bool add_generation_prompt, struct entro_text *out,
                                   struct entro_message *message);

#endif
