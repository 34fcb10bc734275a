/*
 * The namespace's own memory, shared by its builder (namespace_build.c) and its lookups (namespace.c).
 */
#ifndef ENTRO_FS_NAMESPACE_INTERNAL_H
#define ENTRO_FS_NAMESPACE_INTERNAL_H

#include "fs/arena.h"
#include "fs/namespace.h"

struct entro_namespace {
    const struct entro_image *image;
    struct entro_node *nodes; /* dense, in the order in which they were made */
    size_t n_nodes;
    uint32_t *places; /* by inode: place in `nodes` plus 1, or 0 */
    uint64_t last_inode;
    struct entro_span *spans;
    size_t n_spans;
    uint64_t *children;
    uint32_t *stream_tensors; /* by stream */
    uint8_t *tensors_json;
    struct entro_arena arena; /* names and headers */
};

#endif
