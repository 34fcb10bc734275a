/*
 * What becomes of a tensor, decided from its description alone. A new scheme is a new treatment here and a
 * new encode_<scheme>.c.
 */
#ifndef ENTRO_TENSOR_PLAN_H
#define ENTRO_TENSOR_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "mkentrofs/source.h"

enum entro_treatment {
    ENTRO_TREATMENT_LOSSLESS, /* the source's own bytes */
    ENTRO_TREATMENT_MIXED,    /* quantized by the mixed rule */
    ENTRO_TREATMENT_BALANCED, /* with factors and outliers, to a target of bits a weight */
};

/* Tensors of fewer elements are kept: they cost little and are often scales, gates and the like. */
#define ENTRO_SMALL_TENSOR_ELEMENTS 4096

struct entro_plan_options {
    enum entro_treatment treatment; /* of tensors that nothing speaks against */
    double bpw;                     /* of the balanced scheme: bits a weight in all */
    bool bpw_is_asked;              /* else it is a preset, and what comes near will do */
    const char *imatrix_path;       /* of the balanced scheme: an importance matrix; NULL: none */
    unsigned bits;                  /* 8 or 4; as the next, of the mixed scheme */
    unsigned scale_bits;            /* 1 to 24 */
    size_t n_keeps;
    const char *const *keeps; /* fnmatch patterns on tensor names */
};

struct entro_tensor_plan {
    enum entro_treatment treatment;
    const char *reason; /* why a tensor is kept, a few words; NULL where it is not */
};

/* Thread-safe. */
struct entro_tensor_plan entro_tensor_plan(const struct entro_plan_options *options,
                                           const struct entro_source_tensor *tensor);

/* Whether a pattern of --keep matches a tensor's name. */
bool entro_keep_matches(const char *pattern, const struct entro_source_tensor *tensor);

#endif
