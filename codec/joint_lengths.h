/*
 * Code lengths chosen for size and decoding time together: a pivot coder's speed depends on how many lengths
 * there are and on how many symbols share one. lengths.h has those of the least size alone.
 */
#ifndef ENTRO_JOINT_LENGTHS_H
#define ENTRO_JOINT_LENGTHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/lengths.h"

/*
 * Lengths of a complete code of at most ENTRO_MAX_CODE_LENGTH for the symbols with non-zero counts (whose sum
 * is less than 2^59), 0 for the others, for a plane that is stored in blocks of block_bytes (at least 1).
 * Takes at most 0.25 % more bits than entro_code_lengths, leaf counts and padding of the blocks included
 * (0.05 % where that is far above the entropy), and less decoding time; where memory is short, its lengths.
 * False (lengths all 0) where fewer than two symbols occur. The same on every machine; thread-safe; less than
 * a millisecond.
 */
bool entro_joint_lengths(const uint64_t counts[ENTRO_N_SYMBOLS], size_t block_bytes,
                         uint8_t lengths[ENTRO_N_SYMBOLS]);

#endif
