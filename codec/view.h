/*
 * Views: a quantized tensor seen as bytes of another dtype. The arithmetic is specified to the bit
 * (FORMAT.md, "Dequantized views"):
 *
 * - t(q) = F32(scale * (q - zero_point)), rounded once (exact for the scales that the builder makes);
 *
 * - f = row[i] * column[j], both F16, absent ones are 1; the product is exact in F32;
 *
 * - w = t(q) where the tensor has neither factor, else the exact product t(q) * f; the exact value for an
 *   element in the outlier list;
 *
 * - F32, F16, BF16: w rounded once, to nearest, ties to even;
 *
 * - Q8_0 (32 elements a record, F16 d, 32 int8), only where the tensor has no factors and no outliers and
 *   scale is F16-exact: d = scale, values q - zero_point, which must fit int8;
 *
 * - Q4_1 (32 elements a record, F16 d, F16 m, 16 bytes of nibbles), only u4 without factors and outliers,
 *   scale and scale * zero_point F16-exact: d = scale, m = -scale * zero_point (+0 for a zero point of 0),
 *   nibbles are the codes, element k of the record in the low nibble of byte k for k < 16, else in the high
 *   nibble of byte k - 16.
 */
#ifndef ENTRO_VIEW_H
#define ENTRO_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/error.h"
#include "codec/image.h"

/* Whether FORMAT.md defines this view of this tensor (a lossless one has none), given what is in the tensor's
 * record. The codes' range for Q8_0 is not known here. */
bool entro_view_is_defined(const struct entro_tensor *tensor, enum entro_dtype dtype);

/* Bytes of the whole view; false where it does not fit 64 bits or the innermost dimension is no multiple of
 * the view's block. */
bool entro_view_size_bytes(const struct entro_tensor *tensor, enum entro_dtype dtype, uint64_t *size_bytes);

/* Elements coded together in a view (1 or 32) and the bytes they take: ranges are converted in such units. */
unsigned entro_view_block_elements(enum entro_dtype dtype);
unsigned entro_view_block_bytes(enum entro_dtype dtype);

/* Factors and outliers of a tensor as their streams hold them (little-endian, unaligned); NULL / 0 where it
 * has none. Not owned. */
struct entro_view_parts {
    const uint8_t *row_scale;    /* n_rows F16 */
    const uint8_t *column_scale; /* n_columns F16 */
    const uint8_t *outliers;     /* n_outliers records of 12 bytes */
    size_t n_outliers;
};

struct entro_view;

/* Prepares a view (a table of the codes' values); the parts must outlive it. Immutable afterwards, shared by
 * threads. ENTRO_ERROR_ARGUMENT where the view is not defined, ENTRO_ERROR_FORMAT where outliers are not
 * ascending or out of range, _NO_MEMORY. */
enum entro_error entro_view_create(struct entro_view **out, const struct entro_tensor *tensor,
                                   enum entro_dtype dtype, const struct entro_view_parts *parts,
                                   struct entro_message *message);
void entro_view_free(struct entro_view *view);

/*
 * Converts elements first..first+n_elements of the tensor (row-major). `codes` holds the code bytes from that
 * of element `first` on (u4: first is even). first and n_elements are multiples of the view's block
 * (n_elements may be less at the end of the tensor for blocks of 1). `target` gets exactly the view's bytes.
 */
void entro_view_convert(const struct entro_view *view, uint64_t first, size_t n_elements,
                        const uint8_t *codes, uint8_t *target);

#endif
