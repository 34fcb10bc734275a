/*
 * Chat templates: a conversation written the way a model was trained to read it. Models carry their template
 * as a Jinja program; the usual ones are few, so they are recognised by what their text contains and written
 * from a table (chat_formats.c). Tokenizing the result is the tokenizer's.
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
    bool starts_with_bos; /* a conversation starts with BOS */
    bool drops_thoughts;  /* what an assistant's message has up to "</think>" is left out */
    struct entro_text
        default_system; /* what a conversation without a system message starts with; empty: nothing. Owned. */
};

/* The texts of the model's tokens that begin and end a text ("<s>", "</s>"), which some templates write; size
 * 0 where it has none. */
struct entro_chat_ends {
    const char *bos;
    size_t bos_size;
    const char *eos;
    size_t eos_size;
};

/* From the text of a model's chat_template. ENTRO_ERROR_UNSUPPORTED names the known ones;
 * ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_chat_detect(struct entro_chat *chat, const char *text, size_t size,
                                   struct entro_message *message);
/* By name ("chatml"), without a default system message. Whether BOS comes first is no part of a name: it is
 * false, and the caller's to set. ENTRO_ERROR_ARGUMENT names the known ones. */
enum entro_error entro_chat_by_name(struct entro_chat *chat, const char *name, struct entro_message *message);
void entro_chat_free(struct entro_chat *chat);

/* The names that entro_chat_by_name knows, from index 0 on; NULL after the last. */
const char *entro_chat_known_name(size_t index);
const char *entro_chat_name(const struct entro_chat *chat);
/* The text of the token that ends a turn: generation stops at it. NULL: the model's EOS does. */
const char *entro_chat_end_of_turn(const struct entro_chat *chat);

/*
 * Appends the conversation, with `add_generation_prompt` also what makes the model answer. To be encoded with
 * ENTRO_ENCODE_SPECIAL alone, which reads markers within a content as markers, as the Jinja programs do. A
 * template without system messages has them in a user's turn, as the models' newer templates do. That roles
 * alternate is not checked; where thoughts are dropped, they are also from a last message of an assistant.
 * ENTRO_ERROR_NO_MEMORY, ENTRO_ERROR_UNSUPPORTED (too long; a system message that is not the first message,
 * where the template has no place for it).
 */
enum entro_error entro_chat_render(const struct entro_chat *chat, const struct entro_chat_message *messages,
                                   size_t n_messages, bool add_generation_prompt,
                                   const struct entro_chat_ends *ends, struct entro_text *out,
                                   struct entro_message *message);

#endif
