/*
 * A tensor as the header of a model file describes it, whatever the file's format.
 */
#ifndef ENTRO_MODELS_TENSOR_H
#define ENTRO_MODELS_TENSOR_H

#include <stdint.h>

#include "codec/dtype.h"

struct entro_model_tensor {
    char *name; /* NUL-terminated UTF-8 without embedded NUL; owned by the struct that holds the tensor */
    enum entro_dtype dtype;
    unsigned rank;
    uint64_t shape[ENTRO_MAX_RANK]; /* row-major, outermost first (the reverse of GGUF's order) */
    uint64_t offset;                /* of the data, from the start of the file */
    uint64_t size_bytes;
};

#endif
