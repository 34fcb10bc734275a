/*
 * The rules by which tensors are quantized or kept.
 */
#include "mkentrofs/tensor_plan.h"

#include <fnmatch.h>

#include "codec/ggml_blocks.h"

static struct entro_tensor_plan keep(const char *reason)
{
    return (struct entro_tensor_plan){.treatment = ENTRO_TREATMENT_LOSSLESS, .reason = reason};
}

bool entro_keep_matches(const char *pattern, const struct entro_source_tensor *tensor)
{
    return fnmatch(pattern, tensor->name, 0) == 0;
}

struct entro_tensor_plan entro_tensor_plan(const struct entro_plan_options *options,
                                           const struct entro_source_tensor *tensor)
{
    if (options->treatment == ENTRO_TREATMENT_LOSSLESS)
        return keep("lossless");
    if (!entro_can_dequantize(tensor->dtype))
        return keep("dtype");
    if (tensor->rank < 2)
        return keep("one dimension");
    if (tensor->n_elements < ENTRO_SMALL_TENSOR_ELEMENTS)
        return keep("small");
    for (size_t i = 0; i < options->n_keeps; i++)
        if (entro_keep_matches(options->keeps[i], tensor))
            return keep("--keep");
    return (struct entro_tensor_plan){.treatment = options->treatment, .reason = NULL};
}
