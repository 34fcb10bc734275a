/* See quantize_range.h. */
#include "mkentrofs/quantize_range.h"

#include <stdlib.h>

#include "codec/bytes.h"
#include "mkentrofs/weights.h"

/* Where the results go. */
struct outputs {
    uint8_t *codes; /* moves on; NULL: nobody wants them */
    uint8_t **records;
    const uint8_t *records_end;
    struct entro_balanced_loss *loss;
};

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* `room` is for the codes of n elements, where nobody wants them. */
static void quantize(const struct entro_range_source *source, const float *weights, const float *targets,
                     uint64_t first, size_t n, uint8_t *room, struct outputs *outputs)
{
    entro_quantize_balanced(&source->grid, weights, targets, first, n, outputs->codes ? outputs->codes : room,
                            outputs->records, outputs->records_end, outputs->loss);
    if (outputs->codes)
        outputs->codes += n * source->grid.bits / 8;
}

static enum entro_error quantize_plain(const struct entro_range_source *source, uint64_t first, uint64_t end,
                                       struct outputs *outputs, struct entro_message *message)
{
    struct room {
        struct entro_weights weights;
        uint8_t codes[ENTRO_WEIGHTS_AT_ONCE];
    } *room = malloc(sizeof *room);
    if (!room)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    enum entro_error error = ENTRO_OK;
    for (size_t n; first < end && !error; first += n) {
        const float *values = room->weights.values;
        n = (size_t)smaller(end - first, ENTRO_WEIGHTS_AT_ONCE);
        error = entro_weights_read(source->input, source->tensor, first, n, &room->weights, message);
        if (!error)
            quantize(source, values, values, first, n, room->codes, outputs);
    }
    free(room);
    return error;
}

/* Room for the rows that go through the feedback together. */
struct rows {
    struct entro_weights part;
    float *weights, *targets; /* [ENTRO_FEEDBACK_ROWS][n_columns] */
    uint8_t *codes;
};

static enum entro_error read_rows(const struct entro_range_source *source, uint64_t row, size_t n_rows,
                                  struct rows *rows, struct entro_message *message)
{
    uint64_t first = row * source->grid.n_columns;
    size_t n = n_rows * (size_t)source->grid.n_columns;
    enum entro_error error = ENTRO_OK;
    for (size_t done = 0, part; done < n && !error; done += part) {
        part = (size_t)smaller(n - done, ENTRO_WEIGHTS_AT_ONCE);
        error = entro_weights_read(source->input, source->tensor, first + done, part, &rows->part, message);
        for (size_t i = 0; i < part && !error; i++)
            rows->weights[done + i] = rows->part.values[i];
    }
    return error;
}

static enum entro_error quantize_rows(const struct entro_range_source *source, uint64_t first, uint64_t end,
                                      struct rows *rows, struct outputs *outputs,
                                      struct entro_message *message)
{
    uint64_t n_columns = source->grid.n_columns;
    enum entro_error error = ENTRO_OK;
    /* From an even row on, so that two codes of one byte are never in two calls. */
    for (uint64_t row = first / n_columns / 2 * 2, n_rows; row * n_columns < end && !error; row += n_rows) {
        n_rows = smaller(ENTRO_FEEDBACK_ROWS, entro_div_ceil_u64(end - row * n_columns, n_columns));
        error = read_rows(source, row, (size_t)n_rows, rows, message);
        if (error)
            break;
        entro_error_feedback_targets(source->feedback, &source->grid, row, (size_t)n_rows, rows->weights,
                                     rows->targets);
        uint64_t begins = row * n_columns, from = begins > first ? begins : first;
        uint64_t to = smaller(begins + n_rows * n_columns, end);
        if (from < to)
            quantize(source, rows->weights + (from - begins), rows->targets + (from - begins), from,
                     (size_t)(to - from), rows->codes, outputs);
    }
    return error;
}

static enum entro_error quantize_with_feedback(const struct entro_range_source *source, uint64_t first,
                                               uint64_t end, struct outputs *outputs,
                                               struct entro_message *message)
{
    size_t n = ENTRO_FEEDBACK_ROWS * (size_t)source->grid.n_columns;
    struct rows *rows = malloc(sizeof *rows);
    float *weights = malloc(2 * n * sizeof *weights);
    uint8_t *codes = malloc(n);
    enum entro_error error;
    if (rows && weights && codes) {
        rows->weights = weights;
        rows->targets = weights + n;
        rows->codes = codes;
        error = quantize_rows(source, first, end, rows, outputs, message);
    } else {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    }
    free(codes);
    free(weights);
    free(rows);
    return error;
}

enum entro_error entro_quantize_range(const struct entro_range_source *source, uint64_t first, uint64_t end,
                                      uint8_t *codes, uint8_t **records, const uint8_t *records_end,
                                      struct entro_balanced_loss *loss, struct entro_message *message)
{
    struct outputs outputs = {.codes = codes, .records = records, .records_end = records_end, .loss = loss};
    *loss = (struct entro_balanced_loss){0};
    return source->feedback ? quantize_with_feedback(source, first, end, &outputs, message)
                            : quantize_plain(source, first, end, &outputs, message);
}
