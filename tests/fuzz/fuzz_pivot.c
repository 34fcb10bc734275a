/*
 * Any lengths and any bytes as a coded block: refused, or decoded to symbols whose encoding is exactly these
 * bytes. And any bytes as symbols: encoded and decoded again. With the codebook as that of the root too. By
 * every variant of the kernels that runs on this machine, with one result. Ranges of both, which the bytes
 * choose: those of the whole block, where there is one.
 */
#include "codec/pivot.h"

#include <stdlib.h>
#include <string.h>

#include "codec/pivot_kernels.h"
#include "fuzz_pivot_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct entro_pivot_scratch *scratches[8]; /* one a variant, the portable one first */
static unsigned n_variants;

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

/* All variants, each into a heap block of the exact size, so that the sanitizer sees each byte too far. */
static bool decode(const struct entro_pivot *pivot, const uint8_t *stored, size_t stored_bytes,
                   uint8_t *symbols, size_t size)
{
    bool good = entro_pivot_decode(pivot, stored, stored_bytes, symbols, size, scratches[0]) == ENTRO_OK;
    for (unsigned v = 1; v < n_variants; v++) {
        uint8_t *same = allocate(size);
        require((entro_pivot_decode(pivot, stored, stored_bytes, same, size, scratches[v]) == ENTRO_OK) ==
                good);
        require(!good || memcmp(same, symbols, size) == 0);
        free(same);
    }
    return good;
}

/* Some ranges by all variants: with one result, which is that of `whole` unless that is NULL (no block). */
static void decode_ranges(const struct entro_pivot *pivot, const uint8_t *stored, size_t stored_bytes,
                          const uint8_t *whole, size_t size)
{
    size_t seed = stored_bytes > 0 ? stored[stored_bytes - 1] + (size_t)stored[stored_bytes / 2] * 257 : 0;
    const size_t firsts[] = {0, seed % size, size - 1, (seed * 31 + 8) % size / 8 * 8};
    for (unsigned i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        size_t first = firsts[i], n = (seed * 7 + i * 4096) % (size - first + 1);
        uint8_t *expected = allocate(n);
        bool good = entro_pivot_decode_range(pivot, stored, stored_bytes, size, first, n, expected,
                                             scratches[0]) == ENTRO_OK;
        require(whole == NULL || (good && memcmp(expected, whole + first, n) == 0));
        for (unsigned v = 1; v < n_variants; v++) {
            uint8_t *same = allocate(n);
            require((entro_pivot_decode_range(pivot, stored, stored_bytes, size, first, n, same,
                                              scratches[v]) == ENTRO_OK) == good);
            require(!good || memcmp(same, expected, n) == 0);
            free(same);
        }
        free(expected);
    }
}

static size_t encode(const struct entro_pivot *pivot, const uint8_t *symbols, size_t size, uint8_t *target,
                     size_t capacity)
{
    size_t coded_bytes = entro_pivot_encode(pivot, symbols, size, target, capacity, scratches[0]);
    for (unsigned v = 1; v < n_variants; v++) {
        uint8_t *same = allocate(capacity);
        require(entro_pivot_encode(pivot, symbols, size, same, capacity, scratches[v]) == coded_bytes);
        require(memcmp(same, target, coded_bytes) == 0);
        free(same);
    }
    return coded_bytes;
}

static void decode_and_encode(const struct entro_pivot *pivot, const struct fuzz_input *input)
{
    uint8_t *stored = allocate(input->n_bytes + ENTRO_READ_SLOP_BYTES);
    uint8_t *symbols = allocate(input->size);
    memcpy(stored, input->bytes, input->n_bytes);
    memset(stored + input->n_bytes, 0xff, ENTRO_READ_SLOP_BYTES);
    bool good = decode(pivot, stored, input->n_bytes, symbols, input->size);
    decode_ranges(pivot, stored, input->n_bytes, good ? symbols : NULL, input->size);
    if (good) {
        uint8_t *again = allocate(input->n_bytes);
        size_t again_bytes = encode(pivot, symbols, input->size, again, input->n_bytes);
        require(again_bytes == input->n_bytes || (input->has_root && again_bytes < input->n_bytes));
        require(again_bytes < input->n_bytes || memcmp(again, input->bytes, again_bytes) == 0);
        free(again);
    }
    free(symbols);
    free(stored);
}

static void encode_and_decode(const struct entro_pivot *pivot, const struct fuzz_input *input)
{
    size_t size = input->n_bytes < ENTRO_BLOCK_MAX_BYTES ? input->n_bytes : ENTRO_BLOCK_MAX_BYTES;
    bool all_have_codes = size > 0;
    for (size_t i = 0; i < size; i++)
        all_have_codes = all_have_codes && input->lengths[input->bytes[i]] > 0;
    size_t capacity = 2 * size + 1024;
    uint8_t *stored = allocate(capacity + ENTRO_READ_SLOP_BYTES);
    size_t coded_bytes = encode(pivot, input->bytes, size, stored, capacity);
    require((coded_bytes > 0) == all_have_codes);
    if (coded_bytes > 0) {
        uint8_t *symbols = allocate(size), *tight = allocate(coded_bytes);
        memset(stored + coded_bytes, 0xff, ENTRO_READ_SLOP_BYTES);
        require(decode(pivot, stored, coded_bytes, symbols, size));
        require(memcmp(symbols, input->bytes, size) == 0);
        decode_ranges(pivot, stored, coded_bytes, symbols, size);
        require(encode(pivot, symbols, size, tight, coded_bytes) == coded_bytes);
        require(encode(pivot, symbols, size, tight, coded_bytes - 1) == 0);
        free(tight);
        free(symbols);
    }
    free(stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input;
    struct entro_pivot *pivot = NULL;
    if (!fuzz_input_parse(&input, data, size) || fuzz_input_create_pivot(&input, &pivot) != ENTRO_OK)
        return 0;
    const struct entro_pivot_kernels *kernels;
    while ((kernels = entro_pivot_kernels_at(n_variants)) != NULL) {
        scratches[n_variants] = entro_pivot_scratch_create(kernels);
        require(scratches[n_variants++] != NULL);
    }
    decode_and_encode(pivot, &input);
    encode_and_decode(pivot, &input);
    entro_pivot_free(pivot);
    return 0;
}
