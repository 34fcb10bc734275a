/*
 * tensors.json: what every raw tensor file of the directory holds. Parsed strictly, for the file may come
 * from anywhere; the files themselves are weights.h's business.
 */
#ifndef ENTRO_RUNNER_MANIFEST_H
#define ENTRO_RUNNER_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/error.h"

struct entro_manifest_tensor {
    const char *name;
    const char *file;       /* path below the directory, without ".." */
    enum entro_dtype dtype; /* of the source; NONE where this program does not know it */
    const char *dtype_name;
    unsigned rank;
    uint64_t shape[ENTRO_MAX_RANK]; /* row-major, outermost first */
    unsigned bits;                  /* 8 or 4: codes; 0: lossless, the source's own bytes */
    float scale;
    float zero_point;
    const char *row_scale; /* paths as `file`; NULL: none */
    const char *column_scale;
    const char *outliers;
    uint64_t size_bytes; /* of `file`, as dtype, shape and bits demand; 0 where the dtype is unknown */
};

struct entro_manifest {
    bool gguf; /* the source was a GGUF, else safetensors */
    size_t n_tensors;
    struct entro_manifest_tensor *tensors; /* sorted by name */
    void *json;                            /* owns the strings */
};

/*
 * Parses tensors.json; `path` is for messages. On success the caller frees with entro_manifest_free; on
 * failure nothing is left. ENTRO_ERROR_FORMAT (bad JSON, duplicate or missing keys, names twice, values out
 * of range, paths that leave the directory), _UNSUPPORTED (a later format, a scheme or source that is not
 * known), _NO_MEMORY.
 */
enum entro_error entro_manifest_parse(struct entro_manifest *out, const char *text, size_t size_bytes,
                                      const char *path, struct entro_message *message);
void entro_manifest_free(struct entro_manifest *manifest);

/* NULL where there is no tensor of that name. */
const struct entro_manifest_tensor *entro_manifest_find(const struct entro_manifest *manifest,
                                                        const char *name);

#endif
