/*
 * Importance matrices in the older form: i32 number of entries; of each: i32 length and bytes of the name,
 * i32 calls, i32 number of values, F32 values (the mean squares times the calls); then, in most files, i32
 * number of chunks, i32 length and bytes of the text's name. See imatrix.h.
 */
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/models/imatrix_internal.h"
#include "codec/models/pread_internal.h"
#include "codec/utf8.h"

/* A name of one byte and one value. */
#define ENTRY_MIN_BYTES (4 + 1 + 4 + 4 + 4)

struct cursor {
    const struct entro_imatrix_file *file;
    uint64_t position;
};

static enum entro_error take(struct cursor *cursor, void *bytes, size_t size)
{
    const struct entro_imatrix_file *file = cursor->file;
    if (size > file->size_bytes - cursor->position)
        return entro_fail(file->message, ENTRO_ERROR_FORMAT, "%s: truncated, or no importance matrix",
                          file->path);
    enum entro_error error =
        entro_pread_all(file->fd, bytes, size, cursor->position, file->path, file->message);
    cursor->position += size;
    return error;
}

/* A count of at least `smallest`. */
static enum entro_error take_count(struct cursor *cursor, int32_t smallest, const char *what, size_t *count)
{
    uint8_t bytes[4];
    enum entro_error error = take(cursor, bytes, sizeof bytes);
    if (error != ENTRO_OK)
        return error;
    int32_t value = entro_load_i32(bytes);
    if (value < smallest)
        return entro_fail(cursor->file->message, ENTRO_ERROR_FORMAT, "%s: no importance matrix: %d is no %s",
                          cursor->file->path, value, what);
    *count = (size_t)value;
    return ENTRO_OK;
}

/* Text of a given length, NUL-terminated, the caller's to free. */
static enum entro_error take_text(struct cursor *cursor, size_t size, size_t limit, char **text)
{
    const struct entro_imatrix_file *file = cursor->file;
    if (size > limit)
        return entro_fail(file->message, ENTRO_ERROR_FORMAT, "%s: no importance matrix: a name of %zu bytes",
                          file->path, size);
    *text = calloc(size + 1, 1);
    if (*text == NULL)
        return entro_fail(file->message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", file->path);
    return take(cursor, *text, size);
}

static enum entro_error read_entry(struct cursor *cursor, struct entro_imatrix *out)
{
    const struct entro_imatrix_file *file = cursor->file;
    struct entro_imatrix_entry *entry = &out->entries[out->n_entries++];
    size_t n_name, n_calls, n_values;
    enum entro_error error;
    if ((error = take_count(cursor, 1, "length of a name", &n_name)) != ENTRO_OK ||
        (error = take_text(cursor, n_name, ENTRO_IMATRIX_MAX_NAME, &entry->name)) != ENTRO_OK)
        return error;
    if (strlen(entry->name) != n_name || !entro_is_utf8(entry->name, n_name))
        return entro_fail(file->message, ENTRO_ERROR_FORMAT,
                          "%s: no importance matrix: a tensor's name is not text", file->path);
    if ((error = take_count(cursor, 0, "number of calls", &n_calls)) != ENTRO_OK ||
        (error = take_count(cursor, 1, "number of importances", &n_values)) != ENTRO_OK)
        return error;
    if (n_values > (file->size_bytes - cursor->position) / sizeof(float))
        return entro_fail(file->message, ENTRO_ERROR_FORMAT, "%s: truncated in tensor \"%s\"", file->path,
                          entry->name);
    if (!entro_imatrix_entry_allocate(entry, 1, n_values))
        return entro_fail(file->message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", file->path);
    if ((error = take(cursor, entry->mean_squares, n_values * sizeof(float))) != ENTRO_OK)
        return error;
    /* The oldest files have means, and calls of 0. */
    entry->counts[0] = n_calls > 0 ? (float)n_calls : 1;
    for (size_t i = 0; i < n_values; i++)
        entry->mean_squares[i] /= entry->counts[0];
    return ENTRO_OK;
}

enum entro_error entro_imatrix_read_dat(struct entro_imatrix *out, const struct entro_imatrix_file *file)
{
    struct cursor cursor = {.file = file};
    size_t n_entries, n_chunks = 0, n_dataset;
    enum entro_error error = take_count(&cursor, 1, "number of entries", &n_entries);
    if (error != ENTRO_OK)
        return error;
    if (n_entries > file->size_bytes / ENTRY_MIN_BYTES)
        return entro_fail(file->message, ENTRO_ERROR_FORMAT,
                          "%s: no importance matrix: %zu entries have no room in it", file->path, n_entries);
    if (n_entries > ENTRO_IMATRIX_MAX_ENTRIES)
        return entro_fail(file->message, ENTRO_ERROR_UNSUPPORTED, "%s: more than %d entries", file->path,
                          ENTRO_IMATRIX_MAX_ENTRIES);
    out->entries = calloc(n_entries, sizeof *out->entries);
    if (out->entries == NULL)
        return entro_fail(file->message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", file->path);
    for (size_t i = 0; i < n_entries; i++)
        if ((error = read_entry(&cursor, out)) != ENTRO_OK)
            return error;
    if (cursor.position == file->size_bytes)
        return ENTRO_OK;
    if ((error = take_count(&cursor, 0, "number of chunks", &n_chunks)) != ENTRO_OK)
        return error;
    out->n_chunks = n_chunks;
    if (cursor.position == file->size_bytes)
        return ENTRO_OK;
    if ((error = take_count(&cursor, 0, "length of a name", &n_dataset)) != ENTRO_OK)
        return error;
    return take_text(&cursor, n_dataset, ENTRO_IMATRIX_MAX_DATASET, &out->dataset);
}
