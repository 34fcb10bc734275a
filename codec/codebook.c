/* Code lengths in 128 bytes; see codebook.h. */
#include "codec/codebook.h"

#include "codec/lengths.h"

void entro_codebook_pack(const uint8_t lengths[256], uint8_t codebook[ENTRO_CODEBOOK_BYTES])
{
    for (size_t i = 0; i < ENTRO_CODEBOOK_BYTES; i++)
        codebook[i] = (uint8_t)(lengths[2 * i] | lengths[2 * i + 1] << 4);
}

void entro_codebook_unpack(const uint8_t codebook[ENTRO_CODEBOOK_BYTES], uint8_t lengths[256])
{
    for (size_t i = 0; i < ENTRO_CODEBOOK_BYTES; i++) {
        lengths[2 * i] = codebook[i] & 15;
        lengths[2 * i + 1] = codebook[i] >> 4;
    }
}

const char *entro_codebook_fault(const uint8_t codebook[ENTRO_CODEBOOK_BYTES])
{
    uint8_t lengths[256];
    entro_codebook_unpack(codebook, lengths);
    return entro_lengths_fault(lengths);
}

bool entro_codebook_is_leaf(const uint8_t codebook[ENTRO_CODEBOOK_BYTES])
{
    uint8_t lengths[256], length = 0;
    entro_codebook_unpack(codebook, lengths);
    for (unsigned i = 0; i < 256; i++) {
        if (lengths[i] != 0 && length != 0 && lengths[i] != length)
            return false;
        length = lengths[i] != 0 ? lengths[i] : length;
    }
    return true;
}
