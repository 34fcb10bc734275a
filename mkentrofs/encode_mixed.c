/*
 * The mixed scheme, streamed: a pass over the weights for their range, then the writer's two passes, each of
 * which reads and quantizes them anew, so that no more than a few chunks are in memory.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "codec/quantize.h"
#include "mkentrofs/encode.h"
#include "mkentrofs/pass.h"
#include "mkentrofs/weights.h"

/* An item of the range pass. */
#define RANGE_CHUNK_ELEMENTS ((uint64_t)1 << 20)

struct range_pass {
    const struct entro_input *input;
    const struct entro_source_tensor *tensor;
    pthread_mutex_t lock; /* protects the range */
    struct entro_range range;
};

static enum entro_error range_of_chunk(const struct range_pass *pass, uint64_t first, uint64_t end,
                                       struct entro_range *range, struct entro_message *message)
{
    struct entro_weights *weights = malloc(sizeof *weights);
    if (!weights)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    enum entro_error error = ENTRO_OK;
    while (first < end && !error) {
        size_t n = end - first < ENTRO_WEIGHTS_AT_ONCE ? (size_t)(end - first) : ENTRO_WEIGHTS_AT_ONCE;
        error = entro_weights_read(pass->input, pass->tensor, first, n, weights, message);
        if (!error)
            entro_range_add(range, weights->values, n);
        first += n;
    }
    free(weights);
    return error;
}

static enum entro_error range_item(void *context, size_t item, unsigned worker, struct entro_message *message)
{
    struct range_pass *pass = context;
    (void)worker;
    uint64_t first = item * RANGE_CHUNK_ELEMENTS;
    uint64_t end = pass->tensor->n_elements - first < RANGE_CHUNK_ELEMENTS ? pass->tensor->n_elements
                                                                           : first + RANGE_CHUNK_ELEMENTS;
    struct entro_range range = ENTRO_RANGE_EMPTY;
    enum entro_error error = range_of_chunk(pass, first, end, &range, message);
    if (error)
        return error;
    pthread_mutex_lock(&pass->lock);
    entro_range_merge(&pass->range, &range);
    pthread_mutex_unlock(&pass->lock);
    return ENTRO_OK;
}

/* The range does not depend on the order in which chunks are merged, but for the sign of a zero, which no
 * grid sees. */
static enum entro_error find_range(const struct entro_encoder *encoder, const struct entro_input *input,
                                   const struct entro_source_tensor *tensor, struct entro_range *range,
                                   struct entro_message *message)
{
    struct range_pass pass = {.input = input, .tensor = tensor, .range = ENTRO_RANGE_EMPTY};
    pthread_mutex_init(&pass.lock, NULL);
    enum entro_error error =
        entro_pass_run(encoder->pool, (size_t)entro_div_ceil_u64(tensor->n_elements, RANGE_CHUNK_ELEMENTS),
                       range_item, &pass, message);
    pthread_mutex_destroy(&pass.lock);
    *range = pass.range;
    return error;
}

/* What a chunk of codes lost; summed in chunk order in the end, so that the sum does not depend on the
 * threads. */
struct chunk_loss {
    double error_energy, energy;
};

struct mixed {
    const struct entro_input *input;
    const struct entro_source_tensor *tensor;
    struct entro_grid grid;
    size_t chunk_bytes;
    struct chunk_loss *losses; /* one a chunk; a chunk is one thread's at a time */
};

static enum entro_error produce(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                struct entro_message *message)
{
    struct mixed *mixed = context;
    struct entro_weights *weights = malloc(sizeof *weights);
    if (!weights)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    enum entro_error error = ENTRO_OK;
    struct chunk_loss loss = {0, 0};
    unsigned per_byte = 8 / mixed->grid.bits;
    uint64_t first = offset * per_byte;
    uint64_t end = (offset + size_bytes) * per_byte;
    if (end > mixed->tensor->n_elements) /* an odd last 4-bit code is alone in its byte */
        end = mixed->tensor->n_elements;
    while (first < end && !error) {
        size_t n = end - first < ENTRO_WEIGHTS_AT_ONCE ? (size_t)(end - first) : ENTRO_WEIGHTS_AT_ONCE;
        error = entro_weights_read(mixed->input, mixed->tensor, first, n, weights, message);
        if (!error)
            loss.error_energy += entro_quantize(&mixed->grid, weights->values, n, target, &loss.energy);
        target += n / per_byte;
        first += n;
    }
    free(weights);
    mixed->losses[offset / mixed->chunk_bytes] = loss;
    return error;
}

/* q - zero_point of the extreme weights: as the quantizer rounds them. */
static void find_extremes(const struct entro_grid *grid, const struct entro_range *range, int32_t *lowest,
                          int32_t *highest)
{
    uint8_t codes[2] = {0, 0};
    float extremes[2] = {range->min, range->max};
    entro_quantize(grid, extremes, 2, codes, NULL);
    int32_t first = grid->bits == 4 ? codes[0] & 15 : codes[0];
    int32_t second = grid->bits == 4 ? codes[0] >> 4 : codes[1];
    *lowest = first - grid->zero_point;
    *highest = second - grid->zero_point;
}

/* Whether both ends of the grid, rounded to the source's dtype as views are, stay finite: weights near a
 * type's limit may not. */
static bool ends_are_finite(enum entro_dtype dtype, float scale, int32_t lowest, int32_t highest)
{
    float ends[2] = {(float)((double)scale * lowest), (float)((double)scale * highest)};
    for (int i = 0; i < 2; i++) {
        float end = ends[i];
        if (dtype == ENTRO_DTYPE_F16)
            end = entro_f16_to_f32(entro_f32_to_f16(end));
        else if (dtype == ENTRO_DTYPE_BF16)
            end = entro_bf16_to_f32(entro_f32_to_bf16(end));
        if (!isfinite(end))
            return false;
    }
    return true;
}

enum entro_error entro_encode_mixed(const struct entro_encoder *encoder, const struct entro_input *input,
                                    const struct entro_source_tensor *tensor, struct entro_encoded *out,
                                    struct entro_message *message)
{
    *out = (struct entro_encoded){.tensor = entro_encoded_tensor(tensor)};
    struct entro_range range;
    enum entro_error error = find_range(encoder, input, tensor, &range, message);
    if (error)
        return error;
    struct mixed mixed = {.input = input, .tensor = tensor};
    if (range.has_nonfinite ||
        !entro_grid_mixed(&mixed.grid, &range, encoder->options->bits, encoder->options->scale_bits)) {
        out->kept_reason = range.has_nonfinite ? "NaN or infinite" : "no grid";
        return ENTRO_OK;
    }
    find_extremes(&mixed.grid, &range, &out->lowest, &out->highest);
    if (!ends_are_finite(tensor->dtype, mixed.grid.scale, out->lowest, out->highest)) {
        out->kept_reason = "too near the dtype's limits";
        return ENTRO_OK;
    }
    uint64_t size_bytes = entro_div_ceil_u64(tensor->n_elements, 8 / mixed.grid.bits);
    mixed.chunk_bytes = entro_writer_chunk_bytes(&entro_layout_bytes);
    size_t n_chunks = (size_t)entro_div_ceil_u64(size_bytes, mixed.chunk_bytes);
    mixed.losses = calloc(n_chunks, sizeof *mixed.losses);
    if (!mixed.losses)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    struct entro_producer producer = {.context = &mixed, .produce = produce, .counts = encoder->counts};
    error = entro_writer_add_stream(encoder->writer, tensor->name, size_bytes, &entro_layout_bytes, &producer,
                                    &out->summary, message);
    if (error)
        goto free_losses;
    for (size_t i = 0; i < n_chunks; i++) {
        out->error_energy += mixed.losses[i].error_energy;
        out->energy += mixed.losses[i].energy;
    }
    out->tensor.scheme = mixed.grid.scheme;
    out->tensor.bits = mixed.grid.bits;
    out->tensor.scale = mixed.grid.scale;
    out->tensor.zero_point = mixed.grid.zero_point;
    out->tensor.stream = out->summary.stream;
    out->tensor.entropy_bits = out->summary.entropy_bits / (double)tensor->n_elements;
    out->tensor.snr_db = entro_snr_db(out->error_energy, out->energy);

free_losses:
    free(mixed.losses);
    return error;
}
