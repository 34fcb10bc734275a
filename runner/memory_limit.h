/* How much memory this process may use. */
#ifndef ENTRO_RUNNER_MEMORY_LIMIT_H
#define ENTRO_RUNNER_MEMORY_LIMIT_H

#include <stdint.h>

/* Bytes: the machine's, or less where a control group (version 2) of this process allows less. UINT64_MAX
 * where neither is known. */
uint64_t entro_memory_limit_bytes(void);

/* The smallest memory.max of the group `path` ("/a/b") and of those above it, below the directory `root`;
 * UINT64_MAX where there is none. */
uint64_t entro_memory_limit_of_group(const char *root, const char *path);

#endif
