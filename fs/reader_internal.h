/*
 * What the parts of the read path share: reader.c (requests and spans), read_stream.c (streams and blocks),
 * read_view.c (views).
 */
#ifndef ENTRO_FS_READER_INTERNAL_H
#define ENTRO_FS_READER_INTERNAL_H

#include <pthread.h>

#include "codec/image.h"
#include "codec/view.h"
#include "fs/cache.h"
#include "fs/reader.h"

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
};

struct entro_reader {
    const struct entro_namespace *names;
    const struct entro_image *image;
    struct entro_report report;
    struct entro_cache *blocks; /* by number in the image's block table; values are malloc'ed bytes */
    struct entro_cache *views;  /* by tensor and dtype; values are struct entro_prepared_view */
    struct entro_stats stats;
    pthread_mutex_t mutex; /* protects the stock */
    struct entro_workspace *stock;
};

/* One request (or part of one) on its way through the layers. */
struct entro_read {
    struct entro_reader *reader;
    struct entro_workspace *workspace;
    const char *where;             /* for reports: a path, or NULL */
    const struct entro_node *node; /* for reports where `where` is NULL, or NULL */
    struct entro_message *message;
};

/* Formats the read's message, reports it with the place of the read before it, and returns the error. */
enum entro_error entro_read_report(struct entro_read *read, enum entro_error error, uint32_t tensor,
                                   const struct entro_message *cause);

/* read_stream.c. Both within the stream's size. */
enum entro_error entro_read_stream(struct entro_read *read, uint32_t stream, uint64_t offset, size_t size,
                                   uint8_t *target);

/* A decoded block at hand: in the cache (held) or where the caller wanted it. */
struct entro_open_block {
    const uint8_t *bytes;
    struct entro_cache_entry *entry; /* or NULL */
};

/*
 * Gets a block of a stream's plane. Where `whole` is not NULL (room for the block), a block that is not in
 * the cache is decoded there and not kept; else it goes into the cache. The caller closes it.
 */
enum entro_error entro_block_open(struct entro_read *read, uint32_t stream, const struct entro_plane *plane,
                                  uint64_t block, uint8_t *whole, struct entro_open_block *open);
void entro_block_close(struct entro_read *read, struct entro_open_block *open);

/* True where a stream's bytes are those of its one plane. */
bool entro_stream_is_plain(const struct entro_stream *stream);

/* read_view.c: bytes offset..offset+size of the view. */
enum entro_error entro_read_view(struct entro_read *read, uint32_t tensor, enum entro_dtype dtype,
                                 uint64_t offset, size_t size, uint8_t *target);
enum entro_error entro_view_check(struct entro_read *read, uint32_t tensor, enum entro_dtype dtype);
void entro_prepared_view_free(void *value);

#endif
