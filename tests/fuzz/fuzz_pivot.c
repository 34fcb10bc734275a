/*
 * Any lengths and any bytes as a coded block: refused, or decoded to symbols whose encoding is exactly these
 * bytes. And any bytes as symbols: encoded and decoded again.
 */
#include "codec/pivot.h"

#include <stdlib.h>
#include <string.h>

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

/* Heap blocks of the exact size, so that the sanitizer sees each byte too far. */
static void decode_and_encode(const struct entro_pivot *pivot, const struct fuzz_input *input,
                              struct entro_pivot_scratch *scratch)
{
    uint8_t *stored = allocate(input->n_bytes + ENTRO_READ_SLOP_BYTES);
    uint8_t *symbols = allocate(input->size);
    memcpy(stored, input->bytes, input->n_bytes);
    memset(stored + input->n_bytes, 0xff, ENTRO_READ_SLOP_BYTES);
    if (entro_pivot_decode(pivot, stored, input->n_bytes, symbols, input->size, scratch) == ENTRO_OK) {
        uint8_t *again = allocate(input->n_bytes);
        require(entro_pivot_encode(pivot, symbols, input->size, again, input->n_bytes, scratch) ==
                input->n_bytes);
        require(memcmp(again, input->bytes, input->n_bytes) == 0);
        free(again);
    }
    free(symbols);
    free(stored);
}

static void encode_and_decode(const struct entro_pivot *pivot, const struct fuzz_input *input,
                              struct entro_pivot_scratch *scratch)
{
    size_t size = input->n_bytes < ENTRO_BLOCK_MAX_BYTES ? input->n_bytes : ENTRO_BLOCK_MAX_BYTES;
    bool all_have_codes = size > 0;
    for (size_t i = 0; i < size; i++)
        all_have_codes = all_have_codes && input->lengths[input->bytes[i]] > 0;
    size_t capacity = 2 * size + 1024;
    uint8_t *stored = allocate(capacity + ENTRO_READ_SLOP_BYTES);
    size_t coded_bytes = entro_pivot_encode(pivot, input->bytes, size, stored, capacity, scratch);
    require((coded_bytes > 0) == all_have_codes);
    if (coded_bytes > 0) {
        uint8_t *symbols = allocate(size), *tight = allocate(coded_bytes);
        memset(stored + coded_bytes, 0xff, ENTRO_READ_SLOP_BYTES);
        require(entro_pivot_decode(pivot, stored, coded_bytes, symbols, size, scratch) == ENTRO_OK);
        require(memcmp(symbols, input->bytes, size) == 0);
        require(entro_pivot_encode(pivot, symbols, size, tight, coded_bytes, scratch) == coded_bytes);
        require(entro_pivot_encode(pivot, symbols, size, tight, coded_bytes - 1, scratch) == 0);
        free(tight);
        free(symbols);
    }
    free(stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input;
    struct entro_pivot *pivot = NULL;
    if (!fuzz_input_parse(&input, data, size) || entro_pivot_create(&pivot, input.lengths) != ENTRO_OK)
        return 0;
    static struct entro_pivot_scratch *scratch;
    if (scratch == NULL)
        scratch = entro_pivot_scratch_create(NULL);
    require(scratch != NULL);
    decode_and_encode(pivot, &input, scratch);
    encode_and_decode(pivot, &input, scratch);
    entro_pivot_free(pivot);
    return 0;
}
