/* model.safetensors.index.json: which file of a sharded model holds which tensor; see safetensors.h. */
#include <stdlib.h>
#include <string.h>

#include "codec/models/json_internal.h"
#include "codec/models/safetensors.h"

/* "metadata" is free-form. */
#define MAX_DEPTH           64
#define MAX_FILE_NAME_BYTES 255

/* A plain name of a file in the index's own folder. */
static bool is_file_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= MAX_FILE_NAME_BYTES && strpbrk(name, "/\\") == NULL &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* A pair of strings that the JSON tree owns. */
struct mapping {
    const char *tensor;
    const char *file;
};

static int compare_tensors(const void *left, const void *right)
{
    return strcmp(((const struct mapping *)left)->tensor, ((const struct mapping *)right)->tensor);
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static enum entro_error read_mappings(struct mapping *mappings, const json_t *weight_map, const char *path,
                                      struct entro_message *message)
{
    const char *tensor;
    json_t *file;
    size_t n = 0;
    json_object_foreach((json_t *)weight_map, tensor, file)
    {
        if (!json_is_string(file))
            return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: tensor \"%s\": no file name", path, tensor);
        if (!is_file_name(json_string_value(file)))
            return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: tensor \"%s\": \"%s\" is no plain file name",
                              path, tensor, json_string_value(file));
        mappings[n++] = (struct mapping){tensor, json_string_value(file)};
    }
    if (n > 0)
        qsort(mappings, n, sizeof *mappings, compare_tensors);
    return ENTRO_OK;
}

/* Copies of the distinct names of files, sorted. */
static bool copy_files(struct entro_safetensors_index *out, const struct mapping *mappings, size_t n)
{
    out->files = calloc(n > 0 ? n : 1, sizeof *out->files);
    const char **sorted = calloc(n > 0 ? n : 1, sizeof *sorted);
    bool done = out->files != NULL && sorted != NULL;
    if (!done)
        goto out;
    for (size_t i = 0; i < n; i++)
        sorted[i] = mappings[i].file;
    if (n > 0)
        qsort(sorted, n, sizeof *sorted, compare_texts);
    for (size_t i = 0; i < n && done; i++) {
        if (i > 0 && strcmp(sorted[i], sorted[i - 1]) == 0)
            continue;
        out->files[out->n_files] = strdup(sorted[i]);
        done = out->files[out->n_files] != NULL;
        out->n_files += done;
    }
out:
    free(sorted);
    return done;
}

static bool copy_tensors(struct entro_safetensors_index *out, const struct mapping *mappings, size_t n)
{
    out->tensors = calloc(n > 0 ? n : 1, sizeof *out->tensors);
    out->tensor_files = calloc(n > 0 ? n : 1, sizeof *out->tensor_files);
    if (out->tensors == NULL || out->tensor_files == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): the analyzer takes some to be missing. */
        out->tensors[i] = strdup(mappings[i].tensor);
        if (out->tensors[i] == NULL)
            return false;
        out->n_tensors++;
        char **file = bsearch(&mappings[i].file, out->files, out->n_files, sizeof *out->files, compare_texts);
        out->tensor_files[i] = (size_t)(file - out->files);
    }
    return true;
}

enum entro_error entro_safetensors_index_parse(struct entro_safetensors_index *out, const char *text,
                                               size_t size_bytes, const char *path,
                                               struct entro_message *message)
{
    *out = (struct entro_safetensors_index){0};
    json_t *root;
    enum entro_error error = entro_json_parse(&root, text, size_bytes, MAX_DEPTH, path, message);
    if (error != ENTRO_OK)
        return error;
    struct mapping *mappings = NULL;
    const json_t *weight_map = json_object_get(root, "weight_map");
    if (!json_is_object(weight_map)) {
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "%s: no weight_map", path);
        goto out;
    }
    size_t n = json_object_size(weight_map);
    mappings = calloc(n > 0 ? n : 1, sizeof *mappings);
    if (mappings == NULL) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
        goto out;
    }
    error = read_mappings(mappings, weight_map, path, message);
    if (error == ENTRO_OK && !(copy_files(out, mappings, n) && copy_tensors(out, mappings, n)))
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
out:
    free(mappings);
    json_decref(root);
    if (error != ENTRO_OK)
        entro_safetensors_index_free(out);
    return error;
}

void entro_safetensors_index_free(struct entro_safetensors_index *index)
{
    for (size_t i = 0; i < index->n_files; i++)
        free(index->files[i]);
    for (size_t i = 0; i < index->n_tensors; i++)
        free(index->tensors[i]);
    free(index->files);
    free(index->tensors);
    free(index->tensor_files);
    *index = (struct entro_safetensors_index){0};
}
