/*
 * A set cut into blocks, and what a contender makes of them: the stored blocks one behind another, codebooks,
 * decoding plans.
 */
#ifndef ENTRO_BENCH_CODED_H
#define ENTRO_BENCH_CODED_H

#include "codec/plane_code.h"
#include "codec/pool.h"
#include "tests/bench/bench_contenders.h"
#include "tests/bench/bench_sets.h"

struct bench_block {
    size_t offset, size; /* in the set */
    size_t stream;
};

struct bench_blocks {
    struct bench_block *blocks;
    size_t n_blocks;
};

/* The caller frees blocks. ENTRO_ERROR_NO_MEMORY. */
enum entro_error bench_cut(struct bench_blocks *out, const struct bench_set *set, size_t block_bytes);

/* Each stream's codebooks and their plan; pivots[i] is NULL where a stream has none. */
struct bench_plans {
    struct entro_plane_code *codes;
    struct entro_pivot **pivots;
    size_t n;
};

/* Room for a set's; ENTRO_ERROR_NO_MEMORY. */
enum entro_error bench_plans_create(struct bench_plans *out, size_t n_streams);
void bench_plans_free(struct bench_plans *plans);

/* Seconds of a part of the work in a round are at first[part * stride]. */
struct bench_seconds {
    double *first;
    size_t stride;
};

/* The parts that bench_plans_from_bytes times one by one on one thread. */
size_t bench_plan_parts(const struct bench_set *set);

/*
 * From the streams' bytes: histogram (the pool's threads share it), lengths, plan. Writes the time of each
 * part, on several threads that of all as the first one's; seconds NULL: not timed.
 */
enum entro_error bench_plans_from_bytes(struct bench_plans *plans, const struct bench_set *set,
                                        size_t block_bytes, struct entro_pool *pool,
                                        const struct bench_seconds *seconds);
/* From the codebooks alone, as a decoder does. */
enum entro_error bench_plans_from_codebooks(struct bench_plans *plans);

struct bench_coded {
    uint8_t *bytes; /* with slop for readers */
    size_t size_bytes;
    struct bench_stored *blocks;
    struct bench_plans plans;
};

/* Encodes the whole set. The caller frees with bench_coded_free. ENTRO_ERROR_NO_MEMORY. */
enum entro_error bench_coded_create(struct bench_coded *out, const struct bench_contender *contender,
                                    const struct bench_set *set, const struct bench_blocks *blocks,
                                    size_t block_bytes, struct entro_pool *pool);
void bench_coded_free(struct bench_coded *coded);

/* Seconds: of one thread, the processor time that it took, so that other programs on a busy machine do not
 * count; of several, what a clock on the wall shows. */
double bench_now(unsigned n_threads);

#endif
