/* Chunks in a list; see arena.h. */
#include "fs/arena.h"

#include <stdint.h>
#include <stdlib.h>

#define CHUNK_BYTES ((size_t)64 << 10)
#define ALIGNMENT   sizeof(max_align_t)

struct entro_arena_chunk {
    struct entro_arena_chunk *older;
    max_align_t bytes[];
};

void *entro_arena_alloc(struct entro_arena *arena, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (arena->newest == NULL || rounded > arena->chunk_bytes - arena->used_bytes) {
        size_t chunk_bytes = rounded > CHUNK_BYTES ? rounded : CHUNK_BYTES;
        struct entro_arena_chunk *chunk = malloc(sizeof *chunk + chunk_bytes);
        if (chunk == NULL)
            return NULL;
        chunk->older = arena->newest;
        arena->newest = chunk;
        arena->used_bytes = 0;
        arena->chunk_bytes = chunk_bytes;
    }
    void *result = (char *)arena->newest->bytes + arena->used_bytes;
    arena->used_bytes += rounded;
    return result;
}

void entro_arena_free(struct entro_arena *arena)
{
    while (arena->newest != NULL) {
        struct entro_arena_chunk *older = arena->newest->older;
        free(arena->newest);
        arena->newest = older;
    }
}
