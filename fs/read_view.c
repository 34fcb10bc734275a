/* Views: from a range of dequantized bytes to codes, converted a block of them at a time; see
 * reader_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "fs/reader_internal.h"

/* Factors and outliers of a tensor that are held in memory at most: more than any real one has, a bound
 * against a hostile image. */
#define PARTS_MAX_BYTES ((uint64_t)256 << 20)

#define OUTLIER_BYTES 12
#define GRANULE_BYTES 64 /* of the largest granule: see struct granules */

/* A view with the memory that it points into. */
struct entro_prepared_view {
    struct entro_view *view;
    uint8_t *parts;
};

void entro_prepared_view_free(void *value)
{
    struct entro_prepared_view *prepared = value;
    if (prepared == NULL)
        return;
    entro_view_free(prepared->view);
    free(prepared->parts);
    free(prepared);
}

/* Decodes factors and outliers, one after another, into memory of their own. */
static enum entro_error load_parts(struct entro_read *read, const struct entro_tensor *tensor,
                                   struct entro_view_parts *parts, uint8_t **memory, size_t *memory_bytes,
                                   struct entro_message *cause)
{
    const struct entro_image *image = read->reader->image;
    const uint32_t streams[3] = {tensor->row_scale, tensor->column_scale, tensor->outliers};
    uint64_t total = 0;
    for (unsigned i = 0; i < 3; i++)
        if (streams[i] != ENTRO_NONE)
            total += entro_image_stream(image, streams[i])->size_bytes;
    if (total == 0)
        return ENTRO_OK;
    if (total > PARTS_MAX_BYTES)
        return entro_fail(cause, ENTRO_ERROR_FORMAT,
                          "%llu bytes of factors and outliers, more than the %llu that are read",
                          (unsigned long long)total, (unsigned long long)PARTS_MAX_BYTES);
    *memory = malloc((size_t)total);
    if (*memory == NULL)
        return entro_fail(cause, ENTRO_ERROR_NO_MEMORY, "out of memory for factors and outliers");
    *memory_bytes = (size_t)total;
    const uint8_t *places[3] = {NULL, NULL, NULL};
    uint8_t *room = *memory;
    for (unsigned i = 0; i < 3; i++) {
        if (streams[i] == ENTRO_NONE)
            continue;
        size_t size = (size_t)entro_image_stream(image, streams[i])->size_bytes;
        enum entro_error error = entro_read_stream(read, streams[i], 0, size, room);
        if (error != ENTRO_OK)
            return entro_fail(cause, error, "factors or outliers cannot be read");
        places[i] = room;
        room += size;
    }
    parts->row_scale = places[0];
    parts->column_scale = places[1];
    parts->outliers = places[2];
    if (streams[2] != ENTRO_NONE)
        parts->n_outliers = (size_t)(entro_image_stream(image, streams[2])->size_bytes / OUTLIER_BYTES);
    return ENTRO_OK;
}

static enum entro_error prepare(struct entro_read *read, uint32_t number, enum entro_dtype dtype,
                                struct entro_prepared_view **out, size_t *cost_bytes)
{
    const struct entro_tensor *tensor = entro_image_tensor(read->reader->image, number);
    struct entro_prepared_view *prepared = calloc(1, sizeof *prepared);
    if (prepared == NULL)
        return entro_fail(read->message, ENTRO_ERROR_NO_MEMORY, "out of memory for a view");
    struct entro_view_parts parts = {0};
    struct entro_message cause;
    size_t parts_bytes = 0;
    enum entro_error error = load_parts(read, tensor, &parts, &prepared->parts, &parts_bytes, &cause);
    if (error == ENTRO_OK)
        error = entro_view_create(&prepared->view, tensor, dtype, &parts, &cause);
    if (error != ENTRO_OK) {
        entro_prepared_view_free(prepared);
        return entro_read_report(read, error, number, &cause);
    }
    entro_count(&read->reader->stats.views_made, 1);
    *out = prepared;
    *cost_bytes =
        sizeof *prepared + 4096 + 3 * parts_bytes; /* the view's tables; its column factors as F32 */
    return ENTRO_OK;
}

/* On success the caller releases *entry. */
static enum entro_error hold_view(struct entro_read *read, uint32_t number, enum entro_dtype dtype,
                                  struct entro_cache_entry **entry)
{
    struct entro_cache *views = read->reader->views;
    struct entro_prepared_view *prepared = NULL;
    size_t cost_bytes = 0;
    enum entro_error error = ENTRO_OK;
    switch (entro_cache_claim(views, (uint64_t)number << 16 | (uint64_t)dtype, entry, &error)) {
    case ENTRO_CACHE_READY:
        return ENTRO_OK;
    case ENTRO_CACHE_MINE:
        error = prepare(read, number, dtype, &prepared, &cost_bytes);
        if (error == ENTRO_OK)
            entro_cache_give(views, *entry, prepared, cost_bytes);
        else
            entro_cache_fail(views, *entry, error);
        return error;
    case ENTRO_CACHE_FAILED:
        break;
    }
    return entro_fail(read->message, error, "tensor %s has no view: %s (reported before)",
                      entro_image_tensor(read->reader->image, number)->name, entro_error_name(error));
}

enum entro_error entro_view_check(struct entro_read *read, uint32_t tensor, enum entro_dtype dtype)
{
    struct entro_cache_entry *entry;
    enum entro_error error = hold_view(read, tensor, dtype, &entry);
    if (error == ENTRO_OK)
        entro_cache_release(read->reader->views, entry);
    return error;
}

/* The smallest parts that can be converted on their own: a record, or the elements of a code byte. */
struct granules {
    unsigned elements;   /* 1, 2 or 32 */
    unsigned view_bytes; /* at most GRANULE_BYTES */
    unsigned code_bytes;
    uint64_t n_elements; /* of the tensor: its last granule may have fewer */
};

static struct granules granules_of(const struct entro_tensor *tensor, enum entro_dtype dtype)
{
    unsigned block = entro_view_block_elements(dtype);
    unsigned elements = tensor->bits == 4 && block == 1 ? 2 : block;
    return (struct granules){.elements = elements,
                             .view_bytes = elements / block * entro_view_block_bytes(dtype),
                             .code_bytes = tensor->bits == 4 ? elements / 2 : elements,
                             .n_elements = tensor->n_elements};
}

static size_t elements_in(const struct granules *granules, uint64_t first, size_t n)
{
    uint64_t first_element = first * granules->elements;
    uint64_t n_left = granules->n_elements - first_element;
    uint64_t n_wanted = (uint64_t)n * granules->elements;
    return (size_t)(n_wanted < n_left ? n_wanted : n_left);
}

/* Granules first.. whose codes are at hand; of their view bytes, skip..skip+size are wanted. */
static void convert(const struct entro_view *view, const struct granules *granules, uint64_t first,
                    const uint8_t *codes, size_t skip, size_t size, uint8_t *target)
{
    uint8_t granule[GRANULE_BYTES];
    while (size > 0) {
        /* The tensor's last granule may be short: whole granules are those with all their bytes wanted. */
        size_t n_whole = skip == 0 ? size / granules->view_bytes : 0;
        size_t n_granules = n_whole > 0 ? n_whole : 1, n;
        size_t n_elements = elements_in(granules, first, n_granules);
        if (n_whole > 0) {
            entro_view_convert(view, first * granules->elements, n_elements, codes, target);
            n = n_whole * granules->view_bytes;
        } else {
            entro_view_convert(view, first * granules->elements, n_elements, codes, granule);
            n = granules->view_bytes - skip < size ? granules->view_bytes - skip : size;
            memcpy(target, granule + skip, n);
            skip = 0;
        }
        first += n_granules;
        codes += n_granules * granules->code_bytes;
        target += n;
        size -= n;
    }
}

/*
 * Converts what of code bytes begin..end (within one block of a plain stream, or fitting a piece) is wanted:
 * straight from the cache, or decoded beside it where the whole block or little of it is wanted.
 */
static enum entro_error read_codes_and_convert(struct entro_read *read, const struct entro_view *view,
                                               const struct granules *granules, uint32_t stream,
                                               uint64_t begin, size_t n_codes, size_t skip, size_t size,
                                               uint8_t *target)
{
    const struct entro_stream *facts = entro_image_stream(read->reader->image, stream);
    const struct entro_plane *plane = &facts->planes[0];
    uint64_t first = begin / granules->code_bytes, block = begin / plane->block_bytes;
    bool is_plain = entro_stream_is_plain(facts);
    size_t block_size = is_plain ? entro_plane_block_size(plane, block) : 0;
    if (!is_plain || entro_read_wants_part(read, n_codes, block_size)) {
        enum entro_error error = entro_read_stream(read, stream, begin, n_codes, read->workspace->codes);
        if (error == ENTRO_OK)
            convert(view, granules, first, read->workspace->codes, skip, size, target);
        return error;
    }
    bool is_whole = n_codes == block_size;
    struct entro_open_block open;
    enum entro_error error =
        entro_block_open(read, stream, plane, block, is_whole ? read->workspace->codes : NULL, &open);
    if (error != ENTRO_OK)
        return error;
    convert(view, granules, first, open.bytes + begin % plane->block_bytes, skip, size, target);
    entro_block_close(read, &open, n_codes);
    return ENTRO_OK;
}

/* Granules never cross the end of a piece: both are powers of two of code bytes, and a block is the larger.
 */
static uint64_t piece_code_bytes(const struct entro_stream *stream)
{
    return entro_stream_is_plain(stream) ? stream->planes[0].block_bytes : ENTRO_PIECE_BYTES / 2;
}

size_t entro_view_piece(const struct entro_image *image, uint32_t number, enum entro_dtype dtype,
                        uint64_t offset)
{
    const struct entro_tensor *tensor = entro_image_tensor(image, number);
    struct granules granules = granules_of(tensor, dtype);
    uint64_t piece_bytes = piece_code_bytes(entro_image_stream(image, tensor->stream)) / granules.code_bytes *
                           granules.view_bytes;
    return (size_t)(piece_bytes - offset % piece_bytes);
}

static enum entro_error read_range(struct entro_read *read, const struct entro_view *view,
                                   const struct entro_tensor *tensor, enum entro_dtype dtype, uint64_t offset,
                                   size_t size, uint8_t *target)
{
    const struct entro_stream *facts = entro_image_stream(read->reader->image, tensor->stream);
    struct granules granules = granules_of(tensor, dtype);
    uint64_t piece_bytes = piece_code_bytes(facts);
    while (size > 0) {
        uint64_t first = offset / granules.view_bytes;
        size_t skip = (size_t)(offset % granules.view_bytes);
        uint64_t begin = first * granules.code_bytes;
        uint64_t n_wanted = ((skip + size - 1) / granules.view_bytes + 1) * granules.code_bytes;
        uint64_t n_codes = piece_bytes - begin % piece_bytes;
        if (n_codes > n_wanted)
            n_codes = n_wanted;
        if (n_codes > facts->size_bytes - begin)
            n_codes = facts->size_bytes - begin;
        uint64_t n_bytes =
            (n_codes + granules.code_bytes - 1) / granules.code_bytes * granules.view_bytes - skip;
        size_t n = n_bytes < size ? (size_t)n_bytes : size;
        enum entro_error error = read_codes_and_convert(read, view, &granules, tensor->stream, begin,
                                                        (size_t)n_codes, skip, n, target);
        if (error != ENTRO_OK)
            return error;
        target += n;
        offset += n;
        size -= n;
    }
    return ENTRO_OK;
}

enum entro_error entro_read_view(struct entro_read *read, uint32_t number, enum entro_dtype dtype,
                                 uint64_t offset, size_t size, uint8_t *target)
{
    struct entro_cache_entry *entry;
    enum entro_error error = hold_view(read, number, dtype, &entry);
    if (error != ENTRO_OK)
        return error;
    const struct entro_prepared_view *prepared = entro_cache_value(entry);
    error = read_range(read, prepared->view, entro_image_tensor(read->reader->image, number), dtype, offset,
                       size, target);
    entro_cache_release(read->reader->views, entry);
    return error;
}

/* The code bytes under a range of view bytes. */
static void codes_under(const struct entro_image *image, uint32_t number, enum entro_dtype dtype,
                        uint64_t offset, size_t size, uint64_t *begin, size_t *n_codes)
{
    const struct entro_tensor *tensor = entro_image_tensor(image, number);
    struct granules granules = granules_of(tensor, dtype);
    *begin = offset / granules.view_bytes * granules.code_bytes;
    uint64_t end = ((offset + size - 1) / granules.view_bytes + 1) * granules.code_bytes;
    uint64_t all = entro_image_stream(image, tensor->stream)->size_bytes;
    *n_codes = (size_t)((end < all ? end : all) - *begin);
}

void entro_view_warm(struct entro_read *read, uint32_t number, enum entro_dtype dtype, uint64_t offset,
                     size_t size)
{
    const struct entro_image *image = read->reader->image;
    uint64_t begin;
    size_t n_codes;
    codes_under(image, number, dtype, offset, size, &begin, &n_codes);
    entro_stream_warm(read, entro_image_tensor(image, number)->stream, begin, n_codes);
}

void entro_view_will_need(struct entro_read *read, uint32_t number, enum entro_dtype dtype, uint64_t offset,
                          size_t size)
{
    const struct entro_image *image = read->reader->image;
    uint64_t begin;
    size_t n_codes;
    codes_under(image, number, dtype, offset, size, &begin, &n_codes);
    entro_stream_will_need(read, entro_image_tensor(image, number)->stream, begin, n_codes);
}

void entro_view_expect(struct entro_read *read, uint32_t number, enum entro_dtype dtype, uint64_t offset)
{
    const struct entro_image *image = read->reader->image;
    uint64_t begin;
    size_t n_codes;
    codes_under(image, number, dtype, offset, 1, &begin, &n_codes);
    entro_stream_expect(read, entro_image_tensor(image, number)->stream, begin);
}
