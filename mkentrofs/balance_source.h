/*
 * The balanced scheme's first half for a whole source: all its tensors looked at, and their steps found.
 */
#ifndef ENTRO_BALANCE_SOURCE_H
#define ENTRO_BALANCE_SOURCE_H

#include <stddef.h>

#include "codec/error.h"
#include "codec/pool.h"
#include "mkentrofs/balance_rules.h"
#include "mkentrofs/balance_tensor.h"
#include "mkentrofs/monitor.h"
#include "mkentrofs/source.h"
#include "mkentrofs/tensor_plan.h"

/* Factors and some kilobytes a tensor, and an importance matrix without its directions: all that grows with
 * the model. */
struct entro_balanced_source {
    size_t n_tensors;
    struct entro_balanced_tensor *tensors; /* in the order of the source's files; zeros for those that the
                                              plan treats otherwise */
    struct entro_balance_rules rules;      /* what they point into */
};

/*
 * Looks at every tensor that the plan gives to the balanced scheme, reading each several times. On success
 * the caller frees with entro_balanced_source_free. Errors of the source and of memory, _CANCELLED.
 */
enum entro_error entro_balance_source(struct entro_balanced_source *out, const struct entro_source_tree *tree,
                                      const struct entro_plan_options *options, struct entro_pool *pool,
                                      const struct entro_monitor *monitor, struct entro_message *message);

/* Sets bits and scale of all tensors for the options' bits a weight, see allocation.h, as are the errors;
 * _NO_MEMORY. */
enum entro_error entro_balanced_source_allocate(struct entro_balanced_source *balanced,
                                                const struct entro_source_tree *tree,
                                                const struct entro_plan_options *options,
                                                struct entro_message *message);
void entro_balanced_source_free(struct entro_balanced_source *balanced);

/* Bytes that looking at a tensor reads at most. */
uint64_t entro_balance_work_bytes(const struct entro_source_tensor *tensor);

#endif
