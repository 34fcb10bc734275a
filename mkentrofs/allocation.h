/*
 * The balanced scheme, between its halves: the one normalized step under which all tensors together cost the
 * bits a weight that the user asked for.
 */
#ifndef ENTRO_ALLOCATION_H
#define ENTRO_ALLOCATION_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/error.h"
#include "mkentrofs/balance_tensor.h"
#include "mkentrofs/source.h"

/* What --bpw takes. */
#define ENTRO_BPW_MIN 2.5
#define ENTRO_BPW_MAX 8.0

/* What --quality takes: by what a user wants, in bits a weight, descending. */
#define ENTRO_N_QUALITIES 4
struct entro_quality {
    const char *name;
    double bpw;
};
extern const struct entro_quality entro_qualities[ENTRO_N_QUALITIES];

/* Tensors that would cost more than this with 8-bit codes get them, others 4-bit ones: there packed pairs
 * code better, and half the bytes are read. */
#define ENTRO_BPW_OF_U4 3.0
/* Unless heavy tails make so many outliers of 16 codes that they cost more than this, in bits a weight. */
#define ENTRO_MAX_COST_OF_U4 0.1

struct entro_allocation_item {
    const struct entro_source_tensor *source;
    struct entro_balanced_tensor *tensor;
};

/*
 * Sets bits and scale of all tensors so that codes, outliers, factors and records together come to `bpw` bits
 * a weight, copies (is_copy) aside, which are not all; no tensor is read or encoded for it. *step_log2 is the
 * step (of those without finer_octaves; the others' are finer, but not where that would make more than one
 * outlier in a thousand). Without tensors nothing happens. Where no step does (a model of
 * zeros, one of very small tensors): ENTRO_ERROR_ARGUMENT and a message that says what can be had, if
 * is_asked; else the nearest step that is neither coarser nor finer than any that suits a real model.
 */
enum entro_error entro_allocate(const struct entro_allocation_item *items, size_t n_items, double bpw,
                                bool is_asked, double *step_log2, struct entro_message *message);

/* What a tensor would cost, all included, in bits a weight; *bits is its codes' size. */
struct entro_step_cost entro_allocation_cost(const struct entro_allocation_item *item, double step_log2,
                                             unsigned *bits);

#endif
