/*
 * Writes an image: streams as they come, index at the end, all or nothing. Deterministic: the same calls give
 * the same bytes whatever the number of threads.
 */
#ifndef ENTRO_WRITER_H
#define ENTRO_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/error.h"
#include "codec/format.h"
#include "codec/image.h"
#include "codec/layout.h"
#include "codec/lengths.h"
#include "codec/pool.h"

/* A producer's chunks start at multiples of this: a multiple of every layout's needs is taken care of by the
 * writer (see below). */
#define ENTRO_CHUNK_BYTES ((size_t)1 << 20)

/*
 * Gives bytes of a stream. Called from several threads at once for disjoint ranges, and twice for each range:
 * once to count, and once more to write unless an equal stream is there already. The bytes must be the same
 * both times (else ENTRO_ERROR_IO: the source changed while it was read). A stream is always asked for in the
 * same ranges: chunk i covers bytes [i*c, min((i+1)*c, size)), where c = entro_writer_chunk_bytes(layout). An
 * error ends the writing and is handed up with its message.
 */
struct entro_producer {
    void *context;
    enum entro_error (*produce)(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                struct entro_message *message);
    uint64_t *counts; /* [ENTRO_N_SYMBOLS], or NULL: how often each byte of the stream comes up is added here; of
                         layouts with one field */
};

/* What a stream came to. */
struct entro_stream_summary {
    uint32_t stream;       /* its number, that of an equal earlier one where there is one (same layout, size,
                              XXH3-128) */
    bool shared;           /* it was there already: nothing was written */
    uint64_t stored_bytes; /* as in struct entro_stream */
    uint64_t coded_bytes;  /* stored bytes of the blocks alone */
    double entropy_bits;   /* sum over the planes of order-0 entropy times bytes: bits in all */
    uint8_t xxh3_128[16];
};

struct entro_writer;

/* How the temporary file's name starts. */
#define ENTRO_TEMPORARY_PREFIX ".entrofs-"

/*
 * Starts an image that will be at `path`; until entro_writer_finish it is a temporary file in the same
 * folder. The pool must outlive the writer and is used only inside its functions. ENTRO_ERROR_EXISTS where
 * path exists and !replace. _IO, _NO_MEMORY.
 */
enum entro_error entro_writer_create(struct entro_writer **out, const char *path, bool replace,
                                     enum entro_source source, struct entro_pool *pool,
                                     struct entro_message *message);

/* Removes the temporary file unless finished; frees the writer. NULL is allowed. */
void entro_writer_free(struct entro_writer *writer);

/* Block size of the streams added from here on (ENTRO_BLOCK_LOG2_MIN..MAX); default ENTRO_BLOCK_LOG2_DEFAULT.
 */
enum entro_error entro_writer_set_block_log2(struct entro_writer *writer, unsigned block_log2);

/* Bytes of a chunk for streams of this layout: a multiple of the record size, about ENTRO_CHUNK_BYTES (equal
 * to it for records of 1, 2, 4, 8 bytes). */
size_t entro_writer_chunk_bytes(const struct entro_layout *layout);

/* Adds a stream of size_bytes (a multiple of the record size). `name` is for messages. */
enum entro_error entro_writer_add_stream(struct entro_writer *writer, const char *name, uint64_t size_bytes,
                                         const struct entro_layout *layout,
                                         const struct entro_producer *producer,
                                         struct entro_stream_summary *summary, struct entro_message *message);

/* The same from memory, layout bytes. */
enum entro_error entro_writer_add_bytes(struct entro_writer *writer, const char *name, const void *bytes,
                                        size_t size_bytes, struct entro_stream_summary *summary,
                                        struct entro_message *message);

/*
 * Adds a tensor: all fields of *tensor but n_elements, n_rows, n_columns are the caller's (name is copied).
 * Its number, which views refer to, is the one returned here; the writer sorts by name in the end and mends
 * the references. ENTRO_ERROR_ARGUMENT for a record that a reader would refuse.
 */
enum entro_error entro_writer_add_tensor(struct entro_writer *writer, const struct entro_tensor *tensor,
                                         uint32_t *number, struct entro_message *message);

/*
 * Adds a file of the model directory (path and extents are copied); streams and tensors that it refers to are
 * there already. ENTRO_ERROR_ARGUMENT for a path or an extent that a reader would refuse, _NO_MEMORY. Paths
 * that collide are found by entro_writer_finish.
 */
enum entro_error entro_writer_add_file(struct entro_writer *writer, const char *path,
                                       const struct entro_extent *extents, uint32_t n_extents,
                                       struct entro_message *message);

/*
 * Writes index and superblock, fsyncs, renames. The path exists afterwards, whole, or (error) nothing has
 * changed. ENTRO_ERROR_EXISTS where a file appeared meanwhile and !replace, _ARGUMENT where two tensors or
 * files have one name, or a file is also a folder of another, _IO, _NO_MEMORY. *image_bytes is the image's
 * size. Call it once; only entro_writer_free may follow.
 */
enum entro_error entro_writer_finish(struct entro_writer *writer, uint64_t *image_bytes,
                                     struct entro_message *message);

#endif
