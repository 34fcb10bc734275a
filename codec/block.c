/* The choice between constant, raw and coded; see block.h. */
#include "codec/block.h"

#include <stdbool.h>
#include <string.h>

#include "codec/checksum.h"

static bool is_constant(const uint8_t *bytes, size_t size)
{
    return memcmp(bytes, bytes + 1, size - 1) == 0;
}

struct entro_block entro_block_encode(const struct entro_pivot *pivot, const uint8_t *bytes, size_t size,
                                      uint8_t *target, struct entro_pivot_scratch *scratch)
{
    struct entro_block block;
    size_t coded_bytes;
    if (is_constant(bytes, size)) {
        block.method = ENTRO_METHOD_CONSTANT;
        block.stored_bytes = 1;
        target[0] = bytes[0];
    } else if (pivot != NULL &&
               (coded_bytes = entro_pivot_encode(pivot, bytes, size, target, size - 1, scratch)) > 0) {
        block.method = ENTRO_METHOD_CODED;
        block.stored_bytes = (uint32_t)coded_bytes;
    } else {
        block.method = ENTRO_METHOD_RAW;
        block.stored_bytes = (uint32_t)size;
        memcpy(target, bytes, size);
    }
    block.xxh3_64 = entro_checksum64(target, block.stored_bytes);
    return block;
}

/* Whether the stored bytes are those that were written, and as many as the method needs. */
static enum entro_error check(const struct entro_pivot *pivot, struct entro_block block,
                              const uint8_t *stored, size_t size)
{
    if (entro_checksum64(stored, block.stored_bytes) != block.xxh3_64)
        return ENTRO_ERROR_CHECKSUM;
    bool fits = false;
    switch (block.method) {
    case ENTRO_METHOD_CONSTANT:
        fits = block.stored_bytes == 1;
        break;
    case ENTRO_METHOD_RAW:
        fits = block.stored_bytes == size;
        break;
    case ENTRO_METHOD_CODED:
        fits = pivot != NULL && block.stored_bytes < size;
        break;
    }
    return fits ? ENTRO_OK : ENTRO_ERROR_FORMAT;
}

enum entro_error entro_block_decode(const struct entro_pivot *pivot, struct entro_block block,
                                    const uint8_t *stored, uint8_t *target, size_t size,
                                    struct entro_pivot_scratch *scratch)
{
    return entro_block_decode_range(pivot, block, stored, size, 0, size, target, scratch);
}

enum entro_error entro_block_decode_range(const struct entro_pivot *pivot, struct entro_block block,
                                          const uint8_t *stored, size_t size, size_t first, size_t n,
                                          uint8_t *target, struct entro_pivot_scratch *scratch)
{
    if (first > size || n > size - first)
        return ENTRO_ERROR_ARGUMENT;
    enum entro_error error = check(pivot, block, stored, size);
    if (error != ENTRO_OK)
        return error;
    if (block.method == ENTRO_METHOD_CONSTANT)
        memset(target, stored[0], n);
    else if (block.method == ENTRO_METHOD_RAW)
        memcpy(target, stored + first, n);
    else if (n == size)
        return entro_pivot_decode(pivot, stored, block.stored_bytes, target, size, scratch);
    else
        return entro_pivot_decode_range(pivot, stored, block.stored_bytes, size, first, n, target, scratch);
    return ENTRO_OK;
}
