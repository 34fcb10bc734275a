/* Streams one after another, each in batches that the pool decodes and one thread hashes; see verify.h. */
#include "fs/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "fs/facts.h"

#define PIECE_BYTES  ((size_t)256 << 10)
#define BATCH_PIECES 32

struct batch {
    struct entro_reader *reader;
    uint32_t stream;
    uint64_t offset;
    size_t size;
    uint8_t *bytes;
    enum entro_error errors[BATCH_PIECES];
};

static void decode_piece(void *context, size_t item, unsigned worker)
{
    (void)worker;
    struct batch *batch = context;
    size_t begin = item * PIECE_BYTES;
    size_t n = batch->size - begin < PIECE_BYTES ? batch->size - begin : PIECE_BYTES;
    batch->errors[item] = entro_reader_read_stream(batch->reader, batch->stream, batch->offset + begin, n,
                                                   batch->bytes + begin, "verify", NULL);
}

static void say(const struct entro_report *report, const struct entro_message *message)
{
    if (report->line != NULL)
        report->line(report->context, message->text);
}

struct verification {
    struct entro_verdict *verdict;
    struct entro_reader *reader;
    const struct entro_namespace *names;
    struct entro_pool *pool;
    const struct entro_report *report;
    const struct entro_progress *progress;
    uint64_t total_bytes;
    XXH3_state_t *hash;
    struct batch batch;
};

/* Whether the decoded bytes are those that the builder hashed. */
static bool check_hash(struct verification *v, uint32_t number, const struct entro_stream *stream)
{
    XXH128_canonical_t found;
    XXH128_canonicalFromHash(&found, XXH3_128bits_digest(v->hash));
    if (memcmp(found.digest, stream->xxh3_128, sizeof stream->xxh3_128) == 0)
        return true;
    char expected_hex[ENTRO_HEX_BYTES], found_hex[ENTRO_HEX_BYTES];
    entro_hex(stream->xxh3_128, expected_hex);
    entro_hex(found.digest, found_hex);
    uint32_t tensor = entro_namespace_stream_tensor(v->names, number);
    struct entro_message line;
    entro_fail(&line, ENTRO_ERROR_CHECKSUM,
               "verify: %s%s%sstream %u: XXH3-128 of the decoded bytes: expected %s, found %s",
               tensor == ENTRO_NONE ? "" : "tensor ",
               tensor == ENTRO_NONE ? "" : entro_image_tensor(entro_namespace_image(v->names), tensor)->name,
               tensor == ENTRO_NONE ? "" : ": ", number, expected_hex, found_hex);
    say(v->report, &line);
    return false;
}

static enum entro_error verify_stream(struct verification *v, uint32_t number)
{
    const struct entro_stream *stream = entro_image_stream(entro_namespace_image(v->names), number);
    bool is_good = true;
    XXH3_128bits_reset(v->hash);
    v->batch.stream = number;
    for (v->batch.offset = 0; v->batch.offset < stream->size_bytes; v->batch.offset += v->batch.size) {
        uint64_t left = stream->size_bytes - v->batch.offset;
        v->batch.size = left < PIECE_BYTES * BATCH_PIECES ? (size_t)left : PIECE_BYTES * BATCH_PIECES;
        size_t n_pieces = (v->batch.size + PIECE_BYTES - 1) / PIECE_BYTES;
        entro_parallel_for(v->pool, n_pieces, decode_piece, &v->batch);
        for (size_t i = 0; i < n_pieces; i++) {
            if (v->batch.errors[i] == ENTRO_ERROR_NO_MEMORY)
                return ENTRO_ERROR_NO_MEMORY;
            is_good = is_good && v->batch.errors[i] == ENTRO_OK;
        }
        if (is_good)
            XXH3_128bits_update(v->hash, v->batch.bytes, v->batch.size);
        v->verdict->decoded_bytes += v->batch.size;
        if (!entro_progress_step(v->progress, v->verdict->decoded_bytes, v->total_bytes))
            return ENTRO_ERROR_CANCELLED;
    }
    if (is_good)
        is_good = check_hash(v, number, stream);
    else /* a piece ends at its first bad block: this finds the others too */
        entro_reader_try_blocks(v->reader, number, "verify");
    v->verdict->bad_streams[number] = !is_good;
    v->verdict->n_bad_streams += !is_good;
    return ENTRO_OK;
}

static enum entro_error verify_views(struct verification *v)
{
    const struct entro_image *image = entro_namespace_image(v->names);
    for (uint32_t i = 0; i < entro_image_info(image)->n_tensors; i++) {
        const struct entro_tensor *tensor = entro_image_tensor(image, i);
        if (tensor->scheme == ENTRO_SCHEME_LOSSLESS)
            continue;
        uint32_t streams[ENTRO_N_PARTS];
        bool has_bad_stream = false;
        entro_tensor_streams(tensor, streams);
        for (unsigned part = 0; part < ENTRO_N_PARTS; part++)
            has_bad_stream |= streams[part] != ENTRO_NONE && v->verdict->bad_streams[streams[part]];
        if (has_bad_stream)
            continue;
        enum entro_error error = entro_reader_check_view(v->reader, i, ENTRO_DTYPE_F32, NULL);
        if (error == ENTRO_ERROR_NO_MEMORY)
            return error;
        v->verdict->n_bad_views += error != ENTRO_OK;
    }
    return ENTRO_OK;
}

enum entro_error entro_verify(struct entro_verdict *verdict, struct entro_reader *reader,
                              const struct entro_namespace *names, struct entro_pool *pool,
                              const struct entro_report *report, const struct entro_progress *progress,
                              struct entro_message *message)
{
    const struct entro_image *image = entro_namespace_image(names);
    uint32_t n_streams = entro_image_info(image)->n_streams;
    *verdict = (struct entro_verdict){0};
    struct verification v = {.verdict = verdict,
                             .reader = reader,
                             .names = names,
                             .pool = pool,
                             .report = report,
                             .progress = progress,
                             .batch = {.reader = reader}};
    enum entro_error error = ENTRO_ERROR_NO_MEMORY;
    verdict->bad_streams = calloc((size_t)n_streams + 1, sizeof *verdict->bad_streams);
    v.batch.bytes = malloc(PIECE_BYTES * BATCH_PIECES);
    v.hash = XXH3_createState();
    if (verdict->bad_streams == NULL || v.batch.bytes == NULL || v.hash == NULL)
        goto out;
    for (uint32_t i = 0; i < n_streams; i++)
        v.total_bytes += entro_image_stream(image, i)->size_bytes;
    error = ENTRO_OK;
    for (uint32_t i = 0; error == ENTRO_OK && i < n_streams; i++)
        error = verify_stream(&v, i);
    if (error == ENTRO_OK)
        error = verify_views(&v);
out:
    if (error != ENTRO_OK)
        entro_fail(message, error, "verification: %s", entro_error_name(error));
    XXH3_freeState(v.hash);
    free(v.batch.bytes);
    return error;
}
