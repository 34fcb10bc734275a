/*
 * A file that appears whole or not at all: written under a temporary name in the folder of its path, renamed
 * when it is complete. Not thread-safe.
 */
#ifndef ENTRO_OUTPUT_FILE_H
#define ENTRO_OUTPUT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"

struct entro_output {
    char *path;         /* as given, for messages */
    const char *base;   /* its last part, within path */
    int folder;         /* descriptor, or -1 */
    int fd;             /* or -1 */
    bool replace;       /* whether a file at path may be replaced */
    bool has_temporary; /* the temporary file exists */
    char temporary[32];
    uint64_t size_bytes; /* where entro_output_append goes on */
};

/* After it, whatever it returned, entro_output_free. ENTRO_ERROR_EXISTS, _ARGUMENT (no name of a file, or of
 * something that is none), _IO, _NO_MEMORY. */
enum entro_error entro_output_create(struct entro_output *output, const char *path, bool replace,
                                     struct entro_message *message);
enum entro_error entro_output_append(struct entro_output *output, const void *bytes, size_t size,
                                     struct entro_message *message);
enum entro_error entro_output_write_at(const struct entro_output *output, const void *bytes, size_t size,
                                       uint64_t offset, struct entro_message *message);
/* fsync, rename, fsync of the folder. */
enum entro_error entro_output_commit(struct entro_output *output, struct entro_message *message);
/* Removes the temporary file where it is still there. */
void entro_output_free(struct entro_output *output);

#endif
