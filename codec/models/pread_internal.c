/* See pread_internal.h. */
#include "codec/models/pread_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum entro_error entro_pread_all(int fd, uint8_t *buffer, size_t size_bytes, uint64_t offset,
                                 const char *path, struct entro_message *message)
{
    while (size_bytes > 0) {
        ssize_t n_read = pread(fd, buffer, size_bytes, (off_t)offset);
        if (n_read < 0 && errno == EINTR)
            continue;
        if (n_read < 0)
            return entro_fail(message, ENTRO_ERROR_IO, "%s: cannot read: %s", path, strerror(errno));
        if (n_read == 0)
            return entro_fail(message, ENTRO_ERROR_IO, "%s: the file became shorter while it was read", path);
        buffer += n_read;
        offset += (uint64_t)n_read;
        size_bytes -= (size_t)n_read;
    }
    return ENTRO_OK;
}
