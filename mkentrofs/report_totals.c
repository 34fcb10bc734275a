/* See report_totals.h. */
#include "mkentrofs/report_totals.h"

struct entro_report_totals entro_report_totals(const struct entro_build_result *result)
{
    struct entro_report_totals totals = {0};
    for (size_t i = 0; i < result->n_tensors; i++) {
        const struct entro_encoded *encoded = &result->tensors[i].encoded;
        const struct entro_stream_summary *summary = &encoded->summary;
        uint64_t n_elements = encoded->tensor.n_elements;
        totals.parameters += n_elements;
        if (encoded->tensor.scheme == ENTRO_SCHEME_LOSSLESS) {
            totals.n_lossless++;
            if (!summary->shared) {
                totals.lossless_source_bytes += result->tensors[i].source->size_bytes;
                totals.lossless_stored_bytes += summary->stored_bytes;
            }
            continue;
        }
        totals.n_quantized++;
        totals.quantized_parameters += n_elements;
        totals.error_energy += encoded->error_energy;
        totals.energy += encoded->energy;
        totals.n_outliers += encoded->n_outliers;
        totals.n_with_feedback += encoded->has_feedback;
        if (summary->shared)
            continue;
        totals.n_grown += summary->stored_bytes > result->tensors[i].source->size_bytes;
        totals.weights += n_elements;
        totals.stored_bytes += summary->stored_bytes;
        totals.coded_bytes += summary->coded_bytes;
        totals.side_bytes += encoded->side_bytes;
        totals.entropy_bits += summary->entropy_bits;
    }
    return totals;
}
