/* Reading texts; see input.h. */
#include "runner/input.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/tokenizer.h"

/* To the end; a file, a pipe or a terminal. */
static enum entro_error read_stream(FILE *stream, const char *name, struct entro_text *text,
                                    struct entro_message *message)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, stream)) > 0) {
        if (n > ENTRO_TOKENIZER_TEXT_LIMIT - text->size)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: longer than a text may be (%zu bytes)",
                              name, ENTRO_TOKENIZER_TEXT_LIMIT);
        enum entro_error error = entro_text_append(text, piece, n, message);
        if (error != ENTRO_OK)
            return error;
    }
    if (ferror(stream))
        return entro_fail(message, ENTRO_ERROR_IO, "%s: %s", name, strerror(errno));
    return ENTRO_OK;
}

enum entro_error entro_input_read(const char *argument, const char *path, struct entro_text *text,
                                  struct entro_message *message)
{
    if (argument != NULL && path != NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "-p and -f exclude each other");
    if (argument != NULL)
        return entro_text_append(text, argument, strlen(argument), message);
    if (path == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "no text: -p TEXT gives one, -f FILE reads one");
    if (strcmp(path, "-") == 0)
        return read_stream(stdin, "standard input", text, message);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: %s", path, strerror(errno));
    enum entro_error error = read_stream(file, path, text, message);
    fclose(file);
    return error;
}

void entro_input_strip_newline(struct entro_text *text)
{
    if (text->size > 0 && text->data[text->size - 1] == '\n')
        text->size--;
}

void entro_input_unescape(struct entro_text *text)
{
    static const char from[] = "nrt'\"\\", to[] = "\n\r\t'\"\\";
    size_t out = 0;
    for (size_t i = 0; i < text->size; i++) {
        char byte = text->data[i];
        const char *found = NULL;
        if (byte == '\\' && i + 1 < text->size && text->data[i + 1] != '\0')
            found = strchr(from, text->data[i + 1]);
        if (found != NULL) {
            byte = to[found - from];
            i++;
        }
        text->data[out++] = byte;
    }
    text->size = out;
}
