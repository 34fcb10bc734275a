/*
 * What the parts of the writer share: tables that grow (writer_tables.c), streams (writer_stream.c), the
 * index at the end (writer_seal.c), and the calls of writer.h (writer.c). Internal to the writer.
 */
#ifndef ENTRO_WRITER_INTERNAL_H
#define ENTRO_WRITER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/format.h"
#include "codec/image.h"
#include "codec/output_file.h"
#include "codec/pivot.h"
#include "codec/writer.h"

/* Records of one size, one after another. */
struct entro_records {
    uint8_t *bytes;
    size_t record_bytes;
    size_t n, capacity;
};

/* Appends n records (zeros where `records` is NULL); false where memory is short. */
bool entro_records_append(struct entro_records *array, const void *records, size_t n);

/* Records of which equal ones are stored once. */
struct entro_set {
    struct entro_records records;
    uint32_t
        *slots; /* hash table: number of a record + 1, or 0; a power of two of slots, at most half full */
    size_t n_slots;
};

/* The number of the equal record, added where there was none (*is_new). False where memory is short or
 * numbers are used up. */
bool entro_set_add(struct entro_set *set, const void *record, uint32_t *number, bool *is_new);

struct entro_pending_tensor {
    struct entro_tensor tensor;
    char *name;      /* owned; also the tensor's */
    uint32_t number; /* in the order of adding */
};

struct entro_pending_file {
    char *path;
    size_t first_extent; /* in the order of adding */
    uint32_t n_extents;
};

/* Size, hash and layout of a stream. */
#define ENTRO_STREAM_KEY_BYTES 32

struct entro_writer {
    struct entro_output output;
    enum entro_source source;
    struct entro_pool *pool;
    unsigned block_log2;
    bool is_broken; /* an error left it half-way: it cannot be finished */

    struct entro_pivot_scratch **scratch; /* one a worker */
    struct entro_set layouts;             /* struct entro_disk_layout */
    struct entro_set codebooks;           /* 128 bytes */
    struct entro_set stream_keys;         /* numbers are those of the streams */
    struct entro_records streams;         /* struct entro_disk_stream */
    struct entro_records stream_sizes;    /* uint64_t */
    struct entro_records summaries;       /* struct entro_stream_summary */
    struct entro_records planes;          /* struct entro_disk_plane */
    struct entro_records blocks;          /* struct entro_disk_block */
    struct entro_records tensors;         /* struct entro_pending_tensor */
    struct entro_records files;           /* struct entro_pending_file */
    struct entro_records extents;         /* struct entro_extent, references as given */
};

/* The records of an array, by what they are. */
static inline void *entro_record(const struct entro_records *array, size_t i)
{
    return array->bytes + i * array->record_bytes;
}

/* writer_seal.c: sorts, builds the index, validates it as a reader would, and writes it and the superblock.
 */
enum entro_error entro_writer_seal(struct entro_writer *writer, struct entro_message *message);

#endif
