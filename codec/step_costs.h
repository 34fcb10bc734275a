/*
 * What quantization steps cost a tensor: a fine histogram of its weights, normalized to an RMS of 1, tells
 * for any step how the codes will be distributed, and so their bits, their noise and the outliers, without
 * encoding anything.
 */
#ifndef ENTRO_STEP_COSTS_H
#define ENTRO_STEP_COSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Normalized weights from -32 to 32 in bins of 1/1024, and one more at each end for what lies beyond. */
#define ENTRO_PROFILE_BINS ((size_t)65538)

/* 512 KiB; start from zeros. Profiles of parts of a tensor add up. */
struct entro_profile {
    uint64_t counts[ENTRO_PROFILE_BINS];
};

/* Counts weights[j] * inverse_row * inverse_columns[j]; inverse_columns NULL: all 1. Weights are finite. */
void entro_profile_add(struct entro_profile *profile, const float *weights, double inverse_row,
                       const double *inverse_columns, size_t n);
void entro_profile_merge(struct entro_profile *profile, const struct entro_profile *other);

/* Normalized steps are looked at in eighths of an octave, from 2^-6.5 on. */
#define ENTRO_N_STEPS          57
#define ENTRO_STEP_LOG2_MIN    (-6.5)
#define ENTRO_STEPS_PER_OCTAVE 8
#define ENTRO_STEP_LOG2_MAX    (ENTRO_STEP_LOG2_MIN + (double)(ENTRO_N_STEPS - 1) / ENTRO_STEPS_PER_OCTAVE)

struct entro_step_cost {
    float bits;     /* a weight: Huffman-coded (4-bit codes in pairs) and outliers */
    float noise;    /* mean squared error, of normalized weights */
    float outliers; /* a weight */
};

/* The costs at all steps, with 8-bit codes and with 4-bit ones. */
struct entro_step_costs {
    struct entro_step_cost u8[ENTRO_N_STEPS], u4[ENTRO_N_STEPS];
};

/* The costs of step number `step`, where the record of an outlier takes outlier_bits in the image;
 * deterministic, thread-safe. An empty profile costs nothing. */
void entro_step_costs_at(struct entro_step_costs *costs, const struct entro_profile *profile,
                         double outlier_bits, unsigned step);

/* Between the steps by straight lines over the step's logarithm (base 2); beyond the ends, the ends'. */
struct entro_step_cost entro_step_cost(const struct entro_step_costs *costs, unsigned bits, double step_log2);

#endif
