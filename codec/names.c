/* Names of what the format numbers; see names.h. */
#include "codec/names.h"

#include <stddef.h>

const char *entro_scheme_name(enum entro_scheme scheme)
{
    switch (scheme) {
    case ENTRO_SCHEME_LOSSLESS:
        return "lossless";
    case ENTRO_SCHEME_UNSIGNED:
        return "unsigned";
    case ENTRO_SCHEME_ASYMMETRIC:
        return "asymmetric";
    case ENTRO_SCHEME_BALANCED:
        return "balanced";
    }
    return "unknown";
}

const char *entro_source_name(enum entro_source source)
{
    switch (source) {
    case ENTRO_SOURCE_SAFETENSORS:
        return "safetensors";
    case ENTRO_SOURCE_GGUF:
        return "gguf";
    case ENTRO_SOURCE_NPY:
        return "npy";
    }
    return "unknown";
}

const char *entro_method_name(enum entro_method method)
{
    switch (method) {
    case ENTRO_METHOD_CONSTANT:
        return "constant";
    case ENTRO_METHOD_RAW:
        return "raw";
    case ENTRO_METHOD_CODED:
        return "coded";
    }
    return "unknown";
}

const char *entro_dtype_name(enum entro_dtype dtype)
{
    const struct entro_dtype_info *info = entro_dtype_info(dtype);
    return info == NULL ? "unknown" : info->name;
}
