/*
 * A tensor's weights as F32, read from the source file part by part.
 */
#ifndef ENTRO_WEIGHTS_H
#define ENTRO_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "mkentrofs/input.h"
#include "mkentrofs/source.h"

/* Weights are read this many at a time: a multiple of every dtype's block; a part of them with its source
 * bytes stays in a core's cache. */
#define ENTRO_WEIGHTS_AT_ONCE 65536

/* One thread's room for a read; 512 KiB. */
struct entro_weights {
    float values[ENTRO_WEIGHTS_AT_ONCE];
    uint8_t bytes[ENTRO_WEIGHTS_AT_ONCE * sizeof(float)];
};

/*
 * Reads elements first..first+n_elements (both multiples of the dtype's block, at most ENTRO_WEIGHTS_AT_ONCE)
 * of a tensor that entro_can_dequantize takes into weights->values. ENTRO_ERROR_IO, _CANCELLED. Thread-safe
 * with a struct for each thread.
 */
enum entro_error entro_weights_read(const struct entro_input *input, const struct entro_source_tensor *tensor,
                                    uint64_t first, size_t n_elements, struct entro_weights *weights,
                                    struct entro_message *message);

#endif
