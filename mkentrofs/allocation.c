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

/* Share of outliers that a finer step may make. */
#define MAX_FINER_OUTLIERS 1e-3

const struct entro_quality entro_qualities[ENTRO_N_QUALITIES] = {
    {"near-lossless", 6.6}, {"high", 5.5}, {"medium", 4.9}, {"small", 4.1}};

/* The finest step at which no more than so many weights are outliers. */
static double finest_step(const struct entro_step_costs *costs, unsigned bits, double max_outliers)
{
    double step_log2 = ENTRO_STEP_LOG2_MAX;
    while (step_log2 > ENTRO_STEP_LOG2_MIN &&
           (double)entro_step_cost(costs, bits, step_log2 - 1.0 / ENTRO_STEPS_PER_OCTAVE).outliers <=
               max_outliers)
        step_log2 -= 1.0 / ENTRO_STEPS_PER_OCTAVE;
    return step_log2;
}

/* A tensor's own step. One that is to be finer than the others' is not, as far as it would fill the list of
 * outliers: that costs bits, and a product with each of them for every token. */
static double own_step(const struct entro_balanced_tensor *tensor, double step_log2, unsigned bits)
{
    double own_log2 = fmax(step_log2 - tensor->finer_octaves, ENTRO_STEP_LOG2_MIN);
    if (tensor->finer_octaves <= 0)
        return own_log2;
    return fmax(own_log2, fmin(step_log2, finest_step(&tensor->costs, bits, MAX_FINER_OUTLIERS)));
}

static struct entro_step_cost cost_with(const struct entro_allocation_item *item, double step_log2,
                                        unsigned bits)
{
    const struct entro_balanced_tensor *tensor = item->tensor;
    double side = entro_balanced_side_bits(tensor, item->source) / (double)item->source->n_elements;
    struct entro_step_cost cost = entro_step_cost(&tensor->costs, bits, own_step(tensor, step_log2, bits));
    cost.bits += (float)side;
    return cost;
}

struct entro_step_cost entro_allocation_cost(const struct entro_allocation_item *item, double step_log2,
                                             unsigned *bits)
{
    const struct entro_balanced_tensor *tensor = item->tensor;
    double of_u8 = (double)entro_step_cost(&tensor->costs, 8, own_step(tensor, step_log2, 8)).bits;
    double of_u4 = (double)entro_step_cost(&tensor->costs, 4, own_step(tensor, step_log2, 4)).bits;
    *bits = of_u8 <= ENTRO_BPW_OF_U4 && of_u4 <= of_u8 + ENTRO_MAX_COST_OF_U4 ? 4 : 8;
    return cost_with(item, step_log2, *bits);
}

/* With codes_are_set the codes are those that the tensors have. */
static double bits_a_weight(const struct entro_allocation_item *items, size_t n_items, bool codes_are_set,
                            double step_log2)
{
    double bits = 0, weights = 0;
    for (size_t i = 0; i < n_items; i++) {
        unsigned code_bits = items[i].tensor->bits;
        struct entro_step_cost cost = codes_are_set ? cost_with(&items[i], step_log2, code_bits)
                                                    : entro_allocation_cost(&items[i], step_log2, &code_bits);
        double n = items[i].tensor->is_copy ? 0 : (double)items[i].source->n_elements;
        bits += n * (double)cost.bits;
        weights += n;
    }
    return bits / weights;
}

struct steps {
    double finest, coarsest; /* costing more than what is asked for, and no more */
};

static void halve(struct steps *steps, const struct entro_allocation_item *items, size_t n_items,
                  bool codes_are_set, double bpw)
{
    for (int i = 0; i < N_HALVINGS; i++) {
        double middle = (steps->finest + steps->coarsest) / 2;
        bool costs_more = bits_a_weight(items, n_items, codes_are_set, middle) > bpw;
        *(costs_more ? &steps->finest : &steps->coarsest) = middle;
    }
}

/* False where F32 has no such scale, or the codes' values would overflow. */
static bool set_scale(struct entro_balanced_tensor *tensor, double step_log2)
{
    double scale = entro_balanced_scale(exp2(own_step(tensor, step_log2, tensor->bits)) * tensor->norm);
    if (scale < (double)FLT_MIN || scale * 256 > (double)FLT_MAX)
        return false;
    tensor->scale = (float)scale;
    return true;
}

enum entro_error entro_allocate(const struct entro_allocation_item *items, size_t n_items, double bpw,
                                bool is_asked, double *step_log2, struct entro_message *message)
{
    double finest = ENTRO_STEP_LOG2_MIN, coarsest = ENTRO_STEP_LOG2_MAX;
    *step_log2 = 0;
    if (n_items == 0)
        return ENTRO_OK;
    double most = bits_a_weight(items, n_items, false, finest),
           least = bits_a_weight(items, n_items, false, coarsest);
    if (is_asked && (bpw > most || bpw < least)) {
        /* Rounded inwards, unless they are as good as equal. */
        double from = ceil(100 * least) / 100, to = fmax(from, floor(100 * most) / 100);
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "--bpw %.4g is out of reach for this model: %.2f to %.2f bits a weight can be had",
                          bpw, from, to);
    }
    if (!is_asked)
        coarsest = fmin(coarsest, GAUSSIAN_BITS - (bpw - MAX_SIDE_BITS));
    struct steps steps = {.finest = finest, .coarsest = coarsest};
    halve(&steps, items, n_items, false, bpw);
    /* Where tensors change from 8-bit codes to 4-bit ones, which cost less, the bits asked for may lie
     * between: then a finer step of the latter takes them. */
    for (size_t i = 0; i < n_items; i++)
        entro_allocation_cost(&items[i], steps.coarsest, &items[i].tensor->bits);
    steps.finest = finest;
    halve(&steps, items, n_items, true, bpw);
    *step_log2 = steps.coarsest;
    for (size_t i = 0; i < n_items; i++) {
        struct entro_balanced_tensor *tensor = items[i].tensor;
        if (!set_scale(tensor, *step_log2))
            tensor->kept_reason = "too near the limits of F32";
    }
    return ENTRO_OK;
}
