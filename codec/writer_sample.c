/* Where the runs of a sample lie; see writer_sample.h. */
#include "codec/writer_sample.h"

#include <string.h>

/* Where a run begins. The runs of a plane that is smaller than they are together make up all of it. */
static uint64_t start_of_run(uint64_t plane_bytes, unsigned run)
{
    return plane_bytes / ENTRO_SAMPLE_RUNS * run + plane_bytes % ENTRO_SAMPLE_RUNS * run / ENTRO_SAMPLE_RUNS;
}

/* A sixteenth of the plane in all, within limits: what it costs to look at it stays small beside the plane.
 */
static uint64_t size_of_runs(uint64_t plane_bytes)
{
    uint64_t run_bytes = plane_bytes / ENTRO_SAMPLE_RUNS / 16;
    if (run_bytes < ENTRO_SAMPLE_MIN_RUN_BYTES)
        return ENTRO_SAMPLE_MIN_RUN_BYTES;
    return run_bytes < ENTRO_SAMPLE_RUN_BYTES ? run_bytes : ENTRO_SAMPLE_RUN_BYTES;
}

void entro_sample_take(struct entro_sample *sample, uint64_t plane_bytes, uint64_t offset,
                       const uint8_t *bytes, size_t n)
{
    const uint64_t run_bytes = size_of_runs(plane_bytes);
    for (unsigned run = 0; run < ENTRO_SAMPLE_RUNS; run++) {
        uint64_t start = start_of_run(plane_bytes, run), end = start_of_run(plane_bytes, run + 1);
        if (start < offset || start - offset >= n)
            continue;
        uint64_t wanted = end - start < run_bytes ? end - start : run_bytes;
        uint64_t there = n - (start - offset);
        sample->run_bytes[run] = (size_t)(wanted < there ? wanted : there);
        memcpy(sample->bytes + run * ENTRO_SAMPLE_RUN_BYTES, bytes + (start - offset),
               sample->run_bytes[run]);
    }
}

size_t entro_sample_join(struct entro_sample *sample)
{
    size_t n = 0;
    for (unsigned run = 0; run < ENTRO_SAMPLE_RUNS; run++) {
        memmove(sample->bytes + n, sample->bytes + run * ENTRO_SAMPLE_RUN_BYTES, sample->run_bytes[run]);
        n += sample->run_bytes[run];
    }
    return n;
}
