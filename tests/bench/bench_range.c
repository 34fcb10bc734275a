/*
 * bench_range: what a small range of a coded block costs beside the whole block and its checksum, with the
 * stored bytes in the first caches and out of them all. Microseconds of processor time, medians.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/block.h"
#include "codec/checksum.h"
#include "tests/bench/bench_area.h"

#define BLOCK_BYTES BENCH_AREA_BLOCK_BYTES
#define RANGE_BYTES ((size_t)4 << 10)
#define SET_BYTES   ((size_t)4 << 20)
#define N_SAMPLES   2000

enum what { NOTHING, CHECKSUM, RANGE, CHECKED_RANGE, CHECKED_WHOLE, N_WHAT };

static double now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return 1e6 * (double)time.tv_sec + 1e-3 * (double)time.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* False for a wrong result. */
static bool act(const struct bench_area *area, struct entro_pivot_scratch *scratch, enum what what, size_t i,
                size_t first, const uint8_t *expected, double *us)
{
    static uint8_t target[BLOCK_BYTES];
    struct entro_block block = area->blocks[i];
    const uint8_t *stored = area->places[i];
    enum entro_error error = ENTRO_OK;
    double begin = now_us();
    if (what == CHECKSUM)
        error =
            entro_checksum64(stored, block.stored_bytes) == block.xxh3_64 ? ENTRO_OK : ENTRO_ERROR_CHECKSUM;
    else if (what == RANGE)
        error = entro_pivot_decode_range(area->pivot, stored, block.stored_bytes, BLOCK_BYTES, first,
                                         RANGE_BYTES, target, scratch);
    else if (what == CHECKED_RANGE)
        error = entro_block_decode_range(area->pivot, block, stored, BLOCK_BYTES, first, RANGE_BYTES, target,
                                         scratch);
    else if (what == CHECKED_WHOLE)
        error = entro_block_decode(area->pivot, block, stored, target, BLOCK_BYTES, scratch);
    *us = now_us() - begin;
    if (what == RANGE || what == CHECKED_RANGE)
        return error == ENTRO_OK && memcmp(target, expected + first, RANGE_BYTES) == 0;
    return error == ENTRO_OK && (what != CHECKED_WHOLE || memcmp(target, expected, BLOCK_BYTES) == 0);
}

static bool measure(const struct bench_area *area, struct entro_pivot_scratch *scratch,
                    const struct bench_set *set, bool is_cold, double medians[N_WHAT])
{
    static double us[N_WHAT][N_SAMPLES];
    uint32_t random = 1;
    for (size_t n = 0; n < N_SAMPLES; n++) {
        for (enum what what = 0; what < N_WHAT; what++) {
            random = random * 1664525U + 1013904223U;
            size_t i = is_cold ? random % area->n_blocks : n / 100 % area->n_distinct;
            size_t first = (random >> 28) * RANGE_BYTES;
            if (!is_cold && !act(area, scratch, CHECKSUM, i, 0, NULL, &us[what][n]))
                return false;
            if (!act(area, scratch, what, i, first, set->bytes + i % area->n_distinct * BLOCK_BYTES,
                     &us[what][n]))
                return false;
        }
    }
    for (enum what what = 0; what < N_WHAT; what++) {
        qsort(us[what], N_SAMPLES, sizeof us[what][0], compare_doubles);
        medians[what] = us[what][N_SAMPLES / 2] - us[NOTHING][N_SAMPLES / 2];
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "usage: %s    (no arguments; the variable ENTRO_KERNEL names the kernels)\n",
                argv[0]);
        return 2;
    }
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    if (scratch == NULL) {
        fprintf(stderr, "%s: out of memory\n", argv[0]);
        return 1;
    }
    printf(
        "us for 4 KiB of a coded block of 64 KiB       checksum  4 KiB  both   whole block with checksum\n");
    for (unsigned i = 0; bench_set_name(i) != NULL; i++) {
        struct bench_set set;
        struct bench_area area;
        if (bench_set_generate(&set, i, SET_BYTES) != ENTRO_OK || !bench_area_fill(&area, &set)) {
            fprintf(stderr, "%s: %s: out of memory\n", argv[0], bench_set_name(i));
            return 1;
        }
        for (int is_cold = 0; is_cold < 2; is_cold++) {
            double us[N_WHAT];
            if (!measure(&area, scratch, &set, is_cold, us)) {
                fprintf(stderr, "%s: %s: decoded wrongly\n", argv[0], set.name);
                return 1;
            }
            printf("%-16s %6u stored bytes, %-14s %6.2f %6.2f %6.2f %8.2f\n", set.name,
                   area.blocks[0].stored_bytes, is_cold ? "in memory" : "in the cache", us[CHECKSUM],
                   us[RANGE], us[CHECKED_RANGE], us[CHECKED_WHOLE]);
        }
        bench_area_free(&area);
        bench_set_free(&set);
    }
    entro_pivot_scratch_free(scratch);
    return 0;
}
