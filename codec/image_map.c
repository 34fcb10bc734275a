/* The mapping, its lock, and the guarded decoding from it; see image_map.h. */
#include "codec/image_map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "codec/bus_guard.h"

/* Mapped pages count as the process's memory, though they are the page cache's: beyond this many they are let
 * go of, which costs a minor fault for sixteen pages when they are touched again. */
#define KEPT_BYTES ((uint64_t)16 << 20)

/* What a touched block adds to that: the kernel maps the neighbours of a page too. */
#define FAULT_AROUND_BYTES 65536

bool entro_image_map_open(struct entro_image_map *map, int fd, uint64_t size_bytes)
{
    if (map->bytes != NULL)
        return true;
    if (size_bytes == 0 || size_bytes > SIZE_MAX)
        return false;
    void *bytes = mmap(NULL, (size_t)size_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        return false;
    /* Where memory is short, the image's pages are to go before what has been decoded from them. */
    madvise(bytes, (size_t)size_bytes, MADV_SEQUENTIAL);
    map->bytes = bytes;
    map->size_bytes = (size_t)size_bytes;
    return true;
}

void entro_image_map_close(struct entro_image_map *map)
{
    if (map->bytes != NULL)
        munmap((void *)(uintptr_t)map->bytes, map->size_bytes);
    map->bytes = NULL;
}

bool entro_image_map_is_safe(int fd)
{
    struct stat status;
    return entro_bus_guard_is_installed() && fstat(fd, &status) == 0 &&
           (status.st_uid == 0 || status.st_uid == geteuid()) && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static enum entro_error say_why_not_locked(size_t size_bytes, int error_number, struct entro_message *message)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < size_bytes && error_number != EAGAIN)
        return entro_fail(
            message, ENTRO_ERROR_NO_MEMORY,
            "cannot keep the image's %zu bytes in memory: only %ju may be locked; raise that limit "
            "(ulimit -l, LimitMEMLOCK= of systemd) or leave lock_image out",
            size_bytes, (uintmax_t)limit.rlim_cur);
    return entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                      "cannot keep the image's %zu bytes in memory: %s; leave lock_image out", size_bytes,
                      strerror(error_number));
}

enum entro_error entro_image_map_lock(struct entro_image_map *map, struct entro_message *message)
{
    struct sysinfo machine;
    /* Who may lock anything would otherwise be granted more than there is, and then be killed for it. */
    if (sysinfo(&machine) == 0 && map->size_bytes / machine.mem_unit >= machine.totalram)
        return say_why_not_locked(map->size_bytes, ENOMEM, message);
    if (mlock(map->bytes, map->size_bytes) != 0)
        return say_why_not_locked(map->size_bytes, errno, message);
    map->is_locked = true;
    return ENTRO_OK;
}

static void count_touched(struct entro_image_map *map, uint32_t stored_bytes)
{
    if (map->is_locked)
        return;
    uint64_t more = (uint64_t)stored_bytes + FAULT_AROUND_BYTES;
    uint64_t before = atomic_fetch_add_explicit(&map->touched_bytes, more, memory_order_relaxed);
    if (before < KEPT_BYTES &&
        before + more >= KEPT_BYTES) { /* one thread sees it: the others went beyond it */
        madvise((void *)(uintptr_t)map->bytes, map->size_bytes, MADV_DONTNEED);
        atomic_store_explicit(&map->touched_bytes, 0, memory_order_relaxed);
    }
}

void entro_image_map_populate(const struct entro_image_map *map, uint64_t offset, uint64_t size_bytes)
{
#ifdef MADV_POPULATE_READ
    static atomic_bool is_unknown; /* to this kernel (before 5.14) */
    if (map->is_locked || atomic_load_explicit(&is_unknown, memory_order_relaxed))
        return;
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), begin = offset / page_bytes * page_bytes;
    /* A page that is not there is found out by whoever decodes it. */
    if (madvise((void *)(uintptr_t)(map->bytes + begin), (size_t)(offset + size_bytes - begin),
                MADV_POPULATE_READ) != 0 &&
        errno == EINVAL)
        atomic_store_explicit(&is_unknown, true, memory_order_relaxed);
#else
    (void)map, (void)offset, (void)size_bytes;
#endif
}

struct decoding {
    const struct entro_pivot *pivot;
    struct entro_block block;
    const uint8_t *stored;
    uint8_t *target;
    size_t size;
    struct entro_pivot_scratch *scratch;
    enum entro_error error;
};

static void decode(void *context)
{
    struct decoding *d = context;
    d->error = entro_block_decode(d->pivot, d->block, d->stored, d->target, d->size, d->scratch);
}

enum entro_error entro_image_map_decode(struct entro_image_map *map, const struct entro_pivot *pivot,
                                        struct entro_block block, uint64_t offset, uint8_t *target,
                                        size_t size, struct entro_pivot_scratch *scratch)
{
    struct decoding decoding = {.pivot = pivot,
                                .block = block,
                                .stored = map->bytes + offset,
                                .target = target,
                                .size = size,
                                .scratch = scratch,
                                .error = ENTRO_ERROR_IO};
    bool is_read = entro_bus_guard_run(map->bytes, map->size_bytes, decode, &decoding);
    count_touched(map, block.stored_bytes);
    return is_read ? decoding.error : ENTRO_ERROR_IO;
}
