/*
 * A range of a tensor's elements, read and rounded to a balanced grid (codec/quantize_balanced.h), with error
 * feedback where the inputs of its columns are known (codec/error_feedback.h).
 */
#ifndef ENTRO_QUANTIZE_RANGE_H
#define ENTRO_QUANTIZE_RANGE_H

#include "codec/error_feedback.h"
#include "codec/quantize_balanced.h"
#include "mkentrofs/input.h"
#include "mkentrofs/source.h"

struct entro_range_source {
    const struct entro_input *input;
    const struct entro_source_tensor *tensor;
    struct entro_balanced_grid grid;
    const struct entro_error_feedback *feedback; /* of the grid's n_columns; NULL: none */
};

/*
 * Elements first..end-1 (first is a multiple of the dtype's block and even; so is end where it is not the
 * tensor's). *loss is set, not added to. `codes` (packed) NULL: nobody wants them; `records` as in
 * quantize_balanced.h. The same elements become the same codes in any range. With feedback whole rows are
 * read, also those of which the range has a part, into up to 10 MiB. Errors of weights.h; _NO_MEMORY.
 * Thread-safe.
 */
enum entro_error entro_quantize_range(const struct entro_range_source *source, uint64_t first, uint64_t end,
                                      uint8_t *codes, uint8_t **records, const uint8_t *records_end,
                                      struct entro_balanced_loss *loss, struct entro_message *message);

#endif
