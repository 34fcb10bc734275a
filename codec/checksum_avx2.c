/* xxHash built for AVX2; see checksum.h. Empty on other processors. */
#include "codec/checksum.h"

#if defined(__x86_64__)
#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX2
#include <xxhash.h>

uint64_t entro_checksum64_avx2(const void *bytes, size_t size_bytes)
{
    return XXH3_64bits(bytes, size_bytes);
}
#else
typedef int entro_no_avx2; /* a translation unit must not be empty */
#endif
