/*
 * Memory that is given back all at once: small allocations cut from large chunks. Not thread-safe.
 */
#ifndef ENTRO_FS_ARENA_H
#define ENTRO_FS_ARENA_H

#include <stddef.h>

struct entro_arena_chunk;

/* Starts as all zero. */
struct entro_arena {
    struct entro_arena_chunk *newest;
    size_t used_bytes, chunk_bytes; /* of the newest chunk */
};

/* NULL where memory is short. Aligned for any type. Freed by entro_arena_free only. */
void *entro_arena_alloc(struct entro_arena *arena, size_t size_bytes);
void entro_arena_free(struct entro_arena *arena);

#endif
