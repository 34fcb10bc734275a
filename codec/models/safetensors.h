/*
 * The safetensors header: parsed strictly and kept as it was. Reads no tensor data.
 * Source: huggingface/safetensors, README.md "Format" and safetensors/src/tensor.rs (version 0.5 and later).
 */
#ifndef ENTRO_MODELS_SAFETENSORS_H
#define ENTRO_MODELS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/error.h"
#include "codec/models/tensor.h"

struct entro_safetensors {
    uint64_t data_offset; /* 8 + the header's length: everything before it is the header */
    size_t n_tensors;
    struct entro_model_tensor *tensors; /* in the order of their offsets; they tile the rest of the file */
};

/* Largest header that a file may have, as in the reference implementation. */
#define ENTRO_SAFETENSORS_HEADER_MAX_BYTES 100000000

/*
 * Parses the header of the open file `fd` of file_size_bytes bytes; `path` is for messages. On success the
 * caller frees with entro_safetensors_free; on failure nothing is left. ENTRO_ERROR_FORMAT, _UNSUPPORTED
 * (unknown dtype, too many dimensions), _IO, _NO_MEMORY.
 */
enum entro_error entro_safetensors_open(struct entro_safetensors *out, int fd, uint64_t file_size_bytes,
                                        const char *path, struct entro_message *message);

/* The same over the header's bytes in memory (8-byte length included); for tests and fuzzers. size_bytes may
 * be less than the file. */
enum entro_error entro_safetensors_parse(struct entro_safetensors *out, const uint8_t *bytes,
                                         size_t size_bytes, uint64_t file_size_bytes, const char *path,
                                         struct entro_message *message);

void entro_safetensors_free(struct entro_safetensors *safetensors);

/* A model.safetensors.index.json: which file holds which tensor. */
struct entro_safetensors_index {
    size_t n_files;
    char **files; /* distinct file names without folder parts, sorted */
    size_t n_tensors;
    char **tensors;       /* sorted by name */
    size_t *tensor_files; /* index into `files` */
};

enum entro_error entro_safetensors_index_parse(struct entro_safetensors_index *out, const char *text,
                                               size_t size_bytes, const char *path,
                                               struct entro_message *message);
void entro_safetensors_index_free(struct entro_safetensors_index *index);

#endif
