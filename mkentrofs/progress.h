/*
 * A progress bar for a terminal. Counts work in bytes read; shows it as a share of the source's size.
 */
#ifndef ENTRO_PROGRESS_H
#define ENTRO_PROGRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "mkentrofs/figures.h"

struct entro_progress {
    FILE *stream;           /* a terminal, or NULL: counts and shows nothing */
    uint64_t source_bytes;  /* what the user is told of */
    uint64_t total_bytes;   /* work in all: some bytes are read more than once */
    uint64_t settled_bytes; /* work of what is complete; the building thread's */
    double start_seconds;
    atomic_uint_fast64_t done_bytes;
    atomic_uint_fast64_t next_draw_ms; /* since start */
    bool drawn;                        /* protected by `lock`, as the terminal is */
    pthread_mutex_t lock;
};

/* Seconds of a clock that only goes forward. */
double entro_seconds(void);

void entro_progress_init(struct entro_progress *progress, FILE *stream);
void entro_progress_destroy(struct entro_progress *progress);

/* Before work starts. */
void entro_progress_plan(struct entro_progress *progress, uint64_t source_bytes, uint64_t total_bytes);

/* Thread-safe; draws at most ten times a second. NULL is allowed. */
void entro_progress_add(struct entro_progress *progress, uint64_t n_bytes);

/* An item whose work was planned as n_bytes is complete, however much of it was really needed. By the
 * building thread. NULL is allowed. */
void entro_progress_settle(struct entro_progress *progress, uint64_t n_bytes);

/* Takes the bar off the screen, so that a line can be printed. Thread-safe. */
void entro_progress_clear(struct entro_progress *progress);

#endif
