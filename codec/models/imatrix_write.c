/* Writes importance matrices in the GGUF form; see imatrix.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "codec/models/gguf_internal.h"
#include "codec/models/imatrix.h"
#include "codec/output_file.h"

#define ALIGNMENT 32
#define GGML_F32  0
#define GGML_BF16 30
/* ggml has room for 63 bytes, the longest suffix among them. */
#define MAX_NAME                 (63 - sizeof ".in_sum2" + 1)
#define MAX_NAME_WITH_DIRECTIONS (63 - sizeof ".in_directions" + 1)

/* The bytes before the data, through a stream that grows; errors show when it is closed. */
static void put_u32(FILE *stream, uint32_t value)
{
    uint8_t bytes[4];
    entro_store_u32(bytes, value);
    fwrite(bytes, sizeof bytes, 1, stream);
}

static void put_u64(FILE *stream, uint64_t value)
{
    uint8_t bytes[8];
    entro_store_u64(bytes, value);
    fwrite(bytes, sizeof bytes, 1, stream);
}

static void put_text(FILE *stream, const char *text)
{
    put_u64(stream, strlen(text));
    fputs(text, stream);
}

static void put_key(FILE *stream, const char *key, enum entro_gguf_type type)
{
    put_text(stream, key);
    put_u32(stream, type);
}

static uint64_t padded(uint64_t size_bytes)
{
    return size_bytes + entro_gguf_padding(size_bytes, ALIGNMENT);
}

static void put_tensor_name(FILE *stream, const char *name, const char *suffix)
{
    put_u64(stream, strlen(name) + strlen(suffix));
    fputs(name, stream);
    fputs(suffix, stream);
}

/* Describes the tensor NAME<suffix> of n values, and moves *offset behind it. */
static void put_tensor(FILE *stream, const char *name, const char *suffix, size_t n, uint64_t *offset)
{
    put_tensor_name(stream, name, suffix);
    put_u32(stream, 1); /* ggml leaves out the dimension of one matrix */
    put_u64(stream, n);
    put_u32(stream, GGML_F32);
    put_u64(stream, *offset);
    *offset += padded(n * sizeof(float));
}

static void put_directions(FILE *stream, const struct entro_imatrix_sums *entry, uint64_t *offset)
{
    if (entry->n_directions == 0)
        return;
    put_tensor_name(stream, entry->name, ".in_directions");
    put_u32(stream, 2);
    put_u64(stream, entry->n_columns);
    put_u64(stream, entry->n_directions);
    put_u32(stream, GGML_BF16);
    put_u64(stream, *offset);
    *offset += padded(entry->n_directions * entry->n_columns * sizeof(uint16_t));
}

static void put_header(FILE *stream, const struct entro_imatrix_sums *entries, size_t n_entries,
                       const struct entro_imatrix_origin *origin)
{
    uint64_t offset = 0, n_tensors = 2 * (uint64_t)n_entries;
    for (size_t i = 0; i < n_entries; i++)
        n_tensors += entries[i].n_directions > 0;
    fputs("GGUF", stream);
    put_u32(stream, 3);
    put_u64(stream, n_tensors);
    put_u64(stream, 4);
    put_key(stream, "general.type", ENTRO_GGUF_STRING);
    put_text(stream, "imatrix");
    put_key(stream, "imatrix.datasets", ENTRO_GGUF_ARRAY);
    put_u32(stream, ENTRO_GGUF_STRING);
    put_u64(stream, 1);
    put_text(stream, origin->dataset);
    put_key(stream, "imatrix.chunk_count", ENTRO_GGUF_U32);
    put_u32(stream, origin->n_chunks);
    put_key(stream, "imatrix.chunk_size", ENTRO_GGUF_U32);
    put_u32(stream, origin->chunk_size);
    for (size_t i = 0; i < n_entries; i++) {
        put_tensor(stream, entries[i].name, ".in_sum2", entries[i].n_columns, &offset);
        put_tensor(stream, entries[i].name, ".counts", 1, &offset);
        put_directions(stream, &entries[i], &offset);
    }
}

static enum entro_error append_padding(struct entro_output *output, struct entro_message *message)
{
    static const uint8_t zeros[ALIGNMENT];
    return entro_output_append(output, zeros, (size_t)entro_gguf_padding(output->size_bytes, ALIGNMENT),
                               message);
}

static enum entro_error append_header(struct entro_output *output, const struct entro_imatrix_sums *entries,
                                      size_t n_entries, const struct entro_imatrix_origin *origin,
                                      struct entro_message *message)
{
    char *bytes = NULL;
    size_t size_bytes = 0;
    FILE *stream = open_memstream(&bytes, &size_bytes);
    if (stream == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", output->path);
    put_header(stream, entries, n_entries, origin);
    bool failed = ferror(stream) != 0;
    enum entro_error error;
    if (fclose(stream) != 0 || failed)
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", output->path);
    else if ((error = entro_output_append(output, bytes, size_bytes, message)) == ENTRO_OK)
        error = append_padding(output, message);
    free(bytes);
    return error;
}

static enum entro_error append_floats(struct entro_output *output, const float *values, size_t n,
                                      struct entro_message *message)
{
    enum entro_error error = entro_output_append(output, values, n * sizeof *values, message);
    return error == ENTRO_OK ? append_padding(output, message) : error;
}

/* `row` is room for one direction. */
static enum entro_error append_directions(struct entro_output *output, const struct entro_imatrix_sums *entry,
                                          uint8_t *row, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    for (size_t k = 0; k < entry->n_directions && error == ENTRO_OK; k++) {
        const float *direction = entry->directions + k * entry->n_columns;
        for (size_t i = 0; i < entry->n_columns; i++) {
            uint16_t half = entro_f32_to_bf16(direction[i]);
            if (!isfinite(entro_bf16_to_f32(half)))
                return entro_fail(
                    message, ENTRO_ERROR_ARGUMENT,
                    "tensor \"%s\": column %zu of its direction %zu is %g, which no file can hold",
                    entry->name, i, k, (double)direction[i]);
            entro_store_u16(row + i * sizeof half, half);
        }
        error = entro_output_append(output, row, entry->n_columns * sizeof(uint16_t), message);
    }
    return error == ENTRO_OK ? append_padding(output, message) : error;
}

/* `values` is room for one entry. */
static enum entro_error append_entry(struct entro_output *output, const struct entro_imatrix_sums *entry,
                                     float *values, struct entro_message *message)
{
    for (size_t i = 0; i < entry->n_columns; i++) {
        values[i] = (float)entry->sums[i];
        if (!(values[i] >= 0) || isinf(values[i]))
            return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                              "tensor \"%s\": the sum of squares of column %zu is %g, which no file can hold",
                              entry->name, i, entry->sums[i]);
    }
    float count = (float)entry->n_tokens;
    enum entro_error error = append_floats(output, values, entry->n_columns, message);
    if (error == ENTRO_OK)
        error = append_floats(output, &count, 1, message);
    return error == ENTRO_OK ? append_directions(output, entry, (uint8_t *)values, message) : error;
}

static enum entro_error check(const struct entro_imatrix_sums *entries, size_t n_entries, size_t *n_most,
                              struct entro_message *message)
{
    *n_most = 0;
    if (n_entries == 0 || n_entries > ENTRO_IMATRIX_MAX_ENTRIES)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "an importance matrix of %zu tensors", n_entries);
    for (size_t i = 0; i < n_entries; i++) {
        size_t n_name = strlen(entries[i].name), n_directions = entries[i].n_directions;
        if (n_name == 0 || n_name > (n_directions > 0 ? MAX_NAME_WITH_DIRECTIONS : MAX_NAME) ||
            entries[i].n_columns == 0 ||
            entries[i].n_columns > SIZE_MAX / sizeof(float) / ENTRO_IMATRIX_MAX_DIRECTIONS ||
            n_directions > ENTRO_IMATRIX_MAX_DIRECTIONS)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                              "tensor \"%s\": its name, its %zu columns or its %zu directions do not fit an "
                              "importance matrix",
                              entries[i].name, entries[i].n_columns, n_directions);
        *n_most = entries[i].n_columns > *n_most ? entries[i].n_columns : *n_most;
    }
    return ENTRO_OK;
}

enum entro_error entro_imatrix_write(const char *path, bool replace, const struct entro_imatrix_sums *entries,
                                     size_t n_entries, const struct entro_imatrix_origin *origin,
                                     struct entro_message *message)
{
    struct entro_output output;
    size_t n_most;
    enum entro_error error = check(entries, n_entries, &n_most, message);
    if (error != ENTRO_OK)
        return error;
    float *values = calloc(n_most, sizeof *values);
    if (values == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
    error = entro_output_create(&output, path, replace, message);
    if (error == ENTRO_OK)
        error = append_header(&output, entries, n_entries, origin, message);
    for (size_t i = 0; i < n_entries && error == ENTRO_OK; i++)
        error = append_entry(&output, &entries[i], values, message);
    if (error == ENTRO_OK)
        error = entro_output_commit(&output, message);
    entro_output_free(&output);
    free(values);
    return error;
}
