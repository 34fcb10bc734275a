/* Reading weights ahead; see preload.h. */
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

/* One request: large enough that a mount decodes many blocks for it and a disk reads in sequence, small
 * enough that threads share the work evenly. */
#define PIECE_BYTES ((size_t)4 << 20)
/* Reads wait for a disk or for a mount's threads as much as they compute. */
#define MAX_THREADS 16U

struct piece {
    const struct entro_mapping *mapping;
    size_t offset;
    size_t size_bytes;
};

struct preload {
    struct piece *pieces;
    size_t n_pieces;
    size_t capacity;
    uint8_t *buffers; /* [n_threads][PIECE_BYTES], what is read and not looked at */
    pthread_mutex_t lock;
    enum entro_error error; /* the first one; under lock */
    struct entro_message *message;
};

/* Whether the whole piece is in the page cache. Where the kernel does not say (another user's file), it
 * says yes. */
static bool is_resident(const struct piece *piece, size_t page_bytes)
{
    unsigned char pages[PIECE_BYTES / 4096];
    size_t n_pages = (piece->size_bytes + page_bytes - 1) / page_bytes;
    if (mincore((uint8_t *)piece->mapping->address + piece->offset, piece->size_bytes, pages) != 0)
        return true;
    for (size_t i = 0; i < n_pages; i++)
        if ((pages[i] & 1) == 0)
            return false;
    return true;
}

static size_t count_pieces(const struct entro_weights *weights)
{
    size_t n = 0;
    for (size_t i = 0; i < weights->n_mappings; i++)
        n += weights->mappings[i].size_bytes / PIECE_BYTES + 1;
    return n;
}

static enum entro_error collect(struct preload *self, const struct entro_weights *weights)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    self->capacity = count_pieces(weights);
    self->pieces = calloc(self->capacity, sizeof *self->pieces);
    if (self->pieces == NULL)
        return entro_fail(self->message, ENTRO_ERROR_NO_MEMORY, "no memory to read weights ahead");
    for (size_t i = 0; i < weights->n_mappings; i++) {
        const struct entro_mapping *mapping = &weights->mappings[i];
        for (size_t offset = 0; offset < mapping->size_bytes; offset += PIECE_BYTES) {
            size_t left = mapping->size_bytes - offset;
            struct piece piece = {mapping, offset, left < PIECE_BYTES ? left : PIECE_BYTES};
            if (!is_resident(&piece, page_bytes))
                self->pieces[self->n_pieces++] = piece;
        }
    }
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

static void read_piece(void *context, size_t item, unsigned worker)
{
    struct preload *self = context;
    const struct piece *piece = &self->pieces[item];
    uint8_t *buffer = self->buffers + worker * PIECE_BYTES;
    pthread_mutex_lock(&self->lock);
    bool failed = self->error != ENTRO_OK;
    pthread_mutex_unlock(&self->lock);
    if (failed)
        return;
    int fd = open(piece->mapping->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        fail(self, piece, piece->offset, strerror(errno));
        return;
    }
    for (size_t done = 0; done < piece->size_bytes;) {
        ssize_t n = pread(fd, buffer, piece->size_bytes - done, (off_t)(piece->offset + done));
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
    free(self->buffers);
    return error;
}

/* Room in the page cache for so much more, without pushing out what was read first. */
static bool fits_memory(uint64_t size_bytes)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    return pages <= 0 || page_bytes <= 0 || size_bytes < (uint64_t)pages * (uint64_t)page_bytes / 10 * 9;
}

enum entro_error entro_preload(const struct entro_weights *weights, struct entro_preload_figures *figures,
                               struct entro_message *message)
{
    struct preload self = {.lock = PTHREAD_MUTEX_INITIALIZER, .message = message};
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
