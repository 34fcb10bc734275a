/* One tensor after another, each with all threads; see balance_source.h. */
#include "mkentrofs/balance_source.h"

#include <stdlib.h>

#include "mkentrofs/allocation.h"
#include "mkentrofs/balance_rules.h"

uint64_t entro_balance_work_bytes(const struct entro_source_tensor *tensor)
{
    return tensor->size_bytes * (ENTRO_BALANCE_MAX_ITERATIONS + 1);
}

struct walk {
    const struct entro_plan_options *options;
    const struct entro_balance_rules *rules;
    struct entro_pool *pool;
    const struct entro_monitor *monitor;
    struct entro_message *message;
};

static enum entro_error balance_one(const struct walk *walk, const struct entro_input *input,
                                    const struct entro_source_tensor *tensor,
                                    struct entro_balanced_tensor *out)
{
    struct entro_balance_rule rule;
    enum entro_error error = entro_balance_rule_of(&rule, walk->rules, tensor, walk->message);
    if (!error)
        error = entro_balance_tensor(out, input, tensor, &rule, walk->pool, walk->message);
    if (!error && !out->kept_reason)
        out->inputs = rule.inputs;
    out->is_copy = !error && tensor == walk->rules->tied;
    free(rule.given);
    entro_progress_settle(walk->monitor->progress, entro_balance_work_bytes(tensor));
    return error;
}

static enum entro_error balance_part(const struct walk *walk, const struct entro_part *part,
                                     struct entro_balanced_tensor *tensors)
{
    struct entro_input input;
    enum entro_error error =
        entro_input_open(&input, part->source_path, &part->identity, walk->monitor, walk->message);
    if (error)
        return error;
    for (size_t i = 0; i < part->n_tensors && !error; i++)
        if (entro_tensor_plan(walk->options, &part->tensors[i]).treatment == ENTRO_TREATMENT_BALANCED)
            error = balance_one(walk, &input, &part->tensors[i], &tensors[i]);
    entro_input_close(&input);
    return error;
}

enum entro_error entro_balance_source(struct entro_balanced_source *out, const struct entro_source_tree *tree,
                                      const struct entro_plan_options *options, struct entro_pool *pool,
                                      const struct entro_monitor *monitor, struct entro_message *message)
{
    *out = (struct entro_balanced_source){.n_tensors = tree->n_tensors};
    enum entro_error error = entro_balance_rules_find(&out->rules, tree, options, monitor, message);
    if (error)
        return error;
    out->tensors = calloc(tree->n_tensors ? tree->n_tensors : 1, sizeof *out->tensors);
    if (!out->tensors)
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    struct walk walk = {
        .options = options, .rules = &out->rules, .pool = pool, .monitor = monitor, .message = message};
    struct entro_balanced_tensor *next = out->tensors;
    for (size_t i = 0; i < tree->n_parts && !error; i++) {
        if (tree->parts[i].n_tensors > 0)
            error = balance_part(&walk, &tree->parts[i], next);
        next += tree->parts[i].n_tensors;
    }
    if (error)
        entro_balanced_source_free(out);
    return error;
}

enum entro_error entro_balanced_source_allocate(struct entro_balanced_source *balanced,
                                                const struct entro_source_tree *tree,
                                                const struct entro_plan_options *options,
                                                struct entro_message *message)
{
    struct entro_allocation_item *items =
        calloc(balanced->n_tensors ? balanced->n_tensors : 1, sizeof *items);
    if (!items)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    size_t n_items = 0, n = 0;
    for (size_t i = 0; i < tree->n_parts; i++)
        for (size_t j = 0; j < tree->parts[i].n_tensors; j++, n++)
            if (balanced->tensors[n].norm > 0)
                items[n_items++] = (struct entro_allocation_item){.source = &tree->parts[i].tensors[j],
                                                                  .tensor = &balanced->tensors[n]};
    double step_log2;
    enum entro_error error =
        entro_allocate(items, n_items, options->bpw, options->bpw_is_asked, &step_log2, message);
    free(items);
    return error;
}

void entro_balanced_source_free(struct entro_balanced_source *balanced)
{
    for (size_t i = 0; balanced->tensors && i < balanced->n_tensors; i++)
        entro_balanced_tensor_free(&balanced->tensors[i]);
    free(balanced->tensors);
    entro_balance_rules_free(&balanced->rules);
    *balanced = (struct entro_balanced_source){0};
}
