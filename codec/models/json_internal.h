/* JSON from files nobody vouches for: jansson behind a bound on memory and nesting. */
#ifndef ENTRO_MODELS_JSON_INTERNAL_H
#define ENTRO_MODELS_JSON_INTERNAL_H

#include <jansson.h>
#include <stddef.h>

#include "codec/error.h"

/*
 * Parses `text` (size_bytes bytes, no NUL at the end needed) as one JSON object, strictly: UTF-8, no
 * duplicate keys, no NUL in strings, nothing but white space after it. Refuses what is nested deeper than
 * max_depth or would take more memory than some 160 MiB, the text included. On success the caller drops *root
 * with json_decref. ENTRO_ERROR_FORMAT, _UNSUPPORTED (too large), _NO_MEMORY. `path` is for messages.
 */
enum entro_error entro_json_parse(json_t **root, const char *text, size_t size_bytes, unsigned max_depth,
                                  const char *path, struct entro_message *message);

#endif
