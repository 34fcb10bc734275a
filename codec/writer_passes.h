/*
 * The two passes of the writer over the producer of a stream: counting and hashing, then encoding and writing
 * (writer_passes.c). What is decided between them, and the records of the stream, are writer_stream.c's.
 * Internal to the writer.
 */
#ifndef ENTRO_WRITER_PASSES_H
#define ENTRO_WRITER_PASSES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/block.h"
#include "codec/image_rules.h"
#include "codec/plane_code.h"
#include "codec/writer_internal.h"
#include "codec/writer_sample.h"

struct entro_plane_job {
    size_t field_bytes;
    size_t chunk_bytes;   /* its share of a whole chunk */
    size_t buffer_offset; /* of its part of the staging and the encoded buffer */
    size_t carried;       /* bytes at the start of its staging that are left from the batch before */
    uint64_t size_bytes;
    uint64_t n_blocks;
    uint64_t first_block; /* in the writer's table */
    uint64_t n_done;      /* blocks encoded in batches before this one */
    size_t n_ready;       /* whole blocks of this batch */
    size_t first_item;    /* of its blocks among those of the batch */
    struct entro_pivot *pivot;
    struct entro_plane_code code;
    uint64_t n_coded;     /* blocks */
    uint64_t saved_bytes; /* by coded blocks against raw ones */
};

/* What a worker keeps to itself while a loop runs. */
struct entro_worker_job {
    uint64_t counts[ENTRO_MAX_FIELDS][ENTRO_N_SYMBOLS];
    enum entro_error error;
    size_t failed_item;
    struct entro_message message;
};

struct entro_stream_job {
    struct entro_writer *writer;
    const char *name;
    uint64_t size_bytes;
    const struct entro_layout *layout;
    const struct entro_producer *producer;

    size_t chunk_bytes;
    uint64_t n_chunks;
    size_t batch_chunks;
    size_t block_bytes;
    bool is_plain; /* one plane that is the stream itself: nothing to split */
    struct entro_plane_job planes[ENTRO_MAX_FIELDS];

    uint8_t *staging; /* the planes, split */
    /* Records as they are produced; later the encoded blocks, each at the place that it has in staging. */
    uint8_t *encoded;
    uint64_t *chunk_hashes;       /* from the first pass: the second must see the same bytes */
    struct entro_sample *samples; /* of the planes, from the first pass */
    struct entro_worker_job *workers;
    struct entro_block *encoded_blocks; /* of one batch */
    uint64_t first_chunk;               /* of the current batch */
    bool is_second_pass;
    atomic_bool has_failed;
};

/* Sizes of everything, and the buffers; writer, name, size, layout and producer are set. False where memory
 * is short. */
bool entro_passes_prepare(struct entro_stream_job *job);

/* First pass: the workers' counts of each plane, and the hash of the stream. The producer's errors,
 * ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_passes_count(struct entro_stream_job *job, uint8_t xxh3_128[16],
                                    struct entro_message *message);

/*
 * Second pass: encodes and writes the blocks, and fills their records, which are reserved from first_block of
 * each plane on. Planes without a pivot are not coded. *coded_bytes grows by what is written. The producer's
 * errors, ENTRO_ERROR_IO, _UNSUPPORTED (image too large).
 */
enum entro_error entro_passes_write(struct entro_stream_job *job, uint64_t *coded_bytes,
                                    struct entro_message *message);

/* Frees what the job owns, prepared or not. */
void entro_passes_clean_up(struct entro_stream_job *job);

#endif
