/* Rounding to a grid with row and column factors; see quantize_balanced.h. */
#include "codec/quantize_balanced.h"

#include <math.h>
#include <stdbool.h>

#include "codec/balanced_rounding.h"
#include "codec/bytes.h"
#include "codec/half.h"

#define CHUNK_WEIGHTS 256

double entro_balanced_scale(double scale)
{
    int exponent;
    double mantissa = frexp(scale, &exponent);
    return ldexp(rint(ldexp(mantissa, ENTRO_BALANCED_SCALE_BITS)), exponent - ENTRO_BALANCED_SCALE_BITS);
}

struct outputs {
    uint8_t **records;
    const uint8_t *records_end;
    struct entro_balanced_loss *loss;
};

static void put_outlier(const struct outputs *outputs, uint64_t element, float weight)
{
    outputs->loss->n_outliers++;
    if (outputs->records == NULL || outputs->records_end - *outputs->records < ENTRO_OUTLIER_BYTES)
        return;
    entro_store_u64(*outputs->records, element);
    entro_store_u32(*outputs->records + 8, entro_f32_bits(weight));
    *outputs->records += ENTRO_OUTLIER_BYTES;
}

/* Up to CHUNK_WEIGHTS elements of one row: element `first` is in column `column`. A byte a code. */
static void quantize_part(const struct entro_balanced_grid *grid, double row_factor, const float *weights,
                          const float *targets, uint64_t first, size_t column, size_t n,
                          uint8_t codes[CHUNK_WEIGHTS], const struct outputs *outputs)
{
    const struct entro_balanced_limits limits = entro_balanced_limits(grid);
    double step = (double)grid->scale * row_factor, inverse_step = 1 / step;
    double errors[CHUNK_WEIGHTS], energies[CHUNK_WEIGHTS];
    uint8_t is_outside[CHUNK_WEIGHTS];
    unsigned any_outside = 0;
    for (size_t i = 0; i < n; i++) {
        double weight = (double)weights[i], steps, value;
        double factor = grid->column != NULL ? grid->column[column + i] : 1;
        double inverse = grid->column != NULL ? grid->inverse_column[column + i] : 1;
        unsigned outside = entro_balanced_round(&limits, step, inverse_step, factor, inverse,
                                                (double)targets[i], &steps, &value);
        steps = steps > limits.lowest ? steps : limits.lowest;
        steps = steps < limits.highest ? steps : limits.highest;
        double error = outside ? 0 : weight - value;
        is_outside[i] = (uint8_t)outside;
        any_outside |= outside;
        errors[i] = error * error;
        energies[i] = weight * weight;
        codes[i] = (uint8_t)(int)(steps - limits.lowest);
    }
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        outputs->loss->error_energy += errors[i];
        outputs->loss->energy += energies[i];
        largest = energies[i] > largest ? energies[i] : largest;
    }
    outputs->loss->largest = fmax(outputs->loss->largest, sqrt(largest));
    for (size_t i = 0; any_outside && i < n; i++)
        if (is_outside[i])
            put_outlier(outputs, first + i, weights[i]);
}

void entro_quantize_balanced(const struct entro_balanced_grid *grid, const float *weights,
                             const float *targets, uint64_t first, size_t n, uint8_t *codes,
                             uint8_t **records, const uint8_t *records_end, struct entro_balanced_loss *loss)
{
    struct outputs outputs = {.records = records, .records_end = records_end, .loss = loss};
    uint64_t row = first / grid->n_columns;
    size_t column = (size_t)(first % grid->n_columns);
    for (size_t done = 0, part; done < n; done += part) {
        uint8_t chunk[CHUNK_WEIGHTS];
        part = n - done < CHUNK_WEIGHTS ? n - done : CHUNK_WEIGHTS;
        if (grid->n_columns - column < part)
            part = (size_t)(grid->n_columns - column);
        double factor = grid->row != NULL ? (double)entro_f16_to_f32(grid->row[row]) : 1;
        quantize_part(grid, factor, weights + done, targets + done, first + done, column, part, chunk,
                      &outputs);
        for (size_t i = 0; i < part; i++) {
            size_t place = done + i;
            if (grid->bits == 8)
                codes[place] = chunk[i];
            else if (place % 2 == 0)
                codes[place / 2] = chunk[i];
            else
                codes[place / 2] |= (uint8_t)(chunk[i] << 4);
        }
        column += part;
        if (column == grid->n_columns) {
            column = 0;
            row++;
        }
    }
}
