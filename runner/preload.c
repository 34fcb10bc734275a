/* Reading weights before they are used; see preload.h. */
#include "runner/preload.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "codec/pool.h"
#include "runner/clock.h"
#include "runner/memory_limit.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; older headers lack it, older kernels refuse it */
#endif

/* One request: large enough that a mount decodes many blocks for it and a disk reads in sequence, small
 * enough that threads share the work evenly. */
#define PIECE_BYTES ((size_t)1 << 20)
/* Reads wait for a disk or for a mount's threads as much as they compute. */
#define MAX_THREADS 16U

struct piece {
    const struct entro_mapping *mapping;
    size_t offset;
    size_t size_bytes;
    bool direct;
};

struct preload {
    enum entro_preload_mode mode;
    size_t page_bytes;
    struct piece *pieces;
    size_t n_pieces;
    uint8_t *buffers; /* [n_threads][PIECE_BYTES] of what is read for the page cache's sake alone */
    pthread_mutex_t lock;
    enum entro_error error; /* the first one; under lock */
    struct entro_message *message;
};

static struct piece piece_at(const struct entro_mapping *mapping, size_t offset)
{
    size_t left = mapping->size_bytes - offset;
    return (struct piece){
        .mapping = mapping, .offset = offset, .size_bytes = left < PIECE_BYTES ? left : PIECE_BYTES};
}

/* Whether the whole piece is in the page cache. Where the kernel does not tell (another user's file), it says
 * yes. */
static bool is_resident(const struct preload *self, const struct piece *piece)
{
    unsigned char pages[PIECE_BYTES / 4096];
    size_t n_pages = (piece->size_bytes + self->page_bytes - 1) / self->page_bytes;
    if (mincore((uint8_t *)piece->mapping->address + piece->offset, piece->size_bytes, pages) != 0)
        return true;
    for (size_t i = 0; i < n_pages; i++)
        if ((pages[i] & 1) == 0)
            return false;
    return true;
}

/* Puts memory of the process in the place of a mapping, whose pieces must all be read into it then. False
 * leaves it as it is. */
static bool make_anonymous(const struct entro_mapping *mapping)
{
    int fd = open(mapping->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_DIRECT);
    if (fd < 0)
        return false;
    close(fd);
    if (mmap(mapping->address, mapping->size_bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        return false;
    madvise(mapping->address, mapping->size_bytes, MADV_HUGEPAGE);
    return true;
}

static void collect_pieces(struct preload *self, const struct entro_mapping *mapping)
{
    size_t first = self->n_pieces;
    for (size_t offset = 0; offset < mapping->size_bytes; offset += PIECE_BYTES) {
        struct piece piece = piece_at(mapping, offset);
        if (!is_resident(self, &piece))
            self->pieces[self->n_pieces++] = piece;
    }
    if (self->mode != ENTRO_PRELOAD_DIRECT || self->n_pieces == first || !make_anonymous(mapping))
        return;
    self->n_pieces = first;
    for (size_t offset = 0; offset < mapping->size_bytes; offset += PIECE_BYTES) {
        self->pieces[self->n_pieces] = piece_at(mapping, offset);
        self->pieces[self->n_pieces++].direct = true;
    }
}

static enum entro_error collect(struct preload *self, const struct entro_weights *weights)
{
    size_t capacity = 0;
    for (size_t i = 0; i < weights->n_mappings; i++)
        capacity += weights->mappings[i].size_bytes / PIECE_BYTES + 1;
    self->pieces = calloc(capacity > 0 ? capacity : 1, sizeof *self->pieces);
    if (self->pieces == NULL)
        return entro_fail(self->message, ENTRO_ERROR_NO_MEMORY, "no memory to read weights ahead");
    for (size_t i = 0; i < weights->n_mappings; i++)
        collect_pieces(self, &weights->mappings[i]);
    return ENTRO_OK;
}

static void fail(struct preload *self, const struct piece *piece, size_t offset, const char *why)
{
    pthread_mutex_lock(&self->lock);
    if (self->error == ENTRO_OK)
        self->error = entro_fail(self->message, ENTRO_ERROR_IO,
                                 "%s: cannot be read at byte %zu: %s: the block is damaged, the file was cut "
                                 "short or the mount is gone; entrofsck IMAGE tells which",
                                 piece->mapping->path, offset, why);
    pthread_mutex_unlock(&self->lock);
}

static bool has_failed(struct preload *self)
{
    pthread_mutex_lock(&self->lock);
    bool failed = self->error != ENTRO_OK;
    pthread_mutex_unlock(&self->lock);
    return failed;
}

/* Reads from `done` on, by requests that need no alignment. */
static void read_rest(struct preload *self, const struct piece *piece, size_t done, uint8_t *to)
{
    int fd = open(piece->mapping->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        fail(self, piece, piece->offset + done, strerror(errno));
        return;
    }
    while (done < piece->size_bytes) {
        ssize_t n = pread(fd, to + done, piece->size_bytes - done, (off_t)(piece->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            fail(self, piece, piece->offset + done, n < 0 ? strerror(errno) : "end of file");
            break;
        }
        done += (size_t)n;
    }
    close(fd);
}

/* One request of whole pages, as O_DIRECT wants them; a mapping has room to the end of its last page. What it
 * does not bring is left to read_rest. */
static void read_direct(struct preload *self, const struct piece *piece)
{
    uint8_t *to = (uint8_t *)piece->mapping->address + piece->offset;
    size_t pages_bytes = (piece->size_bytes + self->page_bytes - 1) / self->page_bytes * self->page_bytes;
    int fd = open(piece->mapping->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_DIRECT);
    ssize_t n = fd < 0 ? -1 : pread(fd, to, pages_bytes, (off_t)piece->offset);
    if (fd >= 0)
        close(fd);
    if (n < 0 || (size_t)n < piece->size_bytes)
        read_rest(self, piece, n < 0 ? 0 : (size_t)n, to);
}

static void read_piece(void *context, size_t item, unsigned worker)
{
    struct preload *self = context;
    const struct piece *piece = &self->pieces[item];
    if (has_failed(self))
        return;
    if (piece->direct)
        read_direct(self, piece);
    else if (madvise((uint8_t *)piece->mapping->address + piece->offset, piece->size_bytes,
                     MADV_POPULATE_READ) != 0)
        /* An old kernel, or a piece that cannot be read: then this tells why. */
        read_rest(self, piece, 0, self->buffers + worker * PIECE_BYTES);
}

static enum entro_error read_pieces(struct preload *self)
{
    unsigned n_threads = 2 * entro_pool_default_threads();
    n_threads = n_threads > MAX_THREADS ? MAX_THREADS : n_threads;
    struct entro_pool *pool;
    self->buffers = malloc((size_t)n_threads * PIECE_BYTES);
    if (self->buffers == NULL)
        return entro_fail(self->message, ENTRO_ERROR_NO_MEMORY, "no memory to read weights ahead");
    enum entro_error error = entro_pool_create(&pool, n_threads);
    if (error != ENTRO_OK) {
        entro_fail(self->message, error, "cannot start %u threads to read weights ahead: %s", n_threads,
                   entro_error_name(error));
    } else {
        entro_parallel_for(pool, self->n_pieces, read_piece, self);
        entro_pool_free(pool);
        error = self->error;
    }
    /* As a whole, in the end: pieces of their own protection would be no huge pages. */
    for (size_t i = 0; i < self->n_pieces; i++)
        if (self->pieces[i].direct && self->pieces[i].offset == 0)
            mprotect(self->pieces[i].mapping->address, self->pieces[i].mapping->size_bytes, PROT_READ);
    free(self->buffers);
    return error;
}

/* More than this would push out what was read first. */
static bool fits_memory(uint64_t size_bytes)
{
    return size_bytes < entro_memory_limit_bytes() / 10 * 9;
}

enum entro_error entro_preload(const struct entro_weights *weights, enum entro_preload_mode mode,
                               struct entro_preload_figures *figures, struct entro_message *message)
{
    struct preload self = {.mode = mode,
                           .page_bytes = (size_t)sysconf(_SC_PAGESIZE),
                           .lock = PTHREAD_MUTEX_INITIALIZER,
                           .message = message};
    double start = entro_now_seconds();
    *figures = (struct entro_preload_figures){0};
    if (!fits_memory(weights->size_bytes))
        return ENTRO_OK;
    enum entro_error error = collect(&self, weights);
    if (error == ENTRO_OK && self.n_pieces > 0) {
        error = read_pieces(&self);
        for (size_t i = 0; i < self.n_pieces; i++)
            figures->read_bytes += self.pieces[i].size_bytes;
    }
    free(self.pieces);
    figures->seconds = entro_now_seconds() - start;
    return error;
}
