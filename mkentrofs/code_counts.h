/*
 * How often each code comes up in the quantized tensors of a source, by kind of tensor: what a report draws
 * histograms of.
 */
#ifndef ENTRO_CODE_COUNTS_H
#define ENTRO_CODE_COUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/lengths.h"
#include "mkentrofs/kinds.h"
#include "mkentrofs/source.h"

/* Of one kind: 8-bit codes, and 4-bit ones. */
struct entro_kind_counts {
    uint64_t u8[ENTRO_N_SYMBOLS];
    uint64_t u4[16];
};

struct entro_code_counts {
    struct entro_kinds kinds;         /* of the source's tensors, in the order of its files */
    struct entro_kind_counts *counts; /* [kinds.n] */
};

/* Zeros. False where memory is short; else the caller frees with entro_code_counts_free. */
bool entro_code_counts_create(struct entro_code_counts *out, const struct entro_source_tree *tree);
void entro_code_counts_free(struct entro_code_counts *codes);

/* Adds the bytes of the codes of tensor number `tensor`, which has n_codes codes of `bits` bits. */
void entro_code_counts_add(struct entro_code_counts *codes, size_t tensor, unsigned bits, uint64_t n_codes,
                           const uint64_t bytes[ENTRO_N_SYMBOLS]);

#endif
