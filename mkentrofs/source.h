/*
 * A source: the list of files that will be in the image, and of the tensors in those that hold weights. Reads
 * headers, no tensor data.
 */
#ifndef ENTRO_SOURCE_H
#define ENTRO_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/error.h"
#include "codec/format.h"
#include "mkentrofs/input.h"
#include "mkentrofs/monitor.h"

struct entro_source_tensor {
    char *name;
    enum entro_dtype dtype;
    unsigned rank;
    uint64_t shape[ENTRO_MAX_RANK]; /* row-major, outermost first */
    uint64_t n_elements;
    uint64_t offset; /* of the data, from the start of the file */
    uint64_t size_bytes;
};

enum entro_part_kind {
    ENTRO_PART_PLAIN,       /* goes in as it is */
    ENTRO_PART_SAFETENSORS, /* these hold tensors */
    ENTRO_PART_GGUF,
    ENTRO_PART_NPY,
};

/* A file of the source. */
struct entro_part {
    char *path;        /* relative to the source: its path on the mount */
    char *source_path; /* to open it by */
    struct entro_identity identity;
    enum entro_part_kind kind;
    size_t n_tensors;
    struct entro_source_tensor *tensors; /* in the order of their offsets, without overlap */
};

/* Everything owned. */
struct entro_source_tree {
    enum entro_source kind;
    size_t n_parts;
    struct entro_part *parts; /* sorted by path (bytewise) */
    size_t n_tensors;
    uint64_t size_bytes; /* of all parts */
};

struct entro_source_options {
    const char *path;       /* a folder, a .safetensors, a .gguf or a .npy file */
    const char *image_path; /* left out of the source where it lies in it */
    size_t n_excludes;
    const char *const *excludes; /* fnmatch patterns on a relative path or on its last part */
};

/*
 * Walks the source, follows links, reads and checks all headers, names and shard indices. Tells the monitor
 * what is left out. ENTRO_ERROR_FORMAT, _UNSUPPORTED, _NOT_FOUND (no such source, or one without weights),
 * _EXISTS (the image would replace a file of the source), _IO, _NO_MEMORY, _CANCELLED. On success the caller
 * frees with entro_source_free; on failure nothing is left.
 */
enum entro_error entro_source_open(struct entro_source_tree *out, const struct entro_source_options *options,
                                   const struct entro_monitor *monitor, struct entro_message *message);
void entro_source_free(struct entro_source_tree *tree);

#endif
