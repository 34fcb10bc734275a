/*
 * The balanced scheme's rounding: weights ~ scale * row * column * (q - zero_point), and a list of those that
 * this cannot say. How factors and scale are found is the caller's business.
 */
#ifndef ENTRO_QUANTIZE_BALANCED_H
#define ENTRO_QUANTIZE_BALANCED_H

#include <stddef.h>
#include <stdint.h>

#include "codec/format.h"

/* A scale of so many significant bits makes scale * (q - zero_point) exact in F32. */
#define ENTRO_BALANCED_SCALE_BITS 12

struct entro_balanced_grid {
    unsigned bits;        /* 8 or 4; the zero point is in the middle */
    float scale;          /* of ENTRO_BALANCED_SCALE_BITS significant bits */
    double largest;       /* what stands for more than this in magnitude is an outlier: the type's limit */
    uint64_t n_columns;   /* at least 1 */
    const uint16_t *row;  /* F16 a row, NULL: all 1 */
    const double *column; /* the F16's values, NULL: all 1 */
    const double *inverse_column; /* 1 / column */
};

/* The grid's zero point. */
static inline int32_t entro_balanced_zero_point(unsigned bits)
{
    return 1 << (bits - 1);
}

/* The nearest number of ENTRO_BALANCED_SCALE_BITS significant bits to a positive one. */
double entro_balanced_scale(double scale);

/* What a range of weights came to. */
struct entro_balanced_loss {
    double error_energy, energy; /* sums of squared errors and squared weights */
    double largest;              /* magnitude of a weight */
    uint64_t n_outliers;
};

/*
 * Rounds the elements first..first+n-1 of a matrix (row-major) to the nearest codes, packed as
 * entro_quantize does it (with 4 bits `first` is even). What is rounded are the targets: the weights
 * themselves, or what error_feedback.h makes of them. A weight whose target is outside of the grid gets the
 * nearest code, and its record (element, exact value) is written to *records, which moves on, and counted;
 * `records` NULL: only counted. The room that is needed is ENTRO_OUTLIER_BYTES for each outlier; where
 * `records` is given and `records_end` is reached, no more are written, but all are counted. Adds to *loss,
 * in index order in F64.
 */
void entro_quantize_balanced(const struct entro_balanced_grid *grid, const float *weights,
                             const float *targets, uint64_t first, size_t n, uint8_t *codes,
                             uint8_t **records, const uint8_t *records_end, struct entro_balanced_loss *loss);

#endif
