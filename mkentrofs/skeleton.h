/*
 * The skeleton of a model file: all its bytes that belong to no tensor (header, padding, tail), one after
 * another in one stream.
 */
#ifndef ENTRO_SKELETON_H
#define ENTRO_SKELETON_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/writer.h"
#include "mkentrofs/input.h"

/* Where a tensor lies in the file. */
struct entro_place {
    uint64_t offset, size_bytes;
};

struct entro_skeleton_file {
    const struct entro_input
        *input; /* the source, of which the file is a copy outside its tensors; or NULL */
    const uint8_t
        *header; /* where there is no input: the file's start; what is behind it and in no tensor is zero */
    size_t header_size_bytes;
    uint64_t size_bytes; /* of the whole file */
    size_t n_places;
    const struct entro_place *places; /* ascending, without overlap */
};

/*
 * Adds the skeleton's stream and makes the file's extents: those of the skeleton's parts and, between them,
 * tensor_extents[i] (whose size is places[i]'s). Empty ones are left out. *extents is malloc'ed, the
 * caller's. ENTRO_ERROR_FORMAT where places overlap or leave the file.
 */
enum entro_error entro_skeleton_add(struct entro_writer *writer, const struct entro_skeleton_file *file,
                                    const char *name, const struct entro_extent *tensor_extents,
                                    struct entro_extent **extents, uint32_t *n_extents,
                                    struct entro_message *message);

#endif
