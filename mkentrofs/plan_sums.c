/* See plan_sums.h. */
#include "mkentrofs/plan_sums.h"

#include <math.h>

void entro_plan_sum_add(struct entro_plan_sum *sum, const struct entro_plan *plan,
                        const struct entro_planned_tensor *tensor)
{
    double n = (double)tensor->source->n_elements;
    sum->n_tensors++;
    sum->weights += n;
    sum->energy += tensor->ablation.energy;
    for (size_t i = 0; i < plan->n_planned; i++) {
        sum->bits[i] += tensor->cells[i].bits;
        sum->noise[i] += tensor->ablation.energy * pow(10, tensor->cells[i].snr_db / -10);
    }
}

double entro_plan_sum_ablations(const struct entro_plan *plan, struct entro_ablation *sum)
{
    double weights = 0;
    *sum = (struct entro_ablation){.is_finite = true};
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct entro_planned_tensor *tensor = &plan->tensors[i];
        if (tensor->kept_reason || !tensor->ablation.is_finite)
            continue;
        weights += (double)tensor->source->n_elements;
        sum->energy += tensor->ablation.energy;
        for (unsigned granularity = 0; granularity < ENTRO_N_GRANULARITIES; granularity++)
            for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++) {
                struct entro_ablation_cell *to = &sum->cells[granularity][which];
                const struct entro_ablation_cell *from = &tensor->ablation.cells[granularity][which];
                to->entropy_bits += from->entropy_bits;
                to->step_bits += from->step_bits;
                to->error_energy += from->error_energy;
            }
    }
    return weights;
}
