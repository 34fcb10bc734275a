/* The mapping, its lock, and the guarded decoding from it; see image_map.h. */
#include "codec/image_map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "codec/bus_guard.h"

/* Mapped pages count as the process's memory, though they are the page cache's: beyond this many they are let
 * go of. That interrupts all processors that the process runs on, so that it must not happen often. */
#define KEPT_BYTES ((uint64_t)24 << 20)

/* How many are mapped is looked up now and then: one fault may map a page, its neighbourhood or 2 MiB. */
#define LOOK_INTERVAL_BYTES ((uint64_t)1 << 20)

/* What a fault maps at least, if it is there: the aligned neighbourhood of a page. */
#define WINDOW_BYTES ((uint64_t)64 << 10)

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
    if (atomic_load(&map->statm) > 0)
        close(atomic_load(&map->statm));
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

/* The process's mapped file pages, or 0 where the system does not say. */
static uint64_t mapped_bytes(struct entro_image_map *map)
{
    char text[128];
    unsigned long long pages = 0;
    int file = atomic_load_explicit(&map->statm, memory_order_acquire);
    if (file == 0) { /* the first time, which is after any fork */
        int opened = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        if (!atomic_compare_exchange_strong(&map->statm, &file, opened)) {
            if (opened >= 0)
                close(opened);
        } else {
            file = opened;
        }
    }
    ssize_t n = file > 0 ? pread(file, text, sizeof text - 1, 0) : -1;
    if (n <= 0)
        return 0;
    text[n] = '\0';
    if (sscanf(text, "%*u %*u %llu", &pages) != 1)
        return 0;
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void count_touched(struct entro_image_map *map, uint64_t offset, uint32_t stored_bytes)
{
    if (map->is_locked)
        return;
    uint64_t first = offset / WINDOW_BYTES, last = (offset + stored_bytes - 1) / WINDOW_BYTES;
    /* Blocks that are read in order share their windows with the one before. */
    uint64_t before = atomic_exchange_explicit(&map->last_window, last, memory_order_relaxed);
    uint64_t more = (last - first + (first != before)) * WINDOW_BYTES;
    before = atomic_fetch_add_explicit(&map->touched_bytes, more, memory_order_relaxed);
    if (before / LOOK_INTERVAL_BYTES == (before + more) / LOOK_INTERVAL_BYTES)
        return;
    uint64_t mapped = mapped_bytes(map);
    if (mapped > KEPT_BYTES || (mapped == 0 && before + more > KEPT_BYTES)) {
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
    size_t size, first, n;
    uint8_t *target;
    struct entro_pivot_scratch *scratch;
    enum entro_error error;
};

static void decode(void *context)
{
    struct decoding *d = context;
    d->error = entro_block_decode_range(d->pivot, d->block, d->stored, d->size, d->first, d->n, d->target,
                                        d->scratch);
}

enum entro_error entro_image_map_decode(struct entro_image_map *map, const struct entro_pivot *pivot,
                                        struct entro_block block, uint64_t offset, size_t size, size_t first,
                                        size_t n, uint8_t *target, struct entro_pivot_scratch *scratch)
{
    struct decoding decoding = {.pivot = pivot,
                                .block = block,
                                .stored = map->bytes + offset,
                                .size = size,
                                .first = first,
                                .n = n,
                                .target = target,
                                .scratch = scratch,
                                .error = ENTRO_ERROR_IO};
    bool is_read = entro_bus_guard_run(map->bytes, map->size_bytes, decode, &decoding);
    count_touched(map, offset, block.stored_bytes);
    return is_read ? decoding.error : ENTRO_ERROR_IO;
}
