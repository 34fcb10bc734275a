/* The calls of writer.h that are not about the bytes of streams: beginning, tensors, files, end. */
#include "codec/writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/image_rules.h"
#include "codec/writer_internal.h"

static enum entro_error create(struct entro_writer *writer, const char *path, bool replace,
                               struct entro_message *message)
{
    unsigned n_threads = entro_pool_threads(writer->pool);
    writer->scratch = calloc(n_threads, sizeof(struct entro_pivot_scratch *));
    for (unsigned i = 0; writer->scratch != NULL && i < n_threads; i++) {
        writer->scratch[i] = entro_pivot_scratch_create(NULL);
        if (writer->scratch[i] == NULL)
            return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
    }
    if (writer->scratch == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
    enum entro_error error = entro_output_create(&writer->output, path, replace, message);
    /* The superblock's place; it is written when all else is there. */
    writer->output.size_bytes = ENTRO_SUPERBLOCK_BYTES;
    return error;
}

enum entro_error entro_writer_create(struct entro_writer **out, const char *path, bool replace,
                                     enum entro_source source, struct entro_pool *pool,
                                     struct entro_message *message)
{
    *out = NULL;
    struct entro_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
    writer->output = (struct entro_output){.folder = -1, .fd = -1};
    writer->source = source;
    writer->pool = pool;
    writer->block_log2 = ENTRO_BLOCK_LOG2_DEFAULT;
    writer->layouts.records.record_bytes = sizeof(struct entro_disk_layout);
    writer->codebooks.records.record_bytes = ENTRO_CODEBOOK_BYTES;
    writer->stream_keys.records.record_bytes = ENTRO_STREAM_KEY_BYTES;
    writer->streams.record_bytes = sizeof(struct entro_disk_stream);
    writer->stream_sizes.record_bytes = sizeof(uint64_t);
    writer->summaries.record_bytes = sizeof(struct entro_stream_summary);
    writer->planes.record_bytes = sizeof(struct entro_disk_plane);
    writer->blocks.record_bytes = sizeof(struct entro_disk_block);
    writer->tensors.record_bytes = sizeof(struct entro_pending_tensor);
    writer->files.record_bytes = sizeof(struct entro_pending_file);
    writer->extents.record_bytes = sizeof(struct entro_extent);
    enum entro_error error = create(writer, path, replace, message);
    if (error != ENTRO_OK) {
        entro_writer_free(writer);
        return error;
    }
    *out = writer;
    return ENTRO_OK;
}

static void free_set(struct entro_set *set)
{
    free(set->records.bytes);
    free(set->slots);
}

void entro_writer_free(struct entro_writer *writer)
{
    if (writer == NULL)
        return;
    entro_output_free(&writer->output);
    for (size_t i = 0; i < writer->tensors.n; i++)
        free(((struct entro_pending_tensor *)entro_record(&writer->tensors, i))->name);
    for (size_t i = 0; i < writer->files.n; i++)
        free(((struct entro_pending_file *)entro_record(&writer->files, i))->path);
    for (unsigned i = 0; writer->scratch != NULL && i < entro_pool_threads(writer->pool); i++)
        entro_pivot_scratch_free(writer->scratch[i]);
    free(writer->scratch);
    free_set(&writer->layouts);
    free_set(&writer->codebooks);
    free_set(&writer->stream_keys);
    free(writer->streams.bytes);
    free(writer->stream_sizes.bytes);
    free(writer->summaries.bytes);
    free(writer->planes.bytes);
    free(writer->blocks.bytes);
    free(writer->tensors.bytes);
    free(writer->files.bytes);
    free(writer->extents.bytes);
    free(writer);
}

enum entro_error entro_writer_set_block_log2(struct entro_writer *writer, unsigned block_log2)
{
    if (block_log2 < ENTRO_BLOCK_LOG2_MIN || block_log2 > ENTRO_BLOCK_LOG2_MAX)
        return ENTRO_ERROR_ARGUMENT;
    writer->block_log2 = block_log2;
    return ENTRO_OK;
}

static const uint64_t *stream_sizes(const struct entro_writer *writer)
{
    return (const uint64_t *)(const void *)writer->stream_sizes.bytes;
}

enum entro_error entro_writer_add_tensor(struct entro_writer *writer, const struct entro_tensor *tensor,
                                         uint32_t *number, struct entro_message *message)
{
    struct entro_quoted name = entro_quote(tensor->name, strlen(tensor->name));
    const char *fault = entro_name_fault(tensor->name, strlen(tensor->name));
    if (fault != NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "tensor name \"%s\" %s", name.text, fault);
    struct entro_pending_tensor pending = {.tensor = *tensor, .number = (uint32_t)writer->tensors.n};
    struct entro_tensor *copy = &pending.tensor;
    if (copy->scheme == ENTRO_SCHEME_LOSSLESS) {
        copy->bits = 0;
        copy->scale = 0;
        copy->zero_point = 0;
        copy->row_scale = copy->column_scale = copy->outliers = ENTRO_NONE;
        copy->snr_db = INFINITY;
    }
    /* Sizes of dimensions that it does not have are no business of the caller. */
    for (unsigned i = copy->rank; i < ENTRO_MAX_RANK; i++)
        copy->shape[i] = 0;
    if (entro_tensor_check(copy, stream_sizes(writer), (uint32_t)writer->streams.n, message) != ENTRO_OK)
        return ENTRO_ERROR_ARGUMENT;
    pending.name = strdup(tensor->name);
    copy->name = pending.name;
    if (pending.name == NULL || writer->tensors.n >= ENTRO_NONE - 1 ||
        !entro_records_append(&writer->tensors, &pending, 1)) {
        free(pending.name);
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "tensor \"%s\": out of memory", name.text);
    }
    *number = pending.number;
    return ENTRO_OK;
}

static const struct entro_tensor *pending_tensor(const void *context, uint32_t number)
{
    const struct entro_writer *writer = context;
    return &((const struct entro_pending_tensor *)entro_record(&writer->tensors, number))->tensor;
}

enum entro_error entro_writer_add_file(struct entro_writer *writer, const char *path,
                                       const struct entro_extent *extents, uint32_t n_extents,
                                       struct entro_message *message)
{
    const struct entro_extent_targets targets = {
        .stream_sizes = stream_sizes(writer),
        .n_streams = (uint32_t)writer->streams.n,
        .n_tensors = (uint32_t)writer->tensors.n,
        .tensor = pending_tensor,
        .context = writer,
    };
    struct entro_quoted quoted = entro_quote(path, strlen(path));
    const char *fault = entro_path_fault(path, strlen(path));
    if (fault != NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "path \"%s\" %s", quoted.text, fault);
    for (uint32_t i = 0; i < n_extents; i++) {
        fault = entro_extent_fault(&extents[i], &targets);
        if (fault != NULL)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "extent %u of file \"%s\" %s", i, quoted.text,
                              fault);
    }
    struct entro_pending_file file = {
        .path = strdup(path), .first_extent = writer->extents.n, .n_extents = n_extents};
    if (file.path == NULL || !entro_records_append(&writer->extents, extents, n_extents) ||
        !entro_records_append(&writer->files, &file, 1)) {
        free(file.path);
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "file \"%s\": out of memory", quoted.text);
    }
    return ENTRO_OK;
}

enum entro_error entro_writer_finish(struct entro_writer *writer, uint64_t *image_bytes,
                                     struct entro_message *message)
{
    if (writer->is_broken)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: the image failed before", writer->output.path);
    writer->is_broken = true;
    enum entro_error error = entro_writer_seal(writer, message);
    if (error == ENTRO_OK)
        error = entro_output_commit(&writer->output, message);
    if (error == ENTRO_OK)
        *image_bytes = writer->output.size_bytes;
    return error;
}
