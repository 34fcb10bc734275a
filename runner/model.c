/* Opening a model directory; see model.h. */
#include "runner/model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/models/gguf.h"
#include "runner/file.h"
#include "runner/gguf_vocabulary.h"
#include "runner/tokenizer_open.h"

struct opener {
    struct entro_model *model;
    const char *directory;
    int fd; /* of the directory */
    struct entro_message *message;
};

/* A file's name with the directory, for messages. */
struct path {
    char text[1024];
};

static struct path path_of(const struct opener *opener, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", opener->directory, name);
    return path;
}

static enum entro_error read_file(const struct opener *opener, const char *name, char **text,
                                  size_t *size_bytes)
{
    return entro_read_text_file(opener->fd, opener->directory, name, text, size_bytes, opener->message);
}

static enum entro_error read_manifest(const struct opener *opener)
{
    char *text;
    size_t size_bytes;
    enum entro_error error = read_file(opener, "tensors.json", &text, &size_bytes);
    if (error == ENTRO_ERROR_NOT_FOUND)
        return entro_fail(
            opener->message, error,
            "%s: no tensors.json: neither a mounted entrofs image nor one extracted by entrofsck --extract",
            opener->directory);
    if (error != ENTRO_OK)
        return error;
    error = entro_manifest_parse(&opener->model->manifest, text, size_bytes,
                                 path_of(opener, "tensors.json").text, opener->message);
    free(text);
    return error;
}

static enum entro_error read_config(const struct opener *opener)
{
    char *text;
    size_t size_bytes;
    struct entro_config *config = &opener->model->config;
    enum entro_error error = read_file(opener, "config.json", &text, &size_bytes);
    if (error != ENTRO_OK)
        return error;
    error = entro_config_from_json(config, text, size_bytes, path_of(opener, "config.json").text,
                                   opener->message);
    free(text);
    if (error != ENTRO_OK)
        return error;
    error = read_file(opener, "generation_config.json", &text, &size_bytes);
    if (error == ENTRO_ERROR_NOT_FOUND)
        return ENTRO_OK;
    if (error != ENTRO_OK)
        return error;
    error = entro_config_add_generation(config, text, size_bytes,
                                        path_of(opener, "generation_config.json").text, opener->message);
    free(text);
    return error;
}

static enum entro_error read_tokenizer(const struct opener *opener)
{
    return entro_tokenizer_open(&opener->model->tokenizer, opener->fd, opener->directory, opener->message);
}

static enum entro_error keep_template(const struct opener *opener, const char *text, size_t size_bytes)
{
    opener->model->chat_template = strndup(text, size_bytes);
    if (opener->model->chat_template == NULL)
        return entro_fail(opener->message, ENTRO_ERROR_NO_MEMORY, "no memory for the chat template");
    return ENTRO_OK;
}

/* "chat_template" of tokenizer_config.json: the text, or a list of named ones of which "default" is meant. */
static const char *find_template(const json_t *root)
{
    const json_t *value = json_object_get(root, "chat_template");
    size_t i;
    const json_t *entry;
    json_array_foreach(value, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name != NULL && strcmp(name, "default") == 0)
            return json_string_value(json_object_get(entry, "template"));
    }
    return json_string_value(value);
}

/* In a file of its own (newer models) or in tokenizer_config.json; a model without one is a model all the
 * same. */
static enum entro_error read_template(const struct opener *opener)
{
    char *text;
    size_t size_bytes;
    enum entro_error error = read_file(opener, "chat_template.jinja", &text, &size_bytes);
    if (error == ENTRO_OK) {
        error = keep_template(opener, text, size_bytes);
        free(text);
        return error;
    }
    if (error != ENTRO_ERROR_NOT_FOUND)
        return error;
    error = read_file(opener, "tokenizer_config.json", &text, &size_bytes);
    if (error == ENTRO_ERROR_NOT_FOUND)
        return ENTRO_OK;
    if (error != ENTRO_OK)
        return error;
    json_error_t json_error;
    json_t *root = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, &json_error);
    free(text);
    if (root == NULL)
        return entro_fail(opener->message, ENTRO_ERROR_FORMAT, "%s/tokenizer_config.json:%d: %s",
                          opener->directory, json_error.line, json_error.text);
    const char *template = find_template(root);
    if (template != NULL)
        error = keep_template(opener, template, strlen(template));
    else
        error = ENTRO_OK;
    json_decref(root);
    return error;
}

static enum entro_error open_safetensors_source(const struct opener *opener)
{
    enum entro_error error;
    if ((error = read_config(opener)) != ENTRO_OK || (error = read_tokenizer(opener)) != ENTRO_OK)
        return error;
    return read_template(opener);
}

static bool is_gguf_name(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".gguf") == 0;
}

/* The name of the one GGUF at the root, malloc'ed. */
static enum entro_error find_gguf(const struct opener *opener, char **name)
{
    enum entro_error error = ENTRO_OK;
    *name = NULL;
    int fd = openat(opener->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        error = entro_fail(opener->message, ENTRO_ERROR_IO, "%s: %s", opener->directory, strerror(errno));
        if (fd >= 0)
            close(fd);
        return error;
    }
    for (const struct dirent *entry; error == ENTRO_OK && (entry = readdir(directory)) != NULL;) {
        if (!is_gguf_name(entry->d_name))
            continue;
        if (*name != NULL)
            error = entro_fail(opener->message, ENTRO_ERROR_UNSUPPORTED,
                               "%s: more than one .gguf file (split models are not supported)",
                               opener->directory);
        else if ((*name = strdup(entry->d_name)) == NULL)
            error = entro_fail(opener->message, ENTRO_ERROR_NO_MEMORY, "no memory for a file's name");
    }
    closedir(directory);
    if (error == ENTRO_OK && *name == NULL)
        error = entro_fail(opener->message, ENTRO_ERROR_NOT_FOUND,
                           "%s: tensors.json speaks of a GGUF source, but there is no .gguf file",
                           opener->directory);
    return error;
}

static enum entro_error open_gguf_file(const struct opener *opener, const char *name, struct entro_gguf *gguf)
{
    struct stat status;
    struct path path = path_of(opener, name);
    enum entro_error error;
    int fd = openat(opener->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0)
        error = entro_fail(opener->message, ENTRO_ERROR_IO, "%s: %s", path.text, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        error = entro_fail(opener->message, ENTRO_ERROR_IO, "%s: not a regular file", path.text);
    else
        error = entro_gguf_open(gguf, fd, (uint64_t)status.st_size, path.text, opener->message);
    if (fd >= 0)
        close(fd);
    return error;
}

static enum entro_error use_gguf(const struct opener *opener, const struct entro_gguf *gguf, const char *path)
{
    struct entro_gguf_string template;
    enum entro_error error = entro_config_from_gguf(&opener->model->config, gguf, path, opener->message);
    if (error == ENTRO_OK)
        error = entro_tokenizer_from_gguf(&opener->model->tokenizer, gguf, path, opener->message);
    const struct entro_gguf_pair *pair = entro_gguf_find(gguf, "tokenizer.chat_template");
    if (error == ENTRO_OK && pair != NULL && entro_gguf_text(pair, &template))
        error = keep_template(opener, template.text, template.size_bytes);
    return error;
}

static enum entro_error open_gguf_source(const struct opener *opener)
{
    char *name;
    struct entro_gguf gguf;
    enum entro_error error = find_gguf(opener, &name);
    if (error != ENTRO_OK)
        goto free_name;
    error = open_gguf_file(opener, name, &gguf);
    if (error != ENTRO_OK)
        goto free_name;
    error = use_gguf(opener, &gguf, path_of(opener, name).text);
    entro_gguf_free(&gguf);
free_name:
    free(name);
    return error;
}

/*
 * The embedding may have rows to spare, and tokens that only a model's sibling can read (images) may lie
 * behind it; more than that is a tokenizer of another model.
 */
static enum entro_error check_vocabulary(const struct opener *opener)
{
    const struct entro_tokenizer *tokenizer = opener->model->tokenizer;
    size_t n_tokens = entro_tokenizer_n_tokens(tokenizer), n_rows = opener->model->config.n_vocabulary;
    bool match = n_tokens >= n_rows / 2;
    for (size_t id = n_rows; match && id < n_tokens; id++) {
        size_t size;
        match = entro_tokenizer_token_text(tokenizer, (uint32_t)id, &size) == NULL ||
                entro_tokenizer_is_special(tokenizer, (uint32_t)id);
    }
    if (!match)
        return entro_fail(opener->message, ENTRO_ERROR_FORMAT,
                          "%s: the tokenizer has %zu tokens, but the embedding (tensor \"%s\") has %zu rows: "
                          "they are not of the same model",
                          opener->directory, n_tokens, opener->model->weights.embedding.name, n_rows);
    return ENTRO_OK;
}

static enum entro_error open_all(const struct opener *opener)
{
    struct entro_model *model = opener->model;
    enum entro_error error = read_manifest(opener);
    if (error != ENTRO_OK)
        return error;
    error = model->manifest.gguf ? open_gguf_source(opener) : open_safetensors_source(opener);
    if (error != ENTRO_OK)
        return error;
    error = entro_weights_map(&model->weights, &model->config, &model->manifest, opener->fd,
                              opener->directory, opener->message);
    return error != ENTRO_OK ? error : check_vocabulary(opener);
}

enum entro_error entro_model_open(struct entro_model *out, const char *directory,
                                  struct entro_message *message)
{
    *out = (struct entro_model){0};
    struct opener opener = {.model = out, .directory = directory, .message = message};
    opener.fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opener.fd < 0 && errno == ENOTDIR)
        return entro_fail(message, ENTRO_ERROR_NOT_FOUND,
                          "%s: not a directory: -m takes the mount point of an image, not the image",
                          directory);
    if (opener.fd < 0)
        return entro_fail(message, errno == ENOENT ? ENTRO_ERROR_NOT_FOUND : ENTRO_ERROR_IO, "%s: %s",
                          directory, strerror(errno));
    enum entro_error error = open_all(&opener);
    close(opener.fd);
    if (error != ENTRO_OK)
        entro_model_close(out);
    return error;
}

void entro_model_close(struct entro_model *model)
{
    entro_weights_free(&model->weights);
    entro_tokenizer_destroy(model->tokenizer);
    free(model->chat_template);
    entro_manifest_free(&model->manifest);
    *model = (struct entro_model){0};
}
