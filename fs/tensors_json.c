/* One JSON object a tensor, a line each; see tensors_json.h. The objects are dumped one by one, so that no
 * tree of all of them is needed. */
#include "fs/tensors_json.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/utf8.h"
#include "fs/facts.h"

struct text {
    char *bytes;
    size_t size, capacity;
};

static int append(const char *bytes, size_t size, void *context)
{
    struct text *text = context;
    if (text->bytes == NULL || size > text->capacity - text->size) {
        size_t capacity = text->capacity * 2 + size + 1024;
        char *larger = realloc(text->bytes, capacity);
        if (larger == NULL)
            return -1;
        text->bytes = larger;
        text->capacity = capacity;
    }
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    return 0;
}

/* Where a tensor's dequantized (or, lossless, its own) bytes lie in a file of the model directory. */
struct place {
    uint32_t file; /* or ENTRO_NONE */
    enum entro_dtype dtype;
    uint64_t offset;
};

struct places {
    struct place *views;   /* by tensor */
    struct place *streams; /* by stream: the first extent that is the whole stream */
};

static enum entro_error find_places(const struct entro_image *image, struct places *places)
{
    const struct entro_image_info *info = entro_image_info(image);
    places->views = calloc(info->n_tensors + (size_t)1, sizeof *places->views);
    places->streams = calloc(info->n_streams + (size_t)1, sizeof *places->streams);
    if (places->views == NULL || places->streams == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    for (uint32_t i = 0; i < info->n_tensors; i++)
        places->views[i].file = ENTRO_NONE;
    for (uint32_t i = 0; i < info->n_streams; i++)
        places->streams[i].file = ENTRO_NONE;
    for (uint32_t i = 0; i < info->n_files; i++) {
        const struct entro_file *file = entro_image_file(image, i);
        uint64_t start = 0;
        for (uint32_t j = 0; j < file->n_extents; j++) {
            const struct entro_extent *extent = &file->extents[j];
            bool is_view = extent->kind == ENTRO_EXTENT_VIEW;
            bool is_whole =
                is_view || (extent->offset == 0 &&
                            extent->size_bytes == entro_image_stream(image, extent->reference)->size_bytes);
            struct place *place =
                is_view ? &places->views[extent->reference] : &places->streams[extent->reference];
            if (is_whole && place->file == ENTRO_NONE)
                *place = (struct place){.file = i, .dtype = extent->dtype, .offset = start};
            start += extent->size_bytes;
        }
    }
    return ENTRO_OK;
}

static json_t *finite_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *path_or_null(const struct entro_tensor *tensor, uint32_t stream, const char *suffix)
{
    return stream == ENTRO_NONE ? json_null() : json_sprintf("tensors/%s%s", tensor->name, suffix);
}

static json_t *shape_array(const struct entro_tensor *tensor)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < tensor->rank; i++)
        json_array_append_new(array, json_integer((json_int_t)tensor->shape[i]));
    return array;
}

static json_t *view_object(const struct entro_image *image, const struct places *places, uint32_t number)
{
    const struct entro_tensor *tensor = entro_image_tensor(image, number);
    bool is_lossless = tensor->scheme == ENTRO_SCHEME_LOSSLESS;
    const struct place *place = is_lossless ? &places->streams[tensor->stream] : &places->views[number];
    if (place->file == ENTRO_NONE)
        return json_null();
    const char *path = entro_image_file(image, place->file)->path;
    if (!entro_is_utf8(path, strlen(path))) /* paths need not be, JSON must be: the view has no name here */
        return json_null();
    return json_pack("{s:s, s:s, s:I}", "file", path, "dtype",
                     entro_dtype_name(is_lossless ? tensor->dtype : place->dtype), "offset",
                     (json_int_t)place->offset);
}

/* NULL where memory is short. */
static json_t *tensor_object(const struct entro_image *image, const struct places *places, uint32_t number)
{
    const struct entro_tensor *tensor = entro_image_tensor(image, number);
    const struct entro_stream *stream = entro_image_stream(image, tensor->stream);
    bool is_lossless = tensor->scheme == ENTRO_SCHEME_LOSSLESS;
    char hex[ENTRO_HEX_BYTES];
    entro_hex(stream->xxh3_128, hex);
    struct {
        const char *key;
        json_t *value;
    } members[] = {
        {"name", json_string(tensor->name)},
        {"file", path_or_null(tensor, tensor->stream, "")},
        {"dtype", json_string(entro_dtype_name(tensor->dtype))},
        {"shape", shape_array(tensor)},
        {"scheme", json_string(entro_scheme_name(tensor->scheme))},
        {"bits", is_lossless ? json_null() : json_integer(tensor->bits)},
        {"scale", is_lossless ? json_null() : finite_or_null((double)tensor->scale)},
        {"zero_point", is_lossless ? json_null() : json_integer(tensor->zero_point)},
        {"row_scale", path_or_null(tensor, tensor->row_scale, ".row_scale")},
        {"column_scale", path_or_null(tensor, tensor->column_scale, ".column_scale")},
        {"outliers", path_or_null(tensor, tensor->outliers, ".outliers")},
        {"view", view_object(image, places, number)},
        {"stored_bytes", json_integer((json_int_t)entro_tensor_stored_bytes(image, tensor))},
        {"bits_per_weight", json_real(entro_tensor_bits_per_weight(image, tensor))},
        {"entropy_bits", finite_or_null(tensor->entropy_bits)},
        {"snr_db", is_lossless ? json_null() : finite_or_null(tensor->snr_db)},
        {"xxh3_128", json_string(hex)},
    };
    json_t *object = json_object();
    bool failed = object == NULL;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        failed |= json_object_set_new_nocheck(object, members[i].key, members[i].value) !=
                  0; /* takes the value in any case */
    if (failed) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static enum entro_error append_tensor(const struct entro_image *image, const struct places *places,
                                      uint32_t number, struct text *text, struct entro_message *message)
{
    const struct entro_tensor *tensor = entro_image_tensor(image, number);
    for (unsigned i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] > INT64_MAX)
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "tensor %s: dimension %u is too large for tensors.json", tensor->name, i);
    json_t *object = tensor_object(image, places, number);
    if (object == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for tensors.json");
    bool failed = append(number == 0 ? "\n" : ",\n", number == 0 ? 1 : 2, text) != 0 ||
                  json_dump_callback(object, append, text, 0) != 0;
    json_decref(object);
    return failed ? entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for tensors.json") : ENTRO_OK;
}

enum entro_error entro_tensors_json(const struct entro_image *image, uint8_t **bytes, size_t *size_bytes,
                                    struct entro_message *message)
{
    const struct entro_image_info *info = entro_image_info(image);
    struct text text = {0};
    struct places places = {0};
    char head[128];
    enum entro_error error = find_places(image, &places);
    if (error != ENTRO_OK) {
        entro_fail(message, error, "out of memory for tensors.json");
        goto out;
    }
    int head_bytes = snprintf(head, sizeof head, "{\"format\": 1, \"source\": \"%s\", \"tensors\": [",
                              entro_source_name(info->source));
    if (append(head, (size_t)head_bytes, &text) != 0)
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for tensors.json");
    for (uint32_t i = 0; error == ENTRO_OK && i < info->n_tensors; i++)
        error = append_tensor(image, &places, i, &text, message);
    if (error == ENTRO_OK && append("\n]}\n", 4, &text) != 0)
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for tensors.json");
out:
    free(places.views);
    free(places.streams);
    if (error != ENTRO_OK) {
        free(text.bytes);
        return error;
    }
    *bytes = (uint8_t *)text.bytes;
    *size_bytes = text.size;
    return ENTRO_OK;
}
