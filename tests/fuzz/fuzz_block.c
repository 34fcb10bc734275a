/*
 * Any bytes as the stored bytes of a block of any method, with a right and a wrong checksum; and any bytes as
 * a block to store, which must come back and never grow. The first byte of an input chooses the method, the
 * rest is that of fuzz_pivot.
 */
#include "codec/block.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "fuzz_pivot_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void *allocate(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);
    require(memory != NULL);
    return memory;
}

static void decode_hostile(const struct entro_pivot *pivot, unsigned method, const struct fuzz_input *input,
                           struct entro_pivot_scratch *scratch)
{
    uint8_t *stored = allocate(input->n_bytes + ENTRO_READ_SLOP_BYTES);
    uint8_t *bytes = allocate(input->size);
    memcpy(stored, input->bytes, input->n_bytes);
    memset(stored + input->n_bytes, 0xff, ENTRO_READ_SLOP_BYTES);
    struct entro_block block = {.method = (enum entro_method)method,
                                .stored_bytes = (uint32_t)input->n_bytes,
                                .xxh3_64 = XXH3_64bits(stored, input->n_bytes)};
    enum entro_error error = entro_block_decode(pivot, block, stored, bytes, input->size, scratch);
    require(error == ENTRO_OK || error == ENTRO_ERROR_FORMAT);
    block.xxh3_64++;
    require(entro_block_decode(pivot, block, stored, bytes, input->size, scratch) == ENTRO_ERROR_CHECKSUM);
    free(bytes);
    free(stored);
}

static void store_and_load(const struct entro_pivot *pivot, const struct fuzz_input *input,
                           struct entro_pivot_scratch *scratch)
{
    size_t size = input->n_bytes;
    if (size == 0 || size > ENTRO_BLOCK_MAX_BYTES)
        return;
    uint8_t *exact = allocate(size), *bytes = allocate(size);
    struct entro_block block = entro_block_encode(pivot, input->bytes, size, exact, scratch);
    require(block.stored_bytes >= 1 && block.stored_bytes <= size);
    uint8_t *stored = allocate(block.stored_bytes + ENTRO_READ_SLOP_BYTES);
    memcpy(stored, exact, block.stored_bytes);
    memset(stored + block.stored_bytes, 0xff, ENTRO_READ_SLOP_BYTES);
    require(entro_block_decode(pivot, block, stored, bytes, size, scratch) == ENTRO_OK);
    require(memcmp(bytes, input->bytes, size) == 0);
    free(stored);
    free(bytes);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input;
    struct entro_pivot *pivot = NULL;
    if (size < 1 || !fuzz_input_parse(&input, data + 1, size - 1))
        return 0;
    /* A codebook that is none leaves the pivot NULL: that of a plane without coded blocks. */
    require(fuzz_input_create_pivot(&input, &pivot) != ENTRO_OK || pivot != NULL);
    static struct entro_pivot_scratch *scratch;
    if (scratch == NULL)
        scratch = entro_pivot_scratch_create(NULL);
    require(scratch != NULL);
    decode_hostile(pivot, data[0] % 4, &input, scratch);
    store_and_load(pivot, &input, scratch);
    entro_pivot_free(pivot);
    return 0;
}
