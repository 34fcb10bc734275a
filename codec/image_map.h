/*
 * A mapping of an open image: blocks are then checked and decoded where they lie in the page cache, without a
 * copy; and the whole image can be locked in memory. Internal to image.c, which falls back to pread whenever
 * a mapped read fails, and whose error then counts.
 */
#ifndef ENTRO_IMAGE_MAP_H
#define ENTRO_IMAGE_MAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/block.h"
#include "codec/error.h"

/* Starts as all zero. */
struct entro_image_map {
    const uint8_t *bytes; /* NULL: not mapped */
    size_t size_bytes;
    bool is_read; /* blocks may be decoded from it */
    bool is_locked;
    _Atomic uint64_t touched_bytes; /* since the pages were last let go of */
    atomic_int statm;               /* a descriptor; 0: not opened yet, below: not to be had */
    _Atomic uint64_t last_window;   /* touched by any thread: a guess is good enough */
};

/* Maps the file where it is not mapped yet. False where that is not possible. */
bool entro_image_map_open(struct entro_image_map *map, int fd, uint64_t size_bytes);
void entro_image_map_close(struct entro_image_map *map);

/*
 * True where blocks may be decoded from a mapping: the program can take a bus error, and nobody but this user
 * or root may write to the file. Somebody else could change bytes between the check of their checksum and
 * their use.
 */
bool entro_image_map_is_safe(int fd);

/* Reads everything into memory and keeps it there. As entro_image_lock. */
enum entro_error entro_image_map_lock(struct entro_image_map *map, struct entro_message *message);

/* Whether stored_bytes at `offset` may be decoded from the mapping. */
static inline bool entro_image_map_has(const struct entro_image_map *map, uint64_t offset,
                                       uint32_t stored_bytes)
{
    return map->is_read && offset <= map->size_bytes &&
           map->size_bytes - offset >= (uint64_t)stored_bytes + ENTRO_READ_SLOP_BYTES;
}

/* Brings a range of the file, which the map has, into the process's page tables at one go. */
void entro_image_map_populate(const struct entro_image_map *map, uint64_t offset, uint64_t size_bytes);

/* entro_block_decode_range of what lies at `offset`, which the map has; ENTRO_ERROR_IO where it could not be
 * read. */
enum entro_error entro_image_map_decode(struct entro_image_map *map, const struct entro_pivot *pivot,
                                        struct entro_block block, uint64_t offset, size_t size, size_t first,
                                        size_t n, uint8_t *target, struct entro_pivot_scratch *scratch);

#endif
