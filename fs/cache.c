/* One mutex over a hash table and lists by last use (values, used-up values, failures); it is never held
 * while a value is made. See cache.h. */
#include "fs/cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define BUCKETS_LOG2 10 /* tens of MiB of blocks are hundreds of entries */
#define N_BUCKETS    (1 << BUCKETS_LOG2)
#define TOUCHED_LOG2 11 /* more than there are entries */
#define N_TOUCHED    (1 << TOUCHED_LOG2)

enum state { MAKING, READY, FAILED };

/* Everything here is protected by the cache's mutex, but value, which does not change while somebody holds
 * the entry. */
struct entro_cache_entry {
    uint64_t key;
    enum state state;
    unsigned n_users; /* holders, the maker, and those who wait */
    void *value;
    size_t cost_bytes;
    enum entro_error error;
    time_t failed_at; /* monotonic seconds */
    uint64_t n_read;  /* bytes of the value that holders have read */
    bool is_used_up;  /* all of it has been */
    pthread_cond_t made;
    struct entro_cache_entry *next;          /* in the bucket */
    struct entro_cache_entry *newer, *older; /* in the list of its state */
    bool is_listed;
};

struct list {
    struct entro_cache_entry *newest, *oldest;
};

/* A value of which a part has been made alone. */
struct touched {
    uint64_t key;
    uint64_t number; /* of the touch */
    size_t n_bytes;  /* of the part; 0: none is remembered here */
};

struct entro_cache {
    size_t budget_bytes;
    void (*destroy)(void *value);
    struct entro_stats *stats;

    pthread_mutex_t mutex; /* protects what follows */
    size_t used_bytes;     /* of values in the table, held or not */
    size_t n_failures;
    struct list values, used_up, failures;
    size_t used_up_bytes; /* of used_bytes */
    uint64_t n_touches;
    struct touched touched[N_TOUCHED]; /* each key has one place; who comes later takes it */
    struct entro_cache_entry *buckets[N_BUCKETS];
};

/* Knuth's multiplicative hashing ("The Art of Computer Programming" 3, 6.4): keys in order lie far apart. */
static size_t hash(uint64_t key, unsigned n_bits)
{
    return (size_t)((key * 0x9e3779b97f4a7c15U) >> (64 - n_bits));
}

static struct entro_cache_entry **bucket_of(struct entro_cache *cache, uint64_t key)
{
    return &cache->buckets[hash(key, BUCKETS_LOG2)];
}

static struct list *list_of(struct entro_cache *cache, const struct entro_cache_entry *entry)
{
    if (entry->state == FAILED)
        return &cache->failures;
    return entry->is_used_up ? &cache->used_up : &cache->values;
}

static void unlist(struct entro_cache *cache, struct entro_cache_entry *entry)
{
    if (!entry->is_listed)
        return;
    struct list *list = list_of(cache, entry);
    *(entry->newer != NULL ? &entry->newer->older : &list->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &list->oldest) = entry->newer;
    entry->is_listed = false;
}

static void list_as_newest(struct entro_cache *cache, struct entro_cache_entry *entry)
{
    unlist(cache, entry);
    struct list *list = list_of(cache, entry);
    entry->newer = NULL;
    entry->older = list->newest;
    *(list->newest != NULL ? &list->newest->newer : &list->oldest) = entry;
    list->newest = entry;
    entry->is_listed = true;
}

static void destroy_entry(struct entro_cache *cache, struct entro_cache_entry *entry)
{
    if (entry->value != NULL)
        cache->destroy(entry->value);
    pthread_cond_destroy(&entry->made);
    free(entry);
}

/* Takes an entry that nobody uses out of everything, so that the caller can destroy it without the mutex. */
static void remove_entry(struct entro_cache *cache, struct entro_cache_entry *entry)
{
    struct entro_cache_entry **link = bucket_of(cache, entry->key);
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    unlist(cache, entry);
    cache->used_bytes -= entry->cost_bytes;
    if (entry->is_used_up)
        cache->used_up_bytes -= entry->cost_bytes;
    cache->n_failures -= entry->state == FAILED;
}

static bool is_over_budget(const struct entro_cache *cache)
{
    return cache->used_bytes > cache->budget_bytes;
}

static bool has_too_many_used_up(const struct entro_cache *cache)
{
    return is_over_budget(cache) || cache->used_up_bytes > ENTRO_CACHE_USED_UP_BYTES;
}

static bool has_too_many_failures(const struct entro_cache *cache)
{
    return cache->n_failures > ENTRO_CACHE_MAX_FAILURES;
}

/* Moves the oldest of a list that nobody uses to *evicted, while there are too many. */
static void evict_from(struct entro_cache *cache, struct list *list,
                       bool (*is_too_much)(const struct entro_cache *cache),
                       struct entro_cache_entry **evicted)
{
    struct entro_cache_entry *entry = list->oldest;
    while (entry != NULL && is_too_much(cache)) {
        struct entro_cache_entry *newer = entry->newer;
        if (entry->n_users == 0) {
            remove_entry(cache, entry);
            entry->next = *evicted;
            *evicted = entry;
            if (entry->state == READY && cache->stats != NULL)
                entro_count(&cache->stats->cache_evictions, 1);
        }
        entry = newer;
    }
}

/* Removes what is beyond the limits; returns it as a list to be destroyed. */
static struct entro_cache_entry *evict(struct entro_cache *cache)
{
    struct entro_cache_entry *evicted = NULL;
    evict_from(cache, &cache->used_up, has_too_many_used_up, &evicted);
    evict_from(cache, &cache->values, is_over_budget, &evicted);
    evict_from(cache, &cache->failures, has_too_many_failures, &evicted);
    return evicted;
}

static void destroy_list(struct entro_cache *cache, struct entro_cache_entry *entry)
{
    while (entry != NULL) {
        struct entro_cache_entry *next = entry->next;
        destroy_entry(cache, entry);
        entry = next;
    }
}

static time_t now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

struct entro_cache *entro_cache_create(size_t budget_bytes, void (*destroy)(void *value),
                                       struct entro_stats *stats)
{
    struct entro_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL)
        return NULL;
    cache->budget_bytes = budget_bytes;
    cache->destroy = destroy;
    cache->stats = stats;
    pthread_mutex_init(&cache->mutex, NULL);
    return cache;
}

void entro_cache_free(struct entro_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < N_BUCKETS; i++)
        destroy_list(cache, cache->buckets[i]);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

static struct entro_cache_entry *find(struct entro_cache *cache, uint64_t key)
{
    struct entro_cache_entry *entry = *bucket_of(cache, key);
    while (entry != NULL && entry->key != key)
        entry = entry->next;
    return entry;
}

static struct entro_cache_entry *add_entry(struct entro_cache *cache, uint64_t key)
{
    struct entro_cache_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->key = key;
    entry->state = MAKING;
    pthread_cond_init(&entry->made, NULL);
    struct entro_cache_entry **bucket = bucket_of(cache, key);
    entry->next = *bucket;
    *bucket = entry;
    return entry;
}

/* Where a key's touch is remembered, if it is. */
static struct touched *touch_of(struct entro_cache *cache, uint64_t key)
{
    return &cache->touched[hash(key, TOUCHED_LOG2)];
}

static bool is_touched(const struct touched *touched, uint64_t key)
{
    return touched->n_bytes > 0 && touched->key == key;
}

bool entro_cache_touch(struct entro_cache *cache, uint64_t key, size_t n_bytes, size_t cost_bytes)
{
    bool is_best = false;
    pthread_mutex_lock(&cache->mutex);
    if (find(cache, key) == NULL) {
        struct touched *touched = touch_of(cache, key);
        bool has_room =
            cost_bytes <= cache->budget_bytes && cache->used_bytes <= cache->budget_bytes - cost_bytes;
        is_best = !is_touched(touched, key) || cost_bytes > cache->budget_bytes ||
                  (!has_room && cache->n_touches - touched->number - 1 > ENTRO_CACHE_LATELY);
        if (is_best)
            *touched = (struct touched){.key = key, .number = cache->n_touches++, .n_bytes = n_bytes};
    }
    pthread_mutex_unlock(&cache->mutex);
    return is_best;
}

/* A remembered failure that may have passed is to be tried again by whoever asks first. */
static bool is_to_be_retried(const struct entro_cache_entry *entry)
{
    return entry->state == FAILED && entry->n_users == 0 && entry->error == ENTRO_ERROR_IO &&
           now_seconds() - entry->failed_at >= ENTRO_CACHE_RETRY_SECONDS;
}

enum entro_cache_answer entro_cache_claim(struct entro_cache *cache, uint64_t key,
                                          struct entro_cache_entry **out, enum entro_error *error)
{
    enum entro_cache_answer answer;
    struct entro_cache_entry *forgotten = NULL;
    pthread_mutex_lock(&cache->mutex);
    struct entro_cache_entry *entry = find(cache, key);
    if (entry != NULL && is_to_be_retried(entry)) {
        remove_entry(cache, entry);
        entry->next = NULL;
        forgotten = entry;
        entry = NULL;
    }
    if (entry == NULL) {
        entry = add_entry(cache, key);
        if (entry == NULL) {
            *error = ENTRO_ERROR_NO_MEMORY;
            answer = ENTRO_CACHE_FAILED;
        } else {
            struct touched *touched = touch_of(cache, key);
            entry->n_users = 1;
            if (is_touched(touched, key)) { /* what has been read before counts, and is not asked for again */
                entry->n_read = touched->n_bytes;
                touched->n_bytes = 0;
            }
            answer = ENTRO_CACHE_MINE;
        }
        goto out;
    }
    entry->n_users++;
    if (cache->stats != NULL)
        entro_count(entry->state == MAKING ? &cache->stats->cache_joins : &cache->stats->cache_hits, 1);
    while (entry->state == MAKING)
        pthread_cond_wait(&entry->made, &cache->mutex);
    if (entry->state == READY) {
        list_as_newest(cache, entry);
        answer = ENTRO_CACHE_READY;
        goto out;
    }
    *error = entry->error;
    answer = ENTRO_CACHE_FAILED;
    if (--entry->n_users == 0 && entry->error == ENTRO_ERROR_NO_MEMORY) { /* the last who waited forgets it */
        remove_entry(cache, entry);
        entry->next = NULL;
        forgotten = entry;
    }
out:
    *out = entry;
    pthread_mutex_unlock(&cache->mutex);
    destroy_list(cache, forgotten);
    return answer;
}

void *entro_cache_value(const struct entro_cache_entry *entry)
{
    return entry->value;
}

void entro_cache_release(struct entro_cache *cache, struct entro_cache_entry *entry)
{
    entro_cache_release_read(cache, entry, 0);
}

void entro_cache_release_read(struct entro_cache *cache, struct entro_cache_entry *entry, size_t n_bytes)
{
    pthread_mutex_lock(&cache->mutex);
    entry->n_users--;
    entry->n_read += n_bytes;
    if (!entry->is_used_up && n_bytes > 0 && entry->n_read >= entry->cost_bytes) {
        unlist(cache, entry);
        entry->is_used_up = true;
        cache->used_up_bytes += entry->cost_bytes;
        list_as_newest(cache, entry);
    }
    struct entro_cache_entry *evicted = evict(cache);
    pthread_mutex_unlock(&cache->mutex);
    destroy_list(cache, evicted);
}

void entro_cache_give(struct entro_cache *cache, struct entro_cache_entry *entry, void *value,
                      size_t cost_bytes)
{
    pthread_mutex_lock(&cache->mutex);
    entry->value = value;
    entry->cost_bytes = cost_bytes;
    entry->state = READY;
    cache->used_bytes += cost_bytes;
    list_as_newest(cache, entry);
    pthread_cond_broadcast(&entry->made);
    struct entro_cache_entry *evicted = evict(cache);
    pthread_mutex_unlock(&cache->mutex);
    destroy_list(cache, evicted);
}

bool entro_cache_drop(struct entro_cache *cache, struct entro_cache_entry *entry)
{
    pthread_mutex_lock(&cache->mutex);
    bool is_awaited = entry->n_users > 1;
    if (!is_awaited)
        remove_entry(cache, entry);
    pthread_mutex_unlock(&cache->mutex);
    if (!is_awaited)
        destroy_entry(cache, entry);
    return !is_awaited;
}

void entro_cache_fail(struct entro_cache *cache, struct entro_cache_entry *entry, enum entro_error error)
{
    pthread_mutex_lock(&cache->mutex);
    entry->error = error;
    entry->failed_at = now_seconds();
    entry->state = FAILED;
    cache->n_failures++;
    list_as_newest(cache, entry);
    pthread_cond_broadcast(&entry->made);
    entry->n_users--;
    struct entro_cache_entry *forgotten = NULL;
    if (entry->n_users == 0 && error == ENTRO_ERROR_NO_MEMORY) {
        remove_entry(cache, entry);
        entry->next = NULL;
        forgotten = entry;
    }
    struct entro_cache_entry *evicted = evict(cache);
    pthread_mutex_unlock(&cache->mutex);
    destroy_list(cache, forgotten);
    destroy_list(cache, evicted);
}
