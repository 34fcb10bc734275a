/* One queue of calls for help under one mutex, which is held for a few instructions only; see workers.h. */
#include "fs/workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define MAX_THREADS 1024

/* Looks at a helper that is about to be done before sleeping: some 10 microseconds, less than a sleep costs.
 */
#define N_LOOKS 300

struct entro_workers {
    bool (*background)(void *context);
    void *context;
    unsigned n_threads; /* started */
    pthread_t *threads;

    pthread_mutex_t mutex; /* protects what follows, and the calls in the queue */
    pthread_cond_t work;   /* a call in the queue, background work, or the end */
    pthread_cond_t done;   /* a helper has left a call */
    struct entro_help *first, *last;
    unsigned n_asleep;
    unsigned long n_pokes;
    bool has_background;
    bool quit;
};

static void unqueue(struct entro_workers *workers, struct entro_help *help)
{
    if (!help->is_queued)
        return;
    *(help->previous != NULL ? &help->previous->next : &workers->first) = help->next;
    *(help->next != NULL ? &help->next->previous : &workers->last) = help->previous;
    help->is_queued = false;
}

/* With the mutex held, as on return. */
static void help_first(struct entro_workers *workers)
{
    struct entro_help *help = workers->first;
    atomic_fetch_add(&help->n_inside, 1);
    if (--help->n_wanted == 0)
        unqueue(workers, help);
    pthread_mutex_unlock(&workers->mutex);
    help->function(help->context);
    pthread_mutex_lock(&workers->mutex);
    if (atomic_fetch_sub(&help->n_inside, 1) == 1)
        pthread_cond_broadcast(&workers->done);
}

/* The same. */
static void do_background(struct entro_workers *workers)
{
    unsigned long n_pokes = workers->n_pokes;
    pthread_mutex_unlock(&workers->mutex);
    bool was_some = workers->background(workers->context);
    pthread_mutex_lock(&workers->mutex);
    if (!was_some && workers->n_pokes == n_pokes)
        workers->has_background = false;
}

static void *worker_main(void *argument)
{
    struct entro_workers *workers = argument;
    pthread_mutex_lock(&workers->mutex);
    while (!workers->quit) {
        if (workers->first != NULL) {
            help_first(workers);
        } else if (workers->has_background) {
            do_background(workers);
        } else {
            workers->n_asleep++;
            pthread_cond_wait(&workers->work, &workers->mutex);
            workers->n_asleep--;
        }
    }
    pthread_mutex_unlock(&workers->mutex);
    return NULL;
}

enum entro_error entro_workers_create(struct entro_workers **out, unsigned n_threads,
                                      bool (*background)(void *context), void *context)
{
    *out = NULL;
    if (n_threads == 0 || n_threads > MAX_THREADS)
        return ENTRO_ERROR_ARGUMENT;
    struct entro_workers *workers = calloc(1, sizeof *workers);
    if (workers == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    workers->background = background;
    workers->context = context;
    pthread_mutex_init(&workers->mutex, NULL);
    pthread_cond_init(&workers->work, NULL);
    pthread_cond_init(&workers->done, NULL);
    workers->threads = calloc(n_threads, sizeof *workers->threads);
    enum entro_error error = workers->threads == NULL ? ENTRO_ERROR_NO_MEMORY : ENTRO_OK;
    sigset_t most, before;
    sigfillset(&most);
    sigdelset(&most, SIGBUS); /* faults belong to the thread that causes them */
    sigdelset(&most, SIGSEGV);
    sigdelset(&most, SIGFPE);
    sigdelset(&most, SIGILL);
    pthread_sigmask(SIG_BLOCK, &most, &before);
    while (error == ENTRO_OK && workers->n_threads < n_threads) {
        if (pthread_create(&workers->threads[workers->n_threads], NULL, worker_main, workers) != 0)
            error = ENTRO_ERROR_IO;
        else
            workers->n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != ENTRO_OK) {
        entro_workers_free(workers);
        return error;
    }
    *out = workers;
    return ENTRO_OK;
}

void entro_workers_free(struct entro_workers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->mutex);
    workers->quit = true;
    pthread_cond_broadcast(&workers->work);
    pthread_mutex_unlock(&workers->mutex);
    for (unsigned i = 0; i < workers->n_threads; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_cond_destroy(&workers->done);
    pthread_cond_destroy(&workers->work);
    pthread_mutex_destroy(&workers->mutex);
    free(workers->threads);
    free(workers);
}

void entro_workers_ask(struct entro_workers *workers, struct entro_help *help, unsigned n_wanted,
                       void (*function)(void *context), void *context)
{
    *help = (struct entro_help){
        .function = function, .context = context, .n_wanted = n_wanted, .is_queued = true};
    pthread_mutex_lock(&workers->mutex);
    help->previous = workers->last;
    *(workers->last != NULL ? &workers->last->next : &workers->first) = help;
    workers->last = help;
    unsigned n_asleep = workers->n_asleep;
    pthread_mutex_unlock(&workers->mutex);
    for (unsigned i = 0; i < n_wanted && i < n_asleep; i++) /* those awake will look before they sleep */
        pthread_cond_signal(&workers->work);
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

void entro_workers_finish(struct entro_workers *workers, struct entro_help *help)
{
    pthread_mutex_lock(&workers->mutex);
    unqueue(workers, help);
    pthread_mutex_unlock(&workers->mutex);
    for (unsigned i = 0; i < N_LOOKS && atomic_load(&help->n_inside) > 0; i++)
        relax();
    pthread_mutex_lock(&workers->mutex); /* also: the last helper has let go of `help` */
    while (atomic_load(&help->n_inside) > 0)
        pthread_cond_wait(&workers->done, &workers->mutex);
    pthread_mutex_unlock(&workers->mutex);
}

void entro_workers_poke(struct entro_workers *workers)
{
    pthread_mutex_lock(&workers->mutex);
    workers->n_pokes++;
    workers->has_background = workers->background != NULL;
    bool is_to_wake = workers->n_asleep > 0;
    pthread_mutex_unlock(&workers->mutex);
    if (is_to_wake)
        pthread_cond_signal(&workers->work);
}
