/*
 * A sample of a plane: runs of its bytes, spread evenly, that are kept while the plane goes by in chunks. A
 * small plane is its own sample. Internal to the writer.
 */
#ifndef ENTRO_WRITER_SAMPLE_H
#define ENTRO_WRITER_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#define ENTRO_SAMPLE_RUNS      16
#define ENTRO_SAMPLE_RUN_BYTES ((size_t)16 << 10)
#define ENTRO_SAMPLE_MIN_RUN_BYTES                                                                           \
    ((size_t)4 << 10) /* of a plane of 1 MiB and less; longer ones in proportion */

struct entro_sample {
    size_t run_bytes[ENTRO_SAMPLE_RUNS]; /* what each run has: less than a whole one at the end of a chunk */
    uint8_t bytes[ENTRO_SAMPLE_RUNS * ENTRO_SAMPLE_RUN_BYTES]; /* the runs, each with its room */
};

/*
 * Takes from the n bytes at `offset` of a plane of plane_bytes what belongs to the sample, which was zeroed
 * in the beginning. Parts of a plane may come in any order, and from several threads at once: each run begins
 * in one part.
 */
void entro_sample_take(struct entro_sample *sample, uint64_t plane_bytes, uint64_t offset,
                       const uint8_t *bytes, size_t n);

/* Moves the runs together, once all are there; returns the bytes of all, which are the first of `bytes`. */
size_t entro_sample_join(struct entro_sample *sample);

#endif
