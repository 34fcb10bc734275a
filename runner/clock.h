/* The clock that durations are taken from. */
#ifndef ENTRO_RUNNER_CLOCK_H
#define ENTRO_RUNNER_CLOCK_H

#include <time.h>

static inline double entro_now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif
