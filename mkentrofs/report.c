/* The table and the JSON; see report.h. */
#include "mkentrofs/report.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "codec/names.h"
#include "mkentrofs/figures.h"
#include "mkentrofs/report_totals.h"

static double per(double amount, uint64_t n)
{
    return n ? amount / (double)n : 0;
}

void entro_report_table(FILE *stream, const struct entro_report *report)
{
    struct entro_report_totals totals = entro_report_totals(report->result);
    uint64_t image_bytes = report->result->image_bytes;
    char number[32], other[32], size[32];
    bool is_balanced = report->options->plan.treatment == ENTRO_TREATMENT_BALANCED;
    if (totals.n_quantized && is_balanced)
        fprintf(stream, "tensors           %s quantized with balanced rows and columns, %s kept\n",
                entro_grouped(number, totals.n_quantized), entro_grouped(other, totals.n_lossless));
    else if (totals.n_quantized)
        fprintf(stream, "tensors           %s quantized to %u bits, %s kept\n",
                entro_grouped(number, totals.n_quantized), report->options->plan.bits,
                entro_grouped(other, totals.n_lossless));
    else
        fprintf(stream, "tensors           %s, all kept\n", entro_grouped(other, totals.n_lossless));
    fprintf(stream, "parameters        %s, %s of them quantized\n", entro_grouped(number, totals.parameters),
            entro_grouped(other, totals.quantized_parameters));
    if (totals.n_quantized) {
        fprintf(stream, "bits per weight   %.3f of quantized tensors, everything included\n",
                per(8 * (double)totals.stored_bytes, totals.weights));
        fprintf(stream, "order-0 entropy   %.3f bits per weight\n", per(totals.entropy_bits, totals.weights));
        if (isinf(entro_snr_db(totals.error_energy, totals.energy)))
            fprintf(stream, "SNR               exact\n");
        else
            fprintf(stream, "SNR               %.2f dB\n", entro_snr_db(totals.error_energy, totals.energy));
    }
    if (totals.n_quantized && is_balanced)
        fprintf(stream, "beside the codes  %s bytes of factors and of %s outliers, which are exact\n",
                entro_grouped(number, totals.side_bytes), entro_grouped(other, totals.n_outliers));
    if (totals.n_with_feedback)
        fprintf(stream,
                "error feedback    in %s tensors: their outputs lose less than the SNR of the weights says\n",
                entro_grouped(number, totals.n_with_feedback));
    if (totals.n_grown)
        fprintf(stream,
                "larger            %s of them than in the source, which is quantized already: try --scheme "
                "lossless\n",
                entro_grouped(number, totals.n_grown));
    if (totals.lossless_source_bytes)
        fprintf(stream, "kept tensors      %s bytes in %s\n",
                entro_grouped(number, totals.lossless_source_bytes),
                entro_grouped(other, totals.lossless_stored_bytes));
    entro_format_bytes(size, sizeof size, (double)report->tree->size_bytes);
    fprintf(stream, "source            %s (%s bytes) in %zu %s\n", size,
            entro_grouped(number, report->tree->size_bytes), report->tree->n_parts,
            report->tree->n_parts == 1 ? "file" : "files");
    entro_format_bytes(size, sizeof size, (double)image_bytes);
    fprintf(stream, "image             %s (%s bytes), %.3f bits per parameter\n", size,
            entro_grouped(number, image_bytes), per(8 * (double)image_bytes, totals.parameters));
    fprintf(stream, "ratio             %.3f\n", per((double)report->tree->size_bytes, image_bytes));
    fprintf(stream, "seconds           %.2f\n", report->seconds);
}

/* JSON has no infinity: an exact tensor's ratio is null. */
static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *hex(const uint8_t *bytes, size_t n_bytes)
{
    char text[65] = "";
    for (size_t i = 0; i < n_bytes && i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return json_string(text);
}

/* Paths need not be UTF-8: others are left null. */
static json_t *path_or_null(const char *path)
{
    json_t *string = json_string(path);
    return string ? string : json_null();
}

static json_t *tensor_json(const struct entro_tensor_result *result)
{
    const struct entro_encoded *encoded = &result->encoded;
    const struct entro_tensor *tensor = &encoded->tensor;
    bool is_lossless = tensor->scheme == ENTRO_SCHEME_LOSSLESS;
    json_t *shape = json_array();
    for (unsigned i = 0; i < tensor->rank; i++)
        if (json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack(
        "{ss so ss so ss si sf si sI sI sI sI sI sI sf sf so ss sb sb ss* so}", "name", tensor->name, "file",
        path_or_null(result->part->path), "dtype", entro_dtype_name(tensor->dtype), "shape", shape, "scheme",
        entro_scheme_name(tensor->scheme), "bits", (int)tensor->bits, "scale", (double)tensor->scale,
        "zero_point", (int)tensor->zero_point, "n_elements", (json_int_t)tensor->n_elements, "source_bytes",
        (json_int_t)result->source->size_bytes, "stored_bytes", (json_int_t)encoded->summary.stored_bytes,
        "coded_bytes", (json_int_t)encoded->summary.coded_bytes, "side_bytes",
        (json_int_t)encoded->side_bytes, "outliers", (json_int_t)encoded->n_outliers, "bits_per_weight",
        per(8 * (double)encoded->summary.stored_bytes, tensor->n_elements), "entropy_bits",
        tensor->entropy_bits, "snr_db", number_or_null(tensor->snr_db), "view",
        entro_dtype_name(result->view), "shared", (int)encoded->summary.shared, "error_feedback",
        (int)encoded->has_feedback, "kept_reason", is_lossless ? encoded->kept_reason : NULL, "xxh3_128",
        hex(encoded->summary.xxh3_128, sizeof encoded->summary.xxh3_128));
}

static const char *scheme_name(enum entro_treatment treatment)
{
    switch (treatment) {
    case ENTRO_TREATMENT_LOSSLESS:
        return "lossless";
    case ENTRO_TREATMENT_MIXED:
        return "mixed";
    case ENTRO_TREATMENT_BALANCED:
        return "balanced";
    }
    return "";
}

static json_t *report_json(const struct entro_report *report, json_t *tensors)
{
    struct entro_report_totals totals = entro_report_totals(report->result);
    const struct entro_plan_options *plan = &report->options->plan;
    return json_pack(
        "{si so so ss sf so si sI sI sI sf sf sI sI sI sI sI sI sI sI sI sI sf sf so sO}", "format", 1,
        "source", path_or_null(report->source_path), "image", path_or_null(report->image_path), "scheme",
        scheme_name(plan->treatment), "bpw", plan->treatment == ENTRO_TREATMENT_BALANCED ? plan->bpw : 0.0,
        "imatrix", plan->imatrix_path ? path_or_null(plan->imatrix_path) : json_null(), "bits",
        (int)plan->bits, "threads", (json_int_t)report->n_threads, "source_bytes",
        (json_int_t)report->tree->size_bytes, "image_bytes", (json_int_t)report->result->image_bytes, "ratio",
        per((double)report->tree->size_bytes, report->result->image_bytes), "seconds", report->seconds,
        "n_files", (json_int_t)report->tree->n_parts, "n_quantized", (json_int_t)totals.n_quantized,
        "n_lossless", (json_int_t)totals.n_lossless, "parameters", (json_int_t)totals.parameters,
        "quantized_parameters", (json_int_t)totals.quantized_parameters, "stored_bytes",
        (json_int_t)totals.stored_bytes, "coded_bytes", (json_int_t)totals.coded_bytes, "side_bytes",
        (json_int_t)totals.side_bytes, "outliers", (json_int_t)totals.n_outliers, "lossless_stored_bytes",
        (json_int_t)totals.lossless_stored_bytes, "bits_per_weight",
        per(8 * (double)totals.stored_bytes, totals.weights), "entropy_bits",
        per(totals.entropy_bits, totals.weights), "snr_db",
        totals.n_quantized ? number_or_null(entro_snr_db(totals.error_energy, totals.energy)) : json_null(),
        "tensors", tensors);
}

enum entro_error entro_report_json(FILE *stream, const struct entro_report *report)
{
    enum entro_error error = ENTRO_ERROR_NO_MEMORY;
    json_t *root = NULL;
    json_t *tensors = json_array();
    if (!tensors)
        return error;
    for (size_t i = 0; i < report->result->n_tensors; i++) {
        json_t *tensor = tensor_json(&report->result->tensors[i]);
        if (!tensor || json_array_append_new(tensors, tensor) != 0)
            goto free_tensors;
    }
    root = report_json(report, tensors);
    if (!root)
        goto free_tensors;
    json_dumpf(root, stream, JSON_INDENT(1));
    fputc('\n', stream);
    error = ENTRO_OK;

free_tensors:
    json_decref(root);
    json_decref(tensors);
    return error;
}
