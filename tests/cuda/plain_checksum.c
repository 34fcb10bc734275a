/* Stands in for the codec's checksum where xxHash is not at hand (tests/gpu.sh): blocks are coded there, and
 * no image is written or read. */
#include "codec/checksum.h"

/* Source: Fowler, Noll and Vo's hash FNV-1a. */
uint64_t entro_checksum64(const void *bytes, size_t size_bytes)
{
    const uint8_t *from = bytes;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size_bytes; i++)
        hash = (hash ^ from[i]) * UINT64_C(0x100000001b3);
    return hash;
}
