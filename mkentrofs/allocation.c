/* A search for one number; see allocation.h. */
#include "mkentrofs/allocation.h"

#include <float.h>
#include <math.h>

#include "codec/quantize_balanced.h"

/* Halvings of the range of steps: far below what a scale's rounding changes. */
#define N_HALVINGS 40

/* Entropy of the codes of a gaussian under a step of its deviation, and what factors and records cost at most
 * before it is the model that is small: a preset never takes a coarser step to make up for them. */
#define GAUSSIAN_BITS 2.05
#define MAX_SIDE_BITS 0.75

const struct entro_quality entro_qualities[ENTRO_N_QUALITIES] = {
    {"near-lossless", 6.6}, {"high", 5.5}, {"medium", 4.9}, {"small", 4.1}};

struct entro_step_cost entro_allocation_cost(const struct entro_allocation_item *item, double step_log2,
                                             unsigned *bits)
{
    const struct entro_balanced_tensor *tensor = item->tensor;
    double own_log2 = step_log2 - tensor->finer_octaves;
    double side = entro_balanced_side_bits(tensor, item->source) / (double)item->source->n_elements;
    struct entro_step_cost cost = entro_step_cost(&tensor->costs, 8, own_log2);
    *bits = 8;
    struct entro_step_cost of_u4 = entro_step_cost(&tensor->costs, 4, own_log2);
    if ((double)cost.bits <= ENTRO_BPW_OF_U4 &&
        (double)of_u4.bits <= (double)cost.bits + ENTRO_MAX_COST_OF_U4) {
        cost = of_u4;
        *bits = 4;
    }
    cost.bits += (float)side;
    return cost;
}

static double bits_a_weight(const struct entro_allocation_item *items, size_t n_items, double step_log2)
{
    double bits = 0, weights = 0;
    for (size_t i = 0; i < n_items; i++) {
        unsigned code_bits;
        double n = items[i].tensor->is_copy ? 0 : (double)items[i].source->n_elements;
        bits += n * (double)entro_allocation_cost(&items[i], step_log2, &code_bits).bits;
        weights += n;
    }
    return bits / weights;
}

/* False where F32 has no such scale, or the codes' values would overflow. */
static bool set_scale(struct entro_balanced_tensor *tensor, double step_log2)
{
    double scale = entro_balanced_scale(exp2(step_log2 - tensor->finer_octaves) * tensor->norm);
    if (scale < (double)FLT_MIN || scale * 256 > (double)FLT_MAX)
        return false;
    tensor->scale = (float)scale;
    return true;
}

enum entro_error entro_allocate(const struct entro_allocation_item *items, size_t n_items, double bpw,
                                bool is_asked, double *step_log2, struct entro_message *message)
{
    double finest = ENTRO_STEP_LOG2_MIN, coarsest = ENTRO_STEP_LOG2_MAX;
    for (size_t i = 0; i < n_items; i++)
        finest = fmax(finest, ENTRO_STEP_LOG2_MIN + items[i].tensor->finer_octaves);
    *step_log2 = 0;
    if (n_items == 0)
        return ENTRO_OK;
    double most = bits_a_weight(items, n_items, finest), least = bits_a_weight(items, n_items, coarsest);
    if (is_asked && (bpw > most || bpw < least)) {
        /* Rounded inwards, unless they are as good as equal. */
        double from = ceil(100 * least) / 100, to = fmax(from, floor(100 * most) / 100);
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "--bpw %.4g is out of reach for this model: %.2f to %.2f bits a weight can be had",
                          bpw, from, to);
    }
    if (!is_asked)
        coarsest = fmin(coarsest, GAUSSIAN_BITS - (bpw - MAX_SIDE_BITS));
    for (int i = 0; i < N_HALVINGS; i++) {
        double middle = (finest + coarsest) / 2;
        *(bits_a_weight(items, n_items, middle) > bpw ? &finest : &coarsest) = middle;
    }
    *step_log2 = coarsest;
    for (size_t i = 0; i < n_items; i++) {
        struct entro_balanced_tensor *tensor = items[i].tensor;
        entro_allocation_cost(&items[i], coarsest, &tensor->bits);
        if (!set_scale(tensor, coarsest))
            tensor->kept_reason = "too near the limits of F32";
    }
    return ENTRO_OK;
}
