/* Builds a namespace from an image; see namespace.h. All sizes are known in advance, so that nodes and spans
 * never move. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/models/npy.h"
#include "fs/facts.h"
#include "fs/namespace_internal.h"
#include "fs/tensors_json.h"

#define NODE_NAME_MAX    255
#define NODES_PER_TENSOR 5

static enum entro_error no_memory(struct entro_message *message)
{
    return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for the names of the image's files");
}

static struct entro_node *add_node(struct entro_namespace *names, uint64_t inode, uint64_t parent,
                                   const char *name)
{
    struct entro_node *node = &names->nodes[names->n_nodes];
    *node = (struct entro_node){.name = name,
                                .inode = inode,
                                .parent = parent,
                                .tensor = ENTRO_NONE,
                                .spans = names->spans + names->n_spans};
    names->places[inode] = (uint32_t)++names->n_nodes;
    return node;
}

/* What a part of a stream costs: its share of the stream's stored bytes. */
static uint64_t share_of_stream(const struct entro_stream *stream, uint64_t size_bytes)
{
    if (size_bytes >= stream->size_bytes)
        return stream->stored_bytes;
    return (uint64_t)((double)stream->stored_bytes * ((double)size_bytes / (double)stream->size_bytes));
}

/* Adds a span to the node made last. Empty ones are left out. */
static void add_span(struct entro_namespace *names, struct entro_node *node, struct entro_span span)
{
    if (span.size_bytes == 0)
        return;
    span.start = node->size_bytes;
    names->spans[names->n_spans++] = span;
    node->n_spans++;
    node->size_bytes += span.size_bytes;
    if (span.kind == ENTRO_SPAN_STREAM)
        node->stored_bytes +=
            share_of_stream(entro_image_stream(names->image, span.reference), span.size_bytes);
    else if (span.kind == ENTRO_SPAN_VIEW)
        node->stored_bytes +=
            entro_tensor_stored_bytes(names->image, entro_image_tensor(names->image, span.reference));
    else
        node->stored_bytes += span.size_bytes;
}

static struct entro_span whole_stream(const struct entro_namespace *names, uint32_t stream)
{
    return (struct entro_span){.kind = ENTRO_SPAN_STREAM,
                               .reference = stream,
                               .size_bytes = entro_image_stream(names->image, stream)->size_bytes};
}

static char *join_names(struct entro_namespace *names, const char *name, const char *suffix)
{
    size_t size = strlen(name) + strlen(suffix) + 1;
    char *joined = entro_arena_alloc(&names->arena, size);
    if (joined != NULL)
        snprintf(joined, size, "%s%s", name, suffix);
    return joined;
}

/* The descr and shape under which NumPy sees a tensor's raw file. */
static const char *npy_shape(const struct entro_image *image, const struct entro_tensor *tensor,
                             uint64_t shape[ENTRO_MAX_RANK], unsigned *rank)
{
    uint64_t size_bytes = entro_image_stream(image, tensor->stream)->size_bytes;
    memcpy(shape, tensor->shape, sizeof tensor->shape);
    *rank = tensor->rank;
    /* Elements that share bytes: rows of bytes where rows begin on a byte, else one row. */
    unsigned elements = 1, bytes = 1;
    const char *descr = "|u1";
    if (tensor->scheme != ENTRO_SCHEME_LOSSLESS) {
        elements = tensor->bits == 4 ? 2 : 1;
    } else {
        const struct entro_dtype_info *info = entro_dtype_info(tensor->dtype);
        if (info->block_elements == 1)
            return entro_npy_descr(tensor->dtype);
        elements = info->block_elements;
        bytes = info->block_bytes;
    }
    if (elements == 1)
        return descr;
    if (tensor->rank > 0 && shape[tensor->rank - 1] % elements == 0) {
        shape[tensor->rank - 1] = shape[tensor->rank - 1] / elements * bytes;
    } else {
        *rank = 1;
        shape[0] = size_bytes;
    }
    return descr;
}

static enum entro_error add_npy(struct entro_namespace *names, uint64_t inode, uint32_t number,
                                const struct entro_tensor *tensor, struct entro_message *message)
{
    uint64_t shape[ENTRO_MAX_RANK];
    unsigned rank;
    const char *descr = npy_shape(names->image, tensor, shape, &rank);
    uint8_t buffer[ENTRO_NPY_HEADER_MAX_BYTES];
    size_t header_bytes = entro_npy_header(buffer, descr, shape, rank);
    if (header_bytes == 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tensor %s: its shape does not fit a NumPy header",
                          tensor->name);
    char *name = join_names(names, tensor->name, ".npy");
    uint8_t *header = entro_arena_alloc(&names->arena, header_bytes);
    if (name == NULL || header == NULL)
        return no_memory(message);
    memcpy(header, buffer, header_bytes);
    struct entro_node *node = add_node(names, inode, ENTRO_INODE_NPY, name);
    node->tensor = number;
    add_span(names, node,
             (struct entro_span){.kind = ENTRO_SPAN_BYTES, .bytes = header, .size_bytes = header_bytes});
    add_span(names, node, whole_stream(names, tensor->stream));
    return ENTRO_OK;
}

static bool is_file_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= NODE_NAME_MAX && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static enum entro_error add_tensor(struct entro_namespace *names, uint64_t inode, uint32_t number,
                                   struct entro_message *message)
{
    static const char *const suffixes[ENTRO_N_PARTS] = {"", ".row_scale", ".column_scale", ".outliers"};
    const struct entro_tensor *tensor = entro_image_tensor(names->image, number);
    uint32_t streams[ENTRO_N_PARTS];
    entro_tensor_streams(tensor, streams);
    if (!is_file_name(tensor->name))
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "tensor number %u has a name that cannot be a file's: \"%s\"", number,
                          tensor->name);
    for (unsigned part = 0; part < ENTRO_N_PARTS; part++) {
        if (streams[part] == ENTRO_NONE)
            continue;
        const char *name = part == 0 ? tensor->name : join_names(names, tensor->name, suffixes[part]);
        if (name == NULL)
            return no_memory(message);
        if (!is_file_name(name))
            return entro_fail(message, ENTRO_ERROR_FORMAT, "tensor %s: the name %s is too long", tensor->name,
                              name);
        struct entro_node *node = add_node(names, inode + part, ENTRO_INODE_TENSORS, name);
        if (part == 0)
            node->tensor = number;
        add_span(names, node, whole_stream(names, streams[part]));
        if (names->stream_tensors[streams[part]] == ENTRO_NONE)
            names->stream_tensors[streams[part]] = number;
    }
    return add_npy(names, inode + ENTRO_N_PARTS, number, tensor, message);
}

/* The folders that lead to the current file: sorted paths make each folder's files neighbours, so that a
 * stack is enough. */
struct folder_stack {
    const char *path; /* of the previous file */
    size_t n_open;
    size_t ends[ENTRO_PATH_MAX_BYTES / 2 + 1];     /* of the open folders in `path` */
    uint64_t inodes[ENTRO_PATH_MAX_BYTES / 2 + 1]; /* of the open folders */
    uint64_t next_inode;
};

static enum entro_error open_folders(struct entro_namespace *names, struct folder_stack *stack,
                                     const char *path, uint64_t *parent, const char **name,
                                     struct entro_message *message)
{
    size_t n_common = 0;
    while (n_common < stack->n_open && strncmp(stack->path, path, stack->ends[n_common] + 1) == 0)
        n_common++;
    stack->n_open = n_common;
    stack->path = path;
    size_t begin = n_common == 0 ? 0 : stack->ends[n_common - 1] + 1;
    for (const char *slash; (slash = strchr(path + begin, '/')) != NULL; begin = (size_t)(slash - path) + 1) {
        size_t length = (size_t)(slash - (path + begin));
        char *part = entro_arena_alloc(&names->arena, length + 1);
        if (part == NULL)
            return no_memory(message);
        memcpy(part, path + begin, length);
        part[length] = '\0';
        if (!is_file_name(part) || stack->n_open == ENTRO_PATH_MAX_BYTES / 2)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "the image has a file of an impossible path: %s",
                              path);
        uint64_t above = stack->n_open == 0 ? ENTRO_INODE_ROOT : stack->inodes[stack->n_open - 1];
        add_node(names, stack->next_inode, above, part)->is_folder = true;
        stack->ends[stack->n_open] = (size_t)(slash - path);
        stack->inodes[stack->n_open++] = stack->next_inode++;
    }
    *parent = stack->n_open == 0 ? ENTRO_INODE_ROOT : stack->inodes[stack->n_open - 1];
    *name = path + begin;
    if (!is_file_name(*name))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "the image has a file of an impossible path: %s",
                          path);
    return ENTRO_OK;
}

static enum entro_error add_files(struct entro_namespace *names, uint64_t first_folder,
                                  struct entro_message *message)
{
    uint32_t n_files = entro_image_info(names->image)->n_files;
    struct folder_stack *stack = calloc(1, sizeof *stack);
    if (stack == NULL)
        return no_memory(message);
    stack->next_inode = first_folder;
    enum entro_error error = ENTRO_OK;
    for (uint32_t i = 0; i < n_files; i++) {
        const struct entro_file *file = entro_image_file(names->image, i);
        uint64_t parent;
        const char *name;
        error = open_folders(names, stack, file->path, &parent, &name, message);
        if (error != ENTRO_OK)
            break;
        struct entro_node *node = add_node(names, ENTRO_INODE_FIRST_FILE + i, parent, name);
        for (uint32_t j = 0; j < file->n_extents; j++) {
            const struct entro_extent *extent = &file->extents[j];
            add_span(names, node,
                     (struct entro_span){.kind = extent->kind == ENTRO_EXTENT_VIEW ? ENTRO_SPAN_VIEW
                                                                                   : ENTRO_SPAN_STREAM,
                                         .dtype = extent->dtype,
                                         .reference = extent->reference,
                                         .size_bytes = extent->size_bytes,
                                         .offset = extent->offset});
        }
    }
    free(stack);
    return error;
}

static int compare_children(const void *a, const void *b, void *context)
{
    const struct entro_namespace *names = context;
    const struct entro_node *left = entro_namespace_node(names, *(const uint64_t *)a);
    const struct entro_node *right = entro_namespace_node(names, *(const uint64_t *)b);
    if (left->parent != right->parent)
        return left->parent < right->parent ? -1 : 1;
    return strcmp(left->name, right->name);
}

/* Gives each folder its children, sorted; finds names that occur twice. */
static enum entro_error collect_children(struct entro_namespace *names, struct entro_message *message)
{
    size_t n_children = 0;
    for (size_t i = 0; i < names->n_nodes; i++)
        if (names->nodes[i].inode != ENTRO_INODE_ROOT)
            names->children[n_children++] = names->nodes[i].inode;
    qsort_r(names->children, n_children, sizeof *names->children, compare_children, names);
    const struct entro_node *previous = NULL;
    for (size_t i = 0; i < n_children; i++) {
        const struct entro_node *child = entro_namespace_node(names, names->children[i]);
        if (previous != NULL && previous->parent == child->parent &&
            strcmp(previous->name, child->name) == 0) {
            char path[ENTRO_PATH_MAX_BYTES + 1];
            entro_namespace_path(names, child, path, sizeof path);
            return entro_fail(message, ENTRO_ERROR_FORMAT, "the mount would have two entries named %.900s",
                              path);
        }
        previous = child;
        struct entro_node *parent = &names->nodes[names->places[child->parent] - 1];
        if (parent->n_children++ == 0)
            parent->children = names->children + i;
        parent->n_folders += child->is_folder;
    }
    return ENTRO_OK;
}

/* Upper limits of what the arrays have to hold, from the image's (validated) counts. */
static enum entro_error reserve(struct entro_namespace *names, struct entro_message *message)
{
    const struct entro_image_info *info = entro_image_info(names->image);
    uint64_t n_folders = 0, n_spans = 1, n_nodes;
    for (uint32_t i = 0; i < info->n_files; i++) {
        const struct entro_file *file = entro_image_file(names->image, i);
        n_spans += file->n_extents;
        for (const char *c = file->path; *c != '\0'; c++)
            n_folders += *c == '/';
    }
    n_nodes = 4 + (uint64_t)info->n_files + n_folders;
    for (uint32_t i = 0; i < info->n_tensors; i++) {
        uint32_t streams[ENTRO_N_PARTS];
        entro_tensor_streams(entro_image_tensor(names->image, i), streams);
        for (unsigned part = 0; part < ENTRO_N_PARTS; part++)
            n_nodes += streams[part] != ENTRO_NONE;
        n_nodes++;
        n_spans += ENTRO_N_PARTS + 2;
    }
    names->last_inode =
        4 + (uint64_t)info->n_files + NODES_PER_TENSOR * (uint64_t)info->n_tensors + n_folders;
    if (n_nodes >= UINT32_MAX || names->last_inode > SIZE_MAX / sizeof *names->places - 1 ||
        n_spans > SIZE_MAX / sizeof *names->spans)
        return no_memory(message);
    names->nodes = malloc((size_t)n_nodes * sizeof *names->nodes);
    names->places = calloc((size_t)names->last_inode + 1, sizeof *names->places);
    names->spans = malloc((size_t)n_spans * sizeof *names->spans);
    names->children = malloc((size_t)n_nodes * sizeof *names->children);
    names->stream_tensors = malloc(((size_t)info->n_streams + 1) * sizeof *names->stream_tensors);
    if (names->nodes == NULL || names->places == NULL || names->spans == NULL || names->children == NULL ||
        names->stream_tensors == NULL)
        return no_memory(message);
    for (uint32_t i = 0; i < info->n_streams; i++)
        names->stream_tensors[i] = ENTRO_NONE;
    return ENTRO_OK;
}

static enum entro_error add_fixed(struct entro_namespace *names, struct entro_message *message)
{
    add_node(names, ENTRO_INODE_ROOT, ENTRO_INODE_ROOT, "")->is_folder = true;
    add_node(names, ENTRO_INODE_TENSORS, ENTRO_INODE_ROOT, "tensors")->is_folder = true;
    add_node(names, ENTRO_INODE_NPY, ENTRO_INODE_ROOT, "npy")->is_folder = true;
    size_t size_bytes;
    enum entro_error error = entro_tensors_json(names->image, &names->tensors_json, &size_bytes, message);
    if (error != ENTRO_OK)
        return error;
    struct entro_node *node = add_node(names, ENTRO_INODE_TENSORS_JSON, ENTRO_INODE_ROOT, "tensors.json");
    add_span(names, node,
             (struct entro_span){
                 .kind = ENTRO_SPAN_BYTES, .bytes = names->tensors_json, .size_bytes = size_bytes});
    return ENTRO_OK;
}

enum entro_error entro_namespace_create(struct entro_namespace **out, const struct entro_image *image,
                                        struct entro_message *message)
{
    *out = NULL;
    struct entro_namespace *names = calloc(1, sizeof *names);
    if (names == NULL)
        return no_memory(message);
    names->image = image;
    const struct entro_image_info *info = entro_image_info(image);
    uint64_t first_tensor = ENTRO_INODE_FIRST_FILE + (uint64_t)info->n_files;
    enum entro_error error = reserve(names, message);
    if (error == ENTRO_OK)
        error = add_fixed(names, message);
    if (error == ENTRO_OK)
        error = add_files(names, first_tensor + NODES_PER_TENSOR * (uint64_t)info->n_tensors, message);
    for (uint32_t i = 0; error == ENTRO_OK && i < info->n_tensors; i++)
        error = add_tensor(names, first_tensor + NODES_PER_TENSOR * (uint64_t)i, i, message);
    if (error == ENTRO_OK)
        error = collect_children(names, message);
    if (error != ENTRO_OK) {
        entro_namespace_free(names);
        return error;
    }
    *out = names;
    return ENTRO_OK;
}
