/* Rounds, slices and medians; see bench_timing.h. */
#include "tests/bench/bench_timing.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "codec/pool.h"
#include "tests/bench/bench_coded.h"

/* What a contender does before the next one has its turn, on one thread. */
#define SLICE_BYTES ((size_t)2 << 20)
/* Contenders are this many slices apart, so that none finds in a cache what another one has just read. */
#define STRIDE 5

enum direction { ENCODE, DECODE, N_DIRECTIONS };

struct slice {
    size_t first_block, end_block;
};

/* A contender's state while it is timed. */
struct runner {
    const struct bench_contender *contender;
    struct bench_coded coded;
    struct bench_plans plans;      /* those that a timed part makes and uses */
    void **threads;                /* a worker */
    uint8_t **buffers;             /* a worker: the reused destination */
    struct bench_stored *stored;   /* what the timed encoder says, by block */
    double *seconds[N_DIRECTIONS]; /* [part][round]; first the turns, then the plans' parts */
};

struct bench {
    const struct bench_request *request;
    struct bench_blocks blocks;
    struct slice *slices;
    size_t n_slices;
    size_t n_turns; /* of a round: a slice each on one thread, all of them in one on several */
    size_t n_parts; /* that are timed: the turns, then those of making plans */
    struct entro_pool *pool;
    struct runner *runners;
};

/* A stretch of slices that is timed as one. */
struct part {
    const struct bench *bench;
    struct runner *runner;
    enum direction direction;
    size_t first_slice, end_slice;
    uint8_t *area; /* a fresh destination, or NULL */
    bool is_first; /* of the rounds */
    atomic_bool failed;
};

static size_t bound(const struct bench *bench)
{
    return BENCH_BOUND_BYTES(bench->request->block_bytes);
}

/* Where block i goes in a fresh area. Encoded blocks of a slice lie one behind another. */
static uint8_t *fresh_place(const struct part *part, size_t block, uint8_t *end_of_last)
{
    const struct bench *bench = part->bench;
    size_t first = bench->slices[part->first_slice].first_block;
    if (part->direction == DECODE)
        return part->area + (bench->blocks.blocks[block].offset - bench->blocks.blocks[first].offset);
    return end_of_last != NULL ? end_of_last : part->area + (block - first) * bound(bench);
}

static void run_slice(void *context, size_t item, unsigned worker)
{
    struct part *part = context;
    const struct bench *bench = part->bench;
    struct runner *runner = part->runner;
    const struct bench_coder *coder = runner->contender->coder;
    const struct slice *slice = &bench->slices[part->first_slice + item];
    const uint8_t *set = bench->request->set->bytes;
    const uint8_t *coded = runner->coded.bytes;
    uint8_t *end_of_last = NULL;
    bool good = true;
    for (size_t i = slice->first_block; i < slice->end_block; i++) {
        const struct bench_block *block = &bench->blocks.blocks[i];
        const struct bench_stored *stored = &runner->coded.blocks[i];
        struct bench_block_call call = {.thread = runner->threads[worker],
                                        .plan = runner->plans.pivots[block->stream]};
        uint8_t *target = part->area == NULL ? runner->buffers[worker] : fresh_place(part, i, end_of_last);
        if (part->direction == DECODE) {
            if (i + 1 < slice->end_block) {
                call.next = coded + stored[1].offset;
                call.next_bytes = stored[1].stored_bytes;
            }
            good &= coder->decode(&call, coded + stored->offset, stored, target, block->size);
        } else {
            if (i + 1 < slice->end_block) {
                call.next = set + block[1].offset;
                call.next_bytes = block[1].size;
            }
            coder->encode(&call, set + block->offset, block->size, target, &runner->stored[i]);
            end_of_last = target + runner->stored[i].stored_bytes;
        }
    }
    if (!good)
        atomic_store(&part->failed, true);
}

static bool block_is_right(const struct part *part, size_t i, const uint8_t *target)
{
    const struct bench_block *block = &part->bench->blocks.blocks[i];
    const struct bench_stored *wanted = &part->runner->coded.blocks[i];
    if (part->direction == DECODE)
        return memcmp(target, part->bench->request->set->bytes + block->offset, block->size) == 0;
    return part->runner->stored[i].stored_bytes == wanted->stored_bytes &&
           memcmp(target, part->runner->coded.bytes + wanted->offset, wanted->stored_bytes) == 0;
}

/* Decodes or encodes block i once more, to a buffer of the checker's. */
static bool repeat_block(const struct part *part, size_t i)
{
    const struct bench *bench = part->bench;
    struct runner *runner = part->runner;
    const struct bench_block *block = &bench->blocks.blocks[i];
    const struct bench_stored *stored = &runner->coded.blocks[i];
    struct bench_block_call call = {.thread = runner->threads[0],
                                    .plan = runner->plans.pivots[block->stream]};
    uint8_t *target = runner->buffers[bench->request->n_threads];
    if (part->direction == ENCODE)
        runner->contender->coder->encode(&call, bench->request->set->bytes + block->offset, block->size,
                                         target, &runner->stored[i]);
    else if (!runner->contender->coder->decode(&call, runner->coded.bytes + stored->offset, stored, target,
                                               block->size))
        return false;
    return block_is_right(part, i, target);
}

/* Fresh: every block. Reused: what is left of the slice, its last block, and in the first round every block
 * by a second run. */
static bool part_is_right(const struct part *part)
{
    const struct bench *bench = part->bench;
    for (size_t s = part->first_slice; s < part->end_slice; s++) {
        uint8_t *end_of_last = NULL;
        const struct slice *slice = &bench->slices[s];
        for (size_t i = slice->first_block; i < slice->end_block; i++) {
            if (part->area != NULL) {
                uint8_t *place = fresh_place(part, i, end_of_last);
                if (!block_is_right(part, i, place))
                    return false;
                end_of_last = place + part->runner->stored[i].stored_bytes;
            } else if (bench->request->n_threads == 1 && i + 1 == slice->end_block) {
                if (!block_is_right(part, i, part->runner->buffers[0]))
                    return false;
            } else if (part->is_first && !repeat_block(part, i)) {
                return false;
            }
        }
    }
    return true;
}

/* Room for a part's results that was never touched. */
static size_t area_bytes(const struct part *part)
{
    const struct bench *bench = part->bench;
    const struct slice *first = &bench->slices[part->first_slice];
    const struct slice *last = &bench->slices[part->end_slice - 1];
    const struct bench_block *blocks = bench->blocks.blocks;
    if (part->direction == ENCODE)
        return (last->end_block - first->first_block) * bound(bench);
    return blocks[last->end_block - 1].offset + blocks[last->end_block - 1].size -
           blocks[first->first_block].offset;
}

static enum entro_error time_part(struct part *part, double *seconds, struct entro_message *message)
{
    const struct bench_request *request = part->bench->request;
    enum entro_error error = ENTRO_OK;
    size_t n_bytes = area_bytes(part);
    if (request->destination == BENCH_FRESH) {
        part->area = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (part->area == MAP_FAILED)
            return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for a destination");
    }
    double start = bench_now(request->n_threads);
    entro_parallel_for(part->bench->pool, part->end_slice - part->first_slice, run_slice, part);
    *seconds = bench_now(request->n_threads) - start;
    if (atomic_load(&part->failed) || !part_is_right(part))
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "%s codes %s wrongly", part->runner->contender->name,
                           request->set->name);
    if (part->area != NULL)
        munmap(part->area, n_bytes);
    return error;
}

/* What comes before the blocks: plans. */
static enum entro_error time_plans(const struct bench *bench, struct runner *runner, enum direction direction,
                                   unsigned round)
{
    const struct bench_request *request = bench->request;
    struct bench_seconds seconds = {runner->seconds[direction] + bench->n_turns * request->n_rounds + round,
                                    request->n_rounds};
    if (!runner->contender->coder->has_codebook)
        return ENTRO_OK;
    if (direction == ENCODE)
        return bench_plans_from_bytes(&runner->plans, request->set, request->block_bytes, bench->pool,
                                      &seconds);
    double start = bench_now(request->n_threads);
    enum entro_error error = bench_plans_from_codebooks(&runner->plans);
    *seconds.first = bench_now(request->n_threads) - start;
    return error;
}

static enum entro_error run_round(struct bench *bench, unsigned round, enum direction direction,
                                  struct entro_message *message)
{
    const struct bench_request *request = bench->request;
    for (size_t k = 0; k < request->n_contenders; k++) {
        struct runner *runner = &bench->runners[k];
        enum entro_error error = time_plans(bench, runner, direction, round);
        if (error != ENTRO_OK)
            return entro_fail(message, error, "cannot make the codebooks of %s", request->set->name);
    }
    for (size_t turn = 0; turn < bench->n_turns; turn++) {
        for (size_t k = 0; k < request->n_contenders; k++) {
            size_t at = (turn + (k + round) * STRIDE) % bench->n_turns;
            struct part part = {.bench = bench,
                                .runner = &bench->runners[k],
                                .direction = direction,
                                .is_first = round == 0,
                                .first_slice = request->n_threads == 1 ? at : 0,
                                .end_slice = request->n_threads == 1 ? at + 1 : bench->n_slices};
            enum entro_error error =
                time_part(&part, &part.runner->seconds[direction][at * request->n_rounds + round], message);
            if (error != ENTRO_OK)
                return error;
        }
    }
    return ENTRO_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *seconds, unsigned n)
{
    qsort(seconds, n, sizeof *seconds, compare_doubles);
    return 0.5 * (seconds[(n - 1) / 2] + seconds[n / 2]);
}

/* The sum over the parts of each one's median over the rounds; *plan_ms is that of the plans alone. */
static double median_seconds(const struct bench *bench, double *seconds, double *plan_ms)
{
    unsigned n = bench->request->n_rounds;
    double turns = 0, plans = 0;
    for (size_t part = 0; part < bench->n_parts; part++)
        *(part < bench->n_turns ? &turns : &plans) += median(seconds + part * n, n);
    *plan_ms = plans * 1e3;
    return turns + plans;
}

static enum entro_error cut_slices(struct bench *bench)
{
    const struct bench_request *request = bench->request;
    size_t slice_bytes = SLICE_BYTES;
    if (request->n_threads > 1 && request->set->size_bytes / (16 * (size_t)request->n_threads) < slice_bytes)
        slice_bytes = request->set->size_bytes / (16 * (size_t)request->n_threads);
    bench->slices = calloc(bench->blocks.n_blocks + 1, sizeof *bench->slices);
    if (bench->slices == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    size_t filled_bytes = 0;
    for (size_t i = 0; i < bench->blocks.n_blocks; i++) {
        if (filled_bytes == 0)
            bench->slices[bench->n_slices++].first_block = i;
        bench->slices[bench->n_slices - 1].end_block = i + 1;
        filled_bytes += bench->blocks.blocks[i].size;
        if (filled_bytes >= slice_bytes)
            filled_bytes = 0;
    }
    bench->n_turns = request->n_threads == 1 ? bench->n_slices : 1;
    bench->n_parts = bench->n_turns + bench_plan_parts(request->set);
    return ENTRO_OK;
}

static enum entro_error runner_create(struct bench *bench, struct runner *runner,
                                      const struct bench_contender *contender)
{
    const struct bench_request *request = bench->request;
    runner->contender = contender;
    enum entro_error error = bench_coded_create(&runner->coded, contender, request->set, &bench->blocks,
                                                request->block_bytes, bench->pool);
    if (error == ENTRO_OK)
        error = bench_plans_create(&runner->plans, request->set->n_streams);
    if (error != ENTRO_OK)
        return error;
    memcpy(runner->plans.codes, runner->coded.plans.codes,
           request->set->n_streams * sizeof *runner->plans.codes);
    runner->threads = calloc(request->n_threads, sizeof *runner->threads);
    runner->buffers = calloc(request->n_threads + 1, sizeof *runner->buffers);
    runner->stored = calloc(bench->blocks.n_blocks + 1, sizeof *runner->stored);
    for (unsigned i = 0; i < N_DIRECTIONS; i++)
        runner->seconds[i] = calloc(bench->n_parts * request->n_rounds, sizeof *runner->seconds[i]);
    if (runner->threads == NULL || runner->buffers == NULL || runner->stored == NULL ||
        runner->seconds[ENCODE] == NULL || runner->seconds[DECODE] == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    for (unsigned i = 0; i < request->n_threads + 1; i++) { /* one more to check with */
        if (i < request->n_threads &&
            (runner->threads[i] = contender->coder->thread_create(contender)) == NULL)
            return ENTRO_ERROR_NO_MEMORY;
        runner->buffers[i] = aligned_alloc(4096, (bound(bench) + 4095) / 4096 * 4096);
        if (runner->buffers[i] == NULL)
            return ENTRO_ERROR_NO_MEMORY;
        memset(runner->buffers[i], 1, bound(bench));
    }
    return ENTRO_OK;
}

static void runner_free(const struct bench *bench, struct runner *runner)
{
    for (unsigned i = 0; i < bench->request->n_threads + 1; i++) {
        if (runner->threads != NULL && i < bench->request->n_threads && runner->threads[i] != NULL)
            runner->contender->coder->thread_free(runner->threads[i]);
        if (runner->buffers != NULL)
            free(runner->buffers[i]);
    }
    for (unsigned i = 0; i < N_DIRECTIONS; i++)
        free(runner->seconds[i]);
    free(runner->threads);
    free(runner->buffers);
    free(runner->stored);
    bench_plans_free(&runner->plans);
    bench_coded_free(&runner->coded);
}

static void fill_figures(const struct bench *bench, struct runner *runner, struct bench_figures *figures)
{
    const struct bench_set *set = bench->request->set;
    const struct bench_coder *coder = runner->contender->coder;
    double n_bytes = (double)set->size_bytes;
    double overhead_bytes = (double)(bench->blocks.n_blocks * coder->block_index_bytes);
    for (size_t i = 0; i < set->n_streams; i++)
        overhead_bytes += (double)coder->codebook_bytes * runner->coded.plans.codes[i].n_codebooks;
    figures->size_ratio =
        ((double)runner->coded.size_bytes + overhead_bytes) / (set->entropy_bits / 8 * n_bytes);
    figures->encode_gbps =
        n_bytes / median_seconds(bench, runner->seconds[ENCODE], &figures->encode_plan_ms) / 1e9;
    figures->decode_gbps =
        n_bytes / median_seconds(bench, runner->seconds[DECODE], &figures->decode_plan_ms) / 1e9;
}

static enum entro_error run(struct bench *bench, struct bench_figures *figures, struct entro_message *message)
{
    const struct bench_request *request = bench->request;
    enum entro_error error = entro_pool_create(&bench->pool, request->n_threads);
    if (error == ENTRO_OK)
        error = bench_cut(&bench->blocks, request->set, request->block_bytes);
    if (error == ENTRO_OK)
        error = cut_slices(bench);
    bench->runners = calloc(request->n_contenders + 1, sizeof *bench->runners);
    if (bench->runners == NULL)
        error = ENTRO_ERROR_NO_MEMORY;
    for (size_t k = 0; k < request->n_contenders && error == ENTRO_OK; k++)
        error = runner_create(bench, &bench->runners[k], &request->contenders[k]);
    if (error != ENTRO_OK)
        return entro_fail(message, error, "cannot prepare %s for %u threads: %s", request->set->name,
                          request->n_threads, entro_error_name(error));
    for (unsigned round = 0; round < request->n_rounds; round++) {
        for (enum direction direction = ENCODE; direction < N_DIRECTIONS; direction++) {
            if ((error = run_round(bench, round, direction, message)) != ENTRO_OK)
                return error;
        }
    }
    for (size_t k = 0; k < request->n_contenders; k++)
        fill_figures(bench, &bench->runners[k], &figures[k]);
    return ENTRO_OK;
}

enum entro_error bench_time(const struct bench_request *request, struct bench_figures *figures,
                            struct entro_message *message)
{
    struct bench bench = {.request = request};
    cpu_set_t before, one;
    bool is_pinned = false;
    int processor = sched_getcpu();
    if (request->n_threads == 1 && processor >= 0 && sched_getaffinity(0, sizeof before, &before) == 0) {
        CPU_ZERO(&one);
        CPU_SET((unsigned)processor, &one);
        is_pinned = sched_setaffinity(0, sizeof one, &one) == 0;
    }
    enum entro_error error = run(&bench, figures, message);
    for (size_t k = 0; bench.runners != NULL && k < request->n_contenders; k++) {
        if (bench.runners[k].contender != NULL)
            runner_free(&bench, &bench.runners[k]);
    }
    free(bench.runners);
    free(bench.slices);
    free(bench.blocks.blocks);
    entro_pool_free(bench.pool);
    if (is_pinned)
        sched_setaffinity(0, sizeof before, &before);
    return error;
}
