/* Two passes: the tensor's range, then the codes of every granularity; see ablation.h. */
#include "mkentrofs/ablation.h"

#include <math.h>
#include <stdlib.h>

#include "codec/bytes.h"
#include "codec/histogram.h"
#include "codec/quantize.h"
#include "mkentrofs/pass.h"
#include "mkentrofs/rows.h"

#define MAX_STRIPS 64

/* Scales as they are: rounding them is another question. */
#define SCALE_BITS 24

static const unsigned all_bits[ENTRO_N_ABLATION_BITS] = {8, 4};

struct strip {
    struct entro_range range;
    double energy;
    double errors[ENTRO_N_GRANULARITIES][ENTRO_N_ABLATION_BITS];
};

/* How often each code comes up; one a thread. */
struct counts {
    uint64_t of[ENTRO_N_GRANULARITIES][ENTRO_N_ABLATION_BITS][ENTRO_N_SYMBOLS];
};

struct ablation {
    const struct entro_input *input;
    const struct entro_source_tensor *tensor;
    size_t n_strips;
    struct strip *strips;
    struct counts *counts;
    bool is_second;                                 /* pass */
    struct entro_grid grids[ENTRO_N_ABLATION_BITS]; /* of the whole tensor */
};

struct look {
    const struct ablation *ablation;
    struct strip *strip;
    struct counts *counts;
    struct entro_range row_range;
    struct entro_grid row_grids[ENTRO_N_ABLATION_BITS];
    uint8_t codes[ENTRO_WEIGHTS_AT_ONCE];
};

/* Where weights allow no grid (their range is too small for F32), nothing is lost and nothing stored. */
static void count(struct look *look, enum entro_granularity granularity, unsigned which,
                  const struct entro_grid *grid, const float *weights, size_t n)
{
    uint64_t *counts = look->counts->of[granularity][which];
    look->strip->errors[granularity][which] += entro_quantize(grid, weights, n, look->codes, NULL);
    if (grid->bits == 8) {
        entro_histogram(look->codes, n, counts);
        return;
    }
    for (size_t i = 0; i < n; i++)
        counts[look->codes[i / 2] >> i % 2 * 4 & 15]++;
}

static bool make_grid(struct entro_grid *grid, const struct entro_range *range, unsigned bits)
{
    if (entro_grid_mixed(grid, range, bits, SCALE_BITS))
        return true;
    *grid = (struct entro_grid){.scheme = ENTRO_SCHEME_UNSIGNED, .bits = bits, .scale = 1};
    return false;
}

static void find_range(void *context, uint64_t row, uint64_t column, const float *weights, size_t n)
{
    struct look *look = context;
    (void)row, (void)column;
    entro_range_add(look->ablation->is_second ? &look->row_range : &look->strip->range, weights, n);
}

static void end_of_row(void *context, uint64_t row)
{
    struct look *look = context;
    (void)row;
    for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++)
        make_grid(&look->row_grids[which], &look->row_range, all_bits[which]);
    look->row_range = ENTRO_RANGE_EMPTY;
}

static void quantize(void *context, uint64_t row, uint64_t column, const float *weights, size_t n)
{
    struct look *look = context;
    (void)row, (void)column;
    for (size_t i = 0; i < n; i++)
        look->strip->energy += (double)weights[i] * (double)weights[i];
    for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++) {
        count(look, ENTRO_PER_TENSOR, which, &look->ablation->grids[which], weights, n);
        count(look, ENTRO_PER_ROW, which, &look->row_grids[which], weights, n);
        for (size_t first = 0, part; first < n; first += part) {
            struct entro_range range = ENTRO_RANGE_EMPTY;
            struct entro_grid grid;
            part = n - first < ENTRO_ABLATION_GROUP ? n - first : ENTRO_ABLATION_GROUP;
            entro_range_add(&range, weights + first, part);
            make_grid(&grid, &range, all_bits[which]);
            count(look, ENTRO_PER_GROUP, which, &grid, weights + first, part);
        }
    }
}

static enum entro_error pass_item(void *context, size_t item, unsigned worker, struct entro_message *message)
{
    struct ablation *ablation = context;
    uint64_t n_rows = entro_tensor_rows(ablation->tensor);
    struct look *look = calloc(1, sizeof *look);
    if (!look)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    look->ablation = ablation;
    look->strip = &ablation->strips[item];
    look->counts = &ablation->counts[worker];
    look->row_range = ENTRO_RANGE_EMPTY;
    struct entro_row_looks looks = {.first = find_range, .context = look};
    if (ablation->is_second) {
        looks.between = end_of_row;
        looks.second = quantize;
    }
    enum entro_error error = entro_rows_look(
        ablation->input, ablation->tensor, entro_strip_first_row(n_rows, ablation->n_strips, item),
        entro_strip_first_row(n_rows, ablation->n_strips, item + 1), &looks, message);
    free(look);
    return error;
}

/* All that the strips and threads found, in a fixed order. */
static void add_up(const struct ablation *ablation, unsigned n_threads, struct entro_ablation *out)
{
    uint64_t n_rows = entro_tensor_rows(ablation->tensor), n_columns = entro_tensor_columns(ablation->tensor);
    double n_steps[ENTRO_N_GRANULARITIES] = {
        1, (double)n_rows, (double)n_rows * (double)entro_div_ceil_u64(n_columns, ENTRO_ABLATION_GROUP)};
    for (size_t i = 0; i < ablation->n_strips; i++)
        out->energy += ablation->strips[i].energy;
    for (unsigned granularity = 0; granularity < ENTRO_N_GRANULARITIES; granularity++)
        for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++) {
            struct entro_ablation_cell *cell = &out->cells[granularity][which];
            uint64_t counts[ENTRO_N_SYMBOLS] = {0};
            for (unsigned thread = 0; thread < n_threads; thread++)
                for (unsigned code = 0; code < ENTRO_N_SYMBOLS; code++)
                    counts[code] += ablation->counts[thread].of[granularity][which][code];
            cell->entropy_bits = entro_entropy_bits(counts) * (double)ablation->tensor->n_elements;
            cell->step_bits = ENTRO_ABLATION_STEP_BITS * n_steps[granularity];
            for (size_t i = 0; i < ablation->n_strips; i++)
                cell->error_energy += ablation->strips[i].errors[granularity][which];
        }
}

enum entro_error entro_ablation_measure(struct entro_ablation *out, const struct entro_input *input,
                                        const struct entro_source_tensor *tensor, struct entro_pool *pool,
                                        struct entro_message *message)
{
    struct ablation ablation = {.input = input, .tensor = tensor};
    ablation.n_strips = entro_n_strips(entro_tensor_rows(tensor), MAX_STRIPS);
    ablation.strips = calloc(ablation.n_strips, sizeof *ablation.strips);
    ablation.counts = calloc(entro_pool_threads(pool), sizeof *ablation.counts);
    *out = (struct entro_ablation){0};
    enum entro_error error = ENTRO_OK;
    if (!ablation.strips || !ablation.counts) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto clean_up;
    }
    for (size_t i = 0; i < ablation.n_strips; i++)
        ablation.strips[i].range = ENTRO_RANGE_EMPTY;
    if ((error = entro_pass_run(pool, ablation.n_strips, pass_item, &ablation, message)))
        goto clean_up;
    struct entro_range range = ENTRO_RANGE_EMPTY;
    for (size_t i = 0; i < ablation.n_strips; i++)
        entro_range_merge(&range, &ablation.strips[i].range);
    out->is_finite = !range.has_nonfinite;
    for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++)
        out->is_finite &= make_grid(&ablation.grids[which], &range, all_bits[which]);
    if (!out->is_finite)
        goto clean_up;
    ablation.is_second = true;
    error = entro_pass_run(pool, ablation.n_strips, pass_item, &ablation, message);
    if (!error)
        add_up(&ablation, entro_pool_threads(pool), out);

clean_up:
    free(ablation.strips);
    free(ablation.counts);
    return error;
}
