/* The loop pool: every item once, by a worker of its own number, loop after loop. */
#include "codec/pool.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_ITEMS   1000
#define MAX_WORKERS 16

struct tally {
    atomic_uint calls[MAX_ITEMS];
    atomic_uint inside[MAX_WORKERS]; /* calls of a worker that are under way */
    atomic_uint wrong;
    unsigned n_workers;
};

static void count_item(void *context, size_t item, unsigned worker)
{
    struct tally *tally = context;
    if (item >= MAX_ITEMS || worker >= tally->n_workers) {
        atomic_fetch_add(&tally->wrong, 1);
        return;
    }
    if (atomic_fetch_add(&tally->inside[worker], 1) != 0)
        atomic_fetch_add(&tally->wrong, 1);
    atomic_fetch_add(&tally->calls[item], 1);
    atomic_fetch_sub(&tally->inside[worker], 1);
}

static void every_item_runs_once(void **state)
{
    (void)state;
    static const unsigned threads[] = {1, 2, 3, MAX_WORKERS};
    static const size_t numbers[] = {0, 1, 2, 5, 64, MAX_ITEMS};
    struct tally *tally = malloc(sizeof *tally);
    assert_non_null(tally);
    for (unsigned t = 0; t < sizeof threads / sizeof threads[0]; t++) {
        struct entro_pool *pool = NULL;
        assert_int_equal(entro_pool_create(&pool, threads[t]), ENTRO_OK);
        assert_int_equal(entro_pool_threads(pool), threads[t]);
        for (unsigned round = 0; round < 200; round++) {
            size_t n_items = numbers[round % (sizeof numbers / sizeof numbers[0])];
            memset(tally, 0, sizeof *tally);
            tally->n_workers = threads[t];
            entro_parallel_for(pool, n_items, count_item, tally);
            /* All calls have returned when the loop has. */
            assert_int_equal(atomic_load(&tally->wrong), 0);
            for (size_t item = 0; item < MAX_ITEMS; item++)
                assert_int_equal(atomic_load(&tally->calls[item]), item < n_items ? 1 : 0);
        }
        entro_pool_free(pool);
    }
    free(tally);
}

struct meeting {
    pthread_barrier_t barrier;
    atomic_uint workers_seen;
};

static void meet(void *context, size_t item, unsigned worker)
{
    struct meeting *meeting = context;
    (void)item;
    pthread_barrier_wait(&meeting->barrier);
    atomic_fetch_or(&meeting->workers_seen, 1u << worker);
}

/* Items that wait for each other end only where each has a thread of its own, the caller among them. */
static void as_many_items_run_at_once_as_there_are_threads(void **state)
{
    (void)state;
    struct entro_pool *pool = NULL;
    assert_int_equal(entro_pool_create(&pool, 4), ENTRO_OK);
    struct meeting meeting = {.workers_seen = 0};
    assert_int_equal(pthread_barrier_init(&meeting.barrier, NULL, 4), 0);
    entro_parallel_for(pool, 4, meet, &meeting);
    assert_int_equal(atomic_load(&meeting.workers_seen), 0xf);
    pthread_barrier_destroy(&meeting.barrier);
    entro_pool_free(pool);
}

static void note_thread(void *context, size_t item, unsigned worker)
{
    pthread_t *threads = context;
    (void)item;
    if (worker == 0)
        threads[0] = pthread_self();
}

static void a_pool_of_one_runs_in_the_caller(void **state)
{
    (void)state;
    struct entro_pool *pool = NULL;
    pthread_t thread;
    memset(&thread, 0, sizeof thread);
    assert_int_equal(entro_pool_create(&pool, 1), ENTRO_OK);
    entro_parallel_for(pool, 3, note_thread, &thread);
    assert_true(pthread_equal(thread, pthread_self()));
    entro_pool_free(pool);
}

struct masks {
    pthread_barrier_t barrier;
    atomic_uint n_blocked;
};

static void look_at_mask(void *context, size_t item, unsigned worker)
{
    struct masks *masks = context;
    (void)item;
    sigset_t set;
    pthread_barrier_wait(&masks->barrier);
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (worker != 0 && sigismember(&set, SIGINT) == 1 && sigismember(&set, SIGTERM) == 1)
        atomic_fetch_add(&masks->n_blocked, 1);
}

static void workers_block_signals_and_the_caller_keeps_its_own_mask(void **state)
{
    (void)state;
    struct entro_pool *pool = NULL;
    struct masks masks = {.n_blocked = 0};
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(entro_pool_create(&pool, 3), ENTRO_OK);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&before, SIGINT), sigismember(&after, SIGINT));
    assert_int_equal(pthread_barrier_init(&masks.barrier, NULL, 3), 0);
    entro_parallel_for(pool, 3, look_at_mask, &masks);
    assert_int_equal(atomic_load(&masks.n_blocked), 2);
    pthread_barrier_destroy(&masks.barrier);
    entro_pool_free(pool);
}

static void absurd_thread_counts_are_refused(void **state)
{
    (void)state;
    struct entro_pool *pool = NULL;
    assert_int_equal(entro_pool_create(&pool, 0), ENTRO_ERROR_ARGUMENT);
    assert_null(pool);
    assert_int_equal(entro_pool_create(&pool, 1025), ENTRO_ERROR_ARGUMENT);
    assert_null(pool);
    entro_pool_free(NULL);
}

static void the_default_is_at_least_one_thread(void **state)
{
    (void)state;
    assert_true(entro_pool_default_threads() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_runs_once),
        cmocka_unit_test(as_many_items_run_at_once_as_there_are_threads),
        cmocka_unit_test(a_pool_of_one_runs_in_the_caller),
        cmocka_unit_test(workers_block_signals_and_the_caller_keeps_its_own_mask),
        cmocka_unit_test(absurd_thread_counts_are_refused),
        cmocka_unit_test(the_default_is_at_least_one_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
