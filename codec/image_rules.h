/*
 * The rules that records of an image must keep, stated once for reader and writer. Each check names the first
 * rule that is broken.
 */
#ifndef ENTRO_IMAGE_RULES_H
#define ENTRO_IMAGE_RULES_H

#include <stddef.h>
#include <stdint.h>

#include "codec/codebook.h"
#include "codec/error.h"
#include "codec/format.h"
#include "codec/image.h"

/* Zero points of balanced tensors; those of the other schemes are codes themselves. */
#define ENTRO_ZERO_POINT_MIN (-32768)
#define ENTRO_ZERO_POINT_MAX 32767

/* A name from an image, fit for one line of a message: control bytes and quotes replaced, long ones
 * shortened. */
struct entro_quoted {
    char text[160];
};
struct entro_quoted entro_quote(const char *name, size_t name_bytes);

/* NULL where the path (the name) is allowed, else what is wrong with it, as the end of a sentence: "has an
 * empty part". */
const char *entro_path_fault(const char *path, size_t path_bytes);
const char *entro_name_fault(const char *name, size_t name_bytes);

/*
 * Checks all of a tensor's record but its name, and sets n_elements, n_rows and n_columns. stream_sizes[i] is
 * the size of stream i. ENTRO_ERROR_FORMAT; the message speaks of the tensor's name.
 */
enum entro_error entro_tensor_check(struct entro_tensor *tensor, const uint64_t *stream_sizes,
                                    uint32_t n_streams, struct entro_message *message);

/* What an extent may refer to; tensors[i] has been checked. */
struct entro_extent_targets {
    const uint64_t *stream_sizes;
    uint32_t n_streams;
    uint32_t n_tensors;
    const struct entro_tensor *(*tensor)(const void *context, uint32_t number);
    const void *context;
};

/* NULL where the extent is allowed, else what is wrong with it. */
const char *entro_extent_fault(const struct entro_extent *extent, const struct entro_extent_targets *targets);

#endif
