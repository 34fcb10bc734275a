/*
 * The bijection between bytes and printable characters that byte-level vocabularies are written in (GPT-2,
 * src/encoder.py, bytes_to_unicode): printable Latin-1 stands for itself, the other 68 bytes for U+0100 ..
 * U+0143 in order.
 */
#ifndef ENTRO_TOKENIZER_BYTEMAP_H
#define ENTRO_TOKENIZER_BYTEMAP_H

#include <stdint.h>

static inline uint32_t entro_byte_to_character(unsigned char byte)
{
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte >= 0x7F && byte <= 0xA0)
        return 0x121u + (byte - 0x7Fu);
    return byte == 0xAD ? 0x143u : byte;
}

/* -1 where the character stands for no byte. */
static inline int entro_character_to_byte(uint32_t code_point)
{
    if (code_point >= 0x100 && code_point <= 0x120)
        return (int)(code_point - 0x100);
    if (code_point >= 0x121 && code_point <= 0x142)
        return (int)(code_point - 0x121 + 0x7F);
    if (code_point == 0x143)
        return 0xAD;
    if (code_point <= 0x20 || code_point > 0xFF || (code_point >= 0x7F && code_point <= 0xA0) ||
        code_point == 0xAD)
        return -1;
    return (int)code_point;
}

#endif
