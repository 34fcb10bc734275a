/* Recognising chat templates and writing conversations; see chat.h. The table is in chat_formats.c. */
#include "runner/chat.h"
#include "runner/chat_formats.h"
#include "runner/tokenizer_utf8.h"

#include <string.h>

static const char *find(const char *text, size_t size, const char *wanted)
{
    return size == 0 ? NULL : memmem(text, size, wanted, strlen(wanted));
}

static bool has_marker(const char *text, size_t size, const char *marker)
{
    size_t marker_size = strlen(marker);
    for (size_t at = 0; at + marker_size <= size; at++) {
        size_t i = 0;
        while (i < marker_size && (text[at + i] == '"' ? '\'' : text[at + i]) == marker[i])
            i++;
        if (i == marker_size)
            return true;
    }
    return false;
}

static bool matches(const struct entro_chat_format *format, const char *text, size_t size)
{
    for (size_t i = 0; i < ENTRO_CHAT_MARKERS && format->markers[i] != NULL; i++) {
        if (!has_marker(text, size, format->markers[i]))
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
    const char *name;
    for (size_t i = 0; (name = entro_chat_known_name(i)) != NULL; i++) {
        if (i > 0)
            strncat(known, ", ", sizeof known - strlen(known) - 1);
        strncat(known, name, sizeof known - strlen(known) - 1);
    }
    return entro_fail(message, error, "%s; supported are: %s. With --no-chat the prompt is taken as it is",
                      what, known);
}

/* False where the text is not simply spelled out, but computed. */
static bool is_spelled_out(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (strchr("'\"{}%", text[i]) != NULL && !(i > 0 && text[i - 1] == '\\'))
            return false;
    }
    return true;
}

/* Appends a piece of a Jinja string: escapes resolved. */
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
    if (format->system_start == NULL)
        return ENTRO_OK;
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
    for (size_t i = 0; i < entro_chat_n_formats; i++) {
        const struct entro_chat_format *format = &entro_chat_formats[i];
        if (!matches(format, text, size))
            continue;
        if (!is_written(format)) {
            char what[128] = "the model's chat template looks like ";
            strncat(what, format->name, sizeof what - strlen(what) - 1);
            strncat(what, ", which is not supported", sizeof what - strlen(what) - 1);
            return refuse(ENTRO_ERROR_UNSUPPORTED, what, message);
        }
        chat->format = format;
        chat->starts_with_bos = find(text, size, "bos_token") != NULL;
        chat->drops_thoughts = find(text, size, "split('</think>')") != NULL;
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
    for (size_t i = 0; i < entro_chat_n_formats; i++) {
        if (is_written(&entro_chat_formats[i]) && strcmp(entro_chat_formats[i].name, name) == 0) {
            chat->format = &entro_chat_formats[i];
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

const char *entro_chat_known_name(size_t index)
{
    for (size_t i = 0; i < entro_chat_n_formats; i++) {
        if (is_written(&entro_chat_formats[i]) && index-- == 0)
            return entro_chat_formats[i].name;
    }
    return NULL;
}

const char *entro_chat_name(const struct entro_chat *chat)
{
    return chat->format->name;
}

const char *entro_chat_end_of_turn(const struct entro_chat *chat)
{
    return chat->format->end_of_turn;
}

/* One call of entro_chat_render. */
struct rendering {
    const struct entro_chat *chat;
    const struct entro_chat_ends *ends;
    struct entro_text *out;
    struct entro_message *message;
};

/* Part of a content. */
struct span {
    const char *data;
    size_t size;
};

static enum entro_error put(const struct rendering *rendering, const char *text, size_t size)
{
    return entro_text_append(rendering->out, text, size, rendering->message);
}

/* A text of the table, its {bos} and {eos} filled in. */
static enum entro_error put_marks(const struct rendering *rendering, const char *text)
{
    enum entro_error error = ENTRO_OK;
    while (*text != '\0' && error == ENTRO_OK) {
        size_t length = strcspn(text + 1, "{") + 1;
        if (strncmp(text, "{bos}", 5) == 0) {
            error = put(rendering, rendering->ends->bos, rendering->ends->bos_size);
            length = 5;
        } else if (strncmp(text, "{eos}", 5) == 0) {
            error = put(rendering, rendering->ends->eos, rendering->ends->eos_size);
            length = 5;
        } else {
            error = put(rendering, text, length);
        }
        text += length;
    }
    return error;
}

/* Python's str.strip(), which is Jinja's trim, also takes the four information separators. */
static bool is_stripped(const char *text, size_t size)
{
    size_t length;
    if (size == 0 || entro_utf8_next(text, size, &length) != ENTRO_UTF8_CHARACTER || length != size)
        return false;
    uint32_t code_point = entro_utf8_code_point(text);
    return entro_utf8_is_space(code_point) || (code_point >= 0x1C && code_point <= 0x1F);
}

static struct span trim_start(struct span span)
{
    size_t length;
    while (span.size > 0 && entro_utf8_next(span.data, span.size, &length) == ENTRO_UTF8_CHARACTER &&
           is_stripped(span.data, length)) {
        span.data += length;
        span.size -= length;
    }
    return span;
}

static struct span trim_end(struct span span)
{
    size_t length = 1;
    while (length <= 4 && length <= span.size) {
        if (is_stripped(span.data + span.size - length, length)) {
            span.size -= length;
            length = 1;
        } else {
            length++;
        }
    }
    return span;
}

/* Without what comes up to the last </think> and the line ends after it. */
static struct span drop_thoughts(struct span span)
{
    static const char mark[] = "</think>";
    const char *at;
    bool dropped = false;
    while ((at = find(span.data, span.size, mark)) != NULL) {
        span.size -= (size_t)(at - span.data) + strlen(mark);
        span.data = at + strlen(mark);
        dropped = true;
    }
    for (; dropped && span.size > 0 && span.data[0] == '\n'; span.size--)
        span.data++;
    return span;
}

/* `system` NULL, or what goes before the content within the turn. */
static enum entro_error put_turn(const struct rendering *rendering,
                                 const struct entro_chat_message *chat_message,
                                 const struct entro_chat_message *system)
{
    const struct entro_chat_format *format = rendering->chat->format;
    const struct entro_chat_turn *turn = &format->turns[chat_message->role];
    struct span content = {chat_message->content, chat_message->size};
    if (chat_message->role == ENTRO_CHAT_ASSISTANT && rendering->chat->drops_thoughts)
        content = drop_thoughts(content);
    bool trims_start = turn->trim == ENTRO_CHAT_TRIM || (turn->trim != ENTRO_CHAT_KEEP && system == NULL);
    if (trims_start)
        content = trim_start(content);
    if (turn->trim != ENTRO_CHAT_KEEP)
        content = trim_end(content);
    enum entro_error error = put_marks(rendering, turn->before);
    if (error == ENTRO_OK && system != NULL) {
        error = put_marks(rendering, format->system_before);
        if (error == ENTRO_OK)
            error = put(rendering, system->content, system->size);
        if (error == ENTRO_OK) {
            const char *after = format->system_after;
            /* With nothing after it, its own line ends are at the end of what is trimmed. */
            struct span kept = {after, strlen(after)};
            if (turn->trim == ENTRO_CHAT_TRIM_WITH_SYSTEM && content.size == 0)
                kept = trim_end(kept);
            error = put(rendering, kept.data, kept.size);
        }
    }
    if (error == ENTRO_OK)
        error = put(rendering, content.data, content.size);
    return error == ENTRO_OK ? put_marks(rendering, turn->after) : error;
}

static enum entro_error put_system_turn(const struct rendering *rendering)
{
    const struct entro_text *text = &rendering->chat->default_system;
    const struct entro_chat_message message = {
        .role = ENTRO_CHAT_SYSTEM, .content = text->data, .size = text->size};
    return put_turn(rendering, &message, NULL);
}

/* With the system message, messages[0], in a user's turn. */
static enum entro_error put_turns_without_system(const struct rendering *rendering,
                                                 const struct entro_chat_message *messages, size_t n_messages)
{
    bool in_last = rendering->chat->format->system == ENTRO_CHAT_IN_LAST_USER;
    bool has_system = n_messages > 0 && messages[0].role == ENTRO_CHAT_SYSTEM;
    enum entro_error error = ENTRO_OK;
    for (size_t i = has_system ? 1 : 0; i < n_messages && error == ENTRO_OK; i++) {
        if (messages[i].role == ENTRO_CHAT_SYSTEM)
            return entro_fail(rendering->message, ENTRO_ERROR_UNSUPPORTED,
                              "chat template %s has no place for a system message that is not the first",
                              rendering->chat->format->name);
        bool takes_system =
            has_system && messages[i].role == ENTRO_CHAT_USER && (in_last ? i + 1 == n_messages : i == 1);
        error = put_turn(rendering, &messages[i], takes_system ? &messages[0] : NULL);
    }
    return error;
}

enum entro_error entro_chat_render(const struct entro_chat *chat, const struct entro_chat_message *messages,
                                   size_t n_messages, bool add_generation_prompt,
                                   const struct entro_chat_ends *ends, struct entro_text *out,
                                   struct entro_message *message)
{
    const struct entro_chat_format *format = chat->format;
    const struct rendering rendering = {.chat = chat, .ends = ends, .out = out, .message = message};
    bool has_system = n_messages > 0 && messages[0].role == ENTRO_CHAT_SYSTEM;
    enum entro_error error = ENTRO_OK;
    if (chat->starts_with_bos && !format->bos_in_turns)
        error = put_marks(&rendering, "{bos}");
    if (error == ENTRO_OK && !has_system && n_messages > 0 &&
        (format->always_system || chat->default_system.size > 0))
        error = put_system_turn(&rendering);
    if (error == ENTRO_OK && format->system != ENTRO_CHAT_SYSTEM_TURN)
        error = put_turns_without_system(&rendering, messages, n_messages);
    else
        for (size_t i = 0; i < n_messages && error == ENTRO_OK; i++)
            error = put_turn(&rendering, &messages[i], NULL);
    if (error == ENTRO_OK && add_generation_prompt && format->generation_prompt != NULL)
        error = put_marks(&rendering, format->generation_prompt);
    return error;
}
