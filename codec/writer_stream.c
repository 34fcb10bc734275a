/*
 * Adds a stream to an image: counts it, finds an equal one or chooses its codes, writes it, and records what
 * it came to. The passes over the producer are writer_passes.c's.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec/image_rules.h"
#include "codec/joint_lengths.h"
#include "codec/writer_passes.h"

/* Chooses the code of a plane from the counts of all workers; none where nothing is to be gained. */
static enum entro_error choose_code(struct entro_stream_job *job, unsigned number, double *entropy_bits,
                                    struct entro_message *message)
{
    struct entro_plane_job *plane = &job->planes[number];
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    uint8_t lengths[ENTRO_N_SYMBOLS];
    for (unsigned i = 0; i < entro_pool_threads(job->writer->pool); i++)
        for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
            counts[symbol] += job->workers[i].counts[number][symbol];
    *entropy_bits += entro_entropy_bits(counts) * (double)plane->size_bytes;
    if (!entro_joint_lengths(counts, (size_t)1 << job->writer->block_log2, lengths))
        return ENTRO_OK;
    struct entro_sample *sample = &job->samples[number];
    size_t n_sampled = entro_sample_join(sample);
    entro_plane_code_choose(&plane->code, lengths, counts, sample->bytes, n_sampled);
    enum entro_error error = entro_plane_code_plan(&plane->pivot, &plane->code);
    if (error != ENTRO_OK)
        return entro_fail(message, error, "%s: cannot make a codebook: %s", job->name,
                          entro_error_name(error));
    return ENTRO_OK;
}

/* The number of an equal layout. */
static bool intern_layout(struct entro_writer *writer, const struct entro_layout *layout, uint32_t *number)
{
    bool is_new;
    struct entro_disk_layout disk = {.record_bytes = layout->record_bytes,
                                     .rotate_bytes = layout->rotate_bytes,
                                     .n_fields = layout->n_fields};
    memcpy(disk.field_bytes, layout->field_bytes, layout->n_fields * sizeof disk.field_bytes[0]);
    return entro_set_add(&writer->layouts, &disk, number, &is_new);
}

/* The number of an equal codebook; a new one is what this stream costs more. */
static bool store_codebook(struct entro_writer *writer, const uint8_t codebook[ENTRO_CODEBOOK_BYTES],
                           uint32_t *number, uint64_t *stored_bytes)
{
    bool is_new;
    if (!entro_set_add(&writer->codebooks, codebook, number, &is_new))
        return false;
    *stored_bytes += is_new ? ENTRO_CODEBOOK_BYTES : 0;
    return true;
}

/* The records of a stream that has been written: its planes, and codebooks where blocks need them. */
static bool record_planes(struct entro_stream_job *job, uint64_t *stored_bytes)
{
    struct entro_writer *writer = job->writer;
    for (unsigned i = 0; i < job->layout->n_fields; i++) {
        const struct entro_plane_job *plane = &job->planes[i];
        struct entro_disk_plane disk = {.first_block = plane->first_block,
                                        .codebook = ENTRO_NONE,
                                        .root_codebook = ENTRO_NONE,
                                        .block_log2 = (uint8_t)writer->block_log2};
        if (plane->n_coded > 0 &&
            !store_codebook(writer, plane->code.codebooks[0], &disk.codebook, stored_bytes))
            return false;
        if (plane->n_coded > 0 && plane->code.n_codebooks > 1 &&
            !store_codebook(writer, plane->code.codebooks[1], &disk.root_codebook, stored_bytes))
            return false;
        if (!entro_records_append(&writer->planes, &disk, 1))
            return false;
        *stored_bytes += sizeof disk + plane->n_blocks * sizeof(struct entro_disk_block);
    }
    return true;
}

static bool reserve_blocks(struct entro_stream_job *job)
{
    for (unsigned i = 0; i < job->layout->n_fields; i++) {
        job->planes[i].first_block = job->writer->blocks.n;
        if (!entro_records_append(&job->writer->blocks, NULL, (size_t)job->planes[i].n_blocks))
            return false;
    }
    return true;
}

/* What makes streams equal. */
struct stream_key {
    uint64_t size_bytes;
    uint8_t xxh3_128[16];
    uint32_t layout;
    uint32_t zero;
};
static_assert(sizeof(struct stream_key) == ENTRO_STREAM_KEY_BYTES, "no padding in a key");

static enum entro_error add_new_stream(struct entro_stream_job *job, uint32_t layout,
                                       struct entro_stream_summary *summary, struct entro_message *message)
{
    struct entro_writer *writer = job->writer;
    struct entro_disk_stream disk = {
        .size_bytes = job->size_bytes, .layout = layout, .first_plane = (uint32_t)writer->planes.n};
    memcpy(disk.xxh3_128, summary->xxh3_128, sizeof disk.xxh3_128);
    enum entro_error error = ENTRO_OK;
    for (unsigned i = 0; error == ENTRO_OK && i < job->layout->n_fields; i++)
        error = choose_code(job, i, &summary->entropy_bits, message);
    if (error != ENTRO_OK)
        return error;
    if (!reserve_blocks(job))
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", job->name);
    error = entro_passes_write(job, &summary->coded_bytes, message);
    if (error != ENTRO_OK)
        return error;
    summary->stored_bytes = summary->coded_bytes + sizeof disk;
    if (!record_planes(job, &summary->stored_bytes) || !entro_records_append(&writer->streams, &disk, 1) ||
        !entro_records_append(&writer->stream_sizes, &job->size_bytes, 1) ||
        !entro_records_append(&writer->summaries, summary, 1))
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", job->name);
    return ENTRO_OK;
}

static enum entro_error run_job(struct entro_stream_job *job, struct entro_stream_summary *summary,
                                struct entro_message *message)
{
    struct stream_key key = {.size_bytes = job->size_bytes};
    if (!entro_passes_prepare(job))
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", job->name);
    enum entro_error error = entro_passes_count(job, key.xxh3_128, message);
    if (error != ENTRO_OK)
        return error;
    if (job->producer->counts && job->layout->n_fields == 1)
        for (unsigned i = 0; i < entro_pool_threads(job->writer->pool); i++)
            for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
                job->producer->counts[symbol] += job->workers[i].counts[0][symbol];
    bool is_new;
    if (!intern_layout(job->writer, job->layout, &key.layout) ||
        !entro_set_add(&job->writer->stream_keys, &key, &summary->stream, &is_new))
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", job->name);
    if (!is_new) {
        memcpy(summary, entro_record(&job->writer->summaries, summary->stream), sizeof *summary);
        summary->shared = true;
        return ENTRO_OK;
    }
    memcpy(summary->xxh3_128, key.xxh3_128, sizeof summary->xxh3_128);
    return add_new_stream(job, key.layout, summary, message);
}

size_t entro_writer_chunk_bytes(const struct entro_layout *layout)
{
    return ENTRO_CHUNK_BYTES / layout->record_bytes * layout->record_bytes;
}

enum entro_error entro_writer_add_stream(struct entro_writer *writer, const char *name, uint64_t size_bytes,
                                         const struct entro_layout *layout,
                                         const struct entro_producer *producer,
                                         struct entro_stream_summary *summary, struct entro_message *message)
{
    *summary = (struct entro_stream_summary){0};
    if (writer->is_broken)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: the image failed before", name);
    if (!entro_layout_is_valid(layout) || size_bytes % layout->record_bytes != 0 ||
        size_bytes > ENTRO_STREAM_MAX_BYTES)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "%s: %" PRIu64 " bytes are too many or do not fit the layout", name, size_bytes);
    struct entro_stream_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", name);
    job->writer = writer;
    job->name = name;
    job->size_bytes = size_bytes;
    job->layout = layout;
    job->producer = producer;
    enum entro_error error = run_job(job, summary, message);
    writer->is_broken = error != ENTRO_OK;
    entro_passes_clean_up(job);
    free(job);
    return error;
}

static enum entro_error produce_from_memory(void *context, uint64_t offset, size_t size_bytes,
                                            uint8_t *target, struct entro_message *message)
{
    (void)message;
    const uint8_t *const *bytes = context;
    memcpy(target, *bytes + offset, size_bytes);
    return ENTRO_OK;
}

enum entro_error entro_writer_add_bytes(struct entro_writer *writer, const char *name, const void *bytes,
                                        size_t size_bytes, struct entro_stream_summary *summary,
                                        struct entro_message *message)
{
    const uint8_t *start = bytes;
    const struct entro_producer producer = {.context = &start, .produce = produce_from_memory};
    return entro_writer_add_stream(writer, name, size_bytes, &entro_layout_bytes, &producer, summary,
                                   message);
}
