/*
 * The mount point: what may stand in the way of a mount, and the read-ahead of a mount that serves. No FUSE
 * library needed.
 */
#ifndef ENTRO_FS_MOUNTPOINT_H
#define ENTRO_FS_MOUNTPOINT_H

#include <stdbool.h>
#include <sys/types.h>

#include "codec/error.h"

enum entro_mountpoint_state {
    ENTRO_MOUNTPOINT_FREE,
    ENTRO_MOUNTPOINT_UNUSABLE, /* missing, no directory, not accessible */
    ENTRO_MOUNTPOINT_BUSY,     /* something is mounted there */
    ENTRO_MOUNTPOINT_STALE,    /* a mount whose daemon is gone */
};

/* Looks at a directory before a mount; the message says what is wrong and, where there is one, the command
 * that mends it. */
enum entro_mountpoint_state entro_mountpoint_check(const char *path, struct entro_message *message);

/* True for /dev/fd/N: mount.fuse3 has the mount point open already; it must be neither looked at nor
 * resolved. */
bool entro_mountpoint_is_descriptor(const char *path);

/*
 * Sets the kernel's read-ahead of the file system with this device number. False where that is not allowed or
 * not possible; nothing is lost then but speed.
 */
bool entro_set_readahead(dev_t device, unsigned kib);

#endif
