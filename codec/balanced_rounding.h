/* The rounding of one weight to a balanced grid, which must be the same wherever it is done. */
#ifndef ENTRO_BALANCED_ROUNDING_H
#define ENTRO_BALANCED_ROUNDING_H

#include <math.h>

#include "codec/quantize_balanced.h"

/* Adding it to a number of less than 2^51 leaves the nearest integer, ties to even, in the low bits;
 * subtracting it gives that integer. */
#define ENTRO_ROUNDING_MAGIC 0x1.8p52

/* Codes far outside of the grid are cut to this before they become integers. */
#define ENTRO_FAR_STEPS 1e6

/* The grid's ends: codes less the zero point, and the largest value. */
struct entro_balanced_limits {
    double lowest, highest, largest;
};

static inline struct entro_balanced_limits entro_balanced_limits(const struct entro_balanced_grid *grid)
{
    double zero_point = entro_balanced_zero_point(grid->bits);
    return (struct entro_balanced_limits){
        .lowest = -zero_point, .highest = zero_point - 1, .largest = grid->largest};
}

/* The nearest integer number of steps, without regard to the grid's ends, and the value that it stands for;
 * returns whether that is outside of the grid. `step` is the row's, `factor` the column's; and their
 * inverses.
 */
static inline unsigned entro_balanced_round(const struct entro_balanced_limits *limits, double step,
                                            double inverse_step, double factor, double inverse_factor,
                                            double weight, double *steps, double *value)
{
    double n = weight * inverse_step * inverse_factor;
    n = n > -ENTRO_FAR_STEPS ? n : -ENTRO_FAR_STEPS;
    n = n < ENTRO_FAR_STEPS ? n : ENTRO_FAR_STEPS;
    n = n + ENTRO_ROUNDING_MAGIC - ENTRO_ROUNDING_MAGIC;
    *steps = n;
    *value = step * factor * n;
    return (unsigned)(n < limits->lowest) | (unsigned)(n > limits->highest) |
           (unsigned)(fabs(*value) > limits->largest);
}

#endif
