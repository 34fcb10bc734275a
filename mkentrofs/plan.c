/* The balanced scheme's first half, allocated several times, and the ablation; see plan.h. */
#include "mkentrofs/plan.h"

#include <math.h>
#include <stdlib.h>

#include "mkentrofs/balance_source.h"

static void choose_sizes(struct entro_plan *plan, const struct entro_plan_options *options)
{
    for (size_t i = ENTRO_N_QUALITIES; i-- > 0;)
        plan->bpw[plan->n_planned++] = entro_qualities[i].bpw;
    if (!options->bpw_is_asked)
        return;
    size_t place = 0;
    while (place < plan->n_planned && plan->bpw[place] < options->bpw)
        place++;
    if (place < plan->n_planned && plan->bpw[place] == options->bpw)
        return;
    for (size_t i = plan->n_planned++; i > place; i--)
        plan->bpw[i] = plan->bpw[i - 1];
    plan->bpw[place] = options->bpw;
}

/* Passes of the ablation over a tensor's bytes, at most. */
#define ABLATION_PASSES 3

struct making {
    struct entro_plan *plan;
    const struct entro_plan_options *options;
    struct entro_pool *pool;
    const struct entro_monitor *monitor;
    struct entro_message *message;
};

static enum entro_error ablate_part(const struct making *making, const struct entro_part *part,
                                    struct entro_planned_tensor *planned)
{
    struct entro_input input;
    enum entro_error error =
        entro_input_open(&input, part->source_path, &part->identity, making->monitor, making->message);
    if (error)
        return error;
    for (size_t i = 0; i < part->n_tensors && !error; i++) {
        if (planned[i].kept_reason)
            continue;
        error = entro_ablation_measure(&planned[i].ablation, &input, &part->tensors[i], making->pool,
                                       making->message);
        entro_progress_settle(making->monitor->progress, ABLATION_PASSES * part->tensors[i].size_bytes);
    }
    entro_input_close(&input);
    return error;
}

/* The costs of all tensors at one size. */
static enum entro_error plan_size(const struct making *making, const struct entro_allocation_item *items,
                                  struct entro_planned_tensor *const *planned, size_t n_items, size_t size)
{
    double step_log2;
    enum entro_error error =
        entro_allocate(items, n_items, making->plan->bpw[size],
                       making->options->bpw_is_asked && making->plan->bpw[size] == making->options->bpw,
                       &step_log2, making->message);
    for (size_t i = 0; i < n_items && !error; i++) {
        unsigned bits;
        struct entro_step_cost cost = entro_allocation_cost(&items[i], step_log2, &bits);
        planned[i]->cells[size] = (struct entro_planned_cell){
            .bits = (double)cost.bits * (double)items[i].source->n_elements,
            .snr_db = cost.noise > 0 ? -10 * log10((double)cost.noise) : INFINITY};
    }
    return error;
}

static enum entro_error plan_sizes(const struct making *making, struct entro_balanced_source *balanced)
{
    struct entro_plan *plan = making->plan;
    size_t n = plan->n_tensors ? plan->n_tensors : 1, n_items = 0;
    struct entro_allocation_item *items = calloc(n, sizeof *items);
    struct entro_planned_tensor **planned = calloc(n, sizeof *planned);
    enum entro_error error = ENTRO_OK;
    if (!items || !planned)
        error = entro_fail(making->message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < plan->n_tensors && !error; i++) {
        struct entro_planned_tensor *tensor = &plan->tensors[i];
        if (!tensor->kept_reason)
            tensor->kept_reason = balanced->tensors[i].is_copy
                                      ? "stored once, as the tensor that it is a copy of"
                                      : balanced->tensors[i].kept_reason;
        if (tensor->kept_reason)
            continue;
        items[n_items] =
            (struct entro_allocation_item){.source = tensor->source, .tensor = &balanced->tensors[i]};
        planned[n_items++] = tensor;
    }
    for (size_t size = 0; size < plan->n_planned && !error; size++)
        error = plan_size(making, items, planned, n_items, size);
    free(planned);
    free(items);
    return error;
}

static void list_tensors(struct entro_plan *plan, const struct entro_source_tree *tree,
                         const struct entro_plan_options *options, const struct entro_monitor *monitor)
{
    size_t n = 0;
    uint64_t total_bytes = 0;
    for (size_t i = 0; i < tree->n_parts; i++)
        for (size_t j = 0; j < tree->parts[i].n_tensors; j++, n++) {
            const struct entro_source_tensor *source = &tree->parts[i].tensors[j];
            plan->tensors[n].source = source;
            plan->tensors[n].kept_reason = entro_tensor_plan(options, source).reason;
            if (!plan->tensors[n].kept_reason)
                total_bytes += entro_balance_work_bytes(source) + ABLATION_PASSES * source->size_bytes;
        }
    entro_progress_plan(monitor->progress, tree->size_bytes, total_bytes);
}

enum entro_error entro_plan_make(struct entro_plan *out, const struct entro_source_tree *tree,
                                 const struct entro_plan_options *options, struct entro_pool *pool,
                                 const struct entro_monitor *monitor, struct entro_message *message)
{
    *out = (struct entro_plan){.n_tensors = tree->n_tensors};
    choose_sizes(out, options);
    out->tensors = calloc(tree->n_tensors ? tree->n_tensors : 1, sizeof *out->tensors);
    if (!out->tensors)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    /* What is kept does not depend on the scheme; a plan is of the balanced one. */
    struct entro_plan_options balancing = *options;
    balancing.treatment = ENTRO_TREATMENT_BALANCED;
    list_tensors(out, tree, &balancing, monitor);
    struct making making = {
        .plan = out, .options = &balancing, .pool = pool, .monitor = monitor, .message = message};
    struct entro_balanced_source balanced;
    enum entro_error error = entro_balance_source(&balanced, tree, &balancing, pool, monitor, message);
    if (error)
        goto free_plan;
    error = plan_sizes(&making, &balanced);
    entro_balanced_source_free(&balanced);
    struct entro_planned_tensor *next = out->tensors;
    for (size_t i = 0; i < tree->n_parts && !error; i++) {
        if (tree->parts[i].n_tensors > 0)
            error = ablate_part(&making, &tree->parts[i], next);
        next += tree->parts[i].n_tensors;
    }

free_plan:
    if (error)
        entro_plan_free(out);
    return error;
}

void entro_plan_free(struct entro_plan *plan)
{
    free(plan->tensors);
    *plan = (struct entro_plan){0};
}
