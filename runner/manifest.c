/* Parsing of tensors.json; see manifest.h. */
#include "runner/manifest.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"

/* The parser's state: where complaints go, and about which tensor. */
struct reader {
    const char *path;
    const char *tensor;
    struct entro_message *message;
};

static enum entro_error bad(const struct reader *reader, const char *what)
{
    return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: tensor \"%s\": %s", reader->path,
                      reader->tensor, what);
}

/* Relative, and without a component "..": nothing outside the directory is ever opened by such a name. */
static bool is_inside(const char *path)
{
    if (path[0] == '\0' || path[0] == '/')
        return false;
    for (const char *part = path; part != NULL;) {
        if (part[0] == '.' && part[1] == '.' && (part[2] == '\0' || part[2] == '/'))
            return false;
        part = strchr(part, '/');
        if (part != NULL)
            part++;
    }
    return true;
}

/* A path or, where that is allowed, null or nothing. */
static enum entro_error read_path(const struct reader *reader, const json_t *entry, const char *key,
                                  bool required, const char **out)
{
    const json_t *value = json_object_get(entry, key);
    *out = NULL;
    if ((value == NULL || json_is_null(value)) && !required)
        return ENTRO_OK;
    if (!json_is_string(value) || !is_inside(json_string_value(value)))
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                          "%s: tensor \"%s\": \"%s\" is not a path inside the directory", reader->path,
                          reader->tensor, key);
    *out = json_string_value(value);
    return ENTRO_OK;
}

static enum entro_error read_shape(const struct reader *reader, const json_t *entry,
                                   struct entro_manifest_tensor *out)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > ENTRO_MAX_RANK)
        return bad(reader, "\"shape\" is not a list of at most 8 numbers");
    out->rank = (unsigned)json_array_size(shape);
    for (unsigned i = 0; i < out->rank; i++) {
        const json_t *dimension = json_array_get(shape, i);
        if (!json_is_integer(dimension) || json_integer_value(dimension) < 0)
            return bad(reader, "\"shape\" holds something that is no size");
        out->shape[i] = (uint64_t)json_integer_value(dimension);
    }
    return ENTRO_OK;
}

/* GGUF's names are not all in safetensors' list. */
static enum entro_dtype dtype_from_name(const char *name)
{
    const struct entro_dtype_info *info = entro_dtype_from_safetensors(name);
    for (uint32_t type = 0; info == NULL && type < 64; type++) {
        const struct entro_dtype_info *candidate = entro_dtype_from_gguf(type);
        if (candidate != NULL && strcmp(candidate->name, name) == 0)
            info = candidate;
    }
    return info == NULL ? ENTRO_DTYPE_NONE : info->dtype;
}

static enum entro_error read_factor(const struct reader *reader, const json_t *entry, const char *key,
                                    float *out)
{
    const json_t *value = json_object_get(entry, key);
    if (!json_is_number(value) || !isfinite((float)json_number_value(value)))
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: tensor \"%s\": \"%s\" is not a number",
                          reader->path, reader->tensor, key);
    *out = (float)json_number_value(value);
    return ENTRO_OK;
}

static enum entro_error read_codes(const struct reader *reader, const json_t *entry,
                                   struct entro_manifest_tensor *out)
{
    enum entro_error error;
    const json_t *bits = json_object_get(entry, "bits");
    if (!json_is_integer(bits) || (json_integer_value(bits) != 8 && json_integer_value(bits) != 4))
        return bad(reader, "\"bits\" is neither 8 nor 4");
    out->bits = (unsigned)json_integer_value(bits);
    if ((error = read_factor(reader, entry, "scale", &out->scale)) != ENTRO_OK ||
        (error = read_factor(reader, entry, "zero_point", &out->zero_point)) != ENTRO_OK ||
        (error = read_path(reader, entry, "row_scale", false, &out->row_scale)) != ENTRO_OK ||
        (error = read_path(reader, entry, "column_scale", false, &out->column_scale)) != ENTRO_OK ||
        (error = read_path(reader, entry, "outliers", false, &out->outliers)) != ENTRO_OK)
        return error;
    uint64_t n_elements;
    if (!entro_shape_elements(out->shape, out->rank, &n_elements))
        return bad(reader, "\"shape\" has more elements than 64 bits can count");
    out->size_bytes = out->bits == 8 ? n_elements : n_elements / 2 + n_elements % 2;
    return ENTRO_OK;
}

static enum entro_error read_tensor(struct reader *reader, const json_t *entry,
                                    struct entro_manifest_tensor *out)
{
    enum entro_error error;
    reader->tensor = "?";
    out->name = json_string_value(json_object_get(entry, "name"));
    if (out->name == NULL)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: a tensor without a \"name\"",
                          reader->path);
    reader->tensor = out->name;
    out->dtype_name = json_string_value(json_object_get(entry, "dtype"));
    const char *scheme = json_string_value(json_object_get(entry, "scheme"));
    if (out->dtype_name == NULL)
        return bad(reader, "no \"dtype\"");
    if (scheme == NULL)
        return bad(reader, "no \"scheme\"");
    out->dtype = dtype_from_name(out->dtype_name);
    if ((error = read_path(reader, entry, "file", true, &out->file)) != ENTRO_OK ||
        (error = read_shape(reader, entry, out)) != ENTRO_OK)
        return error;
    if (strcmp(scheme, "asymmetric") == 0 || strcmp(scheme, "unsigned") == 0 ||
        strcmp(scheme, "balanced") == 0)
        return read_codes(reader, entry, out);
    if (strcmp(scheme, "lossless") != 0)
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: tensor \"%s\": scheme \"%s\" is not supported", reader->path, reader->tensor,
                          scheme);
    if (out->dtype != ENTRO_DTYPE_NONE &&
        !entro_dtype_size_bytes(out->dtype, out->shape, out->rank, &out->size_bytes))
        return bad(reader, "\"shape\" does not go with \"dtype\"");
    return ENTRO_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct entro_manifest_tensor *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static enum entro_error read_tensors(struct reader *reader, const json_t *list, struct entro_manifest *out)
{
    for (size_t i = 0; i < out->n_tensors; i++) {
        enum entro_error error = read_tensor(reader, json_array_get(list, i), &out->tensors[i]);
        if (error != ENTRO_OK)
            return error;
    }
    qsort(out->tensors, out->n_tensors, sizeof *out->tensors, by_name);
    for (size_t i = 1; i < out->n_tensors; i++)
        if (by_name(&out->tensors[i - 1], &out->tensors[i]) == 0)
            return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: tensor \"%s\" is listed twice",
                              reader->path, out->tensors[i].name);
    return ENTRO_OK;
}

static enum entro_error read_root(struct reader *reader, const json_t *root, struct entro_manifest *out)
{
    const json_t *format = json_object_get(root, "format");
    const char *source = json_string_value(json_object_get(root, "source"));
    const json_t *list = json_object_get(root, "tensors");
    if (!json_is_integer(format) || source == NULL || !json_is_array(list))
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: no \"format\", \"source\" or \"tensors\"",
                          reader->path);
    if (json_integer_value(format) != 1)
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: format %lld is not supported (only 1)", reader->path,
                          (long long)json_integer_value(format));
    out->gguf = strcmp(source, "gguf") == 0;
    if (!out->gguf && strcmp(source, "safetensors") != 0)
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: a source of kind \"%s\" is no model to run", reader->path, source);
    out->n_tensors = json_array_size(list);
    out->tensors = calloc(out->n_tensors + 1, sizeof *out->tensors);
    if (out->tensors == NULL)
        return entro_fail(reader->message, ENTRO_ERROR_NO_MEMORY, "%s: no memory for %zu tensors",
                          reader->path, out->n_tensors);
    return read_tensors(reader, list, out);
}

enum entro_error entro_manifest_parse(struct entro_manifest *out, const char *text, size_t size_bytes,
                                      const char *path, struct entro_message *message)
{
    json_error_t json_error;
    *out = (struct entro_manifest){0};
    struct reader reader = {.path = path, .message = message};
    json_t *root = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, &json_error);
    if (root == NULL)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s:%d: %s", path, json_error.line, json_error.text);
    out->json = root;
    enum entro_error error = read_root(&reader, root, out);
    if (error != ENTRO_OK)
        entro_manifest_free(out);
    return error;
}

void entro_manifest_free(struct entro_manifest *manifest)
{
    free(manifest->tensors);
    json_decref(manifest->json);
    *manifest = (struct entro_manifest){0};
}

const struct entro_manifest_tensor *entro_manifest_find(const struct entro_manifest *manifest,
                                                        const char *name)
{
    struct entro_manifest_tensor key = {.name = name};
    if (manifest->n_tensors == 0)
        return NULL;
    return bsearch(&key, manifest->tensors, manifest->n_tensors, sizeof key, by_name);
}
