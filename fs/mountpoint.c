/* Checks of the mount point and the bdi's read-ahead; see mountpoint.h. */
#include "fs/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool entro_mountpoint_is_descriptor(const char *path)
{
    return strncmp(path, "/dev/fd/", 8) == 0;
}

static enum entro_mountpoint_state say(enum entro_mountpoint_state state, struct entro_message *message,
                                       const char *path, const char *what)
{
    entro_fail(message, ENTRO_ERROR_ARGUMENT, "mount point %s: %s", path, what);
    return state;
}

/* What a failed call on the mount point means. */
static enum entro_mountpoint_state say_why(int error_number, struct entro_message *message, const char *path)
{
    if (error_number != ENOTCONN)
        return say(ENTRO_MOUNTPOINT_UNUSABLE, message, path, strerror(error_number));
    entro_fail(
        message, ENTRO_ERROR_ARGUMENT,
        "mount point %s: a mount whose daemon is gone is in the way (%s); clear it with: fusermount3 -uz %s",
        path, strerror(ENOTCONN), path);
    return ENTRO_MOUNTPOINT_STALE;
}

/* Whether the open folder is the root of a mount. */
static bool is_mount_root(int folder, const struct stat *self)
{
    struct stat above;
    if (fstatat(folder, "..", &above, 0) != 0)
        return false;
    if (above.st_ino == self->st_ino && above.st_dev == self->st_dev) /* "/" is above itself */
        return true;
    struct statx facts;
    if (statx(folder, "", AT_EMPTY_PATH, 0, &facts) == 0 &&
        (facts.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0)
        return (facts.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    /* Kernels before 5.8 do not say. The folder above lies on another device, but for bind mounts. */
    return above.st_dev != self->st_dev;
}

enum entro_mountpoint_state entro_mountpoint_check(const char *path, struct entro_message *message)
{
    struct stat self;
    if (entro_mountpoint_is_descriptor(path))
        return ENTRO_MOUNTPOINT_FREE;
    if (stat(path, &self) != 0)
        return say_why(errno, message, path);
    if (!S_ISDIR(self.st_mode))
        return say(ENTRO_MOUNTPOINT_UNUSABLE, message, path, "not a directory");
    int folder =
        open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a dead mount may still answer stat from a cache */
    if (folder < 0)
        return say_why(errno, message, path);
    bool is_busy = is_mount_root(folder, &self);
    close(folder);
    if (is_busy)
        return say(ENTRO_MOUNTPOINT_BUSY, message, path, "busy: something is mounted there already");
    return ENTRO_MOUNTPOINT_FREE;
}

bool entro_set_readahead(dev_t device, unsigned kib)
{
    char path[96], text[16];
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major(device), minor(device));
    int length = snprintf(text, sizeof text, "%u\n", kib);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    bool is_set = write(file, text, (size_t)length) == length;
    close(file);
    return is_set;
}
