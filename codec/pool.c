/*
 * The loop pool; see pool.h. Between loops workers look for the next one for a few microseconds, for waking
 * one up costs about as much as a loop over a small matrix takes; then they sleep on a condition.
 */
#include "codec/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#define MAX_THREADS 1024

/* Looks before sleep, about 30 us; none where threads outnumber the processors and would keep one another
 * from them. */
#define N_LOOKS 1000

struct worker {
    struct entro_pool *pool;
    pthread_t thread;
    unsigned number;
};

struct entro_pool {
    unsigned n_threads;
    unsigned n_started; /* threads that run: worker 1..n_started */
    unsigned n_looks;   /* N_LOOKS or 0 */
    struct worker *workers;

    pthread_mutex_t mutex; /* protects what follows up to next_item */
    pthread_cond_t work;   /* a new loop, or the end */
    pthread_cond_t done;   /* a worker left the loop */
    atomic_ulong loop;     /* number of the current loop; written under the mutex, looked at without */
    atomic_uint n_busy;    /* workers that have not left the current loop; the same */
    bool quit;
    entro_pool_function *function;
    void *context;
    size_t n_items;

    atomic_size_t next_item; /* taken by whoever is free */
};

unsigned entro_pool_default_threads(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n_processors = CPU_COUNT(&set);
    return n_processors < 1 ? 1 : (unsigned)n_processors;
}

static void run_items(struct entro_pool *pool, unsigned worker)
{
    for (;;) {
        size_t item = atomic_fetch_add_explicit(&pool->next_item, 1, memory_order_relaxed);
        if (item >= pool->n_items)
            return;
        pool->function(pool->context, item, worker);
    }
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static void *worker_main(void *argument)
{
    struct worker *self = argument;
    struct entro_pool *pool = self->pool;
    unsigned long seen = 0;

    for (;;) {
        for (unsigned i = 0; i < pool->n_looks && pool->loop == seen; i++)
            relax();
        pthread_mutex_lock(&pool->mutex);
        while (pool->loop == seen && !pool->quit)
            pthread_cond_wait(&pool->work, &pool->mutex);
        if (pool->quit)
            break;
        seen = pool->loop;
        pthread_mutex_unlock(&pool->mutex);
        run_items(pool, self->number);
        pthread_mutex_lock(&pool->mutex);
        if (--pool->n_busy == 0)
            pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static enum entro_error start_workers(struct entro_pool *pool)
{
    enum entro_error error = ENTRO_OK;
    sigset_t all, before;
    sigfillset(&all);
    /* Faults belong to the thread that causes them: a blocked one would kill the process without its handler.
     */
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (unsigned i = 1; i < pool->n_threads; i++) {
        struct worker *worker = &pool->workers[i - 1];
        *worker = (struct worker){.pool = pool, .number = i};
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            error = ENTRO_ERROR_IO;
            break;
        }
        pool->n_started = i;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

enum entro_error entro_pool_create(struct entro_pool **out, unsigned n_threads)
{
    *out = NULL;
    if (n_threads == 0 || n_threads > MAX_THREADS)
        return ENTRO_ERROR_ARGUMENT;
    struct entro_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    pool->n_threads = n_threads;
    pool->n_looks = n_threads <= entro_pool_default_threads() ? N_LOOKS : 0;
    pool->workers = calloc(n_threads, sizeof *pool->workers);
    if (pool->workers == NULL) {
        free(pool);
        return ENTRO_ERROR_NO_MEMORY;
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    atomic_init(&pool->next_item, 0);
    enum entro_error error = start_workers(pool);
    if (error != ENTRO_OK) {
        entro_pool_free(pool);
        return error;
    }
    *out = pool;
    return ENTRO_OK;
}

void entro_pool_free(struct entro_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->quit = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}

unsigned entro_pool_threads(const struct entro_pool *pool)
{
    return pool->n_threads;
}

void entro_parallel_for(struct entro_pool *pool, size_t n_items, entro_pool_function *function, void *context)
{
    if (n_items <= 1 || pool->n_started == 0) {
        for (size_t i = 0; i < n_items; i++)
            function(context, i, 0);
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->function = function;
    pool->context = context;
    pool->n_items = n_items;
    atomic_store_explicit(&pool->next_item, 0, memory_order_relaxed);
    pool->n_busy = pool->n_started;
    pool->loop++;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);

    run_items(pool, 0);

    for (unsigned i = 0; i < pool->n_looks && pool->n_busy > 0; i++)
        relax();
    pthread_mutex_lock(&pool->mutex);
    while (pool->n_busy > 0)
        pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
