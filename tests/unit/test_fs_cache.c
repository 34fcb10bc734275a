/* The cache: single flight, eviction, remembered failures, with one thread and with many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cache.h"

static struct entro_stats stats;

static struct entro_cache *make_cache(size_t budget)
{
    memset(&stats, 0, sizeof stats);
    struct entro_cache *cache = entro_cache_create(budget, free, &stats);
    assert_non_null(cache);
    return cache;
}

/* Makes the value of a key that nobody has: the key itself. */
static void make(struct entro_cache *cache, uint64_t key, size_t cost)
{
    struct entro_cache_entry *entry;
    enum entro_error error;
    assert_int_equal(entro_cache_claim(cache, key, &entry, &error), ENTRO_CACHE_MINE);
    uint64_t *value = malloc(sizeof *value);
    *value = key;
    entro_cache_give(cache, entry, value, cost);
    assert_int_equal(*(uint64_t *)entro_cache_value(entry), key);
    entro_cache_release(cache, entry);
}

/* Whether the key's value is there; ends the claim if not. */
static bool has(struct entro_cache *cache, uint64_t key)
{
    struct entro_cache_entry *entry;
    enum entro_error error;
    switch (entro_cache_claim(cache, key, &entry, &error)) {
    case ENTRO_CACHE_READY:
        assert_int_equal(*(uint64_t *)entro_cache_value(entry), key);
        entro_cache_release(cache, entry);
        return true;
    case ENTRO_CACHE_MINE:
        assert_true(entro_cache_drop(cache, entry));
        return false;
    case ENTRO_CACHE_FAILED:
        break;
    }
    fail();
    return false;
}

static void a_value_given_is_found_again(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(1000);
    for (uint64_t key = 0; key < 10; key++)
        make(cache, key, 100);
    for (uint64_t key = 0; key < 10; key++)
        assert_true(has(cache, key));
    assert_int_equal(stats.cache_hits, 10);
    assert_int_equal(stats.cache_evictions, 0);
    entro_cache_free(cache);
}

static void the_least_recently_used_value_goes_first(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(300);
    make(cache, 1, 100);
    make(cache, 2, 100);
    make(cache, 3, 100);
    assert_true(has(cache, 1)); /* now 2 is the oldest */
    make(cache, 4, 100);
    assert_true(has(cache, 1));
    assert_true(has(cache, 3));
    assert_true(has(cache, 4));
    assert_false(has(cache, 2));
    assert_int_equal(stats.cache_evictions, 1);
    entro_cache_free(cache);
}

static void a_held_value_survives_any_budget(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(0);
    struct entro_cache_entry *entry;
    enum entro_error error;
    assert_int_equal(entro_cache_claim(cache, 7, &entry, &error), ENTRO_CACHE_MINE);
    uint64_t *value = malloc(sizeof *value);
    *value = 77;
    entro_cache_give(cache, entry, value, 1000);
    make(cache, 8, 1000);
    assert_int_equal(*(uint64_t *)entro_cache_value(entry), 77);
    entro_cache_release(cache, entry);
    assert_false(has(cache, 7));
    entro_cache_free(cache);
}

static bool is_there_when_read(struct entro_cache *cache, uint64_t key, size_t n_bytes)
{
    struct entro_cache_entry *entry;
    enum entro_error error;
    if (entro_cache_claim(cache, key, &entry, &error) == ENTRO_CACHE_READY) {
        entro_cache_release_read(cache, entry, n_bytes);
        return true;
    }
    assert_true(entro_cache_drop(cache, entry));
    return false;
}

static void values_that_have_been_read_whole_go_before_those_that_have_not(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(300);
    make(cache, 1, 100);
    make(cache, 2, 100);
    make(cache, 3, 100);
    assert_true(is_there_when_read(cache, 3, 60));
    assert_true(is_there_when_read(cache, 3, 40)); /* used up, and yet the newest */
    make(cache, 4, 100);
    assert_true(has(cache, 1));
    assert_true(has(cache, 2));
    assert_true(has(cache, 4));
    assert_false(has(cache, 3));
    entro_cache_free(cache);
}

static void only_so_many_used_up_values_are_kept(void **state)
{
    (void)state;
    const size_t cost = ENTRO_CACHE_USED_UP_BYTES / 8;
    struct entro_cache *cache = make_cache(100 * cost);
    for (uint64_t key = 0; key < 20; key++) {
        make(cache, key, cost);
        assert_true(is_there_when_read(cache, key, cost));
    }
    assert_int_equal(stats.cache_evictions, 12);
    for (uint64_t key = 0; key < 20; key++)
        assert_int_equal(is_there_when_read(cache, key, 1), key >= 12);
    entro_cache_free(cache);
}

static void a_failure_is_remembered(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(0);
    struct entro_cache_entry *entry;
    enum entro_error error = ENTRO_OK;
    assert_int_equal(entro_cache_claim(cache, 5, &entry, &error), ENTRO_CACHE_MINE);
    entro_cache_fail(cache, entry, ENTRO_ERROR_CHECKSUM);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(entro_cache_claim(cache, 5, &entry, &error), ENTRO_CACHE_FAILED);
        assert_int_equal(error, ENTRO_ERROR_CHECKSUM);
    }
    assert_false(has(cache, 6));
    entro_cache_free(cache);
}

static void a_lack_of_memory_is_not_remembered(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(0);
    struct entro_cache_entry *entry;
    enum entro_error error;
    assert_int_equal(entro_cache_claim(cache, 5, &entry, &error), ENTRO_CACHE_MINE);
    entro_cache_fail(cache, entry, ENTRO_ERROR_NO_MEMORY);
    make(cache, 5, 10);
    entro_cache_free(cache);
}

static void an_io_error_is_tried_again_after_a_while(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(100);
    struct entro_cache_entry *entry;
    enum entro_error error;
    assert_int_equal(entro_cache_claim(cache, 5, &entry, &error), ENTRO_CACHE_MINE);
    entro_cache_fail(cache, entry, ENTRO_ERROR_IO);
    assert_int_equal(entro_cache_claim(cache, 5, &entry, &error), ENTRO_CACHE_FAILED);
    assert_int_equal(error, ENTRO_ERROR_IO);
    sleep(ENTRO_CACHE_RETRY_SECONDS + 1);
    make(cache, 5, 10);
    assert_true(has(cache, 5));
    entro_cache_free(cache);
}

static void failures_are_remembered_up_to_a_limit(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(0);
    struct entro_cache_entry *entry;
    enum entro_error error;
    for (uint64_t key = 0; key < ENTRO_CACHE_MAX_FAILURES + 10; key++) {
        assert_int_equal(entro_cache_claim(cache, key, &entry, &error), ENTRO_CACHE_MINE);
        entro_cache_fail(cache, entry, ENTRO_ERROR_FORMAT);
    }
    assert_int_equal(entro_cache_claim(cache, 10, &entry, &error), ENTRO_CACHE_FAILED);
    assert_int_equal(entro_cache_claim(cache, 9, &entry, &error), ENTRO_CACHE_MINE);
    assert_true(entro_cache_drop(cache, entry));
    entro_cache_free(cache);
}

struct storm {
    struct entro_cache *cache;
    atomic_uint n_made, n_ready, n_failed;
    atomic_uint making[64]; /* how many threads make this key at this moment */
    bool is_dropped;        /* values are dropped where nobody waits */
};

static void *read_one_key(void *context)
{
    struct storm *storm = context;
    struct entro_cache_entry *entry;
    enum entro_error error;
    switch (entro_cache_claim(storm->cache, 1, &entry, &error)) {
    case ENTRO_CACHE_MINE: {
        atomic_fetch_add(&storm->n_made, 1);
        usleep(200000); /* the others arrive meanwhile */
        uint64_t *value = malloc(sizeof *value);
        *value = 1;
        if (storm->is_dropped) /* a waiting thread makes it impossible */
            assert_false(entro_cache_drop(storm->cache, entry));
        entro_cache_give(storm->cache, entry, value, 8);
        entro_cache_release(storm->cache, entry);
        break;
    }
    case ENTRO_CACHE_READY:
        assert_int_equal(*(uint64_t *)entro_cache_value(entry), 1);
        atomic_fetch_add(&storm->n_ready, 1);
        entro_cache_release(storm->cache, entry);
        break;
    case ENTRO_CACHE_FAILED:
        atomic_fetch_add(&storm->n_failed, 1);
        break;
    }
    return NULL;
}

static void run_threads(unsigned n, void *(*function)(void *), void *context)
{
    pthread_t threads[64];
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, function, context), 0);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void sixty_four_readers_of_one_value_make_it_once(void **state)
{
    (void)state;
    for (int dropped = 0; dropped < 2; dropped++) {
        struct storm storm = {.cache = make_cache(1000), .is_dropped = dropped != 0};
        run_threads(64, read_one_key, &storm);
        assert_int_equal(storm.n_made, 1);
        assert_int_equal(storm.n_ready, 63);
        assert_int_equal(storm.n_failed, 0);
        entro_cache_free(storm.cache);
    }
}

static void *fail_one_key(void *context)
{
    struct storm *storm = context;
    struct entro_cache_entry *entry;
    enum entro_error error = ENTRO_OK;
    if (entro_cache_claim(storm->cache, 1, &entry, &error) == ENTRO_CACHE_MINE) {
        atomic_fetch_add(&storm->n_made, 1);
        usleep(100000);
        entro_cache_fail(storm->cache, entry, ENTRO_ERROR_FORMAT);
    } else {
        assert_int_equal(error, ENTRO_ERROR_FORMAT);
        atomic_fetch_add(&storm->n_failed, 1);
    }
    return NULL;
}

static void those_who_wait_hear_of_a_failure(void **state)
{
    (void)state;
    struct storm storm = {.cache = make_cache(1000)};
    run_threads(32, fail_one_key, &storm);
    assert_int_equal(storm.n_made, 1);
    assert_int_equal(storm.n_failed, 31);
    entro_cache_free(storm.cache);
}

/* Random keys, kept, dropped or failed; each thread checks that it is the only maker. */
static void *work_at_random(void *context)
{
    struct storm *storm = context;
    static atomic_uint seeds;
    uint32_t random = atomic_fetch_add(&seeds, 1) * 7919U + 1;
    for (int i = 0; i < 20000; i++) {
        random = random * 1664525U + 1013904223U;
        uint64_t key = random >> 26;
        struct entro_cache_entry *entry;
        enum entro_error error;
        switch (entro_cache_claim(storm->cache, key, &entry, &error)) {
        case ENTRO_CACHE_READY:
            assert_int_equal(*(uint64_t *)entro_cache_value(entry), key);
            entro_cache_release(storm->cache, entry);
            break;
        case ENTRO_CACHE_MINE:
            assert_int_equal(atomic_fetch_add(&storm->making[key], 1), 0);
            atomic_fetch_sub(&storm->making[key], 1);
            if (random >> 8 & 1 && entro_cache_drop(storm->cache, entry))
                break;
            if ((random >> 9 & 31) == 0) {
                entro_cache_fail(storm->cache, entry, ENTRO_ERROR_NO_MEMORY);
                break;
            }
            uint64_t *value = malloc(sizeof *value);
            *value = key;
            entro_cache_give(storm->cache, entry, value, 100);
            entro_cache_release(storm->cache, entry);
            break;
        case ENTRO_CACHE_FAILED:
            assert_int_equal(error, ENTRO_ERROR_NO_MEMORY);
            break;
        }
    }
    return NULL;
}

static void random_use_by_many_threads_keeps_the_rules(void **state)
{
    (void)state;
    struct storm storm = {.cache = make_cache(2000)};
    run_threads(8, work_at_random, &storm);
    entro_cache_free(storm.cache);
}

static void a_part_is_best_had_alone_once(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(1000);
    struct entro_cache_entry *entry;
    enum entro_error error;
    assert_true(entro_cache_touch(cache, 0, 10, 100)); /* 0 is a key like any other */
    assert_false(entro_cache_touch(cache, 0, 10, 100));
    assert_true(entro_cache_touch(cache, 7, 10, 100));
    assert_false(entro_cache_touch(cache, 7, 10, 100));
    /* There, being made, or failed. */
    make(cache, 7, 100);
    assert_false(entro_cache_touch(cache, 7, 10, 100));
    assert_int_equal(entro_cache_claim(cache, 8, &entry, &error), ENTRO_CACHE_MINE);
    assert_false(entro_cache_touch(cache, 8, 10, 100));
    entro_cache_fail(cache, entry, ENTRO_ERROR_CHECKSUM);
    assert_false(entro_cache_touch(cache, 8, 10, 100));
    assert_int_equal(entro_cache_claim(cache, 8, &entry, &error), ENTRO_CACHE_FAILED);
    entro_cache_free(cache);
}

static void a_second_touch_counts_lately_or_while_there_is_room(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(1000);
    for (uint64_t key = 1; key <= 5 * ENTRO_CACHE_LATELY; key++)
        assert_true(entro_cache_touch(cache, key, 10, 500));
    for (uint64_t key = 1; key <= 5 * ENTRO_CACHE_LATELY; key++)
        assert_false(entro_cache_touch(cache, key, 10, 500)); /* there is room */
    make(cache, 1000, 501);
    for (uint64_t key = 4 * ENTRO_CACHE_LATELY; key <= 5 * ENTRO_CACHE_LATELY; key++)
        assert_false(entro_cache_touch(cache, key, 10, 500)); /* lately */
    for (uint64_t key = 1; key < 4 * ENTRO_CACHE_LATELY; key++)
        assert_true(entro_cache_touch(cache, key, 10, 500)); /* long ago */
    entro_cache_free(cache);
}

static void a_value_made_and_pushed_out_is_touched_anew(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(100);
    assert_true(entro_cache_touch(cache, 50, 10, 100));
    make(cache, 50, 100);
    make(cache, 51, 100); /* pushes 50 out */
    assert_true(entro_cache_touch(cache, 50, 10, 100));
    assert_false(entro_cache_touch(cache, 50, 10, 100));
    entro_cache_free(cache);
}

static void a_value_that_could_not_be_kept_is_always_best_had_in_parts(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(99);
    for (unsigned i = 0; i < 3; i++)
        assert_true(entro_cache_touch(cache, 5, 10, 100));
    entro_cache_free(cache);
}

/* A value read in parts that all add up to it is used up, though the first was had alone. */
static void a_part_had_alone_counts_as_read(void **state)
{
    (void)state;
    struct entro_cache *cache = make_cache(ENTRO_CACHE_USED_UP_BYTES + 200);
    struct entro_cache_entry *entry;
    enum entro_error error;
    assert_true(entro_cache_touch(cache, 1, 60, 100));
    assert_int_equal(entro_cache_claim(cache, 1, &entry, &error), ENTRO_CACHE_MINE);
    entro_cache_give(cache, entry, calloc(1, sizeof(uint64_t)), 100);
    entro_cache_release_read(cache, entry, 40);
    make(cache, 2, ENTRO_CACHE_USED_UP_BYTES + 50);
    make(cache, 3, 100); /* beyond the budget: what is used up goes before what is older than this */
    assert_false(has(cache, 1));
    assert_true(has(cache, 2));
    entro_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_given_is_found_again),
        cmocka_unit_test(the_least_recently_used_value_goes_first),
        cmocka_unit_test(a_held_value_survives_any_budget),
        cmocka_unit_test(values_that_have_been_read_whole_go_before_those_that_have_not),
        cmocka_unit_test(only_so_many_used_up_values_are_kept),
        cmocka_unit_test(a_failure_is_remembered),
        cmocka_unit_test(a_lack_of_memory_is_not_remembered),
        cmocka_unit_test(an_io_error_is_tried_again_after_a_while),
        cmocka_unit_test(failures_are_remembered_up_to_a_limit),
        cmocka_unit_test(sixty_four_readers_of_one_value_make_it_once),
        cmocka_unit_test(those_who_wait_hear_of_a_failure),
        cmocka_unit_test(random_use_by_many_threads_keeps_the_rules),
        cmocka_unit_test(a_part_is_best_had_alone_once),
        cmocka_unit_test(a_second_touch_counts_lately_or_while_there_is_room),
        cmocka_unit_test(a_value_made_and_pushed_out_is_touched_anew),
        cmocka_unit_test(a_value_that_could_not_be_kept_is_always_best_had_in_parts),
        cmocka_unit_test(a_part_had_alone_counts_as_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
