/*
 * The balanced scheme, second half, streamed: the writer's two passes, each of which reads and quantizes the
 * weights anew. Outliers are remembered as they are met, as far as there is room; those of the chunks for
 * which there was none are found again when the list is written.
 */
#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "mkentrofs/encode.h"
#include "mkentrofs/quantize_range.h"
#include "mkentrofs/rows.h"

/* Of a tensor's outliers together: 700,000 of them. */
#define REMEMBERED_BYTES ((size_t)8 << 20)

/* Lists of fewer are stored as they are, longer ones byte by byte of their records: those of the index and
 * the exponents code well, but each plane has records and a codebook of its own. */
#define MIN_SPLIT_OUTLIERS 1000

static const struct entro_layout outlier_layout = {.record_bytes = ENTRO_OUTLIER_BYTES,
                                                   .n_fields = ENTRO_OUTLIER_BYTES,
                                                   .field_bytes = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};

struct chunk {
    struct entro_balanced_loss loss;
    uint64_t first_outlier; /* of all: where this chunk's are in the list */
    uint8_t *records;       /* its outliers; NULL: not remembered */
};

struct balanced {
    struct entro_range_source source;
    uint64_t chunk_elements;
    size_t n_chunks;
    struct chunk *chunks; /* a chunk is one thread's at a time */
    atomic_size_t remembered_bytes;
};

/* Quantizes one chunk's elements; parameters as in quantize_range.h. */
static enum entro_error quantize_chunk(const struct balanced *balanced, size_t number, uint8_t *codes,
                                       uint8_t **records, const uint8_t *records_end,
                                       struct entro_balanced_loss *loss, struct entro_message *message)
{
    uint64_t n_elements = balanced->source.tensor->n_elements;
    uint64_t first = number * balanced->chunk_elements;
    uint64_t end =
        n_elements - first < balanced->chunk_elements ? n_elements : first + balanced->chunk_elements;
    return entro_quantize_range(&balanced->source, first, end, codes, records, records_end, loss, message);
}

/* Makes room for the outliers of a chunk whose number is known; NULL where they are too many. */
static uint8_t *room_for_outliers(struct balanced *balanced, uint64_t n_outliers)
{
    size_t size_bytes = (size_t)n_outliers * ENTRO_OUTLIER_BYTES;
    if (atomic_fetch_add(&balanced->remembered_bytes, size_bytes) + size_bytes <= REMEMBERED_BYTES)
        return malloc(size_bytes);
    atomic_fetch_sub(&balanced->remembered_bytes, size_bytes);
    return NULL;
}

/* The second time a chunk is made its outliers have been counted, and are remembered. */
static enum entro_error produce_codes(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                      struct entro_message *message)
{
    struct balanced *balanced = context;
    (void)size_bytes;
    size_t number = (size_t)(offset * (8 / balanced->source.grid.bits) / balanced->chunk_elements);
    struct chunk *chunk = &balanced->chunks[number];
    uint64_t n_expected = chunk->loss.n_outliers;
    uint8_t *records = NULL, *end = NULL;
    if (n_expected > 0 && !chunk->records) {
        chunk->records = records = room_for_outliers(balanced, n_expected);
        end = records ? records + n_expected * ENTRO_OUTLIER_BYTES : NULL;
    }
    enum entro_error error =
        quantize_chunk(balanced, number, target, records ? &records : NULL, end, &chunk->loss, message);
    if (!error && chunk->records && chunk->loss.n_outliers != n_expected)
        error = entro_fail(message, ENTRO_ERROR_IO, "%s: the file changed during the build",
                           balanced->source.input->path);
    return error;
}

/* The records of a chunk, remembered or found again: the caller frees *found. */
static enum entro_error find_records(const struct balanced *balanced, size_t number, const uint8_t **records,
                                     uint8_t **found, struct entro_message *message)
{
    const struct chunk *chunk = &balanced->chunks[number];
    *found = NULL;
    *records = chunk->records;
    if (chunk->records)
        return ENTRO_OK;
    size_t size_bytes = (size_t)chunk->loss.n_outliers * ENTRO_OUTLIER_BYTES;
    uint8_t *next = *found = malloc(size_bytes);
    if (!next)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    struct entro_balanced_loss loss;
    enum entro_error error = quantize_chunk(balanced, number, NULL, &next, next + size_bytes, &loss, message);
    if (!error && next != *found + size_bytes)
        error = entro_fail(message, ENTRO_ERROR_IO, "%s: the file changed during the build",
                           balanced->source.input->path);
    *records = *found;
    return error;
}

static enum entro_error produce_outliers(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                         struct entro_message *message)
{
    const struct balanced *balanced = context;
    uint64_t end = offset + size_bytes;
    for (size_t i = 0; i < balanced->n_chunks; i++) {
        const struct chunk *chunk = &balanced->chunks[i];
        uint64_t begins = chunk->first_outlier * ENTRO_OUTLIER_BYTES;
        uint64_t ends = begins + chunk->loss.n_outliers * ENTRO_OUTLIER_BYTES;
        uint64_t from = begins > offset ? begins : offset, to = ends < end ? ends : end;
        if (from >= to)
            continue;
        const uint8_t *records;
        uint8_t *found;
        enum entro_error error = find_records(balanced, i, &records, &found, message);
        if (!error)
            memcpy(target + (from - offset), records + (from - begins), (size_t)(to - from));
        free(found);
        if (error)
            return error;
    }
    return ENTRO_OK;
}

/* What the stream of a part costs besides the codes is the tensor's too. */
static void add_part(struct entro_encoded *out, const struct entro_stream_summary *part)
{
    if (part->shared)
        return;
    out->summary.stored_bytes += part->stored_bytes;
    out->side_bytes += part->stored_bytes;
}

static enum entro_error produce_memory(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                       struct entro_message *message)
{
    (void)message;
    memcpy(target, (const uint8_t *)context + offset, size_bytes);
    return ENTRO_OK;
}

/* F16 are little-endian in memory as in the image: entrofs runs on no other machines. */
static enum entro_error add_factors(const struct entro_encoder *encoder,
                                    const struct entro_source_tensor *tensor, uint16_t *factors, uint64_t n,
                                    uint32_t *stream, struct entro_encoded *out,
                                    struct entro_message *message)
{
    if (!factors)
        return ENTRO_OK;
    struct entro_stream_summary summary;
    struct entro_layout layout = entro_layout_of_dtype(ENTRO_DTYPE_F16);
    struct entro_producer producer = {.context = factors, .produce = produce_memory};
    enum entro_error error = entro_writer_add_stream(encoder->writer, tensor->name, n * sizeof *factors,
                                                     &layout, &producer, &summary, message);
    if (error)
        return error;
    *stream = summary.stream;
    add_part(out, &summary);
    return ENTRO_OK;
}

static enum entro_error add_outliers(const struct entro_encoder *encoder, struct balanced *balanced,
                                     struct entro_encoded *out, struct entro_message *message)
{
    if (out->n_outliers == 0)
        return ENTRO_OK;
    const struct entro_layout *layout =
        out->n_outliers < MIN_SPLIT_OUTLIERS ? &entro_layout_bytes : &outlier_layout;
    struct entro_producer producer = {.context = balanced, .produce = produce_outliers};
    struct entro_stream_summary summary;
    enum entro_error error =
        entro_writer_add_stream(encoder->writer, balanced->source.tensor->name,
                                out->n_outliers * ENTRO_OUTLIER_BYTES, layout, &producer, &summary, message);
    if (error)
        return error;
    out->tensor.outliers = summary.stream;
    add_part(out, &summary);
    return ENTRO_OK;
}

/* The largest magnitude that views of this dtype can show; GGUF's block types are shown as F16 or F32. */
static double largest_of(enum entro_dtype dtype)
{
    switch (dtype) {
    case ENTRO_DTYPE_F16:
        return 65504;
    case ENTRO_DTYPE_BF16:
        return (double)entro_bf16_to_f32(0x7f7f);
    default:
        return (double)FLT_MAX;
    }
}

static enum entro_error make_grid(struct entro_balanced_grid *grid, const struct entro_source_tensor *source,
                                  const struct entro_balanced_tensor *tensor, double **columns,
                                  struct entro_message *message)
{
    *grid = (struct entro_balanced_grid){.bits = tensor->bits,
                                         .scale = tensor->scale,
                                         .largest = largest_of(source->dtype),
                                         .row = tensor->row};
    grid->n_columns = entro_tensor_columns(source);
    *columns = NULL;
    if (!tensor->column)
        return ENTRO_OK;
    size_t n = (size_t)grid->n_columns;
    *columns = malloc(2 * n * sizeof **columns);
    if (!*columns)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) {
        (*columns)[i] = (double)entro_f16_to_f32(tensor->column[i]);
        (*columns)[n + i] = 1 / (*columns)[i];
    }
    grid->column = *columns;
    grid->inverse_column = *columns + n;
    return ENTRO_OK;
}

static enum entro_error make_feedback(struct entro_error_feedback *out,
                                      const struct entro_imatrix_entry *inputs, struct entro_message *message)
{
    float *directions = calloc(inputs->n_directions * inputs->n_columns, sizeof *directions);
    if (!directions)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    enum entro_error error = entro_imatrix_read_directions(inputs, directions, message);
    if (!error && !entro_error_feedback_create(out, directions, inputs->mean_squares, inputs->n_columns,
                                               inputs->n_directions))
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    free(directions);
    return error;
}

static void sum_up(struct balanced *balanced, struct entro_encoded *out)
{
    for (size_t i = 0; i < balanced->n_chunks; i++) {
        struct chunk *chunk = &balanced->chunks[i];
        chunk->first_outlier = out->n_outliers;
        out->n_outliers += chunk->loss.n_outliers;
        out->error_energy += chunk->loss.error_energy;
        out->energy += chunk->loss.energy;
        out->largest = fmax(out->largest, chunk->loss.largest);
    }
}

enum entro_error entro_encode_balanced(const struct entro_encoder *encoder, const struct entro_input *input,
                                       const struct entro_source_tensor *source,
                                       const struct entro_balanced_tensor *tensor, struct entro_encoded *out,
                                       struct entro_message *message)
{
    *out = (struct entro_encoded){.tensor = entro_encoded_tensor(source)};
    struct balanced balanced = {.source = {.input = input, .tensor = source}};
    struct entro_error_feedback feedback = {0};
    double *columns;
    enum entro_error error = make_grid(&balanced.source.grid, source, tensor, &columns, message);
    if (error)
        return error;
    if (tensor->inputs) {
        if ((error = make_feedback(&feedback, tensor->inputs, message)))
            goto free_columns;
        balanced.source.feedback = &feedback;
        out->has_feedback = true;
    }
    size_t chunk_bytes = entro_writer_chunk_bytes(&entro_layout_bytes);
    uint64_t size_bytes = entro_div_ceil_u64(source->n_elements, 8 / tensor->bits);
    balanced.chunk_elements = (uint64_t)chunk_bytes * (8 / tensor->bits);
    balanced.n_chunks = (size_t)entro_div_ceil_u64(size_bytes, chunk_bytes);
    balanced.chunks = calloc(balanced.n_chunks, sizeof *balanced.chunks);
    if (!balanced.chunks) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto free_columns;
    }
    struct entro_producer producer = {
        .context = &balanced, .produce = produce_codes, .counts = encoder->counts};
    error = entro_writer_add_stream(encoder->writer, source->name, size_bytes, &entro_layout_bytes, &producer,
                                    &out->summary, message);
    if (error)
        goto free_chunks;
    sum_up(&balanced, out);
    if ((error = add_factors(encoder, source, tensor->row, entro_tensor_rows(source), &out->tensor.row_scale,
                             out, message)) ||
        (error = add_factors(encoder, source, tensor->column, balanced.source.grid.n_columns,
                             &out->tensor.column_scale, out, message)) ||
        (error = add_outliers(encoder, &balanced, out, message)))
        goto free_chunks;
    out->tensor.scheme = ENTRO_SCHEME_BALANCED;
    out->tensor.bits = tensor->bits;
    out->tensor.scale = tensor->scale;
    out->tensor.zero_point = entro_balanced_zero_point(tensor->bits);
    out->tensor.stream = out->summary.stream;
    out->tensor.entropy_bits = out->summary.entropy_bits / (double)source->n_elements;
    out->tensor.snr_db = entro_snr_db(out->error_energy, out->energy);
    out->n_iterations = tensor->n_iterations;

free_chunks:
    for (size_t i = 0; i < balanced.n_chunks; i++)
        free(balanced.chunks[i].records);
    free(balanced.chunks);
free_columns:
    entro_error_feedback_free(&feedback);
    free(columns);
    return error;
}
