/* A file that appears whole or not at all; see output_file.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/output_file.h"
#include "codec/rename_new.h"
#include "codec/writer.h"

static enum entro_error fail_errno(const struct entro_output *output, struct entro_message *message)
{
    int number = errno;
    return entro_fail(message, number == EEXIST ? ENTRO_ERROR_EXISTS : ENTRO_ERROR_IO, "%s: %s", output->path,
                      strerror(number));
}

/* Opens the folder of the path and finds the path's last part. */
static enum entro_error open_folder(struct entro_output *output, struct entro_message *message)
{
    char *slash = strrchr(output->path, '/');
    output->base = slash != NULL ? slash + 1 : output->path;
    if (output->base[0] == '\0' || strcmp(output->base, ".") == 0 || strcmp(output->base, "..") == 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: is no name of a file",
                          output->path[0] != '\0' ? output->path : "\"\"");
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    if (slash == NULL) {
        output->folder = open(".", flags);
    } else if (slash == output->path) {
        output->folder = open("/", flags);
    } else {
        *slash = '\0';
        output->folder = open(output->path, flags);
        int number = errno;
        *slash = '/';
        errno = number;
    }
    return output->folder >= 0 ? ENTRO_OK : fail_errno(output, message);
}

static enum entro_error check_target(const struct entro_output *output, struct entro_message *message)
{
    struct stat status;
    if (fstatat(output->folder, output->base, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? ENTRO_OK : fail_errno(output, message);
    if (!output->replace)
        return entro_fail(message, ENTRO_ERROR_EXISTS, "%s: exists already", output->path);
    if (!S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode))
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: is not a regular file and will not be replaced",
                          output->path);
    return ENTRO_OK;
}

static enum entro_error open_temporary(struct entro_output *output, struct entro_message *message)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        uint64_t random;
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
            return fail_errno(output, message);
        snprintf(output->temporary, sizeof output->temporary, ENTRO_TEMPORARY_PREFIX "%012" PRIx64,
                 random & 0xffffffffffffU);
        output->fd = openat(output->folder, output->temporary,
                            O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (output->fd >= 0) {
            output->has_temporary = true;
            return ENTRO_OK;
        }
        if (errno != EEXIST)
            break;
    }
    return fail_errno(output, message);
}

enum entro_error entro_output_create(struct entro_output *output, const char *path, bool replace,
                                     struct entro_message *message)
{
    *output = (struct entro_output){.folder = -1, .fd = -1, .replace = replace};
    output->path = strdup(path);
    if (output->path == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
    enum entro_error error = open_folder(output, message);
    if (error == ENTRO_OK)
        error = check_target(output, message);
    if (error == ENTRO_OK)
        error = open_temporary(output, message);
    return error;
}

enum entro_error entro_output_write_at(const struct entro_output *output, const void *bytes, size_t size,
                                       uint64_t offset, struct entro_message *message)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pwrite(output->fd, (const uint8_t *)bytes + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO;
        if (n <= 0)
            return fail_errno(output, message);
        done += (size_t)n;
    }
    return ENTRO_OK;
}

enum entro_error entro_output_append(struct entro_output *output, const void *bytes, size_t size,
                                     struct entro_message *message)
{
    enum entro_error error = entro_output_write_at(output, bytes, size, output->size_bytes, message);
    if (error == ENTRO_OK)
        output->size_bytes += size;
    return error;
}

enum entro_error entro_output_commit(struct entro_output *output, struct entro_message *message)
{
    if (fsync(output->fd) != 0)
        return fail_errno(output, message);
    int result = output->replace ? renameat(output->folder, output->temporary, output->folder, output->base)
                                 : entro_rename_new(output->folder, output->temporary, output->base);
    if (result != 0)
        return fail_errno(output, message);
    output->has_temporary = false;
    /* Some file systems cannot sync a folder, which is no reason to complain. */
    if (fsync(output->folder) == 0 || errno == EINVAL || errno == ENOTSUP)
        return ENTRO_OK;
    enum entro_error error = fail_errno(output, message);
    if (!output->replace)
        unlinkat(output->folder, output->base, 0);
    return error;
}

void entro_output_free(struct entro_output *output)
{
    if (output->has_temporary)
        unlinkat(output->folder, output->temporary, 0);
    if (output->fd >= 0)
        close(output->fd);
    if (output->folder >= 0)
        close(output->folder);
    free(output->path);
    *output = (struct entro_output){.folder = -1, .fd = -1};
}
