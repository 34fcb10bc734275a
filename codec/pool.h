/*
 * A fixed set of threads that run the items of one loop at a time.
 */
#ifndef ENTRO_POOL_H
#define ENTRO_POOL_H

#include <stddef.h>

#include "codec/error.h"

struct entro_pool;

/* Runs item `item` on worker `worker` (0 is the caller of entro_parallel_for). */
typedef void entro_pool_function(void *context, size_t item, unsigned worker);

/* Processors that this process may run on, at least 1. */
unsigned entro_pool_default_threads(void);

/*
 * n_threads counts the caller: n_threads - 1 threads are started. ENTRO_ERROR_ARGUMENT (0 or more than 1024),
 * _NO_MEMORY, _IO (no more threads). All signals but those of faults (SIGBUS, SIGSEGV, SIGFPE, SIGILL) are
 * blocked in the threads, so that the program's handlers run in its own.
 */
enum entro_error entro_pool_create(struct entro_pool **out, unsigned n_threads);
void entro_pool_free(struct entro_pool *pool);
unsigned entro_pool_threads(const struct entro_pool *pool);

/*
 * Calls function(context, i, worker) for each i in 0..n_items-1, each once, in any order, several at a time;
 * the caller takes part and returns when all are done. One loop at a time: only the thread that owns the pool
 * calls this. Not reentrant.
 */
void entro_parallel_for(struct entro_pool *pool, size_t n_items, entro_pool_function *function,
                        void *context);

#endif
