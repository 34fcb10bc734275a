/* Lookups of a namespace; see namespace.h. How it is built is in namespace_build.c. */
#include "fs/namespace.h"

#include <stdlib.h>
#include <string.h>

#include "fs/namespace_internal.h"

void entro_namespace_free(struct entro_namespace *names)
{
    if (names == NULL)
        return;
    entro_arena_free(&names->arena);
    free(names->nodes);
    free(names->places);
    free(names->spans);
    free(names->children);
    free(names->stream_tensors);
    free(names->tensors_json);
    free(names);
}

const struct entro_image *entro_namespace_image(const struct entro_namespace *names)
{
    return names->image;
}

const struct entro_node *entro_namespace_node(const struct entro_namespace *names, uint64_t inode)
{
    if (inode == 0 || inode > names->last_inode || names->places[inode] == 0)
        return NULL;
    return &names->nodes[names->places[inode] - 1];
}

const struct entro_node *entro_namespace_lookup(const struct entro_namespace *names,
                                                const struct entro_node *folder, const char *name)
{
    size_t low = 0, high = folder->n_children;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct entro_node *child = entro_namespace_node(names, folder->children[middle]);
        int order = strcmp(child->name, name);
        if (order == 0)
            return child;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct entro_node *entro_namespace_find(const struct entro_namespace *names, const char *path)
{
    const struct entro_node *node = entro_namespace_node(names, ENTRO_INODE_ROOT);
    char part[256];
    while (node != NULL && *path != '\0') {
        size_t length = strcspn(path, "/");
        if (length >= sizeof part)
            return NULL;
        memcpy(part, path, length);
        part[length] = '\0';
        node = entro_namespace_lookup(names, node, part);
        path += length + (path[length] == '/');
    }
    return node;
}

uint64_t entro_namespace_last_inode(const struct entro_namespace *names)
{
    return names->last_inode;
}

uint64_t entro_namespace_n_nodes(const struct entro_namespace *names)
{
    return names->n_nodes;
}

void entro_namespace_path(const struct entro_namespace *names, const struct entro_node *node, char *path,
                          size_t size)
{
    /* Written from the end; what does not fit is cut off in front. */
    size_t begin = size - 1;
    path[begin] = '\0';
    for (; node->inode != ENTRO_INODE_ROOT; node = entro_namespace_node(names, node->parent)) {
        if (path[begin] != '\0' && begin > 0)
            path[--begin] = '/';
        size_t length = strlen(node->name);
        size_t n_fitting = length < begin ? length : begin;
        begin -= n_fitting;
        memcpy(path + begin, node->name + (length - n_fitting), n_fitting);
    }
    memmove(path, path + begin, size - begin);
}

const struct entro_span *entro_node_span(const struct entro_node *node, uint64_t offset)
{
    size_t low = 0, high = node->n_spans; /* the last span that starts at or before offset */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (node->spans[middle].start <= offset)
            low = middle;
        else
            high = middle;
    }
    return &node->spans[low];
}

uint32_t entro_namespace_stream_tensor(const struct entro_namespace *names, uint32_t stream)
{
    return names->stream_tensors[stream];
}
