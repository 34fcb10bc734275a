/*
 * The stored bytes of an image's tensors, for a backend that decodes them itself. The image is validated as
 * any other; each block's bytes are checked against their checksum before they are handed out.
 */
#ifndef ENTRO_RUNNER_CODED_SOURCE_H
#define ENTRO_RUNNER_CODED_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "runner/cuda/abi.h"
#include "runner/cuda/decode.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An open image. Immutable; shared by threads. */
struct entro_coded_source;

/* ENTRO_ERROR_IO, and those of entro_image_open. */
enum entro_error entro_coded_source_open(struct entro_coded_source **out, const char *path,
                                         struct entro_message *message);
void entro_coded_source_close(struct entro_coded_source *source);

/* A tensor's stream as it is stored. Immutable; shared by threads. */
struct entro_coded_stream {
    struct entro_cuda_coded coded;
    uint8_t xxh3_128[16]; /* of the decoded stream, canonical */
    /* The rest is coded_source.c's. */
    const struct entro_coded_source *source;
    struct entro_cuda_plan *plans;
    struct entro_cuda_block *blocks;
    uint64_t *offsets; /* of the blocks in the image */
    uint64_t *checksums;
};

/*
 * The stream of a tensor's raw file. On success the caller frees with entro_coded_stream_free; the source
 * must outlive it. ENTRO_ERROR_NOT_FOUND (no such tensor), _UNSUPPORTED (a layout that no kernel joins, or
 * too many blocks: the tensor is to be read decoded), _NO_MEMORY.
 */
enum entro_error entro_coded_stream_create(struct entro_coded_stream **out,
                                           const struct entro_coded_source *source, const char *tensor,
                                           struct entro_message *message);
void entro_coded_stream_free(struct entro_coded_stream *stream);

/*
 * Reads bytes offset .. offset + n - 1 of the stored bytes, in the order of coded.blocks, and checks all
 * blocks that have any of them. ENTRO_ERROR_IO, _CHECKSUM, _ARGUMENT (beyond stored_bytes), _NO_MEMORY.
 * Thread-safe.
 */
enum entro_error entro_coded_stream_read(const struct entro_coded_stream *stream, uint64_t offset, size_t n,
                                         uint8_t *to, struct entro_message *message);

/* The same as the GPU's loader calls it: an entro_cuda_fill whose source is a stream. */
int entro_coded_fill(const void *stream, uint64_t offset, size_t n, void *to,
                     struct entro_cuda_message *message);

#ifdef __cplusplus
}
#endif

#endif
