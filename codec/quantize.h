/*
 * Quantizers: from F32 weights to codes with one scale and one zero point for a whole tensor. How weights are
 * read and codes are stored is the caller's business.
 */
#ifndef ENTRO_QUANTIZE_H
#define ENTRO_QUANTIZE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/format.h"

/* What has to be known of all weights before a grid can be chosen; ranges of parts are merged. Start from
 * ENTRO_RANGE_EMPTY. */
struct entro_range {
    float min, max; /* of the finite weights */
    bool has_nonfinite;
};
#define ENTRO_RANGE_EMPTY ((struct entro_range){.min = INFINITY, .max = -INFINITY, .has_nonfinite = false})

void entro_range_add(struct entro_range *range, const float *weights, size_t n_weights);
void entro_range_merge(struct entro_range *range, const struct entro_range *other);

/* w ~ scale * (q - zero_point), q in 0 .. 2^bits - 1. */
struct entro_grid {
    enum entro_scheme scheme; /* unsigned or asymmetric */
    unsigned bits;            /* 8 or 4 */
    float scale;
    int32_t zero_point; /* 0 .. 2^bits - 1 */
};

/* Significant bits that a scale is rounded up to by default: makes u4 exact as GGUF Q4_1 and costs at
 * most 1.6 % of step. */
#define ENTRO_SCALE_BITS_DEFAULT 7

/*
 * EntroLLM's mixed rule (arXiv 2505.02380): unsigned (zero point at the edge of the range) where all weights
 * have one sign, else asymmetric over min..max with an integer zero point. The scale is rounded up to
 * scale_bits (1 to 24) significant bits and further, where rounding would need one code too many: no weight
 * is ever clipped. False where no such grid exists: non-finite weights, no weights, a scale that is no normal
 * F32, or a grid with values that overflow F32. All-zero weights get scale 1.
 */
bool entro_grid_mixed(struct entro_grid *grid, const struct entro_range *range, unsigned bits,
                      unsigned scale_bits);

/*
 * Rounds to the nearest code (ties to even of w / scale, computed in F64). u8: a byte a weight; u4: two
 * weights a byte, even index in the low nibble, an odd last one alone in its byte with the high nibble 0: a
 * part of a tensor must start at an even index. Returns the sum of squared errors against scale * (q -
 * zero_point), added in index order in F64, and adds the sum of squared weights to *energy (may be NULL).
 * Weights outside of the range that the grid was made for (a source that changed meanwhile) get the code
 * nearest to them. Thread-safe, as all here.
 */
double entro_quantize(const struct entro_grid *grid, const float *weights, size_t n_weights, uint8_t *codes,
                      double *energy);

#endif
