/*
 * Threads that help: whoever has a loop to run asks for helpers, takes part itself, and never waits for a
 * helper that has not come yet. When nobody asks they do the background work, if there is any. All functions
 * are thread-safe but create and free.
 */
#ifndef ENTRO_FS_WORKERS_H
#define ENTRO_FS_WORKERS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "codec/error.h"

struct entro_workers;

/* A call for help. The caller's, from ask to finish; its fields are the workers'. */
struct entro_help {
    void (*function)(void *context);
    void *context;
    unsigned n_wanted;
    atomic_uint n_inside;
    bool is_queued;
    struct entro_help *previous, *next;
};

/*
 * background(context), or NULL, does one piece of work and says whether there was any; called by several
 * threads at once after a poke until there is none. ENTRO_ERROR_ARGUMENT (no thread or more than 1024),
 * _NO_MEMORY, _IO. In the threads all signals but those of faults are blocked.
 */
enum entro_error entro_workers_create(struct entro_workers **out, unsigned n_threads,
                                      bool (*background)(void *context), void *context);
/* Nobody asks or pokes any more. Ends after the pieces that are being worked on. NULL is allowed. */
void entro_workers_free(struct entro_workers *workers);

/* Up to n_wanted (> 0) threads will call function(context), each once. */
void entro_workers_ask(struct entro_workers *workers, struct entro_help *help, unsigned n_wanted,
                       void (*function)(void *context), void *context);

/* Calls off those who have not come, waits for those inside. */
void entro_workers_finish(struct entro_workers *workers, struct entro_help *help);

/* There may be background work. */
void entro_workers_poke(struct entro_workers *workers);

#endif
