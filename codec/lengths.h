/*
 * Code lengths from symbol counts. The codebook itself (tree, flat leaves, bit order) is pivot.h's.
 */
#ifndef ENTRO_LENGTHS_H
#define ENTRO_LENGTHS_H

#include <stdbool.h>
#include <stdint.h>

#define ENTRO_N_SYMBOLS       256
#define ENTRO_MAX_CODE_LENGTH 15

/*
 * Optimal code lengths of at most max_length (<= ENTRO_MAX_CODE_LENGTH) for the symbols with non-zero counts
 * (whose sum is less than 2^59); 0 for the others. The lengths satisfy Kraft's inequality with equality
 * wherever two or more symbols occur. False (lengths all 0) where fewer than two symbols occur or the symbols
 * do not fit max_length. Deterministic, thread-safe. Source: Larmore and Hirschberg, "A fast algorithm for
 * optimal length-limited Huffman codes", JACM 37(3), 1990 (package-merge).
 */
bool entro_code_lengths(const uint64_t counts[ENTRO_N_SYMBOLS], unsigned max_length,
                        uint8_t lengths[ENTRO_N_SYMBOLS]);

/* NULL where the lengths make a complete code of at least two symbols, else what is wrong. */
const char *entro_lengths_fault(const uint8_t lengths[ENTRO_N_SYMBOLS]);

/* Order-0 entropy in bits a symbol; 0 where nothing occurs. */
double entro_entropy_bits(const uint64_t counts[ENTRO_N_SYMBOLS]);

#endif
