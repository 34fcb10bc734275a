/* Input: four bytes, how much longer the file is than what is at hand of it; then the file's first bytes. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/models/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    struct entro_npy npy, again;
    struct entro_message message;
    uint64_t file_size_bytes = size - 4 + (uint64_t)entro_load_u32(data);
    if (entro_npy_parse(&npy, data + 4, size - 4, file_size_bytes, "fuzz", &message) != ENTRO_OK)
        return 0;
    require(npy.data_offset + npy.size_bytes == file_size_bytes && npy.data_offset <= size - 4);
    /* What was read is written as NumPy would, and read again. */
    uint8_t header[ENTRO_NPY_HEADER_MAX_BYTES];
    size_t length = entro_npy_header(header, entro_npy_descr(npy.dtype), npy.shape, npy.rank);
    require(length > 0);
    require(entro_npy_parse(&again, header, length, length + npy.size_bytes, "fuzz", &message) == ENTRO_OK);
    require(again.dtype == npy.dtype && again.rank == npy.rank && again.size_bytes == npy.size_bytes);
    require(memcmp(again.shape, npy.shape, sizeof npy.shape) == 0);
    return 0;
}
