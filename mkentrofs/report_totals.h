/*
 * The results of all tensors of a build, added up. Streams that are shared (tied embeddings) cost and count
 * once.
 */
#ifndef ENTRO_REPORT_TOTALS_H
#define ENTRO_REPORT_TOTALS_H

#include <stdint.h>

#include "mkentrofs/build.h"

struct entro_report_totals {
    uint64_t n_quantized, n_lossless;
    uint64_t n_grown; /* quantized ones that cost more than their source, which was quantized before */
    uint64_t parameters, quantized_parameters;
    /* Of the distinct streams of quantized tensors: */
    uint64_t weights, stored_bytes, coded_bytes, side_bytes;
    double entropy_bits;
    /* Of the distinct streams of lossless tensors: */
    uint64_t lossless_source_bytes, lossless_stored_bytes;
    double error_energy, energy;
    uint64_t n_outliers;
    uint64_t n_with_feedback;
};

struct entro_report_totals entro_report_totals(const struct entro_build_result *result);

#endif
