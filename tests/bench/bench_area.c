/* See bench_area.h. */
#include "tests/bench/bench_area.h"

#include <stdlib.h>
#include <string.h>

#include "codec/histogram.h"
#include "codec/joint_lengths.h"

#define AREA_BYTES ((size_t)256 << 20) /* more than a processor's share of any cache */

/* No block is stored in less than this. */
#define MIN_STORED_BYTES 1024

bool bench_area_fill(struct bench_area *area, const struct bench_set *set)
{
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    uint8_t lengths[ENTRO_N_SYMBOLS];
    *area = (struct bench_area){.n_distinct = set->size_bytes / BENCH_AREA_BLOCK_BYTES};
    entro_histogram(set->bytes, set->size_bytes, counts);
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    size_t max_blocks = AREA_BYTES / MIN_STORED_BYTES;
    area->bytes = malloc(AREA_BYTES + BENCH_AREA_BLOCK_BYTES + ENTRO_READ_SLOP_BYTES);
    area->blocks = malloc(max_blocks * sizeof *area->blocks);
    area->places = malloc(max_blocks * sizeof *area->places);
    bool ok = scratch != NULL && area->bytes != NULL && area->blocks != NULL && area->places != NULL &&
              area->n_distinct > 0 &&
              entro_joint_lengths(counts, (uint32_t)BENCH_AREA_BLOCK_BYTES, lengths) &&
              entro_pivot_create(&area->pivot, lengths) == ENTRO_OK;
    uint8_t *place = area->bytes;
    size_t i = 0;
    for (; ok && place < area->bytes + AREA_BYTES && i < max_blocks; i++) {
        area->places[i] = place;
        if (i < area->n_distinct) {
            area->blocks[i] = entro_block_encode(area->pivot, set->bytes + i * BENCH_AREA_BLOCK_BYTES,
                                                 BENCH_AREA_BLOCK_BYTES, place, scratch);
        } else {
            size_t k = i % area->n_distinct;
            area->blocks[i] = area->blocks[k];
            memcpy(place, area->places[k], area->blocks[k].stored_bytes);
        }
        place += area->blocks[i].stored_bytes + ENTRO_READ_SLOP_BYTES;
    }
    area->n_blocks = i;
    entro_pivot_scratch_free(scratch);
    return ok;
}

void bench_area_free(struct bench_area *area)
{
    free(area->places);
    free(area->blocks);
    free(area->bytes);
    entro_pivot_free(area->pivot);
    *area = (struct bench_area){0};
}
