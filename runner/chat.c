/* The table of chat templates, recognising and writing them; see chat.h. */
#include "runner/chat.h"

#include <string.h>

struct turn {
    const char *before;
    const char *after;
};

struct entro_chat_format {
    const char *name;
    const char
        *markers[2]; /* a template text that has them all is this one; the first match in the table counts */
    struct turn turns[3]; /* by role; `before` NULL: recognised, but not written */
    const char *generation_prompt;
    const char *end_of_turn;
    const char *system_start; /* after it and a line end a template text may spell out a default system
                                 message, up to end_of_turn */
};

static const struct entro_chat_format formats[] = {
    {.name = "chatml",
     .markers = {"<|im_start|>", "<|im_end|>"},
     .turns = {{"<|im_start|>system\n", "<|im_end|>\n"},
               {"<|im_start|>user\n", "<|im_end|>\n"},
               {"<|im_start|>assistant\n", "<|im_end|>\n"}},
     .generation_prompt = "<|im_start|>assistant\n",
     .end_of_turn = "<|im_end|>",
     .system_start = "<|im_start|>system"},
    {.name = "llama3", .markers = {"<|start_header_id|>"}},
    {.name = "llama2", .markers = {"[INST]"}},
    {.name = "gemma", .markers = {"<start_of_turn>"}},
    {.name = "phi3", .markers = {"<|assistant|>", "<|end|>"}},
    {.name = "zephyr", .markers = {"<|assistant|>", "<|user|>"}},
};
#define N_FORMATS (sizeof formats / sizeof formats[0])

static const char *find(const char *text, size_t size, const char *wanted)
{
    return size == 0 ? NULL : memmem(text, size, wanted, strlen(wanted));
}

static bool matches(const struct entro_chat_format *format, const char *text, size_t size)
{
    for (size_t i = 0; i < 2 && format->markers[i] != NULL; i++) {
        if (find(text, size, format->markers[i]) == NULL)
            return false;
    }
    return true;
}

static bool is_written(const struct entro_chat_format *format)
{
    return format->turns[ENTRO_CHAT_USER].before != NULL;
}

static enum entro_error refuse(enum entro_error error, const char *what, struct entro_message *message)
{
    char known[256] = "";
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (!is_written(&formats[i]))
            continue;
        if (known[0] != '\0')
            strncat(known, ", ", sizeof known - strlen(known) - 1);
        strncat(known, formats[i].name, sizeof known - strlen(known) - 1);
    }
    return entro_fail(message, error, "%s; supported are: %s. With --no-chat the prompt is taken as it is",
                      what, known);
}

/* Appends a piece of a Jinja string: escapes resolved. False where the text is not simply spelled out, but
 * computed. */
static bool is_spelled_out(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (strchr("'\"{}%", text[i]) != NULL && !(i > 0 && text[i - 1] == '\\'))
            return false;
    }
    return true;
}

static enum entro_error append_unescaped(struct entro_text *out, const char *text, size_t size,
                                         struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    for (size_t i = 0; i < size && error == ENTRO_OK; i++) {
        char c = text[i];
        if (c == '\\' && i + 1 < size) {
            c = text[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        error = entro_text_append(out, &c, 1, message);
    }
    return error;
}

/* The template's default system message, where one is spelled out between the markers of a system turn. */
static enum entro_error find_default_system(struct entro_chat *chat, const char *text, size_t size,
                                            struct entro_message *message)
{
    const struct entro_chat_format *format = chat->format;
    const char *end = text + size;
    const char *at = text;
    while ((at = find(at, (size_t)(end - at), format->system_start)) != NULL) {
        at += strlen(format->system_start);
        /* The line end is one, or its escape. */
        size_t left = (size_t)(end - at);
        size_t newline = left >= 1 && at[0] == '\n' ? 1 : left >= 2 && memcmp(at, "\\n", 2) == 0 ? 2 : 0;
        const char *stop = find(at, left, format->end_of_turn);
        if (newline == 0 || stop == NULL)
            continue;
        const char *start = at + newline;
        if (start < stop && is_spelled_out(start, (size_t)(stop - start)))
            return append_unescaped(&chat->default_system, start, (size_t)(stop - start), message);
    }
    return ENTRO_OK;
}

enum entro_error entro_chat_detect(struct entro_chat *chat, const char *text, size_t size,
                                   struct entro_message *message)
{
    *chat = (struct entro_chat){0};
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (!matches(&formats[i], text, size))
            continue;
        if (!is_written(&formats[i])) {
            char what[128] = "the model's chat template looks like ";
            strncat(what, formats[i].name, sizeof what - strlen(what) - 1);
            strncat(what, ", which is not supported", sizeof what - strlen(what) - 1);
            return refuse(ENTRO_ERROR_UNSUPPORTED, what, message);
        }
        chat->format = &formats[i];
        enum entro_error error = find_default_system(chat, text, size, message);
        if (error != ENTRO_OK)
            entro_chat_free(chat);
        return error;
    }
    return refuse(ENTRO_ERROR_UNSUPPORTED, "the model's chat template is none of those that are known",
                  message);
}

enum entro_error entro_chat_by_name(struct entro_chat *chat, const char *name, struct entro_message *message)
{
    *chat = (struct entro_chat){0};
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (is_written(&formats[i]) && strcmp(formats[i].name, name) == 0) {
            chat->format = &formats[i];
            return ENTRO_OK;
        }
    }
    char what[128] = "there is no chat template \"";
    strncat(what, name, 64);
    strncat(what, "\"", sizeof what - strlen(what) - 1);
    return refuse(ENTRO_ERROR_ARGUMENT, what, message);
}

void entro_chat_free(struct entro_chat *chat)
{
    entro_text_free(&chat->default_system);
    chat->format = NULL;
}

const char *entro_chat_name(const struct entro_chat *chat)
{
    return chat->format->name;
}

const char *entro_chat_end_of_turn(const struct entro_chat *chat)
{
    return chat->format->end_of_turn;
}

static enum entro_error append_turn(const struct entro_chat_format *format, enum entro_chat_role role,
                                    const char *content, size_t size, struct entro_text *out,
                                    struct entro_message *message)
{
    const struct turn *turn = &format->turns[role];
    enum entro_error error = entro_text_append(out, turn->before, strlen(turn->before), message);
    if (error == ENTRO_OK)
        error = entro_text_append(out, content, size, message);
    if (error == ENTRO_OK)
        error = entro_text_append(out, turn->after, strlen(turn->after), message);
    return error;
}

enum entro_error entro_chat_render(const struct entro_chat *chat, const struct entro_chat_message *messages,
                                   size_t n_messages, bool add_generation_prompt, struct entro_text *out,
                                   struct entro_message *message)
{
    const struct entro_chat_format *format = chat->format;
    enum entro_error error = ENTRO_OK;
    if (n_messages > 0 && messages[0].role != ENTRO_CHAT_SYSTEM && chat->default_system.size > 0)
        error = append_turn(format, ENTRO_CHAT_SYSTEM, chat->default_system.data, chat->default_system.size,
                            out, message);
    for (size_t i = 0; i < n_messages && error == ENTRO_OK; i++)
        error = append_turn(format, messages[i].role, messages[i].content, messages[i].size, out, message);
    if (error == ENTRO_OK && add_generation_prompt)
        error = entro_text_append(out, format->generation_prompt, strlen(format->generation_prompt), message);
    return error;
}
