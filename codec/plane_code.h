/*
 * The code of a plane: its codebook, and that of its root where one pays. How lengths are chosen is
 * joint_lengths.h's business, what a decoder does with them pivot.h's.
 */
#ifndef ENTRO_PLANE_CODE_H
#define ENTRO_PLANE_CODE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/codebook.h"
#include "codec/pivot.h"

#define ENTRO_PLANE_MAX_CODEBOOKS 2

struct entro_plane_code {
    unsigned n_codebooks; /* 0: nothing is coded; 2: the second is that of the root */
    uint8_t codebooks[ENTRO_PLANE_MAX_CODEBOOKS][ENTRO_CODEBOOK_BYTES];
};

/*
 * The code of these lengths (of at least two symbols) for a plane of which each symbol comes up
 * counts[symbol] times; none where nothing would be saved. The sample, runs of the plane's bytes, decides on
 * a codebook for the root. sample NULL: the counts are not those of the plane; the lengths are taken as they
 * are. Deterministic.
 */
void entro_plane_code_choose(struct entro_plane_code *code, const uint8_t lengths[ENTRO_N_SYMBOLS],
                             const uint64_t counts[ENTRO_N_SYMBOLS], const uint8_t *sample, size_t n_sampled);

/*
 * The plan of codebooks that a file has stored; `root` NULL: none. The caller frees with entro_pivot_free.
 * ENTRO_ERROR_FORMAT as in pivot.h, _NO_MEMORY.
 */
enum entro_error entro_codebook_plan(struct entro_pivot **out, const uint8_t codebook[ENTRO_CODEBOOK_BYTES],
                                     const uint8_t *root);

/* The same of a code; *out is NULL where nothing is coded. */
enum entro_error entro_plane_code_plan(struct entro_pivot **out, const struct entro_plane_code *code);

#endif
