/* The reader as its users see it; see reader.h. */
#include "fs/reader.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "codec/pool.h"
#include "fs/reader_internal.h"

/* Prepared views hold factors and outliers decoded: a few tens of KiB each. */
#define VIEW_CACHE_BYTES ((size_t)16 << 20)

/* Of decoding, until it has been measured. */
#define NS_PER_KIB_AT_FIRST 300

static void give_buffer(void *value)
{
    if (value != NULL)
        entro_buffer_give(value);
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
    entro_workspaces_init(&reader->workspaces);
    reader->n_processors = entro_pool_default_threads();
    atomic_init(&reader->ns_per_kib, NS_PER_KIB_AT_FIRST);
    reader->cache_bytes = cache_bytes;
    reader->prefetch = entro_prefetch_create(reader->image);
    reader->buffers = entro_buffers_create();
    reader->blocks = entro_cache_create(cache_bytes, give_buffer, &reader->stats);
    reader->views = entro_cache_create(VIEW_CACHE_BYTES, entro_prepared_view_free, NULL);
    if (reader->prefetch == NULL || reader->buffers == NULL || reader->blocks == NULL ||
        reader->views == NULL) {
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
    entro_reader_stop(reader);
    entro_workspaces_free(&reader->workspaces);
    entro_prefetch_free(reader->prefetch);
    entro_cache_free(reader->views);
    entro_cache_free(reader->blocks);
    entro_buffers_free(reader->buffers);
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

/* The workers' background work: one piece ahead of some reader, while a processor is idle besides the one
 * that the reader itself is taken to use. */
static bool prefetch_piece(void *context)
{
    struct entro_reader *reader = context;
    struct entro_prefetch_piece piece;
    bool was_some = false;
    unsigned n_active = atomic_fetch_add_explicit(&reader->n_active, 1, memory_order_relaxed);
    if (n_active + 1 < reader->n_processors && entro_prefetch_take(reader->prefetch, &piece)) {
        struct entro_workspace *workspace = entro_workspace_take(&reader->workspaces);
        struct entro_read read = {.reader = reader, .workspace = workspace, .node = piece.node};
        was_some = workspace != NULL;
        if (was_some) {
            if (piece.span->kind == ENTRO_SPAN_STREAM)
                entro_stream_warm(&read, piece.span->reference, piece.span->offset + piece.offset,
                                  piece.size);
            else if (piece.span->kind == ENTRO_SPAN_VIEW)
                entro_view_warm(&read, piece.span->reference, piece.span->dtype, piece.offset, piece.size);
            entro_workspace_put(&reader->workspaces, workspace);
            entro_count(&reader->stats.bytes_prefetched, piece.size);
        }
    }
    atomic_fetch_sub_explicit(&reader->n_active, 1, memory_order_relaxed);
    return was_some;
}

/* With two processors the kernel's two requests a reader keep both busy, and a detour of the bytes through
 * the cache is only more work: measured. */
#define PREFETCH_MIN_PROCESSORS 4

size_t entro_reader_prefetch(struct entro_reader *reader, size_t budget_bytes)
{
    if (budget_bytes == ENTRO_PREFETCH_AUTOMATIC)
        budget_bytes = reader->n_processors >= PREFETCH_MIN_PROCESSORS ? ENTRO_PREFETCH_BYTES : 0;
    if (reader->workers == NULL)
        budget_bytes = 0;
    if (budget_bytes > reader->cache_bytes / 2) /* what lies ahead must not push out what is needed now */
        budget_bytes = reader->cache_bytes / 2;
    entro_prefetch_start(reader->prefetch, budget_bytes);
    return budget_bytes;
}

enum entro_error entro_reader_start(struct entro_reader *reader)
{
    if (reader->n_processors < 2)
        return ENTRO_OK;
    return entro_workers_create(&reader->workers, reader->n_processors - 1, prefetch_piece, reader);
}

void entro_reader_stop(struct entro_reader *reader)
{
    entro_workers_free(reader->workers);
    reader->workers = NULL;
}

/* What is there of the range; 0 at or beyond the end of the file. */
static size_t clip(const struct entro_node *node, uint64_t offset, size_t size)
{
    if (offset >= node->size_bytes)
        return 0;
    return size < node->size_bytes - offset ? size : (size_t)(node->size_bytes - offset);
}

static void count_result(struct entro_reader *reader, enum entro_error error, size_t size)
{
    if (error != ENTRO_OK)
        entro_count(&reader->stats.requests_failed, 1);
    else
        entro_count(&reader->stats.bytes_replied, size);
}

enum entro_error entro_reader_serve(struct entro_reader *reader, const struct entro_node *node,
                                    uint64_t offset, size_t size, struct entro_reply *reply)
{
    *reply = (struct entro_reply){0};
    entro_count(&reader->stats.requests, 1);
    size = clip(node, offset, size);
    if (size == 0)
        return ENTRO_OK;
    bool has_ahead =
        entro_prefetch_is_on(reader->prefetch) && entro_prefetch_note(reader->prefetch, node, offset, size);
    enum entro_error error = ENTRO_ERROR_NO_MEMORY;
    struct entro_workspace *workspace = entro_workspace_take(&reader->workspaces);
    if (workspace != NULL)
        atomic_fetch_add_explicit(&reader->n_active, 1, memory_order_relaxed);
    uint8_t *target = workspace == NULL ? NULL : entro_workspace_reply(workspace, size);
    reply->workspace = workspace;
    reply->has_ahead = has_ahead;
    if (target != NULL) {
        struct entro_read read = {.reader = reader, .workspace = workspace, .node = node};
        error = entro_read_node(&read, offset, size, target);
    }
    count_result(reader, error, size);
    if (error != ENTRO_OK) {
        entro_reader_done(reader, reply);
        return error;
    }
    reply->bytes = target;
    reply->size_bytes = size;
    return ENTRO_OK;
}

void entro_reader_done(struct entro_reader *reader, struct entro_reply *reply)
{
    if (reply->workspace != NULL) {
        entro_workspace_put(&reader->workspaces, reply->workspace);
        atomic_fetch_sub_explicit(&reader->n_active, 1, memory_order_relaxed);
    }
    if (reply->has_ahead) /* now that this processor is about to be idle */
        entro_workers_poke(reader->workers);
    *reply = (struct entro_reply){0};
}

enum entro_error entro_reader_read(struct entro_reader *reader, const struct entro_node *node,
                                   uint64_t offset, size_t size, uint8_t *target, size_t *n_read,
                                   struct entro_message *message)
{
    *n_read = 0;
    entro_count(&reader->stats.requests, 1);
    size = clip(node, offset, size);
    if (size == 0)
        return ENTRO_OK;
    enum entro_error error = ENTRO_ERROR_NO_MEMORY;
    struct entro_workspace *workspace = entro_workspace_take(&reader->workspaces);
    if (workspace != NULL) {
        struct entro_read read = {.reader = reader, .workspace = workspace, .node = node, .message = message};
        error = entro_read_node(&read, offset, size, target);
        entro_workspace_put(&reader->workspaces, workspace);
    } else {
        entro_fail(message, error, "out of memory for decoding");
    }
    count_result(reader, error, size);
    if (error == ENTRO_OK)
        *n_read = size;
    return error;
}

enum entro_error entro_reader_read_stream(struct entro_reader *reader, uint32_t stream, uint64_t offset,
                                          size_t size, uint8_t *target, const char *where,
                                          struct entro_message *message)
{
    struct entro_workspace *workspace = entro_workspace_take(&reader->workspaces);
    if (workspace == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for decoding");
    struct entro_read read = {.reader = reader, .workspace = workspace, .where = where, .message = message};
    enum entro_error error = entro_read_stream(&read, stream, offset, size, target);
    entro_workspace_put(&reader->workspaces, workspace);
    return error;
}

enum entro_error entro_reader_check_view(struct entro_reader *reader, uint32_t tensor, enum entro_dtype dtype,
                                         struct entro_message *message)
{
    struct entro_workspace *workspace = entro_workspace_take(&reader->workspaces);
    if (workspace == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for decoding");
    struct entro_read read = {.reader = reader, .workspace = workspace, .where = "", .message = message};
    enum entro_error error = entro_view_check(&read, tensor, dtype);
    entro_workspace_put(&reader->workspaces, workspace);
    return error;
}

void entro_reader_try_blocks(struct entro_reader *reader, uint32_t stream, const char *where)
{
    const struct entro_stream *facts = entro_image_stream(reader->image, stream);
    struct entro_workspace *workspace = entro_workspace_take(&reader->workspaces);
    if (workspace == NULL)
        return;
    struct entro_read read = {.reader = reader, .workspace = workspace, .where = where};
    for (unsigned i = 0; i < facts->layout->n_fields; i++)
        for (uint64_t block = 0; block < facts->planes[i].n_blocks; block++) {
            struct entro_open_block open;
            if (entro_block_open(&read, stream, &facts->planes[i], block, workspace->planes, &open) ==
                ENTRO_OK)
                entro_block_close(&read, &open, 0);
        }
    entro_workspace_put(&reader->workspaces, workspace);
}
