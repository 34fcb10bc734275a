/*
 * How the fuzz inputs of the pivot coder begin: a codebook that the fuzzer can shape. Byte 0: the lowest
 * symbol (its step is 37, so that alphabets are scattered); byte 1: number of symbols - 1; byte 2: limit of
 * the code length (modulo 16), and whether the codebook is also that of the root (32); or 0xff where the
 * lengths themselves follow (128 bytes, a nibble each); bytes 3 and 4: size of the block - 1; then a byte for
 * each symbol: log2 of its count; then the block.
 */
#ifndef ENTRO_FUZZ_PIVOT_INPUT_H
#define ENTRO_FUZZ_PIVOT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/lengths.h"
#include "codec/pivot.h"

#define FUZZ_HEADER_BYTES 5
#define FUZZ_SYMBOL_STEP  37
#define FUZZ_ROOT         32

struct fuzz_input {
    uint8_t lengths[ENTRO_N_SYMBOLS]; /* complete unless they were given as such */
    bool has_root;                    /* the codebook is also that of the root's bitmaps */
    size_t size;                      /* of the decoded block, 1 to 65536 */
    const uint8_t *bytes;             /* the rest */
    size_t n_bytes;
};

/* False where the input is too short, or its symbols do not fit the limit. */
static inline bool fuzz_input_parse(struct fuzz_input *input, const uint8_t *data, size_t size)
{
    if (size < FUZZ_HEADER_BYTES)
        return false;
    size_t n_symbols = (size_t)data[1] + 1;
    bool has_lengths = data[2] == 0xff;
    size_t table_bytes = has_lengths ? ENTRO_N_SYMBOLS / 2 : n_symbols;
    if (size - FUZZ_HEADER_BYTES < table_bytes)
        return false;
    input->has_root = !has_lengths && (data[2] & FUZZ_ROOT) != 0;
    input->size = (size_t)(data[3] | data[4] << 8) + 1;
    input->bytes = data + FUZZ_HEADER_BYTES + table_bytes;
    input->n_bytes = size - FUZZ_HEADER_BYTES - table_bytes;
    const uint8_t *table = data + FUZZ_HEADER_BYTES;
    if (has_lengths) {
        for (size_t i = 0; i < ENTRO_N_SYMBOLS; i++)
            input->lengths[i] = table[i / 2] >> i % 2 * 4 & 0xf;
        return true;
    }
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    for (size_t i = 0; i < n_symbols; i++)
        counts[(data[0] + FUZZ_SYMBOL_STEP * i) % ENTRO_N_SYMBOLS] = (uint64_t)1 << table[i] % 32;
    return entro_code_lengths(counts, data[2] % (ENTRO_MAX_CODE_LENGTH + 1), input->lengths);
}

static inline enum entro_error fuzz_input_create_pivot(const struct fuzz_input *input,
                                                       struct entro_pivot **pivot)
{
    return input->has_root ? entro_pivot_create_with_root(pivot, input->lengths, input->lengths)
                           : entro_pivot_create(pivot, input->lengths);
}

#endif
