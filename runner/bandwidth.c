/* Bandwidth of memory, in the manner of STREAM's copy (McCalpin, 1995); see bandwidth.h. */
#include "runner/bandwidth.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/clock.h"

/* An area is twice the last cache, within these. */
#define SMALLEST_BYTES ((size_t)64 << 20)
#define LARGEST_BYTES  ((size_t)512 << 20)
#define PIECE_BYTES    ((size_t)1 << 20)
#define N_PASSES       5

struct areas {
    uint64_t *from;
    uint64_t *to;
    size_t n_pieces;
    uint64_t sums[LARGEST_BYTES / PIECE_BYTES]; /* so that reading is not for nothing */
};

static size_t count_pieces(void)
{
    long cache_bytes = sysconf(_SC_LEVEL3_CACHE_SIZE); /* 0: there is none, or it is not known */
    size_t bytes = cache_bytes > 0 ? 2 * (size_t)cache_bytes : LARGEST_BYTES / 2;
    bytes = bytes < SMALLEST_BYTES ? SMALLEST_BYTES : bytes > LARGEST_BYTES ? LARGEST_BYTES : bytes;
    return bytes / PIECE_BYTES;
}

static void fill_piece(void *context, size_t item, unsigned worker)
{
    struct areas *areas = context;
    (void)worker;
    memset((uint8_t *)areas->from + item * PIECE_BYTES, 1, PIECE_BYTES);
    memset((uint8_t *)areas->to + item * PIECE_BYTES, 2, PIECE_BYTES);
}

static void copy_piece(void *context, size_t item, unsigned worker)
{
    struct areas *areas = context;
    (void)worker;
    memcpy((uint8_t *)areas->to + item * PIECE_BYTES, (uint8_t *)areas->from + item * PIECE_BYTES,
           PIECE_BYTES);
}

static void read_piece(void *context, size_t item, unsigned worker)
{
    struct areas *areas = context;
    const uint64_t *words = areas->from + item * (PIECE_BYTES / sizeof(uint64_t));
    uint64_t sums[16] = {0};
    (void)worker;
    for (size_t i = 0; i < PIECE_BYTES / sizeof(uint64_t); i += 16)
        for (size_t j = 0; j < 16; j++)
            sums[j] += words[i + j];
    areas->sums[item] = 0;
    for (size_t j = 0; j < 16; j++)
        areas->sums[item] += sums[j];
}

/* Seconds of the best pass. */
static double time_passes(struct entro_pool *pool, entro_pool_function *function, struct areas *areas)
{
    double best = 0;
    for (int i = 0; i < N_PASSES; i++) {
        double start = entro_now_seconds();
        entro_parallel_for(pool, areas->n_pieces, function, areas);
        double seconds = entro_now_seconds() - start;
        if (i == 0 || seconds < best)
            best = seconds;
    }
    return best;
}

enum entro_error entro_bandwidth_measure(struct entro_pool *pool, struct entro_bandwidth *out,
                                         struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    struct areas *areas = calloc(1, sizeof *areas);
    if (areas == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory to measure memory");
    areas->n_pieces = count_pieces();
    size_t area_bytes = areas->n_pieces * PIECE_BYTES;
    areas->from = aligned_alloc(PIECE_BYTES, area_bytes);
    areas->to = aligned_alloc(PIECE_BYTES, area_bytes);
    if (areas->from == NULL || areas->to == NULL) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory to measure memory with: %zu bytes",
                           2 * area_bytes);
        goto free_areas;
    }
    entro_parallel_for(pool, areas->n_pieces, fill_piece, areas);
    out->copy_bytes = 2.0 * (double)area_bytes / time_passes(pool, copy_piece, areas);
    out->read_bytes = (double)area_bytes / time_passes(pool, read_piece, areas);
free_areas:
    free(areas->to);
    free(areas->from);
    free(areas);
    return error;
}
