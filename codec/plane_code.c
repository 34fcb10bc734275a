/* A plane's codebooks, and what they save; see plane_code.h. */
#include "codec/plane_code.h"

#include <stdbool.h>

static bool pays(const uint8_t lengths[ENTRO_N_SYMBOLS], const uint64_t counts[ENTRO_N_SYMBOLS])
{
    uint64_t plane_bytes = 0, coded_bits = 0;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        plane_bytes += counts[symbol];
        coded_bits += counts[symbol] * lengths[symbol];
    }
    return coded_bits / 8 + ENTRO_CODEBOOK_BYTES < plane_bytes;
}

void entro_plane_code_choose(struct entro_plane_code *code, const uint8_t lengths[ENTRO_N_SYMBOLS],
                             const uint64_t counts[ENTRO_N_SYMBOLS], const uint8_t *sample, size_t n_sampled)
{
    uint8_t root_lengths[ENTRO_N_SYMBOLS];
    code->n_codebooks = 0;
    if (sample != NULL && !pays(lengths, counts))
        return;
    entro_codebook_pack(lengths, code->codebooks[code->n_codebooks++]);
    if (sample != NULL && entro_pivot_root_lengths(lengths, counts, sample, n_sampled, root_lengths))
        entro_codebook_pack(root_lengths, code->codebooks[code->n_codebooks++]);
}

enum entro_error entro_codebook_plan(struct entro_pivot **out, const uint8_t codebook[ENTRO_CODEBOOK_BYTES],
                                     const uint8_t *root)
{
    uint8_t lengths[ENTRO_N_SYMBOLS], root_lengths[ENTRO_N_SYMBOLS];
    entro_codebook_unpack(codebook, lengths);
    if (root == NULL)
        return entro_pivot_create(out, lengths);
    entro_codebook_unpack(root, root_lengths);
    return entro_pivot_create_with_root(out, lengths, root_lengths);
}

enum entro_error entro_plane_code_plan(struct entro_pivot **out, const struct entro_plane_code *code)
{
    *out = NULL;
    if (code->n_codebooks == 0)
        return ENTRO_OK;
    return entro_codebook_plan(out, code->codebooks[0], code->n_codebooks > 1 ? code->codebooks[1] : NULL);
}
