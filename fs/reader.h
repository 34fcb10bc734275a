/*
 * The read path: bytes of a file of the namespace, decoded when they are asked for. One path serves raw
 * tensors, views and verbatim files: request -> spans -> pieces -> blocks. All functions are thread-safe but
 * where it is said; no lock is held while anything is read or decoded.
 */
#ifndef ENTRO_FS_READER_H
#define ENTRO_FS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "fs/namespace.h"
#include "fs/stats.h"

#define ENTRO_CACHE_BYTES_DEFAULT ((size_t)32 << 20)

/* For entro_reader_prefetch: this much where there are processors to spare, else nothing. */
#define ENTRO_PREFETCH_AUTOMATIC SIZE_MAX
#define ENTRO_PREFETCH_BYTES     ((size_t)8 << 20)

/* What a daemon or a checker wants to hear of: one line for each block or view that turns out to be bad.
 * Called from any thread. */
struct entro_report {
    void (*line)(void *context, const char *line);
    void *context;
};

struct entro_reader;

/* `names` (and its image) must outlive the reader. ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_reader_create(struct entro_reader **out, const struct entro_namespace *names,
                                     size_t cache_bytes, struct entro_report report);
void entro_reader_free(struct entro_reader *reader);

/*
 * Starts the threads that help with large requests; without them each request is the work of the thread that
 * makes it. Before and after that the reader may be used by one thread at most; threads do not survive a
 * fork. ENTRO_ERROR_NO_MEMORY, _IO. To be stopped when no request is under way; entro_reader_free does it
 * too.
 */
enum entro_error entro_reader_start(struct entro_reader *reader);
void entro_reader_stop(struct entro_reader *reader);

/*
 * From now on blocks are decoded ahead of readers that go through a file in order, at most this many bytes in
 * all; 0 stops that. Returns the bytes that it will be: at most half of the cache, and none where there are
 * no threads for it. Between start and stop, from any thread.
 */
size_t entro_reader_prefetch(struct entro_reader *reader, size_t budget_bytes);

/* A request's bytes in memory that the reader keeps for that: valid until entro_reader_done. */
struct entro_reply {
    const uint8_t *bytes;
    size_t size_bytes;
    struct entro_workspace *workspace; /* the reader's, as what follows */
    bool has_ahead;                    /* there is something to decode ahead */
};

/*
 * As entro_reader_read, into a reply. The caller ends a reply that is not empty with entro_reader_done when
 * it has been sent: until then the thread counts as busy.
 */
enum entro_error entro_reader_serve(struct entro_reader *reader, const struct entro_node *node,
                                    uint64_t offset, size_t size, struct entro_reply *reply);
void entro_reader_done(struct entro_reader *reader, struct entro_reply *reply);

/*
 * Reads min(size, node->size_bytes - offset) bytes of a file (none at or beyond its end) into `target` and
 * sets *n_read to that number; never fewer. On an error (_IO, _CHECKSUM, _FORMAT, _NO_MEMORY) target's
 * content is undefined. `message` may be NULL.
 */
enum entro_error entro_reader_read(struct entro_reader *reader, const struct entro_node *node,
                                   uint64_t offset, size_t size, uint8_t *target, size_t *n_read,
                                   struct entro_message *message);

/* Reads bytes offset..offset+size (within it) of a stream. `where` names it in reports. */
enum entro_error entro_reader_read_stream(struct entro_reader *reader, uint32_t stream, uint64_t offset,
                                          size_t size, uint8_t *target, const char *where,
                                          struct entro_message *message);

/* Whether factors and outliers of a tensor are such that its views can be served; reports if not. */
enum entro_error entro_reader_check_view(struct entro_reader *reader, uint32_t tensor, enum entro_dtype dtype,
                                         struct entro_message *message);

/* Decodes every block of a stream for itself, so that each bad one is reported (those reported before are not
 * again). */
void entro_reader_try_blocks(struct entro_reader *reader, uint32_t stream, const char *where);

struct entro_stats *entro_reader_stats(struct entro_reader *reader);

#endif
