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

enum entro_error entro_block_decode(const struct entro_pivot *pivot, struct entro_block block,
                                    const uint8_t *stored, uint8_t *target, size_t size,
                                    struct entro_pivot_scratch *scratch)
{
    if (entro_checksum64(stored, block.stored_bytes) != block.xxh3_64)
        return ENTRO_ERROR_CHECKSUM;
    switch (block.method) {
    case ENTRO_METHOD_CONSTANT:
        if (block.stored_bytes != 1)
            return ENTRO_ERROR_FORMAT;
        memset(target, stored[0], size);
        return ENTRO_OK;
    case ENTRO_METHOD_RAW:
        if (block.stored_bytes != size)
            return ENTRO_ERROR_FORMAT;
        memcpy(target, stored, size);
        return ENTRO_OK;
    case ENTRO_METHOD_CODED:
        if (pivot == NULL || block.stored_bytes >= size)
            return ENTRO_ERROR_FORMAT;
        return entro_pivot_decode(pivot, stored, block.stored_bytes, target, size, scratch);
    }
    return ENTRO_ERROR_FORMAT;
}
