/*
 * A pass over a source: items run by all threads of a pool, each of which may fail.
 */
#ifndef ENTRO_PASS_H
#define ENTRO_PASS_H

#include "codec/error.h"
#include "codec/pool.h"

/* Runs item `item` on worker `worker`, as in pool.h. */
typedef enum entro_error entro_pass_function(void *context, size_t item, unsigned worker,
                                             struct entro_message *message);

/*
 * Runs all items, until one fails: then those that have begun end, and no more are run. The error told is
 * that of the first item (by number) of those that failed.
 */
enum entro_error entro_pass_run(struct entro_pool *pool, size_t n_items, entro_pass_function *function,
                                void *context, struct entro_message *message);

#endif
