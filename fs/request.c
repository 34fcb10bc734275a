/*
 * A request is cut into pieces that end where blocks do, so that whole blocks are decoded straight into the
 * target and none twice. The thread that has the request works through the pieces; where it would take long
 * and processors are idle it asks workers to take pieces too. See reader_internal.h.
 */
#include <string.h>
#include <time.h>

#include "fs/reader_internal.h"

/* Pieces that are spread at a time: a request of 1 MiB has 16 blocks of the default size. */
#define MAX_PIECES 64

/* Requests of a block or less; larger ones come from readers in order, who want each block once. */
#define SMALL_BYTES ((size_t)64 << 10)

/* A worker that sleeps takes some ten microseconds to come and as long to be missed: it is asked only to take
 * at least this much off the request. */
#define WORTH_A_WORKER_NS 40000

struct piece {
    const struct entro_span *span;
    uint64_t offset; /* in the span */
    size_t size;
    uint8_t *target;
};

/* The pieces of a request, or as many as fit, while threads work through them. */
struct fan {
    struct entro_reader *reader;
    const struct entro_node *node;
    const char *where;
    bool keeps_blocks;
    struct piece pieces[MAX_PIECES];
    size_t n_pieces;
    unsigned n_helpers;     /* asked for */
    atomic_size_t next;     /* piece that nobody has taken */
    atomic_bool is_failed;  /* no more pieces are taken */
    pthread_mutex_t mutex;  /* protects what follows while there are helpers */
    enum entro_error error; /* the first */
    struct entro_message message;
};

static enum entro_error read_span(struct entro_read *read, const struct entro_span *span, uint64_t offset,
                                  size_t size, uint8_t *target)
{
    switch (span->kind) {
    case ENTRO_SPAN_BYTES:
        memcpy(target, span->bytes + offset, size);
        return ENTRO_OK;
    case ENTRO_SPAN_STREAM:
        return entro_read_stream(read, span->reference, span->offset + offset, size, target);
    case ENTRO_SPAN_VIEW:
        return entro_read_view(read, span->reference, span->dtype, offset, size, target);
    }
    return ENTRO_ERROR_ARGUMENT;
}

size_t entro_span_piece(const struct entro_image *image, const struct entro_span *span, uint64_t offset,
                        size_t size)
{
    size_t n = size;
    if (span->kind == ENTRO_SPAN_STREAM)
        n = entro_stream_piece(entro_image_stream(image, span->reference), span->offset + offset);
    else if (span->kind == ENTRO_SPAN_VIEW)
        n = entro_view_piece(image, span->reference, span->dtype, offset);
    return n < size ? n : size;
}

/* Cuts what is left of the request; *offset, *size and *target move on by what has been cut. */
static void cut(struct fan *fan, uint64_t *offset, size_t *size, uint8_t **target)
{
    const struct entro_span *span = entro_node_span(fan->node, *offset);
    fan->n_pieces = 0;
    while (*size > 0 && fan->n_pieces < MAX_PIECES) {
        uint64_t offset_in_span = *offset - span->start;
        uint64_t left = span->size_bytes - offset_in_span;
        if (left == 0) {
            span++;
            continue;
        }
        size_t n = left < *size ? (size_t)left : *size;
        n = entro_span_piece(fan->reader->image, span, offset_in_span, n);
        fan->pieces[fan->n_pieces++] =
            (struct piece){.span = span, .offset = offset_in_span, .size = n, .target = *target};
        *target += n;
        *offset += n;
        *size -= n;
    }
}

/* The next piece's stored bytes come into the cache while this one is decoded, where one thread does both. */
static void expect_next(struct entro_read *read, const struct fan *fan, size_t next)
{
    if (fan->n_helpers > 0 || next >= fan->n_pieces)
        return;
    const struct piece *piece = &fan->pieces[next];
    if (piece->span->kind == ENTRO_SPAN_STREAM)
        entro_stream_expect(read, piece->span->reference, piece->span->offset + piece->offset);
    else if (piece->span->kind == ENTRO_SPAN_VIEW)
        entro_view_expect(read, piece->span->reference, piece->span->dtype, piece->offset);
}

/* The pieces of the first stream or view, which are nearly always all there are. */
static void say_what_comes(struct fan *fan)
{
    struct entro_read read = {.reader = fan->reader};
    const struct piece *first = &fan->pieces[0];
    size_t size = 0;
    for (size_t i = 0; i < fan->n_pieces && fan->pieces[i].span == first->span; i++)
        size += fan->pieces[i].size;
    if (size == first->size)
        return;
    if (first->span->kind == ENTRO_SPAN_STREAM)
        entro_stream_will_need(&read, first->span->reference, first->span->offset + first->offset, size);
    else if (first->span->kind == ENTRO_SPAN_VIEW)
        entro_view_will_need(&read, first->span->reference, first->span->dtype, first->offset, size);
}

/* Takes pieces until there are none; returns the bytes of those taken. */
static size_t work(struct fan *fan, struct entro_workspace *workspace)
{
    struct entro_message message = {""};
    struct entro_read read = {.reader = fan->reader,
                              .workspace = workspace,
                              .where = fan->where,
                              .node = fan->node,
                              .message = &message,
                              .keeps_blocks = fan->keeps_blocks};
    size_t n_bytes = 0, i;
    while (!atomic_load_explicit(&fan->is_failed, memory_order_relaxed) &&
           (i = atomic_fetch_add_explicit(&fan->next, 1, memory_order_relaxed)) < fan->n_pieces) {
        const struct piece *piece = &fan->pieces[i];
        expect_next(&read, fan, i + 1);
        enum entro_error error = read_span(&read, piece->span, piece->offset, piece->size, piece->target);
        if (error != ENTRO_OK) {
            pthread_mutex_lock(&fan->mutex);
            if (fan->error == ENTRO_OK) {
                fan->error = error;
                fan->message = message;
            }
            pthread_mutex_unlock(&fan->mutex);
            atomic_store_explicit(&fan->is_failed, true, memory_order_relaxed);
        }
        n_bytes += piece->size;
    }
    return n_bytes;
}

static void help(void *context)
{
    struct fan *fan = context;
    struct entro_reader *reader = fan->reader;
    atomic_fetch_add_explicit(&reader->n_active, 1, memory_order_relaxed);
    struct entro_workspace *workspace = entro_workspace_take(&reader->workspaces);
    if (workspace != NULL) { /* else the one who asked does it all */
        size_t n_bytes = work(fan, workspace);
        entro_workspace_put(&reader->workspaces, workspace);
        entro_count(&reader->stats.bytes_by_workers, n_bytes);
    }
    atomic_fetch_sub_explicit(&reader->n_active, 1, memory_order_relaxed);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* A quarter of the new figure and three of the old one. Threads may overwrite each other: any figure will do.
 */
static void remember_cost(struct entro_reader *reader, uint64_t ns, size_t n_bytes)
{
    if (n_bytes < 32768)
        return;
    uint64_t cost = ns * 1024 / n_bytes;
    if (cost > 1000000)
        cost = 1000000;
    unsigned before = atomic_load_explicit(&reader->ns_per_kib, memory_order_relaxed);
    atomic_store_explicit(&reader->ns_per_kib, (unsigned)((3 * (uint64_t)before + cost) / 4),
                          memory_order_relaxed);
}

static unsigned n_helpers(struct entro_reader *reader, const struct fan *fan, size_t size)
{
    unsigned n_active = atomic_load_explicit(&reader->n_active, memory_order_relaxed);
    if (reader->workers == NULL || fan->n_pieces < 2 || n_active >= reader->n_processors)
        return 0;
    uint64_t ns = size / 1024 * (uint64_t)atomic_load_explicit(&reader->ns_per_kib, memory_order_relaxed);
    uint64_t n = ns / WORTH_A_WORKER_NS; /* shares of the work, one of them the caller's */
    n = n > 0 ? n - 1 : 0;
    if (n > reader->n_processors - n_active)
        n = reader->n_processors - n_active;
    return (unsigned)(n < fan->n_pieces ? n : fan->n_pieces - 1);
}

static void run(struct fan *fan, struct entro_workspace *workspace, size_t size)
{
    struct entro_reader *reader = fan->reader;
    unsigned n = n_helpers(reader, fan, size);
    fan->n_helpers = n;
    say_what_comes(fan);
    struct entro_help call;
    if (n > 0)
        entro_workers_ask(reader->workers, &call, n, help, fan);
    uint64_t begin = now_ns();
    size_t n_bytes = work(fan, workspace);
    remember_cost(reader, now_ns() - begin, n_bytes);
    if (n > 0)
        entro_workers_finish(reader->workers, &call);
}

enum entro_error entro_read_node(struct entro_read *read, uint64_t offset, size_t size, uint8_t *target)
{
    struct fan fan;
    fan.reader = read->reader;
    fan.node = read->node;
    fan.where = read->where;
    fan.keeps_blocks = size <= SMALL_BYTES;
    fan.error = ENTRO_OK;
    atomic_init(&fan.is_failed, false);
    pthread_mutex_init(&fan.mutex, NULL);
    while (size > 0 && fan.error == ENTRO_OK) {
        size_t before = size;
        atomic_store(&fan.next, 0);
        cut(&fan, &offset, &size, &target);
        run(&fan, read->workspace, before - size);
    }
    if (fan.error != ENTRO_OK && read->message != NULL)
        *read->message = fan.message;
    pthread_mutex_destroy(&fan.mutex);
    return fan.error;
}
