/* One JSON object a tensor, a line each, written as text straight away: an image of ten thousand tensors is
 * to be mounted in a moment. See tensors_json.h. */
#include "fs/tensors_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/utf8.h"
#include "fs/facts.h"

struct text {
    char *bytes;
    size_t size, capacity;
    bool is_short_of_memory; /* nothing is added any more */
};

/* Room for `more` bytes behind the text; NULL where there is none. */
static char *room_for(struct text *text, size_t more)
{
    if (text->is_short_of_memory)
        return NULL;
    if (more > text->capacity - text->size) {
        size_t capacity = text->capacity * 2 + more + 4096;
        char *larger = realloc(text->bytes, capacity);
        text->is_short_of_memory = larger == NULL;
        if (larger == NULL)
            return NULL;
        text->bytes = larger;
        text->capacity = capacity;
    }
    return text->bytes + text->size;
}

static void put(struct text *text, const char *string)
{
    size_t size = strlen(string);
    char *room = room_for(text, size);
    if (room != NULL) {
        memcpy(room, string, size);
        text->size += size;
    }
}

/* Integers and the like: at most 64 bytes. */
__attribute__((format(printf, 2, 3))) static void put_short(struct text *text, const char *format, ...)
{
    char *room = room_for(text, 64);
    if (room == NULL)
        return;
    va_list arguments;
    va_start(arguments, format);
    text->size += (size_t)vsnprintf(room, 64, format, arguments);
    va_end(arguments);
}

/* UTF-8, as it is but for what JSON must escape. */
static void put_escaped(struct text *text, const char *string)
{
    size_t size = strlen(string);
    char *room = room_for(text, 6 * size);
    if (room == NULL)
        return;
    const char *begin = room;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)string[i];
        if (c < 0x20) {
            room += sprintf(room, "\\u%04x", c);
            continue;
        }
        if (c == '"' || c == '\\')
            *room++ = '\\';
        *room++ = (char)c;
    }
    text->size += (size_t)(room - begin);
}

static void put_string(struct text *text, const char *string)
{
    put(text, "\"");
    put_escaped(text, string);
    put(text, "\"");
}

/* 17 digits give the same number back; a point or an exponent says that it is no integer. */
static void put_real(struct text *text, double value)
{
    char digits[32];
    if (!isfinite(value)) {
        put(text, "null");
        return;
    }
    snprintf(digits, sizeof digits, "%.17g", value);
    put(text, digits);
    if (strpbrk(digits, ".e") == NULL)
        put(text, ".0");
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

static void put_path(struct text *text, const char *key, const struct entro_tensor *tensor, uint32_t stream,
                     const char *suffix)
{
    put(text, key);
    if (stream == ENTRO_NONE) {
        put(text, "null");
        return;
    }
    put(text, "\"tensors/");
    put_escaped(text, tensor->name);
    put(text, suffix);
    put(text, "\"");
}

static void put_shape(struct text *text, const struct entro_tensor *tensor)
{
    put(text, ", \"shape\": [");
    for (unsigned i = 0; i < tensor->rank; i++)
        put_short(text, i == 0 ? "%" PRIu64 : ", %" PRIu64, tensor->shape[i]);
    put(text, "]");
}

static void put_view(struct text *text, const struct entro_image *image, const struct places *places,
                     uint32_t number)
{
    const struct entro_tensor *tensor = entro_image_tensor(image, number);
    bool is_lossless = tensor->scheme == ENTRO_SCHEME_LOSSLESS;
    const struct place *place = is_lossless ? &places->streams[tensor->stream] : &places->views[number];
    const char *path = place->file == ENTRO_NONE ? NULL : entro_image_file(image, place->file)->path;
    put(text, ", \"view\": ");
    if (path == NULL || !entro_is_utf8(path, strlen(path))) { /* paths need not be, JSON must be */
        put(text, "null");
        return;
    }
    put(text, "{\"file\": ");
    put_string(text, path);
    put(text, ", \"dtype\": ");
    put_string(text, entro_dtype_name(is_lossless ? tensor->dtype : place->dtype));
    put_short(text, ", \"offset\": %" PRIu64 "}", place->offset);
}

static void put_grid(struct text *text, const struct entro_tensor *tensor)
{
    if (tensor->scheme == ENTRO_SCHEME_LOSSLESS) {
        put(text, ", \"bits\": null, \"scale\": null, \"zero_point\": null");
        return;
    }
    put_short(text, ", \"bits\": %u, \"scale\": ", tensor->bits);
    put_real(text, (double)tensor->scale);
    put_short(text, ", \"zero_point\": %" PRId32, tensor->zero_point);
}

static void put_costs(struct text *text, const struct entro_image *image, const struct entro_tensor *tensor)
{
    put_short(text, ", \"stored_bytes\": %" PRIu64, entro_tensor_stored_bytes(image, tensor));
    put(text, ", \"bits_per_weight\": ");
    put_real(text, entro_tensor_bits_per_weight(image, tensor));
    put(text, ", \"entropy_bits\": ");
    put_real(text, tensor->entropy_bits);
    put(text, ", \"snr_db\": ");
    put_real(text, tensor->scheme == ENTRO_SCHEME_LOSSLESS ? (double)NAN : tensor->snr_db);
}

static enum entro_error put_tensor(struct text *text, const struct entro_image *image,
                                   const struct places *places, uint32_t number,
                                   struct entro_message *message)
{
    const struct entro_tensor *tensor = entro_image_tensor(image, number);
    char hex[ENTRO_HEX_BYTES];
    if (!entro_is_utf8(tensor->name, strlen(tensor->name)))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tensor number %u has a name that is not UTF-8",
                          number);
    for (unsigned i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] > INT64_MAX)
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "tensor %s: dimension %u is too large for tensors.json", tensor->name, i);
    put(text, number == 0 ? "\n{\"name\": " : ",\n{\"name\": ");
    put_string(text, tensor->name);
    put_path(text, ", \"file\": ", tensor, tensor->stream, "");
    put(text, ", \"dtype\": ");
    put_string(text, entro_dtype_name(tensor->dtype));
    put_shape(text, tensor);
    put(text, ", \"scheme\": ");
    put_string(text, entro_scheme_name(tensor->scheme));
    put_grid(text, tensor);
    put_path(text, ", \"row_scale\": ", tensor, tensor->row_scale, ".row_scale");
    put_path(text, ", \"column_scale\": ", tensor, tensor->column_scale, ".column_scale");
    put_path(text, ", \"outliers\": ", tensor, tensor->outliers, ".outliers");
    put_view(text, image, places, number);
    put_costs(text, image, tensor);
    entro_hex(entro_image_stream(image, tensor->stream)->xxh3_128, hex);
    put(text, ", \"xxh3_128\": ");
    put_string(text, hex);
    put(text, "}");
    return ENTRO_OK;
}

enum entro_error entro_tensors_json(const struct entro_image *image, uint8_t **bytes, size_t *size_bytes,
                                    struct entro_message *message)
{
    const struct entro_image_info *info = entro_image_info(image);
    struct text text = {0};
    struct places places = {0};
    enum entro_error error = find_places(image, &places);
    if (error != ENTRO_OK) {
        entro_fail(message, error, "out of memory for tensors.json");
        goto out;
    }
    put(&text, "{\"format\": 1, \"source\": ");
    put_string(&text, entro_source_name(info->source));
    put(&text, ", \"tensors\": [");
    for (uint32_t i = 0; error == ENTRO_OK && i < info->n_tensors; i++)
        error = put_tensor(&text, image, &places, i, message);
    put(&text, "\n]}\n");
    if (error == ENTRO_OK && text.is_short_of_memory)
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
