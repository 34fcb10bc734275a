/* A plan as tables, by kind of tensor and by tensor, and as JSON; see plan.h. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/names.h"
#include "mkentrofs/encode.h"
#include "mkentrofs/kinds.h"
#include "mkentrofs/plan.h"
#include "mkentrofs/plan_sums.h"

#define NAME_COLUMNS 32

static const char *const granularity_names[ENTRO_N_GRANULARITIES] = {"tensor", "row", "group of 128"};
static const char *const granularity_keys[ENTRO_N_GRANULARITIES] = {"tensor", "row", "group_128"};
static const char *const bits_keys[ENTRO_N_ABLATION_BITS] = {"8", "4"};

/* The end of long names, which tells them apart; a source's control characters do not reach a terminal. */
static void put_name(FILE *stream, const char *name)
{
    size_t length = strlen(name), n = 0;
    if (length > NAME_COLUMNS) {
        name += length - (NAME_COLUMNS - 3);
        n = (size_t)fprintf(stream, "...");
    }
    for (; *name; name++, n++)
        fputc((unsigned char)*name < 32 || *name == 127 ? '?' : *name, stream);
    fprintf(stream, "%*s", n < NAME_COLUMNS ? (int)(NAME_COLUMNS - n) : 0, "");
}

static void put_head(FILE *stream, const struct entro_plan *plan, const char *what)
{
    fprintf(stream, "%-*s%11s", NAME_COLUMNS, what, "weights");
    for (size_t i = 0; i < plan->n_planned; i++) {
        char head[24];
        snprintf(head, sizeof head, "at %.4g", plan->bpw[i]);
        fprintf(stream, "%11s", head);
    }
    fputc('\n', stream);
}

static void put_sum(FILE *stream, const struct entro_plan *plan, const char *name,
                    const struct entro_plan_sum *sum)
{
    put_name(stream, name);
    fprintf(stream, "%11.0f", sum->weights);
    for (size_t i = 0; i < plan->n_planned; i++) {
        fprintf(stream, "  %4.2f", sum->bits[i] / sum->weights);
        if (sum->noise[i] > 0)
            fprintf(stream, " %4.1f", entro_snr_db(sum->noise[i], sum->energy));
        else
            fputs("    -", stream);
    }
    fputc('\n', stream);
}

static void put_ablation(FILE *stream, const struct entro_plan *plan)
{
    struct entro_ablation sum;
    double weights = entro_plan_sum_ablations(plan, &sum);
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
    fputs("Entropy: order-0, bits a weight, one table a tensor. Steps: what they cost beside, each "
          "16\nbits for a scale and 8 for a zero point.\n",
          stream);
}

static void put_kinds(FILE *stream, const struct entro_plan *plan, const struct entro_kinds *kinds,
                      struct entro_plan_sum *sums, const struct entro_plan_sum *total)
{
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (!plan->tensors[i].kept_reason)
            entro_plan_sum_add(&sums[kinds->of[i].kind], plan, &plan->tensors[i]);
    put_head(stream, plan, "kind of tensor");
    for (size_t i = 0; i < kinds->n; i++)
        if (sums[i].n_tensors > 0)
            put_sum(stream, plan, kinds->names[i], &sums[i]);
    put_sum(stream, plan, "all", total);
}

static void put_tensors(FILE *stream, const struct entro_plan *plan)
{
    fputc('\n', stream);
    put_head(stream, plan, "tensor");
    for (size_t i = 0; i < plan->n_tensors; i++) {
        struct entro_plan_sum one = {0};
        if (plan->tensors[i].kept_reason)
            continue;
        entro_plan_sum_add(&one, plan, &plan->tensors[i]);
        put_sum(stream, plan, plan->tensors[i].source->name, &one);
    }
}

enum entro_error entro_plan_table(FILE *stream, const struct entro_plan *plan)
{
    enum entro_error error = ENTRO_ERROR_NO_MEMORY;
    struct entro_kinds kinds = {0};
    struct entro_plan_sum *sums = NULL, total = {0};
    const char **names = calloc(plan->n_tensors + 1, sizeof *names);
    if (!names)
        return error;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        names[i] = plan->tensors[i].source->name;
        if (!plan->tensors[i].kept_reason)
            entro_plan_sum_add(&total, plan, &plan->tensors[i]);
    }
    if (!entro_kinds_find(&kinds, names, plan->n_tensors))
        goto free_all;
    sums = calloc(kinds.n + 1, sizeof *sums);
    if (!sums)
        goto free_all;
    error = ENTRO_OK;
    size_t n_kept = plan->n_tensors - total.n_tensors;
    if (total.n_tensors > 0) {
        fputs(
            "Bits a weight (everything included) and SNR in dB, with balanced rows and columns, at --bpw\n\n",
            stream);
        put_kinds(stream, plan, &kinds, sums, &total);
    }
    if (n_kept > 0)
        fprintf(stream, "%zu more %s kept (small, of one dimension, a copy, --keep ...)\n", n_kept,
                n_kept == 1 ? "tensor is" : "tensors are");
    put_ablation(stream, plan);
    if (total.n_tensors > 0)
        put_tensors(stream, plan);

free_all:
    free(sums);
    entro_kinds_free(&kinds);
    free(names);
    return error;
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

static json_t *totals_json(const struct entro_plan *plan)
{
    struct entro_ablation ablation;
    struct entro_plan_sum total = {0};
    json_t *bits = json_array(), *snr = json_array();
    double weights = entro_plan_sum_ablations(plan, &ablation);
    for (size_t i = 0; i < plan->n_tensors; i++)
        if (!plan->tensors[i].kept_reason)
            entro_plan_sum_add(&total, plan, &plan->tensors[i]);
    for (size_t i = 0; i < plan->n_planned && total.n_tensors > 0; i++) {
        json_array_append_new(bits, json_real(total.bits[i] / total.weights));
        json_array_append_new(snr, number_or_null(entro_snr_db(total.noise[i], total.energy)));
    }
    return json_pack("{sI sI so so so}", "n_quantized", (json_int_t)total.n_tensors, "quantized_parameters",
                     (json_int_t)total.weights, "bits_per_weight", bits, "snr_db", snr, "ablation",
                     weights > 0 ? ablation_json(&ablation, weights) : json_null());
}

enum entro_error entro_plan_json(FILE *stream, const struct entro_plan *plan)
{
    json_t *tensors = json_array(), *bpw = json_array();
    bool ok = tensors && bpw;
    for (size_t i = 0; ok && i < plan->n_planned; i++)
        ok = json_array_append_new(bpw, json_real(plan->bpw[i])) == 0;
    for (size_t i = 0; ok && i < plan->n_tensors; i++)
        ok = json_array_append_new(tensors, tensor_json(plan, &plan->tensors[i])) == 0;
    json_t *root =
        json_pack("{si so so so}", "format", 1, "bpw", bpw, "totals", totals_json(plan), "tensors", tensors);
    if (!ok || !root) {
        json_decref(root);
        return ENTRO_ERROR_NO_MEMORY;
    }
    json_dumpf(root, stream, JSON_INDENT(1));
    fputc('\n', stream);
    json_decref(root);
    return ENTRO_OK;
}
