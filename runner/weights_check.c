/* The search for weights that are no numbers; see weights.h. */
#include <math.h>
#include <stdlib.h>

#include "runner/weights.h"

/* `row` has room for a row of any matrix. */
static enum entro_error check_matrix(const struct entro_matrix *matrix, float *row,
                                     struct entro_message *message)
{
    for (size_t i = 0; i < matrix->n_rows; i++) {
        entro_matrix_row(matrix, i, row);
        for (size_t j = 0; j < matrix->n_columns; j++)
            if (!isfinite(row[j]))
                return entro_fail(message, ENTRO_ERROR_FORMAT,
                                  "tensor \"%s\": the weight at row %zu, column %zu is not a number",
                                  matrix->name, i, j);
    }
    return ENTRO_OK;
}

static enum entro_error check_layer(const struct entro_layer_weights *layer, float *row,
                                    struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    for (size_t i = 0; error == ENTRO_OK && i < layer->n_qkv; i++)
        error = check_matrix(&layer->qkv[i], row, message);
    for (size_t i = 0; error == ENTRO_OK && i < layer->n_gate_up; i++)
        error = check_matrix(&layer->gate_up[i], row, message);
    if (error == ENTRO_OK)
        error = check_matrix(&layer->attention_output, row, message);
    return error == ENTRO_OK ? check_matrix(&layer->down, row, message) : error;
}

static size_t widest(const struct entro_weights *weights)
{
    size_t n = weights->embedding.n_columns;
    for (size_t i = 0; i < weights->n_layers; i++) {
        const struct entro_layer_weights *layer = &weights->layers[i];
        if (layer->down.n_columns > n)
            n = layer->down.n_columns;
        if (layer->attention_output.n_columns > n)
            n = layer->attention_output.n_columns;
    }
    return n;
}

enum entro_error entro_weights_check_finite(const struct entro_weights *weights,
                                            struct entro_message *message)
{
    float *row = calloc(widest(weights), sizeof *row);
    if (row == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for a row of weights");
    enum entro_error error = check_matrix(&weights->embedding, row, message);
    if (error == ENTRO_OK)
        error = check_matrix(&weights->output, row, message);
    for (size_t i = 0; error == ENTRO_OK && i < weights->n_layers; i++)
        error = check_layer(&weights->layers[i], row, message);
    free(row);
    return error;
}

enum entro_error entro_weights_explain_no_numbers(const struct entro_weights *weights,
                                                  struct entro_message *message)
{
    enum entro_error error = entro_weights_check_finite(weights, message);
    if (error != ENTRO_OK)
        return error;
    return entro_fail(message, ENTRO_ERROR_FORMAT,
                      "the model's results are no numbers, though all its weights are: they overflow");
}
