/*
 * The text of /tensors.json: every tensor's facts for scripts. Keys are added, never renamed.
 */
#ifndef ENTRO_FS_TENSORS_JSON_H
#define ENTRO_FS_TENSORS_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/image.h"

/* *text is malloc'ed, the caller's, not NUL-terminated. ENTRO_ERROR_NO_MEMORY, _FORMAT (a name that is not
 * UTF-8, a dimension beyond 63 bits). */
enum entro_error entro_tensors_json(const struct entro_image *image, uint8_t **text, size_t *size_bytes,
                                    struct entro_message *message);

#endif
