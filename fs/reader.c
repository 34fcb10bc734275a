/* Requests: from a file's bytes to its spans; see reader.h. */
#include "fs/reader.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fs/reader_internal.h"

/* Prepared views hold factors and outliers decoded: a few tens of KiB each. */
#define VIEW_CACHE_BYTES ((size_t)16 << 20)

static void workspace_free(struct entro_workspace *workspace)
{
    if (workspace == NULL)
        return;
    entro_decoder_free(workspace->decoder);
    free(workspace->planes);
    free(workspace->codes);
    free(workspace);
}

static struct entro_workspace *workspace_create(void)
{
    struct entro_workspace *workspace = calloc(1, sizeof *workspace);
    if (workspace == NULL)
        return NULL;
    workspace->decoder = entro_decoder_create();
    workspace->planes = malloc(ENTRO_PIECE_BYTES);
    workspace->codes = malloc(ENTRO_PIECE_BYTES);
    if (workspace->decoder == NULL || workspace->planes == NULL || workspace->codes == NULL) {
        workspace_free(workspace);
        return NULL;
    }
    return workspace;
}

/* As many workspaces come to be as there are requests at once; they are kept for the next ones. */
static struct entro_workspace *take_workspace(struct entro_reader *reader)
{
    pthread_mutex_lock(&reader->mutex);
    struct entro_workspace *workspace = reader->stock;
    if (workspace != NULL)
        reader->stock = workspace->next;
    pthread_mutex_unlock(&reader->mutex);
    return workspace != NULL ? workspace : workspace_create();
}

static void put_workspace(struct entro_reader *reader, struct entro_workspace *workspace)
{
    pthread_mutex_lock(&reader->mutex);
    workspace->next = reader->stock;
    reader->stock = workspace;
    pthread_mutex_unlock(&reader->mutex);
}

enum entro_error entro_reader_create(struct entro_reader **out, const struct entro_namespace *names,
                                     size_t cache_bytes, struct entro_report report)
{
    *out = NULL;
    struct entro_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    reader->names = names;
    reader->image = entro_namespace_image(names);
    reader->report = report;
    pthread_mutex_init(&reader->mutex, NULL);
    reader->blocks = entro_cache_create(cache_bytes, free, &reader->stats);
    reader->views = entro_cache_create(VIEW_CACHE_BYTES, entro_prepared_view_free, NULL);
    if (reader->blocks == NULL || reader->views == NULL) {
        entro_reader_free(reader);
        return ENTRO_ERROR_NO_MEMORY;
    }
    *out = reader;
    return ENTRO_OK;
}

void entro_reader_free(struct entro_reader *reader)
{
    if (reader == NULL)
        return;
    while (reader->stock != NULL) {
        struct entro_workspace *next = reader->stock->next;
        workspace_free(reader->stock);
        reader->stock = next;
    }
    entro_cache_free(reader->views);
    entro_cache_free(reader->blocks);
    pthread_mutex_destroy(&reader->mutex);
    free(reader);
}

struct entro_stats *entro_reader_stats(struct entro_reader *reader)
{
    return &reader->stats;
}

enum entro_error entro_read_report(struct entro_read *read, enum entro_error error, uint32_t tensor,
                                   const struct entro_message *cause)
{
    struct entro_reader *reader = read->reader;
    char path[512] = "";
    if (read->where != NULL)
        strncpy(path, read->where, sizeof path - 1);
    else if (read->node != NULL)
        entro_namespace_path(reader->names, read->node, path, sizeof path);
    struct entro_message line;
    bool has_tensor = tensor != ENTRO_NONE;
    entro_fail(&line, error, "%s: %s%s%s%s", path, has_tensor ? "tensor " : "",
               has_tensor ? entro_image_tensor(reader->image, tensor)->name : "", has_tensor ? ": " : "",
               cause->text);
    if (read->message != NULL)
        *read->message = line;
    if (reader->report.line != NULL)
        reader->report.line(reader->report.context, line.text);
    return error;
}

static enum entro_error read_span(struct entro_read *read, const struct entro_span *span, uint64_t offset,
                                  size_t size, uint8_t *target)
{
    switch (span->kind) {
    case ENTRO_SPAN_BYTES:
        memcpy(target, span->bytes + offset, size);
        return ENTRO_OK;
    case ENTRO_SPAN_STREAM:
        return entro_read_stream(read, span->reference, span->offset + offset, size, target);
    case ENTRO_SPAN_VIEW:
        return entro_read_view(read, span->reference, span->dtype, offset, size, target);
    }
    return ENTRO_ERROR_ARGUMENT;
}

static enum entro_error read_spans(struct entro_read *read, const struct entro_node *node, uint64_t offset,
                                   size_t size, uint8_t *target)
{
    const struct entro_span *span = entro_node_span(node, offset);
    while (size > 0) {
        uint64_t offset_in_span = offset - span->start;
        uint64_t left = span->size_bytes - offset_in_span;
        size_t n = left < size ? (size_t)left : size;
        enum entro_error error = read_span(read, span, offset_in_span, n, target);
        if (error != ENTRO_OK)
            return error;
        target += n;
        offset += n;
        size -= n;
        span++;
    }
    return ENTRO_OK;
}

enum entro_error entro_reader_read(struct entro_reader *reader, const struct entro_node *node,
                                   uint64_t offset, size_t size, uint8_t *target, size_t *n_read,
                                   struct entro_message *message)
{
    *n_read = 0;
    entro_count(&reader->stats.requests, 1);
    if (offset >= node->size_bytes || size == 0)
        return ENTRO_OK;
    if (size > node->size_bytes - offset)
        size = (size_t)(node->size_bytes - offset);
    enum entro_error error = ENTRO_ERROR_NO_MEMORY;
    struct entro_workspace *workspace = take_workspace(reader);
    if (workspace != NULL) {
        struct entro_read read = {.reader = reader, .workspace = workspace, .node = node, .message = message};
        error = read_spans(&read, node, offset, size, target);
        put_workspace(reader, workspace);
    } else {
        entro_fail(message, error, "out of memory for decoding");
    }
    if (error != ENTRO_OK) {
        entro_count(&reader->stats.requests_failed, 1);
        return error;
    }
    entro_count(&reader->stats.bytes_replied, size);
    *n_read = size;
    return ENTRO_OK;
}

enum entro_error entro_reader_read_stream(struct entro_reader *reader, uint32_t stream, uint64_t offset,
                                          size_t size, uint8_t *target, const char *where,
                                          struct entro_message *message)
{
    struct entro_workspace *workspace = take_workspace(reader);
    if (workspace == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for decoding");
    struct entro_read read = {.reader = reader, .workspace = workspace, .where = where, .message = message};
    enum entro_error error = entro_read_stream(&read, stream, offset, size, target);
    put_workspace(reader, workspace);
    return error;
}

enum entro_error entro_reader_check_view(struct entro_reader *reader, uint32_t tensor, enum entro_dtype dtype,
                                         struct entro_message *message)
{
    struct entro_workspace *workspace = take_workspace(reader);
    if (workspace == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for decoding");
    struct entro_read read = {.reader = reader, .workspace = workspace, .where = "", .message = message};
    enum entro_error error = entro_view_check(&read, tensor, dtype);
    put_workspace(reader, workspace);
    return error;
}

void entro_reader_try_blocks(struct entro_reader *reader, uint32_t stream, const char *where)
{
    const struct entro_stream *facts = entro_image_stream(reader->image, stream);
    struct entro_workspace *workspace = take_workspace(reader);
    if (workspace == NULL)
        return;
    struct entro_read read = {.reader = reader, .workspace = workspace, .where = where};
    for (unsigned i = 0; i < facts->layout->n_fields; i++)
        for (uint64_t block = 0; block < facts->planes[i].n_blocks; block++) {
            struct entro_open_block open;
            if (entro_block_open(&read, stream, &facts->planes[i], block, workspace->planes, &open) ==
                ENTRO_OK)
                entro_block_close(&read, &open);
        }
    put_workspace(reader, workspace);
}
