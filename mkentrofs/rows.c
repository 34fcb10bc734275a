/* Reads rows, several short ones at once; see rows.h. */
#include "mkentrofs/rows.h"

#include <stdlib.h>

uint64_t entro_tensor_rows(const struct entro_source_tensor *tensor)
{
    return tensor->rank > 0 ? tensor->shape[0] : 1;
}

uint64_t entro_tensor_columns(const struct entro_source_tensor *tensor)
{
    return tensor->n_elements / entro_tensor_rows(tensor);
}

size_t entro_n_strips(uint64_t n_rows, size_t wanted)
{
    size_t n_strips = wanted < n_rows ? wanted : (size_t)n_rows;
    return n_strips > 0 ? n_strips : 1;
}

uint64_t entro_strip_first_row(uint64_t n_rows, size_t n_strips, size_t strip)
{
    uint64_t share = n_rows / n_strips, rest = n_rows % n_strips;
    return share * strip + (strip < rest ? strip : rest);
}

struct walk {
    const struct entro_input *input;
    const struct entro_source_tensor *tensor;
    const struct entro_row_looks *looks;
    struct entro_weights *weights;
    uint64_t n_columns;
    struct entro_message *message;
};

static enum entro_error short_rows(const struct walk *walk, uint64_t first, uint64_t end)
{
    const struct entro_row_looks *looks = walk->looks;
    size_t n_columns = (size_t)walk->n_columns;
    enum entro_error error = ENTRO_OK;
    for (uint64_t n_rows; first < end && !error; first += n_rows) {
        n_rows = ENTRO_WEIGHTS_AT_ONCE / n_columns;
        n_rows = n_rows < end - first ? n_rows : end - first;
        error = entro_weights_read(walk->input, walk->tensor, first * n_columns, (size_t)n_rows * n_columns,
                                   walk->weights, walk->message);
        for (uint64_t row = first; row < first + n_rows && !error; row++) {
            const float *values = walk->weights->values + (size_t)(row - first) * n_columns;
            looks->first(looks->context, row, 0, values, n_columns);
            if (looks->between)
                looks->between(looks->context, row);
            if (looks->second)
                looks->second(looks->context, row, 0, values, n_columns);
        }
    }
    return error;
}

static enum entro_error look_at_pieces(const struct walk *walk, uint64_t row, entro_row_look *look)
{
    enum entro_error error = ENTRO_OK;
    for (uint64_t column = 0; column < walk->n_columns && !error; column += ENTRO_WEIGHTS_AT_ONCE) {
        uint64_t left = walk->n_columns - column;
        size_t n = left < ENTRO_WEIGHTS_AT_ONCE ? (size_t)left : ENTRO_WEIGHTS_AT_ONCE;
        error = entro_weights_read(walk->input, walk->tensor, row * walk->n_columns + column, n,
                                   walk->weights, walk->message);
        if (!error)
            look(walk->looks->context, row, column, walk->weights->values, n);
    }
    return error;
}

static enum entro_error long_rows(const struct walk *walk, uint64_t first, uint64_t end)
{
    const struct entro_row_looks *looks = walk->looks;
    enum entro_error error = ENTRO_OK;
    for (uint64_t row = first; row < end && !error; row++) {
        error = look_at_pieces(walk, row, looks->first);
        if (!error && looks->between)
            looks->between(looks->context, row);
        if (!error && looks->second)
            error = look_at_pieces(walk, row, looks->second);
    }
    return error;
}

enum entro_error entro_rows_look(const struct entro_input *input, const struct entro_source_tensor *tensor,
                                 uint64_t first, uint64_t end, const struct entro_row_looks *looks,
                                 struct entro_message *message)
{
    struct walk walk = {.input = input,
                        .tensor = tensor,
                        .looks = looks,
                        .n_columns = entro_tensor_columns(tensor),
                        .message = message};
    walk.weights = malloc(sizeof *walk.weights);
    if (!walk.weights)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    enum entro_error error = walk.n_columns <= ENTRO_WEIGHTS_AT_ONCE ? short_rows(&walk, first, end)
                                                                     : long_rows(&walk, first, end);
    free(walk.weights);
    return error;
}
