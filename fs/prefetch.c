/* A table of streams under one mutex, searched for each request; see prefetch.h. */
#include "fs/prefetch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fs/reader_internal.h"

/* Streams that are followed at a time; a new one takes the place of the one unused for longest. */
#define N_STREAMS 32

/* Requests of one reader come from several threads, not quite in order: this many may be overtaken. */
#define SLACK_REQUESTS 4

/* Requests in order until we believe it. */
#define N_IN_ORDER 3

/* A stream that got none of so many requests has ended: its share of the budget goes to the others. */
#define N_PATIENCE 256

struct stream {
    const struct entro_node *node; /* NULL: free */
    uint64_t next;                 /* where its next request is expected to begin */
    uint64_t ahead;                /* decoded, or being decoded, up to here */
    unsigned n_in_order;
    uint64_t n_bytes;  /* that it has gone forward */
    uint64_t last_use; /* in requests */
};

struct entro_prefetch {
    const struct entro_image *image;
    atomic_size_t budget_bytes; /* 0: off */
    pthread_mutex_t mutex;      /* protects what follows */
    uint64_t n_requests;
    struct stream streams[N_STREAMS];
};

struct entro_prefetch *entro_prefetch_create(const struct entro_image *image)
{
    struct entro_prefetch *prefetch = calloc(1, sizeof *prefetch);
    if (prefetch == NULL)
        return NULL;
    prefetch->image = image;
    pthread_mutex_init(&prefetch->mutex, NULL);
    return prefetch;
}

void entro_prefetch_free(struct entro_prefetch *prefetch)
{
    if (prefetch == NULL)
        return;
    pthread_mutex_destroy(&prefetch->mutex);
    free(prefetch);
}

void entro_prefetch_start(struct entro_prefetch *prefetch, size_t budget_bytes)
{
    atomic_store(&prefetch->budget_bytes, budget_bytes);
}

bool entro_prefetch_is_on(const struct entro_prefetch *prefetch)
{
    return atomic_load_explicit(&prefetch->budget_bytes, memory_order_relaxed) > 0;
}

static bool is_running(const struct entro_prefetch *prefetch, const struct stream *stream)
{
    return stream->node != NULL && stream->n_in_order >= N_IN_ORDER &&
           prefetch->n_requests - stream->last_use < N_PATIENCE;
}

/* Each running stream's share of the budget. */
static uint64_t window(const struct entro_prefetch *prefetch)
{
    uint64_t n_running = 0;
    for (size_t i = 0; i < N_STREAMS; i++)
        n_running += is_running(prefetch, &prefetch->streams[i]);
    return atomic_load_explicit(&prefetch->budget_bytes, memory_order_relaxed) /
           (n_running > 0 ? n_running : 1);
}

/* A stream is believed in as far as it has come, and this many times that. */
#define TRUST 4

/* How far to decode: a share of the budget ahead at most, and not beyond the end of the tensor. */
static uint64_t goal(const struct stream *stream, uint64_t window_bytes)
{
    if (window_bytes > TRUST * stream->n_bytes)
        window_bytes = TRUST * stream->n_bytes;
    if (stream->next >= stream->node->size_bytes)
        return 0;
    const struct entro_span *span = entro_node_span(stream->node, stream->next);
    uint64_t end = span->start + span->size_bytes;
    return window_bytes < end - stream->next ? stream->next + window_bytes : end;
}

static struct stream *find(struct entro_prefetch *prefetch, const struct entro_node *node, uint64_t offset,
                           size_t size)
{
    uint64_t slack = SLACK_REQUESTS * (uint64_t)size;
    struct stream *oldest = &prefetch->streams[0];
    for (size_t i = 0; i < N_STREAMS; i++) {
        struct stream *stream = &prefetch->streams[i];
        if (stream->node == node && offset + slack >= stream->next && offset <= stream->next + slack)
            return stream;
        if (oldest->node != NULL && (stream->node == NULL || stream->last_use < oldest->last_use))
            oldest = stream;
    }
    *oldest = (struct stream){.node = node, .next = offset};
    return oldest;
}

bool entro_prefetch_note(struct entro_prefetch *prefetch, const struct entro_node *node, uint64_t offset,
                         size_t size)
{
    bool has_work = false;
    pthread_mutex_lock(&prefetch->mutex);
    prefetch->n_requests++;
    struct stream *stream = find(prefetch, node, offset, size);
    stream->last_use = prefetch->n_requests;
    if (offset + size > stream->next) {
        stream->n_in_order++;
        stream->n_bytes += offset + size - stream->next;
        stream->next = offset + size;
    }
    if (stream->ahead < stream->next)
        stream->ahead = stream->next;
    if (stream->n_in_order >= N_IN_ORDER)
        has_work = stream->ahead < goal(stream, window(prefetch));
    pthread_mutex_unlock(&prefetch->mutex);
    return has_work;
}

bool entro_prefetch_take(struct entro_prefetch *prefetch, struct entro_prefetch_piece *piece)
{
    struct stream *chosen = NULL;
    pthread_mutex_lock(&prefetch->mutex);
    uint64_t window_bytes = window(prefetch), end = 0;
    for (size_t i = 0; i < N_STREAMS; i++) {
        struct stream *stream = &prefetch->streams[i];
        if (!is_running(prefetch, stream) || stream->ahead >= goal(stream, window_bytes))
            continue;
        /* Who is least far ahead needs it most. */
        if (chosen == NULL || stream->ahead - stream->next < chosen->ahead - chosen->next) {
            chosen = stream;
            end = goal(stream, window_bytes);
        }
    }
    if (chosen != NULL) {
        const struct entro_span *span = entro_node_span(chosen->node, chosen->ahead);
        uint64_t offset = chosen->ahead - span->start, left = end - chosen->ahead;
        size_t wanted = left < ENTRO_PIECE_BYTES ? (size_t)left : ENTRO_PIECE_BYTES;
        size_t n = entro_span_piece(prefetch->image, span, offset, wanted);
        *piece =
            (struct entro_prefetch_piece){.node = chosen->node, .span = span, .offset = offset, .size = n};
        chosen->ahead += n;
    }
    pthread_mutex_unlock(&prefetch->mutex);
    return chosen != NULL;
}
