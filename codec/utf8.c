/* See utf8.h. jansson makes strings of valid UTF-8 only: what it takes can be written as JSON later. */
#include "codec/utf8.h"

#include <jansson.h>

bool entro_is_utf8(const char *text, size_t size_bytes)
{
    json_t *string = json_stringn(text, size_bytes);
    json_decref(string);
    return string != NULL;
}
