/*
 * Coded blocks of a generated set that fill more memory than a processor's caches hold: what a decoder finds
 * that reads an image from end to end, without the image.
 */
#ifndef ENTRO_BENCH_AREA_H
#define ENTRO_BENCH_AREA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/block.h"
#include "tests/bench/bench_sets.h"

#define BENCH_AREA_BLOCK_BYTES ((size_t)64 << 10)

/* The set's blocks again and again, one behind another with their slop: block i is block i % n_distinct of
 * the set. Read by any number of threads, each with a scratch of its own. */
struct bench_area {
    struct entro_pivot *pivot;
    struct entro_block *blocks;
    uint8_t **places;
    size_t n_blocks, n_distinct;
    uint8_t *bytes;
};

/* Of the whole blocks of a set of one stream, which has one at least. False where memory is short or the set
 * cannot be coded; freed all the same. */
bool bench_area_fill(struct bench_area *area, const struct bench_set *set);
void bench_area_free(struct bench_area *area);

#endif
