/*
 * Counters of what a reader has done, for user.entrofs.stats. Any thread counts; a reader sees each counter
 * whole, not all at one instant.
 */
#ifndef ENTRO_FS_STATS_H
#define ENTRO_FS_STATS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* X(name): a field, and a line of the text. */
#define ENTRO_STATS(X)                                                                                       \
    X(requests)        /* reads asked for */                                                                 \
    X(requests_failed) /* answered with an error */                                                          \
    X(bytes_replied)                                                                                         \
    X(bytes_by_workers) /* of these, what others than the request's own thread decoded */                    \
    X(bytes_prefetched) /* of files, decoded before anybody asked */                                         \
    X(blocks_decoded)                                                                                        \
    X(bytes_decoded)                                                                                         \
    X(blocks_partial) /* not decoded, but for a small part of them */                                        \
    X(bytes_partial)  /* these parts */                                                                      \
    X(blocks_failed)  /* decoded in vain: each is also a line in the log */                                  \
    X(cache_hits)                                                                                            \
    X(cache_joins) /* waited for a block that another thread was decoding */                                 \
    X(cache_evictions)                                                                                       \
    X(views_made)

struct entro_stats {
#define ENTRO_STATS_FIELD(name) _Atomic uint64_t name;
    ENTRO_STATS(ENTRO_STATS_FIELD)
#undef ENTRO_STATS_FIELD
};

static inline void entro_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Room that the text needs at most. */
#define ENTRO_STATS_TEXT_BYTES 1024

/* Writes "name value" lines, NUL-terminated; returns the length without the NUL. */
size_t entro_stats_text(struct entro_stats *stats, char text[ENTRO_STATS_TEXT_BYTES]);

#endif
