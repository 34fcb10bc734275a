/*
 * What EntroLLM's rule (arXiv 2505.02380) would cost and lose with one step a tensor, a row or a group of
 * 128 weights: finer steps lose less, and leave codes that entropy coding saves less on.
 */
#ifndef ENTRO_ABLATION_H
#define ENTRO_ABLATION_H

#include <stdbool.h>

#include "codec/error.h"
#include "codec/pool.h"
#include "mkentrofs/input.h"
#include "mkentrofs/source.h"

#define ENTRO_ABLATION_GROUP 128

/* A scale and a zero point. */
#define ENTRO_ABLATION_STEP_BITS 24

enum entro_granularity {
    ENTRO_PER_TENSOR,
    ENTRO_PER_ROW,
    ENTRO_PER_GROUP, /* of a row; a row's last group may be shorter */
    ENTRO_N_GRANULARITIES,
};

enum { ENTRO_ABLATION_8_BITS, ENTRO_ABLATION_4_BITS, ENTRO_N_ABLATION_BITS };

struct entro_ablation_cell {
    double entropy_bits; /* order-0, of all codes of the tensor under one table: in all */
    double step_bits;    /* scales and zero points, in all */
    double error_energy; /* sum of squared errors */
};

struct entro_ablation {
    bool is_finite; /* else nothing else is set */
    double energy;  /* sum of squared weights */
    struct entro_ablation_cell cells[ENTRO_N_GRANULARITIES][ENTRO_N_ABLATION_BITS];
};

/* Reads the tensor twice (rows that are very long, three times). Deterministic. Errors of the source,
 * _NO_MEMORY, _CANCELLED. */
enum entro_error entro_ablation_measure(struct entro_ablation *out, const struct entro_input *input,
                                        const struct entro_source_tensor *tensor, struct entro_pool *pool,
                                        struct entro_message *message);

#endif
