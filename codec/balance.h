/*
 * Row and column factors under which all rows and all columns of a matrix have equal RMS: Sinkhorn's scaling
 * (Sinkhorn and Knopp, "Concerning nonnegative matrices and doubly stochastic matrices", Pacific J. Math. 21,
 * 1967) of the squared weights. The sums over rows here; who reads the rows, and how often, is the caller's.
 */
#ifndef ENTRO_BALANCE_H
#define ENTRO_BALANCE_H

#include <stddef.h>
#include <stdint.h>

/*
 * The sum of (weights[j] * inverse_columns[j])^2 in F64, in an order of additions that depends on n alone.
 * inverse_columns NULL: all 1. Not finite where a weight is not. All here is thread-safe.
 */
double entro_row_energy(const float *weights, const double *inverse_columns, size_t n);

/* energies[j] += factor * (weights[j] * inverse_columns[j])^2. */
void entro_column_energies_add(double *energies, const float *weights, const double *inverse_columns,
                               double factor, size_t n);

/*
 * One step for the columns: columns[j] *= sqrt(energies[j] / mean of the energies that are not 0), and
 * energies become 0 again. Columns without energy (all zero) keep their factor. Returns the largest relative
 * change of a factor: where it is small, rows and columns are balanced.
 */
double entro_columns_update(double *columns, double *energies, size_t n);

/*
 * Factors as F16: factors[i] ~ *unit * halves[i], with *unit the power of two that puts their geometric mean
 * near 1. Factors are positive; those beyond the normal numbers of F16 get the nearest of these, so that none
 * becomes 0 or infinite. A factor of 0 or a NaN (of a row without weights) becomes 1 unit.
 */
void entro_factors_round(const double *factors, size_t n, uint16_t *halves, double *unit);

#endif
