/* Plans of several tensors added up. */
#ifndef ENTRO_PLAN_SUMS_H
#define ENTRO_PLAN_SUMS_H

#include "mkentrofs/plan.h"

/* Start from zeros. */
struct entro_plan_sum {
    size_t n_tensors;
    double weights, bits[ENTRO_MAX_PLANNED];
    double noise[ENTRO_MAX_PLANNED], energy; /* noise: of weights, by energies and SNR of the tensors */
};

void entro_plan_sum_add(struct entro_plan_sum *sum, const struct entro_plan *plan,
                        const struct entro_planned_tensor *tensor);

/* Of all quantized tensors; the number of their weights. */
double entro_plan_sum_ablations(const struct entro_plan *plan, struct entro_ablation *sum);

#endif
