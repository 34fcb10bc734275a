/*
 * The rows of a tensor, each looked at twice while its weights are near: once to learn of it as a whole, and
 * once more with what has been learnt.
 */
#ifndef ENTRO_ROWS_H
#define ENTRO_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "mkentrofs/input.h"
#include "mkentrofs/source.h"
#include "mkentrofs/weights.h"

/* Rows (shape[0], 1 without dimensions) and columns (all other dimensions together) of a tensor with
 * elements. */
uint64_t entro_tensor_rows(const struct entro_source_tensor *tensor);
uint64_t entro_tensor_columns(const struct entro_source_tensor *tensor);

/* Strips that a tensor is cut into for a pass, `wanted` of them or fewer: they do not depend on the number of
 * threads, so that sums over strips in their order do not either. */
size_t entro_n_strips(uint64_t n_rows, size_t wanted);
/* Strip i has the rows from this to that of i + 1. */
uint64_t entro_strip_first_row(uint64_t n_rows, size_t n_strips, size_t strip);

/* Weights of a row from `column` on. Rows that do not fit ENTRO_WEIGHTS_AT_ONCE come in several pieces, in
 * order; all but the last have that many weights. */
typedef void entro_row_look(void *context, uint64_t row, uint64_t column, const float *weights, size_t n);

struct entro_row_looks {
    entro_row_look *first;
    void (*between)(void *context, uint64_t row); /* NULL: nothing */
    entro_row_look *second;                       /* NULL: none */
    void *context;
};

/* Looks at the rows first..end-1 in order. Short ones are read once, long ones once a look. Errors of
 * weights.h; _NO_MEMORY. */
enum entro_error entro_rows_look(const struct entro_input *input, const struct entro_source_tensor *tensor,
                                 uint64_t first, uint64_t end, const struct entro_row_looks *looks,
                                 struct entro_message *message);

#endif
