/*
 * GGUF block types <-> F32. Layouts as in the GGUF specification (ggml-org/ggml docs/gguf.md and the type
 * definitions it refers to).
 */
#ifndef ENTRO_GGML_BLOCKS_H
#define ENTRO_GGML_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"

/* True for F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS: what
 * entro_dequantize_f32 takes. */
bool entro_can_dequantize(enum entro_dtype dtype);

/*
 * Reads n_elements elements (a multiple of the dtype's block) from `source`, which needs no alignment and
 * holds exactly their bytes, as F32 in the dtype's own arithmetic (F32 products and sums, in the order of the
 * reference implementation). Requires entro_can_dequantize. Thread-safe.
 */
void entro_dequantize_f32(enum entro_dtype dtype, const uint8_t *source, size_t n_elements, float *target);

#endif
