/*
 * Source files: opened once to look and once to build, and refused where they are no longer the same file in
 * between.
 */
#ifndef ENTRO_INPUT_H
#define ENTRO_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "codec/error.h"
#include "mkentrofs/monitor.h"

/* What tells a file from another one or from a later state of itself. */
struct entro_identity {
    uint64_t device, inode, size_bytes;
    int64_t mtime_seconds;
    long mtime_nanoseconds;
};

struct entro_identity entro_identity_of(const struct stat *status);

struct entro_input {
    int fd;
    const char *path; /* the caller's */
    struct entro_identity identity;
    const struct entro_monitor *monitor;
};

/*
 * Opens a regular file for reading. Where `expected` is not NULL the file must be that one, unchanged.
 * ENTRO_ERROR_IO, _NOT_FOUND. The caller closes.
 */
enum entro_error entro_input_open(struct entro_input *out, const char *path,
                                  const struct entro_identity *expected, const struct entro_monitor *monitor,
                                  struct entro_message *message);
void entro_input_close(struct entro_input *input);

/*
 * Reads exactly size_bytes at `offset` and counts them as progress. ENTRO_ERROR_IO (also where the file has
 * become shorter), _CANCELLED. Thread-safe.
 */
enum entro_error entro_input_read(const struct entro_input *input, uint64_t offset, size_t size_bytes,
                                  uint8_t *target, struct entro_message *message);

/* Whether the path still leads to the file that was opened, unchanged: else ENTRO_ERROR_IO. */
enum entro_error entro_input_check(const struct entro_input *input, struct entro_message *message);

#endif
