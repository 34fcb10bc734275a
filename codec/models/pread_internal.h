/* One whole read at an offset, for the parsers of model files. */
#ifndef ENTRO_MODELS_PREAD_INTERNAL_H
#define ENTRO_MODELS_PREAD_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"

/*
 * Reads exactly size_bytes bytes at `offset` of `fd`, whatever pieces the kernel hands out; the file's
 * position stays. ENTRO_ERROR_IO on a failed read and where the file ends before (it shrank since its size
 * was taken). `path` is for the message.
 */
enum entro_error entro_pread_all(int fd, uint8_t *buffer, size_t size_bytes, uint64_t offset,
                                 const char *path, struct entro_message *message);

#endif
