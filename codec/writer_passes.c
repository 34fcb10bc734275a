/*
 * The two passes; see writer_passes.h. Each goes through the stream in batches of chunks. The chunks of a
 * batch are produced in parallel and split into planes; then the whole blocks of the planes are encoded in
 * parallel; then they are written in an order that depends on the stream alone:
 *
 *   for each chunk, for each plane: the blocks that end in this chunk (of the last chunk: all that are left).
 *
 * So the bytes of an image do not depend on the size of a batch, which depends on the number of threads.
 * Where a plane's share of a chunk is no whole number of blocks (records of 144 bytes in fields of 1, 12 and
 * 128, say), the rest of a batch is carried over to the next.
 */
#include "codec/writer_passes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/bytes.h"
#include "codec/histogram.h"

/* Two buffers of so many chunks a thread: 6 MiB a thread, and at most 16 carried blocks in each. */
#define CHUNKS_PER_THREAD 3

bool entro_passes_prepare(struct entro_stream_job *job)
{
    const struct entro_layout *layout = job->layout;
    unsigned n_threads = entro_pool_threads(job->writer->pool);
    uint64_t n_records = job->size_bytes / layout->record_bytes;
    job->chunk_bytes = entro_writer_chunk_bytes(layout);
    job->n_chunks = entro_div_ceil_u64(job->size_bytes, job->chunk_bytes);
    job->batch_chunks = (size_t)CHUNKS_PER_THREAD * n_threads;
    if (job->batch_chunks > job->n_chunks)
        job->batch_chunks = job->n_chunks > 0 ? (size_t)job->n_chunks : 1;
    job->block_bytes = (size_t)1 << job->writer->block_log2;
    job->is_plain = layout->n_fields == 1 && layout->rotate_bytes == 0;

    size_t records_per_chunk = job->chunk_bytes / layout->record_bytes;
    size_t batch_records = records_per_chunk * job->batch_chunks;
    if (batch_records > n_records)
        batch_records = (size_t)n_records;
    size_t buffer_bytes = 0;
    size_t batch_blocks = 0;
    for (unsigned i = 0; i < layout->n_fields; i++) {
        struct entro_plane_job *plane = &job->planes[i];
        plane->field_bytes = layout->field_bytes[i];
        plane->chunk_bytes = records_per_chunk * plane->field_bytes;
        plane->size_bytes = n_records * plane->field_bytes;
        plane->n_blocks = entro_div_ceil_u64(plane->size_bytes, job->block_bytes);
        plane->buffer_offset = buffer_bytes;
        size_t batch_bytes = batch_records * plane->field_bytes;
        if (job->n_chunks > job->batch_chunks)
            batch_bytes += job->block_bytes; /* what may be carried over */
        buffer_bytes += batch_bytes;
        batch_blocks += batch_bytes / job->block_bytes + 1;
    }
    job->staging = malloc(buffer_bytes + 1);
    job->encoded = malloc(buffer_bytes + 1);
    job->chunk_hashes = malloc((size_t)(job->n_chunks + 1) * sizeof *job->chunk_hashes);
    job->samples = calloc(layout->n_fields + 1u, sizeof *job->samples);
    job->workers = calloc(n_threads, sizeof *job->workers);
    job->encoded_blocks = malloc((batch_blocks + 1) * sizeof *job->encoded_blocks);
    return job->staging != NULL && job->encoded != NULL && job->chunk_hashes != NULL &&
           job->samples != NULL && job->workers != NULL && job->encoded_blocks != NULL;
}

void entro_passes_clean_up(struct entro_stream_job *job)
{
    for (unsigned i = 0; i < job->layout->n_fields; i++)
        entro_pivot_free(job->planes[i].pivot);
    free(job->encoded_blocks);
    free(job->workers);
    free(job->samples);
    free(job->chunk_hashes);
    free(job->encoded);
    free(job->staging);
}

/* Bytes of the plane that the chunks before this one come to. */
static uint64_t plane_bytes_before(const struct entro_stream_job *job, const struct entro_plane_job *plane,
                                   uint64_t chunk)
{
    return chunk >= job->n_chunks ? plane->size_bytes : chunk * plane->chunk_bytes;
}

/* Blocks of the plane that are whole once the chunks before this one are there. */
static uint64_t blocks_before(const struct entro_stream_job *job, const struct entro_plane_job *plane,
                              uint64_t chunk)
{
    return chunk >= job->n_chunks ? plane->n_blocks : chunk * plane->chunk_bytes / job->block_bytes;
}

/* Where the records of chunk `item` of the batch are produced. */
static uint8_t *chunk_target(const struct entro_stream_job *job, size_t item)
{
    uint8_t *start = job->is_plain ? job->staging + job->planes[0].carried : job->encoded;
    return start + item * job->chunk_bytes;
}

/* Ends the loop early. A worker fails once at most: it takes no more chunks afterwards. */
static void fail_item(struct entro_stream_job *job, struct entro_worker_job *worker, size_t item,
                      enum entro_error error)
{
    worker->error = error;
    worker->failed_item = item;
    atomic_store_explicit(&job->has_failed, true, memory_order_relaxed);
}

/* Produces one chunk, splits it, and counts its bytes or checks that they are those that were counted. */
static void produce_chunk(void *context, size_t item, unsigned worker_number)
{
    struct entro_stream_job *job = context;
    struct entro_worker_job *worker = &job->workers[worker_number];
    if (atomic_load_explicit(&job->has_failed, memory_order_relaxed))
        return;
    uint64_t chunk = job->first_chunk + item;
    uint64_t offset = chunk * job->chunk_bytes;
    uint64_t left = job->size_bytes - offset;
    size_t size = left < job->chunk_bytes ? (size_t)left : job->chunk_bytes;
    uint8_t *records = chunk_target(job, item);

    enum entro_error error =
        job->producer->produce(job->producer->context, offset, size, records, &worker->message);
    if (error != ENTRO_OK) {
        fail_item(job, worker, item, error);
        return;
    }
    uint64_t hash = XXH3_64bits(records, size);
    if (!job->is_second_pass) {
        job->chunk_hashes[chunk] = hash;
    } else if (hash != job->chunk_hashes[chunk]) {
        entro_fail(&worker->message, ENTRO_ERROR_IO,
                   "%s: changed while it was being read (bytes %" PRIu64 " to %" PRIu64 ")", job->name,
                   offset, offset + size);
        fail_item(job, worker, item, ENTRO_ERROR_IO);
        return;
    }

    uint8_t *targets[ENTRO_MAX_FIELDS];
    unsigned n_planes = job->layout->n_fields;
    for (unsigned i = 0; i < n_planes; i++) {
        const struct entro_plane_job *plane = &job->planes[i];
        targets[i] = job->staging + plane->buffer_offset + plane->carried + item * plane->chunk_bytes;
    }
    size_t n_records = size / job->layout->record_bytes;
    if (!job->is_plain)
        entro_layout_split(job->layout, records, n_records, targets);
    if (job->is_second_pass)
        return;
    for (unsigned i = 0; i < n_planes; i++) {
        const struct entro_plane_job *plane = &job->planes[i];
        size_t n_bytes = n_records * plane->field_bytes;
        entro_histogram(targets[i], n_bytes, worker->counts[i]);
        entro_sample_take(&job->samples[i], plane->size_bytes, chunk * plane->chunk_bytes, targets[i],
                          n_bytes);
    }
}

static enum entro_error produce_batch(struct entro_stream_job *job, size_t n_chunks,
                                      struct entro_message *message)
{
    unsigned n_workers = entro_pool_threads(job->writer->pool);
    atomic_store(&job->has_failed, false);
    entro_parallel_for(job->writer->pool, n_chunks, produce_chunk, job);
    /* Of several chunks that failed, the first one's error is told. */
    const struct entro_worker_job *first = NULL;
    for (unsigned i = 0; i < n_workers; i++) {
        const struct entro_worker_job *worker = &job->workers[i];
        if (worker->error != ENTRO_OK && (first == NULL || worker->failed_item < first->failed_item))
            first = worker;
    }
    if (first == NULL)
        return ENTRO_OK;
    if (message != NULL)
        *message = first->message;
    return first->error;
}

/* Encodes block `item` of the batch. */
static void encode_block(void *context, size_t item, unsigned worker_number)
{
    struct entro_stream_job *job = context;
    const struct entro_plane_job *plane = job->planes;
    while (item - plane->first_item >= plane->n_ready)
        plane++;
    size_t in_plane = item - plane->first_item;
    uint64_t left = plane->size_bytes - (plane->n_done + in_plane) * job->block_bytes;
    size_t size = left < job->block_bytes ? (size_t)left : job->block_bytes;
    size_t place = plane->buffer_offset + in_plane * job->block_bytes;
    job->encoded_blocks[item] = entro_block_encode(plane->pivot, job->staging + place, size,
                                                   job->encoded + place, job->writer->scratch[worker_number]);
}

static void encode_batch(struct entro_stream_job *job, size_t n_chunks)
{
    size_t n_items = 0;
    for (unsigned i = 0; i < job->layout->n_fields; i++) {
        struct entro_plane_job *plane = &job->planes[i];
        plane->n_ready = (size_t)(blocks_before(job, plane, job->first_chunk + n_chunks) - plane->n_done);
        plane->first_item = n_items;
        n_items += plane->n_ready;
    }
    entro_parallel_for(job->writer->pool, n_items, encode_block, job);
}

static uint32_t decoded_size(const struct entro_stream_job *job, const struct entro_plane_job *plane,
                             uint64_t block)
{
    uint64_t left = plane->size_bytes - block * job->block_bytes;
    return (uint32_t)(left < job->block_bytes ? left : job->block_bytes);
}

/* What the codebook of a plane is good for, so far. */
static void add_savings(const struct entro_stream_job *job, struct entro_plane_job *plane)
{
    for (size_t i = 0; i < plane->n_ready; i++) {
        const struct entro_block *block = &job->encoded_blocks[plane->first_item + i];
        if (block->method != ENTRO_METHOD_CODED)
            continue;
        plane->n_coded++;
        plane->saved_bytes += decoded_size(job, plane, plane->n_done + i) - block->stored_bytes;
    }
}

static void drop_codebook(struct entro_plane_job *plane)
{
    entro_pivot_free(plane->pivot);
    plane->pivot = NULL;
    plane->n_coded = 0;
    plane->saved_bytes = 0;
}

/* A stream of one chunk is encoded as a whole before anything is written: codebooks that do not pay for
 * themselves are dropped. */
static void drop_dear_codebooks(struct entro_stream_job *job)
{
    bool has_dropped = false;
    for (unsigned i = 0; i < job->layout->n_fields; i++) {
        struct entro_plane_job *plane = &job->planes[i];
        uint64_t codebook_bytes = (uint64_t)ENTRO_CODEBOOK_BYTES * plane->code.n_codebooks;
        if (plane->pivot != NULL && plane->saved_bytes <= codebook_bytes) {
            drop_codebook(plane);
            has_dropped = true;
        }
    }
    if (has_dropped)
        encode_batch(job, 1);
}

static enum entro_error write_block(struct entro_stream_job *job, const struct entro_plane_job *plane,
                                    uint64_t number, uint64_t *coded_bytes, struct entro_message *message)
{
    size_t in_batch = (size_t)(number - plane->n_done);
    const struct entro_block *block = &job->encoded_blocks[plane->first_item + in_batch];
    struct entro_output *output = &job->writer->output;
    if (output->size_bytes + block->stored_bytes > ENTRO_IMAGE_MAX_BYTES)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: the image would be larger than %" PRIu64 " bytes", output->path,
                          ENTRO_IMAGE_MAX_BYTES);
    const struct entro_disk_block disk = {
        .place = ENTRO_BLOCK_PLACE(output->size_bytes, block->stored_bytes, block->method),
        .xxh3_64 = block->xxh3_64};
    memcpy(entro_record(&job->writer->blocks, plane->first_block + number), &disk, sizeof disk);
    *coded_bytes += block->stored_bytes;
    return entro_output_append(output, job->encoded + plane->buffer_offset + in_batch * job->block_bytes,
                               block->stored_bytes, message);
}

static enum entro_error write_batch(struct entro_stream_job *job, size_t n_chunks, uint64_t *coded_bytes,
                                    struct entro_message *message)
{
    for (uint64_t chunk = job->first_chunk; chunk < job->first_chunk + n_chunks; chunk++)
        for (unsigned i = 0; i < job->layout->n_fields; i++) {
            const struct entro_plane_job *plane = &job->planes[i];
            uint64_t end = blocks_before(job, plane, chunk + 1);
            for (uint64_t block = blocks_before(job, plane, chunk); block < end; block++) {
                enum entro_error error = write_block(job, plane, block, coded_bytes, message);
                if (error != ENTRO_OK)
                    return error;
            }
        }
    return ENTRO_OK;
}

/* What is left of the planes after the blocks of this batch goes to the front of their staging. */
static void carry_over(struct entro_stream_job *job, size_t n_chunks)
{
    for (unsigned i = 0; i < job->layout->n_fields; i++) {
        struct entro_plane_job *plane = &job->planes[i];
        uint8_t *staging = job->staging + plane->buffer_offset;
        plane->n_done += plane->n_ready;
        uint64_t staged = plane_bytes_before(job, plane, job->first_chunk + n_chunks);
        uint64_t done = plane->n_done * job->block_bytes;
        plane->carried = staged > done ? (size_t)(staged - done) : 0;
        memmove(staging, staging + plane->n_ready * job->block_bytes, plane->carried);
    }
}

/* Chunks of the batch that starts at this chunk. */
static size_t batch_size(const struct entro_stream_job *job, uint64_t first_chunk)
{
    uint64_t left = job->n_chunks - first_chunk;
    return left < job->batch_chunks ? (size_t)left : job->batch_chunks;
}

enum entro_error entro_passes_count(struct entro_stream_job *job, uint8_t xxh3_128[16],
                                    struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    XXH3_state_t *hash = XXH3_createState();
    if (hash == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", job->name);
    XXH3_128bits_reset(hash);
    for (uint64_t chunk = 0; chunk < job->n_chunks; chunk += job->batch_chunks) {
        size_t n_chunks = batch_size(job, chunk);
        job->first_chunk = chunk;
        error = produce_batch(job, n_chunks, message);
        if (error != ENTRO_OK)
            goto out;
        uint64_t left = job->size_bytes - chunk * job->chunk_bytes;
        uint64_t in_batch = (uint64_t)n_chunks * job->chunk_bytes;
        XXH3_128bits_update(hash, chunk_target(job, 0), left < in_batch ? left : in_batch);
    }
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(hash));
    memcpy(xxh3_128, digest.digest, sizeof digest.digest);
out:
    XXH3_freeState(hash);
    return error;
}

enum entro_error entro_passes_write(struct entro_stream_job *job, uint64_t *coded_bytes,
                                    struct entro_message *message)
{
    job->is_second_pass = true;
    for (uint64_t chunk = 0; chunk < job->n_chunks; chunk += job->batch_chunks) {
        size_t n_chunks = batch_size(job, chunk);
        job->first_chunk = chunk;
        enum entro_error error = produce_batch(job, n_chunks, message);
        if (error != ENTRO_OK)
            return error;
        encode_batch(job, n_chunks);
        for (unsigned i = 0; i < job->layout->n_fields; i++)
            add_savings(job, &job->planes[i]);
        if (job->n_chunks == 1)
            drop_dear_codebooks(job);
        error = write_batch(job, n_chunks, coded_bytes, message);
        if (error != ENTRO_OK)
            return error;
        carry_over(job, n_chunks);
    }
    return ENTRO_OK;
}
