/* Where the runs of a sample lie; see writer_sample.h. */
#include "codec/writer_sample.h"

#include <string.h>

/* Where a run begins. The runs of a plane that is smaller than they are together make up all of it. */
static uint64_t start_of_run(uint64_t plane_bytes, unsigned run)
{
    return plane_bytes / ENTRO_SAMPLE_RUNS * run + plane_bytes % ENTRO_SAMPLE_RUNS * run / ENTRO_SAMPLE_RUNS;
}

void entro_sample_take(struct entro_sample *sample, uint64_t plane_bytes, uint64_t offset,
                       const uint8_t *bytes, size_t n)
{
    for (unsigned run = 0; run < ENTRO_SAMPLE_RUNS; run++) {
        uint64_t start = start_of_run(plane_bytes, run), end = start_of_run(plane_bytes, run + 1);
        if (start < offset || start - offset >= n)
            continue;
        uint64_t wanted = end - start < ENTRO_SAMPLE_RUN_BYTES ? end - start : ENTRO_SAMPLE_RUN_BYTES;
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
