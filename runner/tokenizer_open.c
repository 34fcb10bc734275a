/* See tokenizer_open.h. */
#include "runner/tokenizer_open.h"

#include <stdlib.h>
#include <string.h>

#include "runner/file.h"
#include "runner/sentencepiece.h"

/* Most of the tokenizers' messages begin with their file's name, but none knows the directory. */
static enum entro_error name_file(enum entro_error error, const char *directory, const char *name,
                                  const struct entro_message *inner, struct entro_message *message)
{
    bool is_named =
        strncmp(inner->text, "tokenizer.", 10) == 0 || strncmp(inner->text, "tokenizer_", 10) == 0;
    return is_named ? entro_fail(message, error, "%.200s/%.700s", directory, inner->text)
                    : entro_fail(message, error, "%.200s/%s: %.700s", directory, name, inner->text);
}

/* *text NULL where there is no such file. */
static enum entro_error read_if_there(int directory_fd, const char *directory, const char *name, char **text,
                                      size_t *size_bytes, struct entro_message *message)
{
    enum entro_error error = entro_read_text_file(directory_fd, directory, name, text, size_bytes, message);
    if (error == ENTRO_ERROR_NOT_FOUND) {
        *text = NULL;
        *size_bytes = 0;
        return ENTRO_OK;
    }
    return error;
}

static enum entro_error open_sentencepiece(struct entro_tokenizer **out, int directory_fd,
                                           const char *directory, struct entro_message *message)
{
    char *bytes = NULL;
    char *config = NULL;
    size_t size_bytes;
    size_t config_size_bytes;
    struct entro_message inner = {.text = ""};
    enum entro_error error =
        read_if_there(directory_fd, directory, "tokenizer.model", &bytes, &size_bytes, message);
    if (error == ENTRO_OK && bytes == NULL)
        return entro_fail(message, ENTRO_ERROR_NOT_FOUND,
                          "%s: neither tokenizer.json nor tokenizer.model is there", directory);
    if (error == ENTRO_OK)
        error = read_if_there(directory_fd, directory, "tokenizer_config.json", &config, &config_size_bytes,
                              message);
    if (error == ENTRO_OK) {
        error = entro_tokenizer_from_sentencepiece(out, bytes, size_bytes, config, config_size_bytes, &inner);
        if (error != ENTRO_OK)
            name_file(error, directory, "tokenizer.model", &inner, message);
    }
    free(bytes);
    free(config);
    return error;
}

enum entro_error entro_tokenizer_open(struct entro_tokenizer **out, int directory_fd, const char *directory,
                                      struct entro_message *message)
{
    char *text;
    size_t size_bytes;
    struct entro_message inner = {.text = ""};
    *out = NULL;
    enum entro_error error =
        read_if_there(directory_fd, directory, "tokenizer.json", &text, &size_bytes, message);
    if (error != ENTRO_OK)
        return error;
    if (text == NULL)
        return open_sentencepiece(out, directory_fd, directory, message);
    error = entro_tokenizer_from_json(out, text, size_bytes, &inner);
    free(text);
    if (error != ENTRO_OK)
        name_file(error, directory, "tokenizer.json", &inner, message);
    return error;
}
