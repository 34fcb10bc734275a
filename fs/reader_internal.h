/*
 * What the parts of the read path share: reader.c (a file's bytes to spans), request.c (spans to pieces, and
 * these over threads), workspace.c (memory of a thread), read_stream.c (streams and blocks), read_view.c
 * (views), prefetch.c (ahead of readers).
 */
#ifndef ENTRO_FS_READER_INTERNAL_H
#define ENTRO_FS_READER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "codec/image.h"
#include "codec/view.h"
#include "fs/buffers.h"
#include "fs/cache.h"
#include "fs/prefetch.h"
#include "fs/reader.h"
#include "fs/workers.h"

/* Bytes of joined records or of codes that are handled at a time. At least a block. */
#define ENTRO_PIECE_BYTES ((size_t)256 << 10)
static_assert(ENTRO_PIECE_BYTES >= ENTRO_BLOCK_MAX_BYTES, "a piece holds a block");
static_assert(ENTRO_PIECE_BYTES >= (size_t)2 * ENTRO_LAYOUT_MAX_BYTES, "a piece holds records");

/* What one thread needs to work on a request. Taken from the reader's stock for its duration. */
struct entro_workspace {
    struct entro_workspace *next; /* in the stock */
    struct entro_decoder *decoder;
    uint8_t *planes; /* ENTRO_PIECE_BYTES: planes before they are joined */
    uint8_t *codes;  /* ENTRO_PIECE_BYTES: codes before they are dequantized */
    uint8_t *reply;  /* reply_bytes: a request's bytes */
    size_t reply_bytes;
};

/* workspace.c: as many come to be as there are threads at work at once; they are kept for the next ones, the
 * one used last first, whose memory is in a cache. */
struct entro_workspaces {
    pthread_mutex_t mutex; /* protects the stock */
    struct entro_workspace *stock;
};

void entro_workspaces_init(struct entro_workspaces *workspaces);
void entro_workspaces_free(struct entro_workspaces *workspaces); /* of those in stock */
/* NULL where memory is short. */
struct entro_workspace *entro_workspace_take(struct entro_workspaces *workspaces);
void entro_workspace_put(struct entro_workspaces *workspaces, struct entro_workspace *workspace);
/* The workspace's reply buffer with room for this many bytes; NULL where memory is short. */
uint8_t *entro_workspace_reply(struct entro_workspace *workspace, size_t size_bytes);

struct entro_reader {
    const struct entro_namespace *names;
    const struct entro_image *image;
    struct entro_report report;
    struct entro_cache *blocks; /* by number in the image's block table; values are buffers */
    struct entro_buffers *buffers;
    struct entro_cache *views; /* by tensor and dtype; values are struct entro_prepared_view */
    struct entro_stats stats;
    struct entro_workspaces workspaces;

    struct entro_prefetch *prefetch;
    size_t cache_bytes;
    struct entro_workers *workers; /* or NULL: each request is the work of one thread */
    unsigned n_processors;
    atomic_uint n_active;   /* threads that answer requests or help */
    atomic_uint ns_per_kib; /* what decoding has cost lately */
};

/* One request (or part of one) on its way through the layers. */
struct entro_read {
    struct entro_reader *reader;
    struct entro_workspace *workspace;
    const char *where;             /* for reports: a path, or NULL */
    const struct entro_node *node; /* for reports where `where` is NULL, or NULL */
    struct entro_message *message;
    /* Every block goes through the cache: a request for a block or less may be one of many for it. */
    bool keeps_blocks;
};

/* Whether n bytes of a block may be worth decoding alone: a small request, which wants little of it. Up to a
 * quarter costs less than half of the whole. */
static inline bool entro_read_wants_part(const struct entro_read *read, size_t n, size_t block_size)
{
    return read->keeps_blocks && n <= block_size / 4;
}

/* Formats the read's message, reports it with the place of the read before it, and returns the error. */
enum entro_error entro_read_report(struct entro_read *read, enum entro_error error, uint32_t tensor,
                                   const struct entro_message *cause);

/* request.c: bytes offset..offset+size (within it) of read->node. */
enum entro_error entro_read_node(struct entro_read *read, uint64_t offset, size_t size, uint8_t *target);

/* How much of size bytes from `offset` of a span on is one piece: it ends where a block does. */
size_t entro_span_piece(const struct entro_image *image, const struct entro_span *span, uint64_t offset,
                        size_t size);

/* read_stream.c. Both within the stream's size. */
enum entro_error entro_read_stream(struct entro_read *read, uint32_t stream, uint64_t offset, size_t size,
                                   uint8_t *target);

/* Hints for a run of pieces from `offset` on, and for the piece after the next one that this thread takes:
 * see entro_image_will_need and entro_image_expect. Without effect for streams of several planes. */
void entro_stream_will_need(struct entro_read *read, uint32_t stream, uint64_t offset, size_t size);
void entro_stream_expect(struct entro_read *read, uint32_t stream, uint64_t offset);

/* How many of the stream's bytes from `offset` on are best had at once: to the end of a block or of a run of
 * records. */
size_t entro_stream_piece(const struct entro_stream *stream, uint64_t offset);

/* Decodes the blocks under a range of a stream, or of a view's bytes, into the cache. */
void entro_stream_warm(struct entro_read *read, uint32_t stream, uint64_t offset, size_t size);
void entro_view_warm(struct entro_read *read, uint32_t tensor, enum entro_dtype dtype, uint64_t offset,
                     size_t size);

/* A decoded block at hand: in the cache (held) or where the caller wanted it. */
struct entro_open_block {
    const uint8_t *bytes;
    struct entro_cache_entry *entry; /* or NULL */
};

/*
 * Gets a block of a stream's plane. Where `whole` is not NULL (room for the block), a block that is not in
 * the cache is decoded there and not kept (unless the read keeps blocks); else it goes into the cache. The
 * caller closes it, and says how many of its bytes it has read.
 */
enum entro_error entro_block_open(struct entro_read *read, uint32_t stream, const struct entro_plane *plane,
                                  uint64_t block, uint8_t *whole, struct entro_open_block *open);
void entro_block_close(struct entro_read *read, struct entro_open_block *open, size_t n_read);

/* True where a stream's bytes are those of its one plane. */
bool entro_stream_is_plain(const struct entro_stream *stream);

/* read_view.c: bytes offset..offset+size of the view. */
enum entro_error entro_read_view(struct entro_read *read, uint32_t tensor, enum entro_dtype dtype,
                                 uint64_t offset, size_t size, uint8_t *target);
/* As entro_stream_will_need, _expect and _piece, of view bytes. */
void entro_view_will_need(struct entro_read *read, uint32_t tensor, enum entro_dtype dtype, uint64_t offset,
                          size_t size);
void entro_view_expect(struct entro_read *read, uint32_t tensor, enum entro_dtype dtype, uint64_t offset);
size_t entro_view_piece(const struct entro_image *image, uint32_t tensor, enum entro_dtype dtype,
                        uint64_t offset);
enum entro_error entro_view_check(struct entro_read *read, uint32_t tensor, enum entro_dtype dtype);
void entro_prepared_view_free(void *value);

#endif
