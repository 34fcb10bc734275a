/* Limits of memory; see memory_limit.h. */
#include "runner/memory_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t read_limit(const char *directory)
{
    char path[4352], text[32];
    snprintf(path, sizeof path, "%s/memory.max", directory);
    FILE *file = fopen(path, "re");
    uint64_t limit = UINT64_MAX;
    /* "max" is no number: no limit. */
    if (file != NULL && fgets(text, sizeof text, file) != NULL && text[0] >= '0' && text[0] <= '9')
        limit = strtoull(text, NULL, 10);
    if (file != NULL)
        fclose(file);
    return limit;
}

uint64_t entro_memory_limit_of_group(const char *root, const char *path)
{
    char directory[4096];
    uint64_t smallest = UINT64_MAX;
    int n = snprintf(directory, sizeof directory, "%s%s", root, path);
    if (n < 0 || (size_t)n >= sizeof directory)
        return smallest;
    for (;;) {
        uint64_t limit = read_limit(directory);
        smallest = limit < smallest ? limit : smallest;
        char *slash = strrchr(directory, '/');
        if (slash == NULL || (size_t)(slash - directory) < strlen(root))
            return smallest;
        *slash = '\0';
    }
}

static uint64_t group_limit(void)
{
    char line[2048];
    uint64_t limit = UINT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        limit = entro_memory_limit_of_group("/sys/fs/cgroup", line + 3);
        break;
    }
    if (file != NULL)
        fclose(file);
    return limit;
}

uint64_t entro_memory_limit_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t machine = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : UINT64_MAX;
    uint64_t group = group_limit();
    return group < machine ? group : machine;
}
