/* Helpers come or are called off, never in between; background work is done when nobody asks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#include "fs/workers.h"

static struct entro_workers *create(unsigned n, bool (*background)(void *), void *context)
{
    struct entro_workers *workers;
    assert_int_equal(entro_workers_create(&workers, n, background, context), ENTRO_OK);
    return workers;
}

struct loop {
    atomic_uint next, n_helpers;
    atomic_uint done[500];
};

static void run_items(void *context)
{
    struct loop *loop = context;
    unsigned i;
    while ((i = atomic_fetch_add(&loop->next, 1)) < 500)
        atomic_fetch_add(&loop->done[i], 1);
}

static void help(void *context)
{
    struct loop *loop = context;
    atomic_fetch_add(&loop->n_helpers, 1);
    run_items(loop);
}

static void run_loop(struct entro_workers *workers, unsigned n_wanted)
{
    struct loop loop = {0};
    struct entro_help call;
    entro_workers_ask(workers, &call, n_wanted, help, &loop);
    run_items(&loop);
    entro_workers_finish(workers, &call);
    unsigned n_helpers = atomic_load(&loop.n_helpers);
    assert_true(n_helpers <= n_wanted);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(atomic_load(&loop.done[i]), 1);
}

static void every_item_is_done_once_however_many_help(void **state)
{
    (void)state;
    struct entro_workers *workers = create(3, NULL, NULL);
    for (unsigned i = 0; i < 2000; i++)
        run_loop(workers, 1 + i % 5);
    entro_workers_free(workers);
}

static void *run_many_loops(void *workers)
{
    for (unsigned i = 0; i < 500; i++)
        run_loop(workers, 1 + i % 3);
    return NULL;
}

static void several_threads_may_ask_at_once(void **state)
{
    (void)state;
    struct entro_workers *workers = create(2, NULL, NULL);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_many_loops, workers), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    entro_workers_free(workers);
}

static bool take_one(void *context)
{
    atomic_int *left = context;
    int before = atomic_load(left);
    while (before > 0)
        if (atomic_compare_exchange_weak(left, &before, before - 1))
            return true;
    return false;
}

static void wait_for_zero(atomic_int *left)
{
    for (int i = 0; i < 5000 && atomic_load(left) > 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(atomic_load(left), 0);
}

static void background_work_is_done_after_each_poke(void **state)
{
    (void)state;
    atomic_int left = 0;
    struct entro_workers *workers = create(2, take_one, &left);
    for (int i = 0; i < 200; i++) {
        atomic_store(&left, 1 + i % 7);
        entro_workers_poke(workers);
        if (i % 3 == 0)
            run_loop(workers, 2);
        wait_for_zero(&left);
    }
    entro_workers_free(workers);
}

static bool never_ends(void *context)
{
    atomic_fetch_add((atomic_int *)context, 1);
    return true;
}

static void the_end_does_not_wait_for_background_work_that_has_none(void **state)
{
    (void)state;
    atomic_int n = 0;
    struct entro_workers *workers = create(2, never_ends, &n);
    entro_workers_poke(workers);
    while (atomic_load(&n) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    entro_workers_free(workers);
    int then = atomic_load(&n);
    assert_int_equal(atomic_load(&n), then);
}

static void impossible_numbers_of_threads_are_refused(void **state)
{
    (void)state;
    struct entro_workers *workers;
    assert_int_equal(entro_workers_create(&workers, 0, NULL, NULL), ENTRO_ERROR_ARGUMENT);
    assert_int_equal(entro_workers_create(&workers, 100000, NULL, NULL), ENTRO_ERROR_ARGUMENT);
    entro_workers_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_is_done_once_however_many_help),
        cmocka_unit_test(several_threads_may_ask_at_once),
        cmocka_unit_test(background_work_is_done_after_each_poke),
        cmocka_unit_test(the_end_does_not_wait_for_background_work_that_has_none),
        cmocka_unit_test(impossible_numbers_of_threads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
