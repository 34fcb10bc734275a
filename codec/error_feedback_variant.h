/*
 * ENTRO_FIND_TARGETS, a variant of entro_error_feedback_targets with vectors of ENTRO_LANES_BYTES: included
 * once by each file that defines both. Internal to the error feedback.
 */
#include <string.h>

#include "codec/balanced_rounding.h"
#include "codec/half.h"

#define ROWS    ENTRO_FEEDBACK_ROWS
#define LANES   (ENTRO_LANES_BYTES / sizeof(float))
#define N_PARTS (ROWS / LANES)

/* Columns whose weights are turned from rows to lanes at a time. */
#define TILE ((size_t)64)

typedef float lanes __attribute__((vector_size(ENTRO_LANES_BYTES)));

/* A number of each row. */
union rows {
    lanes parts[N_PARTS];
    float row[ROWS];
};

struct group {
    union rows sums[ENTRO_FEEDBACK_MAX_DIRECTIONS]; /* s: the errors so far, along each direction */
    union rows weights[TILE];                       /* of some columns; then their targets */
};

/* *weights -= gains . sums; even and odd directions apart, since one sum would wait for each addition. */
static void make_up(const struct group *group, const float *gains, size_t n_directions, union rows *weights)
{
    lanes even[N_PARTS] = {0}, odd[N_PARTS] = {0};
    size_t k = 0;
    for (; k + 2 <= n_directions; k += 2)
        for (size_t part = 0; part < N_PARTS; part++) {
            even[part] += gains[k] * group->sums[k].parts[part];
            odd[part] += gains[k + 1] * group->sums[k + 1].parts[part];
        }
    for (size_t part = 0; part < N_PARTS; part++) {
        if (k < n_directions)
            even[part] += gains[k] * group->sums[k].parts[part];
        weights->parts[part] -= even[part] + odd[part];
    }
}

static void add_errors(struct group *group, const float *directions, size_t n_directions,
                       const union rows *errors)
{
    union rows of_column = *errors;
    for (size_t k = 0; k < n_directions; k++)
        for (size_t part = 0; part < N_PARTS; part++)
            group->sums[k].parts[part] += directions[k] * of_column.parts[part];
}

void ENTRO_FIND_TARGETS(const struct entro_error_feedback *feedback, const struct entro_balanced_grid *grid,
                        uint64_t first_row, size_t n_rows, const float *weights, float *targets)
{
    size_t n_columns = feedback->n_columns, n_directions = feedback->n_directions;
    struct group group;
    const struct entro_balanced_limits limits = entro_balanced_limits(grid);
    double steps[ROWS], inverse_steps[ROWS];
    memset(group.sums, 0, n_directions * sizeof group.sums[0]);
    memset(group.weights, 0, sizeof group.weights); /* of the rows that are not there */
    for (size_t i = 0; i < ROWS; i++) {
        bool has_factor = grid->row != NULL && i < n_rows;
        steps[i] =
            (double)grid->scale * (has_factor ? (double)entro_f16_to_f32(grid->row[first_row + i]) : 1);
        inverse_steps[i] = 1 / steps[i];
    }
    for (size_t first = 0; first < n_columns; first += TILE) {
        size_t n = n_columns - first < TILE ? n_columns - first : TILE;
        for (size_t row = 0; row < n_rows; row++)
            for (size_t i = 0; i < n; i++)
                group.weights[i].row[row] = weights[row * n_columns + first + i];
        for (size_t i = 0; i < n; i++) {
            size_t column = first + i;
            double factor = grid->column != NULL ? grid->column[column] : 1;
            double inverse = grid->column != NULL ? grid->inverse_column[column] : 1;
            union rows weight = group.weights[i], error;
            make_up(&group, feedback->gains + column * n_directions, n_directions, &group.weights[i]);
            for (size_t row = 0; row < ROWS; row++) {
                double n_steps, value;
                unsigned outside =
                    entro_balanced_round(&limits, steps[row], inverse_steps[row], factor, inverse,
                                         (double)group.weights[i].row[row], &n_steps, &value);
                error.row[row] = outside ? 0 : (float)(value - (double)weight.row[row]);
            }
            add_errors(&group, feedback->directions + column * n_directions, n_directions, &error);
        }
        for (size_t row = 0; row < n_rows; row++)
            for (size_t i = 0; i < n; i++)
                targets[row * n_columns + first + i] = group.weights[i].row[row];
    }
}
