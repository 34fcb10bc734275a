/* The safetensors header; see safetensors.h. The index of a sharded model is in safetensors_index.c. */
#include "codec/models/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/models/json_internal.h"
#include "codec/models/pread_internal.h"

#define LENGTH_BYTES 8
/* An entry needs three levels; a key unknown here may hold a little more. */
#define MAX_DEPTH 8

static enum entro_error fail(struct entro_message *message, const char *path, const char *name,
                             const char *what)
{
    return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: tensor \"%s\": %s", path, name, what);
}

/* A JSON integer that is not negative; false for everything else, 1.0 too. */
static bool read_size(const json_t *value, uint64_t *size)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *size = (uint64_t)json_integer_value(value);
    return true;
}

static enum entro_error check_metadata(const json_t *metadata, const char *path,
                                       struct entro_message *message)
{
    if (json_is_null(metadata))
        return ENTRO_OK;
    if (!json_is_object(metadata))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: __metadata__ is no object", path);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)metadata, key, value)
    {
        if (!json_is_string(value))
            return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: __metadata__: \"%s\" is no string", path,
                              key);
    }
    return ENTRO_OK;
}

static enum entro_error read_dtype(struct entro_model_tensor *tensor, const char *name, const json_t *value,
                                   const char *path, struct entro_message *message)
{
    if (!json_is_string(value))
        return fail(message, path, name, "no dtype");
    const struct entro_dtype_info *info = entro_dtype_from_safetensors(json_string_value(value));
    if (info == NULL)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: tensor \"%s\": unknown dtype \"%s\"", path,
                          name, json_string_value(value));
    tensor->dtype = info->dtype;
    return ENTRO_OK;
}

static enum entro_error read_shape(struct entro_model_tensor *tensor, const char *name, const json_t *value,
                                   const char *path, struct entro_message *message)
{
    if (!json_is_array(value))
        return fail(message, path, name, "no shape");
    size_t rank = json_array_size(value);
    if (rank > ENTRO_MAX_RANK)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: tensor \"%s\": %zu dimensions; at most %d are supported", path, name, rank,
                          ENTRO_MAX_RANK);
    tensor->rank = (unsigned)rank;
    for (size_t i = 0; i < rank; i++)
        if (!read_size(json_array_get(value, i), &tensor->shape[i]))
            return fail(message, path, name, "a dimension is no size");
    return ENTRO_OK;
}

/* Offsets within the data, which must hold exactly what dtype and shape ask for. */
static enum entro_error read_offsets(struct entro_model_tensor *tensor, const char *name, const json_t *value,
                                     uint64_t data_size_bytes, const char *path,
                                     struct entro_message *message)
{
    uint64_t begin, end, size_bytes;
    if (!json_is_array(value) || json_array_size(value) != 2 ||
        !read_size(json_array_get(value, 0), &begin) || !read_size(json_array_get(value, 1), &end))
        return fail(message, path, name, "no pair of data_offsets");
    if (begin > end || end > data_size_bytes)
        return fail(message, path, name, "the data_offsets do not lie in the file");
    if (!entro_dtype_size_bytes(tensor->dtype, tensor->shape, tensor->rank, &size_bytes))
        return fail(message, path, name, "the shape has no size in whole bytes that fits 64 bits");
    if (end - begin != size_bytes)
        return fail(message, path, name, "the data_offsets do not span the size of the shape");
    tensor->offset = begin;
    tensor->size_bytes = size_bytes;
    return ENTRO_OK;
}

static enum entro_error read_tensor(struct entro_model_tensor *tensor, const char *name, const json_t *entry,
                                    uint64_t data_size_bytes, const char *path, struct entro_message *message)
{
    if (!json_is_object(entry))
        return fail(message, path, name, "the entry is no object");
    enum entro_error error = read_dtype(tensor, name, json_object_get(entry, "dtype"), path, message);
    if (error == ENTRO_OK)
        error = read_shape(tensor, name, json_object_get(entry, "shape"), path, message);
    if (error == ENTRO_OK)
        error = read_offsets(tensor, name, json_object_get(entry, "data_offsets"), data_size_bytes, path,
                             message);
    if (error != ENTRO_OK)
        return error;
    tensor->name = strdup(name);
    if (tensor->name == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
    return ENTRO_OK;
}

/* By offset; an empty tensor before the one that starts where it lies, and empty ones by name. */
static int compare_tensors(const void *left, const void *right)
{
    const struct entro_model_tensor *a = left;
    const struct entro_model_tensor *b = right;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    if (a->size_bytes != b->size_bytes)
        return a->size_bytes < b->size_bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Sorts, checks that the tensors tile the data without holes or overlaps, and makes the offsets those of the
 * file. */
static enum entro_error place_tensors(struct entro_safetensors *out, uint64_t data_size_bytes,
                                      const char *path, struct entro_message *message)
{
    if (out->n_tensors > 0)
        qsort(out->tensors, out->n_tensors, sizeof *out->tensors, compare_tensors);
    uint64_t end = 0;
    for (size_t i = 0; i < out->n_tensors; i++) {
        struct entro_model_tensor *tensor = &out->tensors[i];
        if (tensor->offset < end)
            return fail(message, path, tensor->name, "overlaps the tensor before it");
        if (tensor->offset > end)
            return fail(message, path, tensor->name, "there is a hole before its data");
        end += tensor->size_bytes;
        tensor->offset += out->data_offset;
    }
    if (end != data_size_bytes)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: %llu bytes after the last tensor", path,
                          (unsigned long long)(data_size_bytes - end));
    return ENTRO_OK;
}

/* Checks the header's length against the file and the limit. */
static enum entro_error check_length(uint64_t header_bytes, uint64_t file_size_bytes, const char *path,
                                     struct entro_message *message)
{
    if (header_bytes > ENTRO_SAFETENSORS_HEADER_MAX_BYTES)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "%s: no safetensors file: a header of %llu bytes; at most %d are allowed", path,
                          (unsigned long long)header_bytes, ENTRO_SAFETENSORS_HEADER_MAX_BYTES);
    if (header_bytes > file_size_bytes - LENGTH_BYTES)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: truncated: the file ends within the header",
                          path);
    return ENTRO_OK;
}

static enum entro_error check_file_size(uint64_t file_size_bytes, const char *path,
                                        struct entro_message *message)
{
    if (file_size_bytes < LENGTH_BYTES)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: no safetensors file: shorter than 8 bytes", path);
    return ENTRO_OK;
}

static enum entro_error read_header(struct entro_safetensors *out, const char *text, size_t text_bytes,
                                    uint64_t file_size_bytes, const char *path, struct entro_message *message)
{
    *out = (struct entro_safetensors){.data_offset = LENGTH_BYTES + (uint64_t)text_bytes};
    uint64_t data_size_bytes = file_size_bytes - out->data_offset;
    json_t *root;
    enum entro_error error = entro_json_parse(&root, text, text_bytes, MAX_DEPTH, path, message);
    if (error != ENTRO_OK)
        return error;
    size_t n_entries = json_object_size(root);
    out->tensors = calloc(n_entries > 0 ? n_entries : 1, sizeof *out->tensors);
    if (out->tensors == NULL) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
        goto out;
    }
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) {
            error = check_metadata(entry, path, message);
        } else {
            error = read_tensor(&out->tensors[out->n_tensors], name, entry, data_size_bytes, path, message);
            out->n_tensors += error == ENTRO_OK;
        }
        if (error != ENTRO_OK)
            goto out;
    }
    error = place_tensors(out, data_size_bytes, path, message);
out:
    json_decref(root);
    if (error != ENTRO_OK)
        entro_safetensors_free(out);
    return error;
}

enum entro_error entro_safetensors_parse(struct entro_safetensors *out, const uint8_t *bytes,
                                         size_t size_bytes, uint64_t file_size_bytes, const char *path,
                                         struct entro_message *message)
{
    *out = (struct entro_safetensors){0};
    enum entro_error error = check_file_size(file_size_bytes, path, message);
    if (error != ENTRO_OK)
        return error;
    if (size_bytes < LENGTH_BYTES)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: the header's length is not at hand", path);
    uint64_t header_bytes = entro_load_u64(bytes);
    error = check_length(header_bytes, file_size_bytes, path, message);
    if (error != ENTRO_OK)
        return error;
    if (header_bytes > size_bytes - LENGTH_BYTES)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: the whole header is not at hand", path);
    return read_header(out, (const char *)bytes + LENGTH_BYTES, (size_t)header_bytes, file_size_bytes, path,
                       message);
}

enum entro_error entro_safetensors_open(struct entro_safetensors *out, int fd, uint64_t file_size_bytes,
                                        const char *path, struct entro_message *message)
{
    *out = (struct entro_safetensors){0};
    enum entro_error error = check_file_size(file_size_bytes, path, message);
    if (error != ENTRO_OK)
        return error;
    uint8_t length[LENGTH_BYTES];
    error = entro_pread_all(fd, length, sizeof length, 0, path, message);
    if (error != ENTRO_OK)
        return error;
    uint64_t header_bytes = entro_load_u64(length);
    error = check_length(header_bytes, file_size_bytes, path, message);
    if (error != ENTRO_OK)
        return error;
    uint8_t *header = malloc(header_bytes > 0 ? (size_t)header_bytes : 1);
    if (header == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
    error = entro_pread_all(fd, header, (size_t)header_bytes, LENGTH_BYTES, path, message);
    if (error == ENTRO_OK)
        error = read_header(out, (const char *)header, (size_t)header_bytes, file_size_bytes, path, message);
    free(header);
    return error;
}

void entro_safetensors_free(struct entro_safetensors *safetensors)
{
    for (size_t i = 0; i < safetensors->n_tensors; i++)
        free(safetensors->tensors[i].name);
    free(safetensors->tensors);
    *safetensors = (struct entro_safetensors){0};
}
