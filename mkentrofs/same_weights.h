/*
 * Whether two tensors of a source are one, stored under two names.
 */
#ifndef ENTRO_SAME_WEIGHTS_H
#define ENTRO_SAME_WEIGHTS_H

#include <stdbool.h>

#include "codec/error.h"
#include "mkentrofs/monitor.h"
#include "mkentrofs/source.h"

/* A tensor and the file that it is in. */
struct entro_placed_tensor {
    const struct entro_part *part;
    const struct entro_source_tensor *tensor;
};

/* *same: type, shape and every byte are equal. Reads both up to the first difference. Errors of input.h;
 * _NO_MEMORY. */
enum entro_error entro_same_weights(bool *same, const struct entro_placed_tensor *a,
                                    const struct entro_placed_tensor *b, const struct entro_monitor *monitor,
                                    struct entro_message *message);

#endif
