/*
 * --plan: what every tensor would cost and lose at several sizes, without writing an image.
 */
#ifndef ENTRO_PLAN_H
#define ENTRO_PLAN_H

#include <stdio.h>

#include "codec/error.h"
#include "codec/pool.h"
#include "mkentrofs/ablation.h"
#include "mkentrofs/allocation.h"
#include "mkentrofs/monitor.h"
#include "mkentrofs/source.h"
#include "mkentrofs/tensor_plan.h"

/* The sizes that are looked at: those of --quality, and the one that the options ask for. */
#define ENTRO_MAX_PLANNED (ENTRO_N_QUALITIES + 1)

struct entro_planned_cell {
    double bits;   /* in all, everything included */
    double snr_db; /* of normalized weights: what balanced rows and columns share */
};

struct entro_planned_tensor {
    const struct entro_source_tensor *source;
    const char *kept_reason; /* why it costs nothing or stays as it is; NULL: quantized, and only then what
                                follows is set */
    struct entro_planned_cell cells[ENTRO_MAX_PLANNED];
    struct entro_ablation ablation;
};

struct entro_plan {
    size_t n_planned;
    double bpw[ENTRO_MAX_PLANNED]; /* ascending */
    size_t n_tensors;
    struct entro_planned_tensor *tensors; /* in the order of the source's files; points into the source */
};

/* On success the caller frees with entro_plan_free. Errors of the source; _NO_MEMORY, _CANCELLED. */
enum entro_error entro_plan_make(struct entro_plan *out, const struct entro_source_tree *tree,
                                 const struct entro_plan_options *options, struct entro_pool *pool,
                                 const struct entro_monitor *monitor, struct entro_message *message);
void entro_plan_free(struct entro_plan *plan);

/* For a person, and for scripts: ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_plan_table(FILE *stream, const struct entro_plan *plan);
enum entro_error entro_plan_json(FILE *stream, const struct entro_plan *plan);

#endif
