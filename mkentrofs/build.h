/*
 * Builds an image from a source: the streams of every file, one after another, each with all threads.
 */
#ifndef ENTRO_BUILD_H
#define ENTRO_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/error.h"
#include "codec/pool.h"
#include "mkentrofs/code_counts.h"
#include "mkentrofs/encode.h"
#include "mkentrofs/monitor.h"
#include "mkentrofs/source.h"
#include "mkentrofs/tensor_plan.h"

struct entro_build_options {
    const char *image_path;
    bool replace;
    unsigned block_log2;
    struct entro_plan_options plan;
    struct entro_code_counts *codes; /* where codes are counted, made for the same tree; NULL: nobody asks */
};

/* What became of a tensor. */
struct entro_tensor_result {
    const struct entro_part *part;
    const struct entro_source_tensor *source;
    struct entro_encoded encoded;
    enum entro_dtype view; /* of the model file on the mount */
};

struct entro_build_result {
    size_t n_tensors;
    struct entro_tensor_result *tensors; /* in the order of the source's files; points into the source tree */
    uint64_t image_bytes;
};

/*
 * Writes the image, whole or not at all. The same source and options give the same bytes whatever the pool's
 * threads. On success the caller frees the result with entro_build_result_free. Errors of source, writer and
 * memory; _CANCELLED.
 */
enum entro_error entro_build(struct entro_build_result *out, const struct entro_source_tree *tree,
                             const struct entro_build_options *options, struct entro_pool *pool,
                             const struct entro_monitor *monitor, struct entro_message *message);
void entro_build_result_free(struct entro_build_result *result);

#endif
