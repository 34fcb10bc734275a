/*
 * How long work tells how far it is, and hears that it is to stop.
 */
#ifndef ENTRO_FS_PROGRESS_H
#define ENTRO_FS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct entro_progress {
    /* Called now and then by the thread that does the work; false cancels it. NULL: nobody is interested. */
    bool (*step)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    void *context;
};

static inline bool entro_progress_step(const struct entro_progress *progress, uint64_t done_bytes,
                                       uint64_t total_bytes)
{
    return progress->step == NULL || progress->step(progress->context, done_bytes, total_bytes);
}

#endif
