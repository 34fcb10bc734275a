/* Blocks, codebooks and stored bytes of a set; see bench_coded.h. */
#include "tests/bench/bench_coded.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/histogram.h"
#include "codec/pivot.h"
#include "codec/writer_sample.h"

enum entro_error bench_cut(struct bench_blocks *out, const struct bench_set *set, size_t block_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < set->n_streams; i++)
        n += (set->streams[i].size_bytes + block_bytes - 1) / block_bytes;
    out->blocks = malloc((n + 1) * sizeof *out->blocks);
    out->n_blocks = 0;
    if (out->blocks == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    for (size_t i = 0; i < set->n_streams; i++) {
        const struct bench_stream *stream = &set->streams[i];
        for (size_t at = 0; at < stream->size_bytes; at += block_bytes) {
            size_t left = stream->size_bytes - at;
            out->blocks[out->n_blocks++] = (struct bench_block){
                .offset = stream->offset + at, .size = left < block_bytes ? left : block_bytes, .stream = i};
        }
    }
    return ENTRO_OK;
}

enum entro_error bench_plans_create(struct bench_plans *out, size_t n_streams)
{
    *out = (struct bench_plans){.codes = calloc(n_streams + 1, sizeof *out->codes),
                                .pivots = calloc(n_streams + 1, sizeof(struct entro_pivot *)),
                                .n = n_streams};
    if (out->codes != NULL && out->pivots != NULL)
        return ENTRO_OK;
    bench_plans_free(out);
    return ENTRO_ERROR_NO_MEMORY;
}

static void free_pivots(struct bench_plans *plans)
{
    for (size_t i = 0; i < plans->n; i++) {
        entro_pivot_free(plans->pivots[i]);
        plans->pivots[i] = NULL;
    }
}

void bench_plans_free(struct bench_plans *plans)
{
    if (plans->pivots != NULL)
        free_pivots(plans);
    free(plans->codes);
    free(plans->pivots);
    *plans = (struct bench_plans){0};
}

#define HISTOGRAM_BYTES ((size_t)1 << 20)

struct histogram_loop {
    const uint8_t *bytes;
    size_t size_bytes;
    uint64_t (*counts)[ENTRO_N_SYMBOLS]; /* a worker */
};

static void histogram_item(void *context, size_t item, unsigned worker)
{
    const struct histogram_loop *loop = context;
    size_t start = item * HISTOGRAM_BYTES, left = loop->size_bytes - start;
    entro_histogram(loop->bytes + start, left < HISTOGRAM_BYTES ? left : HISTOGRAM_BYTES,
                    loop->counts[worker]);
}

/* As the writer of images chooses it. */
static void choose_code(struct entro_plane_code *code, const uint64_t counts[ENTRO_N_SYMBOLS],
                        const uint8_t *bytes, size_t size_bytes, size_t block_bytes,
                        struct entro_sample *sample)
{
    uint8_t lengths[ENTRO_N_SYMBOLS];
    code->n_codebooks = 0;
    if (!bench_lengths(counts, block_bytes, lengths))
        return;
    memset(sample->run_bytes, 0, sizeof sample->run_bytes);
    entro_sample_take(sample, size_bytes, 0, bytes, size_bytes);
    size_t n_sampled = entro_sample_join(sample);
    entro_plane_code_choose(code, lengths, counts, sample->bytes, n_sampled);
}

double bench_now(unsigned n_threads)
{
    struct timespec time;
    clock_gettime(n_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static size_t histogram_items(const struct bench_stream *stream)
{
    return (stream->size_bytes + HISTOGRAM_BYTES - 1) / HISTOGRAM_BYTES;
}

size_t bench_plan_parts(const struct bench_set *set)
{
    size_t n = 0;
    for (size_t i = 0; i < set->n_streams; i++)
        n += histogram_items(&set->streams[i]) + 1;
    return n;
}

/* One stream's histogram to counts[0], one for each worker; on one thread, *seconds moves on a part an item.
 */
static void count_stream(struct histogram_loop *loop, size_t n_items, struct entro_pool *pool,
                         struct bench_seconds *seconds)
{
    unsigned n_workers = entro_pool_threads(pool);
    memset(loop->counts, 0, n_workers * sizeof *loop->counts);
    if (n_workers > 1) {
        entro_parallel_for(pool, n_items, histogram_item, loop);
        for (unsigned worker = 1; worker < n_workers; worker++)
            for (size_t symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
                loop->counts[0][symbol] += loop->counts[worker][symbol];
        return;
    }
    for (size_t item = 0; item < n_items; item++) {
        double start = bench_now(1);
        histogram_item(loop, item, 0);
        *seconds->first = bench_now(1) - start;
        seconds->first += seconds->stride;
    }
}

enum entro_error bench_plans_from_bytes(struct bench_plans *plans, const struct bench_set *set,
                                        size_t block_bytes, struct entro_pool *pool,
                                        const struct bench_seconds *seconds)
{
    unsigned n_workers = entro_pool_threads(pool);
    double ignored, begin = bench_now(n_workers);
    struct bench_seconds at = seconds != NULL ? *seconds : (struct bench_seconds){&ignored, 0};
    uint64_t(*counts)[ENTRO_N_SYMBOLS] = malloc(n_workers * sizeof *counts);
    struct entro_sample *sample = malloc(sizeof *sample);
    enum entro_error error = counts == NULL || sample == NULL ? ENTRO_ERROR_NO_MEMORY : ENTRO_OK;
    free_pivots(plans);
    for (size_t i = 0; i < set->n_streams && error == ENTRO_OK; i++) {
        const struct bench_stream *stream = &set->streams[i];
        struct histogram_loop loop = {set->bytes + stream->offset, stream->size_bytes, counts};
        count_stream(&loop, histogram_items(stream), pool, &at);
        double start = bench_now(n_workers);
        choose_code(&plans->codes[i], counts[0], loop.bytes, loop.size_bytes, block_bytes, sample);
        error = entro_plane_code_plan(&plans->pivots[i], &plans->codes[i]);
        if (n_workers == 1) {
            *at.first = bench_now(n_workers) - start;
            at.first += at.stride;
        }
    }
    if (n_workers > 1)
        *at.first = bench_now(n_workers) - begin;
    free(sample);
    free(counts);
    return error;
}

enum entro_error bench_plans_from_codebooks(struct bench_plans *plans)
{
    enum entro_error error = ENTRO_OK;
    free_pivots(plans);
    for (size_t i = 0; i < plans->n && error == ENTRO_OK; i++)
        error = entro_plane_code_plan(&plans->pivots[i], &plans->codes[i]);
    return error;
}

enum entro_error bench_coded_create(struct bench_coded *out, const struct bench_contender *contender,
                                    const struct bench_set *set, const struct bench_blocks *blocks,
                                    size_t block_bytes, struct entro_pool *pool)
{
    *out = (struct bench_coded){.blocks = calloc(blocks->n_blocks + 1, sizeof *out->blocks)};
    /* The sum of all blocks' bounds; what is not used is given back. */
    size_t capacity = blocks->n_blocks * BENCH_BOUND_BYTES(block_bytes) + ENTRO_READ_SLOP_BYTES;
    out->bytes = malloc(capacity);
    void *thread = contender->coder->thread_create(contender);
    enum entro_error error = bench_plans_create(&out->plans, set->n_streams);
    if (out->blocks == NULL || out->bytes == NULL || thread == NULL)
        error = ENTRO_ERROR_NO_MEMORY;
    if (error == ENTRO_OK && contender->coder->has_codebook)
        error = bench_plans_from_bytes(&out->plans, set, block_bytes, pool, NULL);
    for (size_t i = 0; i < blocks->n_blocks && error == ENTRO_OK; i++) {
        const struct bench_block *block = &blocks->blocks[i];
        struct bench_block_call call = {.thread = thread, .plan = out->plans.pivots[block->stream]};
        out->blocks[i].offset = out->size_bytes;
        contender->coder->encode(&call, set->bytes + block->offset, block->size, out->bytes + out->size_bytes,
                                 &out->blocks[i]);
        out->size_bytes += out->blocks[i].stored_bytes;
    }
    if (error == ENTRO_OK) {
        memset(out->bytes + out->size_bytes, 0, ENTRO_READ_SLOP_BYTES);
        uint8_t *smaller = realloc(out->bytes, out->size_bytes + ENTRO_READ_SLOP_BYTES);
        out->bytes = smaller != NULL ? smaller : out->bytes;
    } else {
        bench_coded_free(out);
    }
    if (thread != NULL)
        contender->coder->thread_free(thread);
    return error;
}

void bench_coded_free(struct bench_coded *coded)
{
    bench_plans_free(&coded->plans);
    free(coded->bytes);
    free(coded->blocks);
    *coded = (struct bench_coded){0};
}
