/*
 * A small cache of things that cost time to make (decoded blocks, prepared views), by number, with single
 * flight: while one thread makes a value, others that want it wait. Failures are remembered too, so that a
 * bad block is decoded and reported once and not for each page of it.
 *
 * The page cache of the kernel is the real cache; this one serves neighbours: a request that begins or ends
 * within a block, the read-around of page faults, random reads of single pages.
 *
 * Use: claim; if the answer is MINE, make the value (no lock is held meanwhile) and end the claim with give,
 * drop or fail. A thread that has a claim of its own must not claim anything else of the same cache, or two
 * threads could wait for each other. All functions are thread-safe.
 */
#ifndef ENTRO_FS_CACHE_H
#define ENTRO_FS_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "fs/stats.h"

/* How long an I/O error of the image is believed before it is tried again: it may pass. Format and checksum
 * errors never do. */
#define ENTRO_CACHE_RETRY_SECONDS 5

/* Failures that are remembered at most. */
#define ENTRO_CACHE_MAX_FAILURES 4096

/* Values of which every byte has been read once are rarely wanted again: of these the last are kept. They are
 * a few dozen blocks, whose memory is still in a processor's cache when it is used for the next ones. */
#define ENTRO_CACHE_USED_UP_BYTES ((size_t)2 << 20)

/* A part of a value was asked for lately if no more other parts have been since: more than there are readers
 * at work, and so few that random reads of a large file nearly always find theirs untouched. */
#define ENTRO_CACHE_LATELY 64

struct entro_cache;
struct entro_cache_entry;

enum entro_cache_answer {
    ENTRO_CACHE_READY,  /* the value is there: release when done with it */
    ENTRO_CACHE_MINE,   /* the caller makes it: give, drop or fail */
    ENTRO_CACHE_FAILED, /* it could not be made: *error; nothing to release */
};

/* Values beyond budget_bytes that nobody holds are destroyed, least recently used first. `stats` (may be
 * NULL) counts. NULL: no memory. */
struct entro_cache *entro_cache_create(size_t budget_bytes, void (*destroy)(void *value),
                                       struct entro_stats *stats);
/* Nobody holds or waits for anything any more. NULL is allowed. */
void entro_cache_free(struct entro_cache *cache);

/* May wait for another thread's claim. */
enum entro_cache_answer entro_cache_claim(struct entro_cache *cache, uint64_t key,
                                          struct entro_cache_entry **entry, enum entro_error *error);

/*
 * For a caller that can make n_bytes (> 0) of a value of cost_bytes alone, for a fraction of the cost: true
 * where that is best. False where the value is there, is being made or has failed; and where another part of
 * it has been asked for before (this call remembers it), either lately, so that many small reads make it
 * once, or at any time, if there is room for it that nothing else needs. Then the caller claims it. A value
 * beyond the whole budget is always best had in parts.
 */
bool entro_cache_touch(struct entro_cache *cache, uint64_t key, size_t n_bytes, size_t cost_bytes);

/* Of an entry held (after READY or give). */
void *entro_cache_value(const struct entro_cache_entry *entry);
void entro_cache_release(struct entro_cache *cache, struct entro_cache_entry *entry);
/* The same, where the holder has read n_bytes of the value's cost_bytes. */
void entro_cache_release_read(struct entro_cache *cache, struct entro_cache_entry *entry, size_t n_bytes);

/* Ends a claim: the value (now the cache's) costs cost_bytes; the caller holds the entry until it releases
 * it. */
void entro_cache_give(struct entro_cache *cache, struct entro_cache_entry *entry, void *value,
                      size_t cost_bytes);

/* Ends a claim whose result is not worth keeping, unless somebody waits for it: then false, and the claim
 * must be ended otherwise. */
bool entro_cache_drop(struct entro_cache *cache, struct entro_cache_entry *entry);

/* Ends a claim that failed. Those who wait get the error; it is remembered unless it is
 * ENTRO_ERROR_NO_MEMORY. */
void entro_cache_fail(struct entro_cache *cache, struct entro_cache_entry *entry, enum entro_error error);

#endif
