/*
 * The command line of entrofs and its mount options, as mount(8) and fstab pass them too. Parses only: opens
 * and prints nothing.
 */
#ifndef ENTRO_FS_MOUNT_OPTIONS_H
#define ENTRO_FS_MOUNT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/error.h"

#define ENTRO_READAHEAD_KIB_DEFAULT 1024

/* All strings are owned. */
struct entro_mount_options {
    char *image;
    char *mountpoint;
    bool show_help, show_version, foreground;
    size_t cache_bytes;
    unsigned readahead_kib; /* 0: as the kernel has it */
    size_t prefetch_bytes;  /* decoded ahead where read-ahead is as the kernel has it; see reader.h */
    bool lock_image;        /* the compressed image is kept in memory */
    unsigned max_threads;   /* of the request loop; 0: the default */
    char *fsname;           /* or NULL: the image's path */
    char *kernel;           /* options that go to libfuse as they are ("allow_other,dev,..."), or "" */
};

/* The text that -h prints after the usage line: options and their meaning. */
extern const char entro_mount_help[];

/*
 * ENTRO_ERROR_ARGUMENT (an option that is not known, named; a bad value; too few or too many arguments),
 * _NO_MEMORY. The caller frees the options in any case. argv is not changed.
 */
enum entro_error entro_mount_options_parse(struct entro_mount_options *options, int argc, char *const argv[],
                                           struct entro_message *message);
void entro_mount_options_free(struct entro_mount_options *options);

#endif
