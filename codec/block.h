/*
 * A block: the cheapest of constant, raw and pivot-coded, with the checksum of its stored bytes. Where it
 * lies is image.h's and writer.h's.
 */
#ifndef ENTRO_BLOCK_H
#define ENTRO_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/format.h"
#include "codec/pivot.h"

struct entro_block {
    enum entro_method method;
    uint32_t stored_bytes;
    uint64_t xxh3_64;
};

/*
 * Encodes `size` (1 to ENTRO_BLOCK_MAX_BYTES) bytes into `target`, which has room for `size` bytes. pivot may
 * be NULL (nothing is coded then). Cannot fail: raw always fits.
 */
struct entro_block entro_block_encode(const struct entro_pivot *pivot, const uint8_t *bytes, size_t size,
                                      uint8_t *target, struct entro_pivot_scratch *scratch);

/*
 * Checks the checksum of the stored bytes, then decodes them to exactly `size` bytes. `stored` is readable
 * ENTRO_READ_SLOP_BYTES beyond. ENTRO_ERROR_CHECKSUM, ENTRO_ERROR_FORMAT (a size that does not fit the
 * method, a coded block without a pivot, or a malformed one).
 */
enum entro_error entro_block_decode(const struct entro_pivot *pivot, struct entro_block block,
                                    const uint8_t *stored, uint8_t *target, size_t size,
                                    struct entro_pivot_scratch *scratch);

/*
 * The same for bytes first..first+n-1 alone (within size, else ENTRO_ERROR_ARGUMENT). The checksum is that of
 * all stored bytes; of a block that is malformed in spite of it, a range may go unnoticed.
 */
enum entro_error entro_block_decode_range(const struct entro_pivot *pivot, struct entro_block block,
                                          const uint8_t *stored, size_t size, size_t first, size_t n,
                                          uint8_t *target, struct entro_pivot_scratch *scratch);

#endif
