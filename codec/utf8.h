/*
 * Whether bytes are UTF-8: what names must be, because JSON demands it.
 */
#ifndef ENTRO_UTF8_H
#define ENTRO_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Strict: no surrogates, no overlong forms. False also where memory is short. Thread-safe. */
bool entro_is_utf8(const char *text, size_t size_bytes);

#endif
