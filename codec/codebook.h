/*
 * A codebook as it is stored (FORMAT.md, "Codebook"), and what is allowed there. What the lengths mean is
 * pivot.h's.
 */
#ifndef ENTRO_CODEBOOK_H
#define ENTRO_CODEBOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Code lengths as a codebook stores them: a nibble each, the even symbol in the low one. */
#define ENTRO_CODEBOOK_BYTES 128
void entro_codebook_pack(const uint8_t lengths[256], uint8_t codebook[ENTRO_CODEBOOK_BYTES]);
void entro_codebook_unpack(const uint8_t codebook[ENTRO_CODEBOOK_BYTES], uint8_t lengths[256]);

/* NULL where entro_lengths_fault has nothing to say of its lengths. */
const char *entro_codebook_fault(const uint8_t codebook[ENTRO_CODEBOOK_BYTES]);

/* Whether all codes of a good codebook have one length: its tree is a leaf. */
bool entro_codebook_is_leaf(const uint8_t codebook[ENTRO_CODEBOOK_BYTES]);

#endif
