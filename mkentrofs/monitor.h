/*
 * What a build tells the outside while it runs, and how the outside stops it. The program decides what
 * becomes of notes and progress.
 */
#ifndef ENTRO_MONITOR_H
#define ENTRO_MONITOR_H

#include <stdatomic.h>
#include <stdbool.h>

#include "codec/error.h"
#include "mkentrofs/progress.h"

struct entro_monitor {
    const atomic_bool *cancelled;    /* set by a signal handler, say; NULL: never */
    struct entro_progress *progress; /* NULL: nobody looks */
    void *context;
    /* A note (something skipped) or a warning (something lost): one line without newline. NULL: unheard.
     * Called by the building thread only. */
    void (*note)(void *context, bool is_warning, const char *text);
};

/* Thread-safe. */
bool entro_monitor_cancelled(const struct entro_monitor *monitor);

void entro_monitor_note(const struct entro_monitor *monitor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void entro_monitor_warn(const struct entro_monitor *monitor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
