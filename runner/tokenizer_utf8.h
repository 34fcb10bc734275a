/*
 * What the tokenizer needs of UTF-8 and of Unicode's character classes. Decoding and categories are
 * utf8proc's; this adds the handling of bytes that are not UTF-8 and the two classes (white space, word
 * characters) as the reference tokenizer defines them.
 */
#ifndef ENTRO_TOKENIZER_UTF8_H
#define ENTRO_TOKENIZER_UTF8_H

#include "runner/tokenizer_text.h"

#include <stdbool.h>

/* U+FFFD, what stands for bytes that are not UTF-8. */
#define ENTRO_UTF8_REPLACEMENT      "\xEF\xBF\xBD"
#define ENTRO_UTF8_REPLACEMENT_SIZE ((size_t)3)

/* What the bytes at the start of `text` are. */
enum entro_utf8_kind {
    ENTRO_UTF8_CHARACTER,  /* a whole character of *size bytes, 1 to 4 */
    ENTRO_UTF8_INCOMPLETE, /* the first *size bytes of a character, cut off by the end of `text` */
    ENTRO_UTF8_INVALID     /* *size bytes that no character starts with (a maximal subpart, Unicode 3.9) */
};
/* `size` > 0. Thread-safe, as everything here. */
enum entro_utf8_kind entro_utf8_next(const char *text, size_t size, size_t *size_of_first);

/* True where the whole text is well-formed. */
bool entro_utf8_is_valid(const char *text, size_t size);
/* Appends `text` to `out` with every ill-formed subpart replaced by U+FFFD. Errors of entro_text_append. */
enum entro_error entro_utf8_repair(const char *text, size_t size, struct entro_text *out,
                                   struct entro_message *message);

/* Bytes of the character that starts with `lead`, in a well-formed text. */
static inline size_t entro_utf8_length(char lead)
{
    unsigned char byte = (unsigned char)lead;
    return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/* The code point at the start of a well-formed, non-empty text. */
uint32_t entro_utf8_code_point(const char *text);
/* Writes the character and returns its size in bytes, 1 to 4; `code_point` is a Unicode scalar value. */
size_t entro_utf8_encode(uint32_t code_point, char out[4]);
/* Start of the character that ends before `end`, in a well-formed text; `end` > 0. */
size_t entro_utf8_previous(const char *text, size_t end);

/* Unicode's White_Space property. */
bool entro_utf8_is_space(uint32_t code_point);
/* A word character (UTS 18, annex C: letters, marks, digits, connectors, joiners). */
bool entro_utf8_is_word(uint32_t code_point);

#endif
