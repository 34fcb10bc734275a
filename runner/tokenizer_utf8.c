/* UTF-8 and character classes; see tokenizer_utf8.h. */
#include "runner/tokenizer_utf8.h"

#include <utf8proc.h>

static bool is_between(unsigned char byte, unsigned low, unsigned high)
{
    return byte >= low && byte <= high;
}

enum entro_utf8_kind entro_utf8_next(const char *text, size_t size, size_t *size_of_first)
{
    unsigned char lead = (unsigned char)text[0];
    size_t length = 0;
    /* Bounds of the second byte: they exclude overlong forms, surrogates and what lies beyond U+10FFFF
     * (Unicode, table 3-7). */
    unsigned low = 0x80;
    unsigned high = 0xBF;
    if (lead < 0x80)
        length = 1;
    else if (is_between(lead, 0xC2, 0xDF))
        length = 2;
    else if (is_between(lead, 0xE0, 0xEF))
        length = 3;
    else if (is_between(lead, 0xF0, 0xF4))
        length = 4;
    if (lead == 0xE0)
        low = 0xA0;
    else if (lead == 0xED)
        high = 0x9F;
    else if (lead == 0xF0)
        low = 0x90;
    else if (lead == 0xF4)
        high = 0x8F;

    *size_of_first = 1;
    if (length == 0)
        return ENTRO_UTF8_INVALID;
    for (size_t i = 1; i < length; i++) {
        *size_of_first = i;
        if (i == size)
            return ENTRO_UTF8_INCOMPLETE;
        if (!is_between((unsigned char)text[i], low, high))
            return ENTRO_UTF8_INVALID;
        low = 0x80;
        high = 0xBF;
    }
    *size_of_first = length;
    return ENTRO_UTF8_CHARACTER;
}

bool entro_utf8_is_valid(const char *text, size_t size)
{
    size_t length;
    for (size_t at = 0; at < size; at += length) {
        if (entro_utf8_next(text + at, size - at, &length) != ENTRO_UTF8_CHARACTER)
            return false;
    }
    return true;
}

enum entro_error entro_utf8_repair(const char *text, size_t size, struct entro_text *out,
                                   struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    size_t length;
    for (size_t at = 0; at < size && error == ENTRO_OK; at += length) {
        if (entro_utf8_next(text + at, size - at, &length) == ENTRO_UTF8_CHARACTER)
            error = entro_text_append(out, text + at, length, message);
        else
            error = entro_text_append(out, ENTRO_UTF8_REPLACEMENT, ENTRO_UTF8_REPLACEMENT_SIZE, message);
    }
    return error;
}

uint32_t entro_utf8_code_point(const char *text)
{
    utf8proc_int32_t code_point;
    utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)entro_utf8_length(text[0]),
                     &code_point);
    return (uint32_t)code_point;
}

size_t entro_utf8_encode(uint32_t code_point, char out[4])
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)code_point, (utf8proc_uint8_t *)out);
}

size_t entro_utf8_previous(const char *text, size_t end)
{
    size_t start = end - 1;
    while (start > 0 && is_between((unsigned char)text[start], 0x80, 0xBF))
        start--;
    return start;
}

bool entro_utf8_is_space(uint32_t code_point)
{
    if ((code_point >= 0x09 && code_point <= 0x0D) || code_point == 0x85)
        return true;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code_point);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

bool entro_utf8_is_word(uint32_t code_point)
{
    /* Symbols that Unicode calls alphabetic all the same, and the two joiners. */
    if ((code_point >= 0x24B6 && code_point <= 0x24E9) || (code_point >= 0x1F130 && code_point <= 0x1F149) ||
        (code_point >= 0x1F150 && code_point <= 0x1F169) ||
        (code_point >= 0x1F170 && code_point <= 0x1F189) || code_point == 0x200C || code_point == 0x200D)
        return true;
    switch (utf8proc_category((utf8proc_int32_t)code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return false;
    }
}
