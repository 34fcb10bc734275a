/*
 * Layouts: how the records of a stream are split into byte planes that code well, and joined again. One
 * routine serves every dtype.
 */
#ifndef ENTRO_LAYOUT_H
#define ENTRO_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/format.h"

/* Same meaning as struct entro_disk_layout. */
struct entro_layout {
    uint16_t record_bytes;
    uint8_t rotate_bytes;
    uint8_t n_fields;
    uint16_t field_bytes[ENTRO_MAX_FIELDS];
};

/* One plane, the bytes as they are: codes and verbatim files. */
extern const struct entro_layout entro_layout_bytes;

/*
 * The layout that suits a lossless tensor of this dtype. Floats wider than a byte: each word rotated left by
 * one bit (so that an exponent of 8 bits fills a byte), a field a byte. Integers wider than a byte: a field a
 * byte. GGUF's block types Q4_0 to Q8_0, Q4_K, Q5_K and Q6_K: by field, F16 fields by byte. All others:
 * entro_layout_bytes.
 *
 * Fields are consecutive bytes of the record in memory order: field 0 of BF16 is the low byte of the rotated
 * word (mantissa and sign), field 1 its high byte (exponent).
 */
struct entro_layout entro_layout_of_dtype(enum entro_dtype dtype);

/* False for anything FORMAT.md does not allow: sizes that do not add up, rotation that does not divide the
 * record, ... */
bool entro_layout_is_valid(const struct entro_layout *layout);

bool entro_layout_equal(const struct entro_layout *a, const struct entro_layout *b);

/* Splits n_records whole records; planes[i] has room for n_records * field_bytes[i]. Thread-safe, as join is.
 */
void entro_layout_split(const struct entro_layout *layout, const uint8_t *records, size_t n_records,
                        uint8_t *const planes[]);
void entro_layout_join(const struct entro_layout *layout, const uint8_t *const planes[], size_t n_records,
                       uint8_t *records);

#endif
