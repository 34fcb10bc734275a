/*
 * Writes the first inputs of fuzz_pivot and fuzz_block, well-formed coded blocks of many shapes:
 * make_pivot_seeds CORPUS_FOLDER. The corpora beside this file began with its output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/pivot.h"
#include "fuzz_pivot_input.h"

static int write_seed(const char *folder, const char *target, const char *name, const uint8_t *bytes,
                      size_t size)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s/%s", folder, target, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return -1;
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return -1;
    size_t written = fwrite(bytes, 1, size, file);
    return fclose(file) == 0 && written == size ? 0 : -1;
}

/* One shape of code: n symbols whose counts fall by a power of two every `every` symbols; the block uses the
 * first n_used of them. */
struct shape {
    const char *name;
    unsigned n_symbols, every, limit, n_used;
    size_t size;
};

static const struct shape shapes[] = {
    {"flat_1", 2, 2, 15, 2, 61},
    {"flat_4", 16, 16, 15, 16, 64},
    {"flat_8", 256, 256, 8, 256, 100},
    {"chain", 16, 1, 15, 16, 70},
    {"chain_limited", 32, 1, 6, 9, 70},
    {"mixed", 40, 5, 15, 40, 200},
    {"rare_tail", 100, 9, 11, 30, 90},
    {"one_symbol", 9, 2, 15, 1, 77},
    {"two_symbols", 50, 3, 15, 2, 33},
    {"tiny", 7, 2, 15, 7, 1},
    {"wide", 200, 40, 15, 200, 400},
    {"root", 256, 8, FUZZ_ROOT | 15, 9, 600},
    {"root_plain", 256, 64, FUZZ_ROOT | 15, 100, 500},
};

static int write_shape(const char *folder, const struct shape *shape, struct entro_pivot_scratch *scratch)
{
    uint8_t seed[1 + FUZZ_HEADER_BYTES + ENTRO_N_SYMBOLS + 1024 + ENTRO_READ_SLOP_BYTES] = {
        ENTRO_METHOD_CODED};
    uint8_t *input = seed + 1, symbols[1024];
    input[0] = 100;
    input[1] = (uint8_t)(shape->n_symbols - 1);
    input[2] = (uint8_t)shape->limit;
    input[3] = (uint8_t)(shape->size - 1);
    input[4] = (uint8_t)((shape->size - 1) >> 8);
    for (unsigned i = 0; i < shape->n_symbols; i++)
        input[FUZZ_HEADER_BYTES + i] = (uint8_t)(31 - i / shape->every % 32);
    for (size_t i = 0; i < shape->size; i++)
        symbols[i] = (uint8_t)(100 + FUZZ_SYMBOL_STEP * (i * i / 7 % shape->n_used));

    struct fuzz_input parsed;
    struct entro_pivot *pivot = NULL;
    size_t header_bytes = FUZZ_HEADER_BYTES + shape->n_symbols;
    if (!fuzz_input_parse(&parsed, input, header_bytes) ||
        fuzz_input_create_pivot(&parsed, &pivot) != ENTRO_OK)
        return -1;
    size_t coded_bytes = entro_pivot_encode(pivot, symbols, shape->size, input + header_bytes, 1024, scratch);
    entro_pivot_free(pivot);
    if (coded_bytes == 0 ||
        write_seed(folder, "fuzz_pivot", shape->name, input, header_bytes + coded_bytes) != 0)
        return -1;
    return write_seed(folder, "fuzz_block", shape->name, seed, 1 + header_bytes + coded_bytes);
}

int main(int argc, char **argv)
{
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    int result = argc == 2 && scratch != NULL ? 0 : -1;
    for (size_t i = 0; result == 0 && i < sizeof shapes / sizeof shapes[0]; i++)
        result = write_shape(argv[1], &shapes[i], scratch);
    entro_pivot_scratch_free(scratch);
    if (result != 0)
        fprintf(stderr, "make_pivot_seeds CORPUS_FOLDER: could not write the seeds\n");
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
