/* Small files of a model directory, read whole. */
#ifndef ENTRO_RUNNER_FILE_H
#define ENTRO_RUNNER_FILE_H

#include <stddef.h>

#include "codec/error.h"

/* Largest JSON file (tokenizer.json of a large vocabulary is 35 MB). */
#define ENTRO_TEXT_FILE_MAX_BYTES ((size_t)256 << 20)

/*
 * Reads `name` in the directory open as `directory_fd` (AT_FDCWD: the current one) into *text, malloc'ed, the
 * caller's, with a NUL behind the *size_bytes bytes. `where` is the directory's name for messages, NULL for
 * none. ENTRO_ERROR_NOT_FOUND (no such file), _IO (with anything that is no regular file), _FORMAT (larger
 * than ENTRO_TEXT_FILE_MAX_BYTES), _NO_MEMORY.
 */
enum entro_error entro_read_text_file(int directory_fd, const char *where, const char *name, char **text,
                                      size_t *size_bytes, struct entro_message *message);

#endif
