/*
 * Decoding ahead of readers that go through a file in order, for mounts whose kernel reads ahead too little
 * to keep processors busy (without root it cannot be told to). Several such streams are recognised in a file;
 * each ends where the tensor does. What is decoded lies in the cache of blocks. Thread-safe but create and
 * free.
 */
#ifndef ENTRO_FS_PREFETCH_H
#define ENTRO_FS_PREFETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/namespace.h"

struct entro_prefetch;

/* A place to decode: within one piece of one span. */
struct entro_prefetch_piece {
    const struct entro_node *node;
    const struct entro_span *span;
    uint64_t offset; /* in the span */
    size_t size;
};

/* NULL where memory is short. Nothing is recognised until it is started. */
struct entro_prefetch *entro_prefetch_create(const struct entro_image *image);
void entro_prefetch_free(struct entro_prefetch *prefetch);

/* All streams together are at most this many bytes of their files ahead. 0 stops it. */
void entro_prefetch_start(struct entro_prefetch *prefetch, size_t budget_bytes);
bool entro_prefetch_is_on(const struct entro_prefetch *prefetch);

/* A request has come. True where there is something to decode ahead now. */
bool entro_prefetch_note(struct entro_prefetch *prefetch, const struct entro_node *node, uint64_t offset,
                         size_t size);

/* What is to be decoded next, taken off the list; false where there is nothing. */
bool entro_prefetch_take(struct entro_prefetch *prefetch, struct entro_prefetch_piece *piece);

#endif
