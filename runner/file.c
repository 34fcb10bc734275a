/* Reading a small file whole; see file.h. */
#include "runner/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum entro_error read_all(int fd, char *text, size_t size_bytes)
{
    size_t done = 0;
    while (done < size_bytes) {
        ssize_t n = read(fd, text + done, size_bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ENTRO_ERROR_IO;
        if (n == 0) {
            errno = EIO; /* the file shrank */
            return ENTRO_ERROR_IO;
        }
        done += (size_t)n;
    }
    return ENTRO_OK;
}

enum entro_error entro_read_text_file(int directory_fd, const char *where, const char *name, char **text,
                                      size_t *size_bytes, struct entro_message *message)
{
    enum entro_error error;
    const char *slash = where == NULL ? "" : "/";
    if (where == NULL)
        where = "";
    *text = NULL;
    /* O_NONBLOCK: a FIFO of that name must not hang. */
    int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return entro_fail(message,
                          errno == ENOENT || errno == ENOTDIR ? ENTRO_ERROR_NOT_FOUND : ENTRO_ERROR_IO,
                          "%s%s%s: %s", where, slash, name, strerror(errno));
    struct stat status;
    if (fstat(fd, &status) != 0) {
        error = entro_fail(message, ENTRO_ERROR_IO, "%s%s%s: %s", where, slash, name, strerror(errno));
        goto close_file;
    }
    if (!S_ISREG(status.st_mode)) {
        error = entro_fail(message, ENTRO_ERROR_IO, "%s%s%s: not a regular file", where, slash, name);
        goto close_file;
    }
    if (status.st_size < 0 || (uint64_t)status.st_size > ENTRO_TEXT_FILE_MAX_BYTES) {
        error = entro_fail(message, ENTRO_ERROR_FORMAT,
                           "%s%s%s: %lld bytes are too many for such a file (at most %zu)", where, slash,
                           name, (long long)status.st_size, ENTRO_TEXT_FILE_MAX_BYTES);
        goto close_file;
    }
    size_t size = (size_t)status.st_size;
    char *bytes = malloc(size + 1);
    if (bytes == NULL) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s%s%s: no memory for %zu bytes", where, slash,
                           name, size);
        goto close_file;
    }
    error = read_all(fd, bytes, size);
    if (error != ENTRO_OK) {
        entro_fail(message, error, "%s%s%s: %s", where, slash, name, strerror(errno));
        free(bytes);
        goto close_file;
    }
    bytes[size] = '\0';
    *text = bytes;
    *size_bytes = size;
close_file:
    close(fd);
    return error;
}
