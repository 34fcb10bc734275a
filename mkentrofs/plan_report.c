/* A plan as tables, by kind of tensor and by tensor, and as JSON; see plan.h. */
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/names.h"
#include "mkentrofs/encode.h"
#include "mkentrofs/plan.h"

#define NAME_COLUMNS 38

/* Tensors whose names differ by numbers alone. */
struct kind {
    char *name;
    size_t n_tensors;
    double weights, bits[ENTRO_MAX_PLANNED], snr_db[ENTRO_MAX_PLANNED]; /* the latter weighted by weights */
};

struct kinds {
    size_t n;
    struct kind *all;
};

static const char *const granularity_names[ENTRO_N_GRANULARITIES] = {"tensor", "row", "group of 128"};
static const char *const granularity_keys[ENTRO_N_GRANULARITIES] = {"tensor", "row", "group_128"};
static const char *const bits_keys[ENTRO_N_ABLATION_BITS] = {"8", "4"};

/* The name with each number between points as one star; the caller frees. */
static char *kind_name(const char *name)
{
    char *kind = malloc(strlen(name) + 1), *to = kind;
    if (!kind)
        return NULL;
    while (*name) {
        size_t n_digits = strspn(name, "0123456789");
        bool begins = to == kind || to[-1] == '.';
        if (n_digits > 0 && begins && (name[n_digits] == '.' || name[n_digits] == '\0')) {
            *to++ = '*';
            name += n_digits;
        } else {
            *to++ = *name++;
        }
    }
    *to = '\0';
    return kind;
}

static struct kind *find_kind(struct kinds *kinds, const char *tensor_name)
{
    char *name = kind_name(tensor_name);
    if (!name)
        return NULL;
    for (size_t i = 0; i < kinds->n; i++)
        if (strcmp(kinds->all[i].name, name) == 0) {
            free(name);
            return &kinds->all[i];
        }
    kinds->all[kinds->n] = (struct kind){.name = name};
    return &kinds->all[kinds->n++];
}

static void add(struct kind *kind, const struct entro_plan *plan, const struct entro_planned_tensor *tensor)
{
    double n = (double)tensor->source->n_elements;
    kind->n_tensors++;
    kind->weights += n;
    for (size_t i = 0; i < plan->n_planned; i++) {
        kind->bits[i] += tensor->cells[i].bits;
        kind->snr_db[i] += n * tensor->cells[i].snr_db;
    }
}

static void put_name(FILE *stream, const char *name)
{
    size_t length = strlen(name);
    if (length > NAME_COLUMNS)
        fprintf(stream, "...%-*s", NAME_COLUMNS - 3, name + length - (NAME_COLUMNS - 3));
    else
        fprintf(stream, "%-*s", NAME_COLUMNS, name);
}

static void put_head(FILE *stream, const struct entro_plan *plan, const char *what)
{
    fprintf(stream, "%-*s%12s", NAME_COLUMNS, what, "weights");
    for (size_t i = 0; i < plan->n_planned; i++)
        fprintf(stream, "   at %-5.2g", plan->bpw[i]);
    fputc('\n', stream);
}

static void put_kind(FILE *stream, const struct entro_plan *plan, const char *name, const struct kind *kind)
{
    put_name(stream, name);
    fprintf(stream, "%12.0f", kind->weights);
    for (size_t i = 0; i < plan->n_planned; i++)
        fprintf(stream, "  %4.2f %4.1f", kind->bits[i] / kind->weights, kind->snr_db[i] / kind->weights);
    fputc('\n', stream);
}

static void put_ablation(FILE *stream, const struct entro_plan *plan)
{
    struct entro_ablation sum = {0};
    double weights = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct entro_planned_tensor *tensor = &plan->tensors[i];
        if (tensor->kept_reason || !tensor->ablation.is_finite)
            continue;
        weights += (double)tensor->source->n_elements;
        sum.energy += tensor->ablation.energy;
        for (unsigned granularity = 0; granularity < ENTRO_N_GRANULARITIES; granularity++)
            for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++) {
                struct entro_ablation_cell *to = &sum.cells[granularity][which];
                const struct entro_ablation_cell *from = &tensor->ablation.cells[granularity][which];
                to->entropy_bits += from->entropy_bits;
                to->step_bits += from->step_bits;
                to->error_energy += from->error_energy;
            }
    }
    if (weights == 0)
        return;
    fprintf(stream, "\nThe mixed scheme (EntroLLM's rule) with one step for each\n");
    fprintf(stream, "%-16s%35s%35s\n", "", "8 bits: entropy  steps  SNR dB",
            "4 bits: entropy  steps  SNR dB");
    for (unsigned granularity = 0; granularity < ENTRO_N_GRANULARITIES; granularity++) {
        fprintf(stream, "%-16s", granularity_names[granularity]);
        for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++) {
            const struct entro_ablation_cell *cell = &sum.cells[granularity][which];
            fprintf(stream, "%20.3f%7.3f%8.1f", cell->entropy_bits / weights, cell->step_bits / weights,
                    entro_snr_db(cell->error_energy, sum.energy));
        }
        fputc('\n', stream);
    }
    fputs("Entropy: order-0, bits a weight, one table a tensor; steps: a scale of 16 bits and a zero point "
          "of 8 each.\n",
          stream);
}

void entro_plan_table(FILE *stream, const struct entro_plan *plan)
{
    struct kinds kinds = {.all = calloc(plan->n_tensors + 1, sizeof *kinds.all)};
    struct kind total = {0};
    size_t n_kept = 0;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct entro_planned_tensor *tensor = &plan->tensors[i];
        struct kind *kind =
            tensor->kept_reason || !kinds.all ? NULL : find_kind(&kinds, tensor->source->name);
        n_kept += tensor->kept_reason != NULL;
        if (tensor->kept_reason)
            continue;
        add(&total, plan, tensor);
        if (kind)
            add(kind, plan, tensor);
    }
    fputs("Bits a weight (everything included) and SNR in dB, with balanced rows and columns, at --bpw\n\n",
          stream);
    if (total.n_tensors > 0) {
        put_head(stream, plan, "kind of tensor");
        for (size_t i = 0; i < kinds.n; i++)
            put_kind(stream, plan, kinds.all[i].name, &kinds.all[i]);
        put_kind(stream, plan, "all", &total);
        fputc('\n', stream);
        put_head(stream, plan, "tensor");
    }
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct entro_planned_tensor *tensor = &plan->tensors[i];
        struct kind one = {0};
        if (tensor->kept_reason)
            continue;
        add(&one, plan, tensor);
        put_kind(stream, plan, tensor->source->name, &one);
    }
    if (n_kept > 0)
        fprintf(stream, "%zu more %s kept as they are (small, of one dimension, --keep ...)\n", n_kept,
                n_kept == 1 ? "tensor is" : "tensors are");
    put_ablation(stream, plan);
    for (size_t i = 0; i < kinds.n; i++)
        free(kinds.all[i].name);
    free(kinds.all);
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *ablation_json(const struct entro_ablation *ablation, double n)
{
    if (!ablation->is_finite)
        return json_null();
    json_t *root = json_object();
    for (unsigned granularity = 0; granularity < ENTRO_N_GRANULARITIES; granularity++) {
        json_t *by_bits = json_object();
        for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++) {
            const struct entro_ablation_cell *cell = &ablation->cells[granularity][which];
            json_object_set_new(
                by_bits, bits_keys[which],
                json_pack("{sf sf so}", "entropy_bits", cell->entropy_bits / n, "step_bits",
                          cell->step_bits / n, "snr_db",
                          number_or_null(entro_snr_db(cell->error_energy, ablation->energy))));
        }
        json_object_set_new(root, granularity_keys[granularity], by_bits);
    }
    return root;
}

static json_t *tensor_json(const struct entro_plan *plan, const struct entro_planned_tensor *tensor)
{
    double n = (double)tensor->source->n_elements;
    json_t *shape = json_array(), *bits = json_array(), *snr = json_array();
    for (unsigned i = 0; i < tensor->source->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)tensor->source->shape[i]));
    for (size_t i = 0; i < plan->n_planned && !tensor->kept_reason; i++) {
        json_array_append_new(bits, json_real(tensor->cells[i].bits / n));
        json_array_append_new(snr, number_or_null(tensor->cells[i].snr_db));
    }
    return json_pack("{ss ss so ss* so so so}", "name", tensor->source->name, "dtype",
                     entro_dtype_name(tensor->source->dtype), "shape", shape, "kept_reason",
                     tensor->kept_reason, "bits_per_weight", bits, "snr_db", snr, "ablation",
                     tensor->kept_reason ? json_null() : ablation_json(&tensor->ablation, n));
}

enum entro_error entro_plan_json(FILE *stream, const struct entro_plan *plan)
{
    json_t *tensors = json_array(), *bpw = json_array();
    bool ok = tensors && bpw;
    for (size_t i = 0; ok && i < plan->n_planned; i++)
        ok = json_array_append_new(bpw, json_real(plan->bpw[i])) == 0;
    for (size_t i = 0; ok && i < plan->n_tensors; i++)
        ok = json_array_append_new(tensors, tensor_json(plan, &plan->tensors[i])) == 0;
    json_t *root = json_pack("{si so so}", "format", 1, "bpw", bpw, "tensors", tensors);
    if (!ok || !root) {
        json_decref(root);
        return ENTRO_ERROR_NO_MEMORY;
    }
    json_dumpf(root, stream, JSON_INDENT(1));
    fputc('\n', stream);
    json_decref(root);
    return ENTRO_OK;
}
