/* Sums over rows, and factors from them; see balance.h. */
#include "codec/balance.h"

#include <math.h>

#include "codec/half.h"

#define N_LANES 8

#define F16_MIN_NORMAL 0x1p-14
#define F16_MAX        65504.0

double entro_row_energy(const float *weights, const double *inverse_columns, size_t n)
{
    /* Lanes that do not depend on each other, so that a compiler may make vectors of them. */
    double sums[N_LANES] = {0};
    size_t i = 0;
    for (; i + N_LANES <= n; i += N_LANES) {
        for (unsigned lane = 0; lane < N_LANES; lane++) {
            double weight = (double)weights[i + lane];
            if (inverse_columns != NULL)
                weight *= inverse_columns[i + lane];
            sums[lane] += weight * weight;
        }
    }
    for (; i < n; i++) {
        double weight = (double)weights[i] * (inverse_columns != NULL ? inverse_columns[i] : 1);
        sums[0] += weight * weight;
    }
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

void entro_column_energies_add(double *energies, const float *weights, const double *inverse_columns,
                               double factor, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double weight = (double)weights[i] * inverse_columns[i];
        energies[i] += factor * (weight * weight);
    }
}

double entro_columns_update(double *columns, double *energies, size_t n)
{
    double sum = 0, largest = 0;
    size_t n_used = 0;
    for (size_t i = 0; i < n; i++) {
        sum += energies[i];
        n_used += energies[i] > 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (energies[i] > 0) {
            double change = sqrt(energies[i] / (sum / (double)n_used));
            columns[i] *= change;
            largest = fmax(largest, fabs(change - 1));
        }
        energies[i] = 0;
    }
    return largest;
}

void entro_factors_round(const double *factors, size_t n, uint16_t *halves, double *unit)
{
    double sum = 0;
    size_t n_used = 0;
    for (size_t i = 0; i < n; i++) {
        if (factors[i] > 0) {
            sum += log2(factors[i]);
            n_used++;
        }
    }
    *unit = n_used > 0 ? exp2(rint(sum / (double)n_used)) : 1;
    for (size_t i = 0; i < n; i++) {
        double factor = factors[i] > 0 ? factors[i] / *unit : 1;
        factor = fmin(fmax(factor, F16_MIN_NORMAL), F16_MAX);
        halves[i] = entro_f32_to_f16((float)factor);
    }
}
