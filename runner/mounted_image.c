/* The list of mounts (proc(5), /proc/[pid]/mountinfo) tells; see mounted_image.h. */
#include "runner/mounted_image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Copies a word in which "\040" stands for a space, and so on; 0 where it does not fit. */
static int unescape(const char *word, size_t n, char *out, size_t size_bytes)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        char byte = word[i];
        if (byte == '\\' && n - i > 3 && strspn(word + i + 1, "01234567") >= 3) {
            byte = (char)((word[i + 1] - '0') * 64 + (word[i + 2] - '0') * 8 + (word[i + 3] - '0'));
            i += 3;
        }
        if (n_out + 1 >= size_bytes)
            return 0;
        out[n_out++] = byte;
    }
    out[n_out] = '\0';
    return 1;
}

int entro_mounted_image_of_line(const char *line, unsigned major, unsigned minor, char *name,
                                size_t size_bytes)
{
    static const char type[] = " - fuse.entrofs ";
    unsigned found_major, found_minor;
    if (sscanf(line, "%*u %*u %u:%u ", &found_major, &found_minor) != 2 || found_major != major ||
        found_minor != minor)
        return 0;
    /* A space within a word would be escaped: the mark cannot be part of a path. */
    const char *word = strstr(line, type);
    if (word == NULL)
        return 0;
    word += sizeof type - 1;
    return unescape(word, strcspn(word, " \n"), name, size_bytes);
}

enum entro_error entro_mounted_image(const char *directory, char *path, size_t size_bytes,
                                     struct entro_message *message)
{
    struct stat status;
    if (stat(directory, &status) != 0)
        return entro_fail(message, ENTRO_ERROR_NOT_FOUND, "%s: %s", directory, strerror(errno));
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (mounts == NULL)
        return entro_fail(message, ENTRO_ERROR_NOT_FOUND, "/proc/self/mountinfo: %s", strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    int found = 0;
    while (!found && getline(&line, &capacity, mounts) >= 0)
        found =
            entro_mounted_image_of_line(line, major(status.st_dev), minor(status.st_dev), path, size_bytes);
    free(line);
    fclose(mounts);
    if (!found)
        return entro_fail(message, ENTRO_ERROR_NOT_FOUND, "%s is no mount of entrofs", directory);
    if (path[0] != '/')
        return entro_fail(
            message, ENTRO_ERROR_NOT_FOUND,
            "%s was mounted under the name \"%s\", which is no path from the root: --image FILE names it",
            directory, path);
    return ENTRO_OK;
}
