/*
 * Reading of source files by pread: a mapped file that shrinks would end the program by SIGBUS.
 */
#include "mkentrofs/input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct entro_identity entro_identity_of(const struct stat *status)
{
    return (struct entro_identity){
        .device = (uint64_t)status->st_dev,
        .inode = (uint64_t)status->st_ino,
        .size_bytes = (uint64_t)status->st_size,
        .mtime_seconds = (int64_t)status->st_mtim.tv_sec,
        .mtime_nanoseconds = status->st_mtim.tv_nsec,
    };
}

static bool is_same(const struct entro_identity *a, const struct entro_identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size_bytes == b->size_bytes &&
           a->mtime_seconds == b->mtime_seconds && a->mtime_nanoseconds == b->mtime_nanoseconds;
}

enum entro_error entro_input_open(struct entro_input *out, const char *path,
                                  const struct entro_identity *expected, const struct entro_monitor *monitor,
                                  struct entro_message *message)
{
    /* O_NONBLOCK: a pipe put in the file's place must not hold us up; regular files do not care. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT && expected)
        return entro_fail(message, ENTRO_ERROR_IO, "%s: the file vanished during the build", path);
    if (fd < 0)
        return entro_fail(message, errno == ENOENT ? ENTRO_ERROR_NOT_FOUND : ENTRO_ERROR_IO,
                          "%s: cannot open: %s", path, strerror(errno));
    enum entro_error error;
    struct stat status;
    if (fstat(fd, &status) != 0) {
        error = entro_fail(message, ENTRO_ERROR_IO, "%s: %s", path, strerror(errno));
        goto fail;
    }
    if (!S_ISREG(status.st_mode)) {
        error = entro_fail(message, ENTRO_ERROR_IO, "%s: not a regular file", path);
        goto fail;
    }
    *out = (struct entro_input){
        .fd = fd, .path = path, .identity = entro_identity_of(&status), .monitor = monitor};
    if (expected && !is_same(&out->identity, expected)) {
        error = entro_fail(message, ENTRO_ERROR_IO, "%s: the file changed during the build", path);
        goto fail;
    }
    return ENTRO_OK;

fail:
    close(fd);
    return error;
}

void entro_input_close(struct entro_input *input)
{
    close(input->fd);
    input->fd = -1;
}

enum entro_error entro_input_read(const struct entro_input *input, uint64_t offset, size_t size_bytes,
                                  uint8_t *target, struct entro_message *message)
{
    if (entro_monitor_cancelled(input->monitor))
        return entro_fail(message, ENTRO_ERROR_CANCELLED, "interrupted");
    size_t done = 0;
    while (done < size_bytes) {
        ssize_t n = pread(input->fd, target + done, size_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return entro_fail(message, ENTRO_ERROR_IO, "%s: cannot read at byte %llu: %s", input->path,
                              (unsigned long long)(offset + done), strerror(errno));
        if (n == 0)
            return entro_fail(message, ENTRO_ERROR_IO,
                              "%s: the file became shorter during the build: ends at byte %llu of %llu",
                              input->path, (unsigned long long)(offset + done),
                              (unsigned long long)input->identity.size_bytes);
        done += (size_t)n;
    }
    entro_progress_add(input->monitor->progress, size_bytes);
    return ENTRO_OK;
}

enum entro_error entro_input_check(const struct entro_input *input, struct entro_message *message)
{
    struct stat status;
    if (stat(input->path, &status) != 0)
        return entro_fail(message, ENTRO_ERROR_IO, "%s: the file vanished during the build: %s", input->path,
                          strerror(errno));
    struct entro_identity now = entro_identity_of(&status);
    if (!is_same(&now, &input->identity))
        return entro_fail(message, ENTRO_ERROR_IO, "%s: the file changed during the build", input->path);
    return ENTRO_OK;
}
