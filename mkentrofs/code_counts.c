/* See code_counts.h. */
#include "mkentrofs/code_counts.h"

#include <stdlib.h>

bool entro_code_counts_create(struct entro_code_counts *out, const struct entro_source_tree *tree)
{
    *out = (struct entro_code_counts){0};
    const char **names = calloc(tree->n_tensors + 1, sizeof *names);
    if (!names)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < tree->n_parts; i++)
        for (size_t j = 0; j < tree->parts[i].n_tensors; j++)
            names[n++] = tree->parts[i].tensors[j].name;
    bool ok = entro_kinds_find(&out->kinds, names, n);
    if (ok) {
        out->counts = calloc(out->kinds.n + 1, sizeof *out->counts);
        ok = out->counts != NULL;
    }
    free(names);
    if (!ok)
        entro_code_counts_free(out);
    return ok;
}

void entro_code_counts_free(struct entro_code_counts *codes)
{
    entro_kinds_free(&codes->kinds);
    free(codes->counts);
    *codes = (struct entro_code_counts){0};
}

void entro_code_counts_add(struct entro_code_counts *codes, size_t tensor, unsigned bits, uint64_t n_codes,
                           const uint64_t bytes[ENTRO_N_SYMBOLS])
{
    struct entro_kind_counts *counts = &codes->counts[codes->kinds.of[tensor].kind];
    for (unsigned byte = 0; byte < ENTRO_N_SYMBOLS; byte++)
        if (bits == 8) {
            counts->u8[byte] += bytes[byte];
        } else {
            counts->u4[byte & 15] += bytes[byte];
            counts->u4[byte >> 4] += bytes[byte];
        }
    /* An odd last code is alone in its byte, above it a zero that is none. */
    if (bits != 8 && n_codes % 2 != 0)
        counts->u4[0]--;
}
