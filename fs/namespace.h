/*
 * The files and folders of a mount, made from an image once and immutable afterwards: every lookup is
 * thread-safe. Knows what a file consists of; how its bytes are had is reader.h's.
 *
 * Inode numbers are fixed by the image, with F = its number of files and T = its number of tensors:
 *   1 the root, 2 tensors/, 3 npy/, 4 tensors.json,
 *   5 + i                 file i of the image (they are sorted by path),
 *   5 + F + 5 * t + k     of tensor t (they are sorted by name): k = 0 the raw file, 1 .row_scale, 2
 * .column_scale, 3 .outliers, 4 .npy, 5 + F + 5 * T + i     the folders of the image's files, in the order in
 * which sorted paths first mention them.
 */
#ifndef ENTRO_FS_NAMESPACE_H
#define ENTRO_FS_NAMESPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/image.h"

#define ENTRO_INODE_ROOT         1
#define ENTRO_INODE_TENSORS      2
#define ENTRO_INODE_NPY          3
#define ENTRO_INODE_TENSORS_JSON 4
#define ENTRO_INODE_FIRST_FILE   5

enum entro_span_kind {
    ENTRO_SPAN_BYTES,  /* literal bytes */
    ENTRO_SPAN_STREAM, /* a range of a stream */
    ENTRO_SPAN_VIEW,   /* the whole of a tensor dequantized to `dtype` */
};

/* A piece of a file. A file is the concatenation of its spans; none is empty. */
struct entro_span {
    enum entro_span_kind kind;
    enum entro_dtype dtype;
    uint32_t reference; /* stream or tensor */
    uint64_t start;     /* where it begins in the file */
    uint64_t size_bytes;
    uint64_t offset;      /* into the stream */
    const uint8_t *bytes; /* owned by the namespace */
};

struct entro_node {
    const char *name; /* last part of the path; "" for the root */
    uint64_t inode;
    uint64_t parent; /* inode; the root's is its own */
    bool is_folder;
    uint32_t tensor; /* of a raw tensor file and its .npy, else ENTRO_NONE */
    uint64_t size_bytes;
    uint64_t stored_bytes; /* what the file costs in the image (a shared stream counts for each file) */
    const struct entro_span *spans;
    size_t n_spans;
    const uint64_t *children; /* inodes, sorted by name (bytewise) */
    size_t n_children;
    size_t n_folders; /* of the children */
};

struct entro_namespace;

/*
 * The image must outlive it. ENTRO_ERROR_FORMAT (two entries of one name in a folder, a name that no file
 * system takes or JSON cannot hold), _NO_MEMORY.
 */
enum entro_error entro_namespace_create(struct entro_namespace **out, const struct entro_image *image,
                                        struct entro_message *message);
void entro_namespace_free(struct entro_namespace *names);

const struct entro_image *entro_namespace_image(const struct entro_namespace *names);

/* NULL where there is none. */
const struct entro_node *entro_namespace_node(const struct entro_namespace *names, uint64_t inode);
const struct entro_node *entro_namespace_lookup(const struct entro_namespace *names,
                                                const struct entro_node *folder, const char *name);

/* By a '/'-separated path from the root ("" is the root); NULL where there is none. */
const struct entro_node *entro_namespace_find(const struct entro_namespace *names, const char *path);

/* Inodes run from 1 to this; some are not used. */
uint64_t entro_namespace_last_inode(const struct entro_namespace *names);
uint64_t entro_namespace_n_nodes(const struct entro_namespace *names);

/* Writes the path from the root, without a leading '/', cut to fit `size` (> 0). */
void entro_namespace_path(const struct entro_namespace *names, const struct entro_node *node, char *path,
                          size_t size);

/* The span that holds byte `offset` (< node->size_bytes) of a file. */
const struct entro_span *entro_node_span(const struct entro_node *node, uint64_t offset);

/* The first tensor that a stream belongs to, or ENTRO_NONE: for messages. */
uint32_t entro_namespace_stream_tensor(const struct entro_namespace *names, uint32_t stream);

#endif
