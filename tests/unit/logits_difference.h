/* How far apart two backends' logits are, for tests with and without a test framework. */
#ifndef ENTRO_TESTS_LOGITS_DIFFERENCE_H
#define ENTRO_TESTS_LOGITS_DIFFERENCE_H

#include <math.h>
#include <stddef.h>

/* The largest difference over the range of a's n numbers; NaN in either is no small difference. */
static inline double logits_difference(const float *a, const float *b, size_t n)
{
    double difference = 0, smallest = INFINITY, largest = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        double own = fabs((double)a[i] - (double)b[i]);
        difference = own <= difference ? difference : own; /* NaN counts */
        smallest = fmin(smallest, (double)a[i]);
        largest = fmax(largest, (double)a[i]);
    }
    return difference / (largest - smallest);
}

#endif
