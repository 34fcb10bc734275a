/* A conversation; see command_run_internal.h. Each turn is rendered and tokenized from its beginning; the
 * backend runs only what it has not run before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/chat.h"
#include "runner/command_run_internal.h"
#include "runner/prompt.h"

struct conversation {
    struct run *run;
    struct entro_chat chat;
    struct entro_chat_message *messages;
    char **contents; /* of the messages, malloc'ed */
    size_t n_messages;
    size_t messages_capacity;
    size_t contents_capacity;
    size_t n_fixed; /* messages at the start that are never forgotten: the system's */
    struct entro_tokens past;
};

static enum entro_error add_message(struct conversation *self, enum entro_chat_role role, const char *text,
                                    size_t size, struct entro_message *message)
{
    void *messages = self->messages, *contents = self->contents;
    enum entro_error error = entro_grow(&messages, &self->messages_capacity, self->n_messages + 1,
                                        sizeof *self->messages, message);
    self->messages = messages;
    if (error == ENTRO_OK)
        error = entro_grow(&contents, &self->contents_capacity, self->n_messages + 1, sizeof *self->contents,
                           message);
    self->contents = contents;
    if (error != ENTRO_OK)
        return error;
    char *content = malloc(size + 1);
    if (content == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the conversation");
    if (size > 0)
        memcpy(content, text, size);
    self->contents[self->n_messages] = content;
    self->messages[self->n_messages++] =
        (struct entro_chat_message){.role = role, .content = content, .size = size};
    return ENTRO_OK;
}

static void drop_messages(struct conversation *self, size_t first, size_t n)
{
    size_t n_behind = self->n_messages - first - n;
    for (size_t i = first; i < first + n; i++)
        free(self->contents[i]);
    if (n_behind > 0) {
        memmove(self->messages + first, self->messages + first + n, n_behind * sizeof *self->messages);
        memmove(self->contents + first, self->contents + first + n, n_behind * sizeof *self->contents);
    }
    self->n_messages -= n;
}

/* A part of the context stays free for the answer. */
static bool fits(const struct conversation *self, size_t n_tokens)
{
    size_t n_context = self->run->engine.backend->n_context, room = n_context / 4;
    int64_t n_predict = self->run->choices->n_predict;
    if (n_predict >= 0 && (size_t)n_predict < room)
        room = (size_t)n_predict;
    return n_tokens <= n_context - room;
}

/* The conversation as tokens. Where it has become too long, its oldest questions and answers are forgotten.
 */
static enum entro_error encode(struct conversation *self, struct entro_tokens *tokens,
                               struct entro_message *message)
{
    for (size_t n_forgotten = 0;; n_forgotten++) {
        tokens->n = 0;
        enum entro_error error = entro_prompt_encode_chat(&self->run->engine.model, &self->chat,
                                                          self->messages, self->n_messages, tokens, message);
        if (error != ENTRO_OK)
            return error;
        if (fits(self, tokens->n) || self->n_messages - self->n_fixed < 3) {
            if (n_forgotten > 0)
                fprintf(stderr,
                        "entrorun: the context is full: the oldest %zu question%s and answer%s are "
                        "forgotten\n",
                        n_forgotten, n_forgotten == 1 ? "" : "s", n_forgotten == 1 ? "" : "s");
            return ENTRO_OK;
        }
        drop_messages(self, self->n_fixed, 2);
    }
}

static enum entro_error answer(struct conversation *self, const struct entro_text *question,
                               struct entro_message *message)
{
    struct entro_tokens tokens = {0};
    struct entro_text text = {0};
    struct entro_generation_figures figures;
    enum entro_error error = add_message(self, ENTRO_CHAT_USER, question->data, question->size, message);
    if (error == ENTRO_OK)
        error = encode(self, &tokens, message);
    if (error == ENTRO_OK)
        error = run_generate(self->run, &tokens, &self->past, &text, &figures, message);
    if (error == ENTRO_OK && self->run->choices->verbose)
        run_print_figures(self->run, &figures);
    self->run->start = 0; /* only a first answer waits for the model to be opened */
    if (error == ENTRO_OK)
        error = add_message(self, ENTRO_CHAT_ASSISTANT, text.data, text.size, message);
    entro_text_free(&text);
    entro_tokens_free(&tokens);
    return error;
}

/* The user's next message: a line, and those after it as long as a backslash ends them. *end: there is none.
 */
static enum entro_error read_question(struct entro_text *question, bool *end, struct entro_message *message)
{
    char piece[4096];
    question->size = 0;
    *end = false;
    run_catch_interrupt(false);
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        fputs("\n> ", stdout);
        fflush(stdout);
    }
    errno = 0;
    while (fgets(piece, (int)sizeof piece, stdin) != NULL) {
        size_t n = strlen(piece);
        bool complete = n > 0 && piece[n - 1] == '\n';
        if (n > ENTRO_TOKENIZER_TEXT_LIMIT - question->size)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                              "standard input: a message longer than a text may be (%zu bytes)",
                              ENTRO_TOKENIZER_TEXT_LIMIT);
        enum entro_error error = entro_text_append(question, piece, complete ? n - 1 : n, message);
        if (error != ENTRO_OK)
            return error;
        if (!complete)
            continue;
        if (question->size == 0 || question->data[question->size - 1] != '\\')
            return ENTRO_OK;
        question->data[question->size - 1] = '\n';
    }
    if (run_interrupted)
        return entro_fail(message, ENTRO_ERROR_CANCELLED, "interrupted");
    if (ferror(stdin))
        return entro_fail(message, ENTRO_ERROR_IO, "standard input: %s", strerror(errno));
    *end = question->size == 0;
    return ENTRO_OK;
}

static enum entro_error talk(struct conversation *self, const struct entro_text *first,
                             struct entro_message *message)
{
    struct entro_text question = {0};
    bool end = false;
    enum entro_error error = first->size > 0 ? answer(self, first, message) : ENTRO_OK;
    while (error == ENTRO_OK) {
        if ((error = read_question(&question, &end, message)) != ENTRO_OK || end)
            break;
        if (question.size > 0)
            error = answer(self, &question, message);
    }
    entro_text_free(&question);
    return error;
}

enum entro_error run_chat(struct run *run, const struct entro_text *first, struct entro_message *message)
{
    struct conversation self = {.run = run};
    const struct run_choices *choices = run->choices;
    enum entro_error error =
        entro_prompt_choose_chat(&run->engine.model, choices->chat_template, &self.chat, message);
    if (error != ENTRO_OK)
        return error;
    error = run_start(run, &(struct entro_tokens){0}, message);
    if (error == ENTRO_OK && choices->system != NULL) {
        error = add_message(&self, ENTRO_CHAT_SYSTEM, choices->system, strlen(choices->system), message);
        self.n_fixed = self.n_messages;
    }
    if (error == ENTRO_OK)
        error = talk(&self, first, message);
    drop_messages(&self, 0, self.n_messages);
    free(self.contents);
    free(self.messages);
    entro_tokens_free(&self.past);
    entro_chat_free(&self.chat);
    return error;
}
