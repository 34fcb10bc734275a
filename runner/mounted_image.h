/* Which image a directory is a mount of. */
#ifndef ENTRO_RUNNER_MOUNTED_IMAGE_H
#define ENTRO_RUNNER_MOUNTED_IMAGE_H

#include <stddef.h>

#include "codec/error.h"

/*
 * The path of the image that `directory` lies in a mount of, as the list of mounts has it.
 * ENTRO_ERROR_NOT_FOUND where it is no mount of entrofs, or was mounted under a name that is no absolute
 * path.
 */
enum entro_error entro_mounted_image(const char *directory, char *path, size_t size_bytes,
                                     struct entro_message *message);

/* The same from a line of /proc/self/mountinfo: whether it is a mount of entrofs on device major:minor, and
 * its name, unescaped. */
int entro_mounted_image_of_line(const char *line, unsigned major, unsigned minor, char *name,
                                size_t size_bytes);

#endif
