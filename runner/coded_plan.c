/* From the pivot coder's plan to the GPU's; see coded_plan.h. */
#include "runner/coded_plan.h"

#include <string.h>

#include "codec/pivot.h"
#include "codec/pivot_plan.h"

_Static_assert(ENTRO_CUDA_MAX_LEAVES == ENTRO_PIVOT_MAX_LEAVES, "as many leaves");
_Static_assert(ENTRO_CUDA_MAX_STEPS == ENTRO_PIVOT_MAX_STEPS, "as many steps");
_Static_assert(ENTRO_CUDA_NO_STEP == ENTRO_PIVOT_NO_STEP, "the same mark");

enum entro_error entro_coded_plan(struct entro_cuda_plan *plan, const uint8_t lengths[ENTRO_N_SYMBOLS])
{
    struct entro_pivot *pivot;
    enum entro_error error = entro_pivot_create(&pivot, lengths);
    memset(plan, 0, sizeof *plan);
    if (error != ENTRO_OK)
        return error;
    plan->n_leaves = pivot->n_leaves;
    plan->n_steps = pivot->n_steps;
    for (unsigned i = 0; i < pivot->n_leaves; i++)
        plan->leaves[i] = (struct entro_cuda_leaf){.width = pivot->leaves[i].width,
                                                   .first_rank = pivot->leaves[i].first_rank,
                                                   .step = ENTRO_CUDA_NO_STEP};
    for (unsigned i = 0; i < pivot->n_steps; i++) {
        const struct entro_pivot_step *step = &pivot->steps[i];
        plan->steps[i] =
            (struct entro_cuda_step){.first_leaf = step->first_leaf,
                                     .split_leaf = step->is_leaf ? step->first_leaf : step->split_leaf,
                                     .end_leaf = step->end_leaf,
                                     .left = step->is_leaf ? ENTRO_CUDA_NO_STEP : step->left,
                                     .right = step->is_leaf ? ENTRO_CUDA_NO_STEP : step->right,
                                     .is_leaf = step->is_leaf,
                                     .parent = step->parent};
        if (step->is_leaf)
            plan->leaves[step->first_leaf].step = (uint8_t)i;
    }
    memcpy(plan->symbol_of_rank, pivot->symbol_of_rank, sizeof plan->symbol_of_rank);
    entro_pivot_free(pivot);
    return ENTRO_OK;
}
