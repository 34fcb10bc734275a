/*
 * An image opened for reading: validated in full when it is opened, immutable afterwards; all lookups and
 * decoding are thread-safe. Knows blocks, streams, tensors and the files' extents; what a file system makes
 * of them is fs/'s.
 */
#ifndef ENTRO_IMAGE_H
#define ENTRO_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/error.h"
#include "codec/format.h"
#include "codec/layout.h"

struct entro_image;

/* Strings point into the image's index, NUL-terminated copies owned by the image. */
struct entro_extent {
    enum entro_extent_kind kind;
    enum entro_dtype dtype; /* of a view */
    uint32_t reference;     /* stream or tensor */
    uint64_t offset;        /* into the stream; 0 for a view */
    uint64_t size_bytes;
};

struct entro_file {
    const char *path;
    uint64_t size_bytes;
    uint32_t n_extents;
    const struct entro_extent *extents;
};

struct entro_tensor {
    const char *name;
    enum entro_dtype dtype; /* of the source */
    enum entro_scheme scheme;
    unsigned bits; /* 8, 4; 0 for lossless */
    unsigned rank;
    uint64_t shape[ENTRO_MAX_RANK];
    uint64_t n_elements;
    uint64_t n_rows;                                    /* shape[0]; 1 for rank 0 */
    uint64_t n_columns;                                 /* elements / rows; 0 where there are no elements */
    uint32_t stream, row_scale, column_scale, outliers; /* streams, or ENTRO_NONE */
    float scale;
    int32_t zero_point;
    double entropy_bits;
    double snr_db;
};

struct entro_plane {
    uint64_t size_bytes;
    uint64_t n_blocks;
    uint64_t first_block;   /* in the block table */
    uint32_t codebook;      /* or ENTRO_NONE */
    uint32_t root_codebook; /* or ENTRO_NONE */
    uint32_t block_bytes;   /* a power of two */
};

struct entro_stream {
    uint64_t size_bytes;
    uint8_t xxh3_128[16];              /* canonical */
    const struct entro_layout *layout; /* layout->n_fields planes */
    const struct entro_plane *planes;
    /*
     * What the stream costs in the image: stored blocks, their table entries, and the records of stream and
     * planes. A codebook counts for the first stream that uses it: the sum over all streams counts each once.
     */
    uint64_t stored_bytes;
};

struct entro_image_info {
    uint8_t id[16]; /* XXH3-128 of the index */
    uint64_t image_bytes;
    uint64_t index_bytes;
    enum entro_source source;
    uint32_t version;
    uint32_t n_files, n_tensors, n_streams;
    uint64_t n_blocks;
    int64_t mtime_seconds; /* of the image file */
    long mtime_nanoseconds;
};

/*
 * Opens and validates an image. ENTRO_ERROR_IO, _FORMAT (not an image, truncated, inconsistent: the message
 * says what, where, expected and found), _CHECKSUM, _UNSUPPORTED (newer version, unknown incompatible
 * feature), _NO_MEMORY.
 */
enum entro_error entro_image_open(struct entro_image **out, const char *path, struct entro_message *message);
void entro_image_close(struct entro_image *image);

/*
 * From now on blocks are checked and decoded where they lie in the page cache, without a copy, where that is
 * safe: the program has installed the handler of bus_guard.h, and nobody but its user and root may write to
 * the image. False where not: blocks go on being read with pread. Before threads share the image.
 */
bool entro_image_map(struct entro_image *image);

/*
 * Reads the whole image into memory and keeps it there until it is closed. A child of fork has to do it
 * again. ENTRO_ERROR_NO_MEMORY (the message says which limit and how to raise it), _IO. Before threads share
 * the image.
 */
enum entro_error entro_image_lock(struct entro_image *image, struct entro_message *message);

const struct entro_image_info *entro_image_info(const struct entro_image *image);
const struct entro_file *entro_image_file(const struct entro_image *image,
                                          uint32_t file); /* file < n_files */
const struct entro_tensor *entro_image_tensor(const struct entro_image *image,
                                              uint32_t tensor); /* tensor < n_tensors */
const struct entro_stream *entro_image_stream(const struct entro_image *image,
                                              uint32_t stream); /* stream < n_streams */

/* Memory of one decoding thread: scratch of the decoder and a buffer for stored bytes. */
struct entro_decoder;
struct entro_decoder *entro_decoder_create(void); /* NULL where memory is short */
void entro_decoder_free(struct entro_decoder *decoder);

/*
 * Reads block `block` (< n_blocks) of a plane of this image from the file, checks it and decodes it to
 * `target`: block_bytes bytes, of the last block what is left (entro_plane_block_size). ENTRO_ERROR_IO,
 * _CHECKSUM, _FORMAT, _NO_MEMORY; the message names the block's place in the image, expected and found.
 * Thread-safe with a decoder for each thread.
 */
enum entro_error entro_image_decode_block(const struct entro_image *image, const struct entro_plane *plane,
                                          uint64_t block, uint8_t *target, struct entro_decoder *decoder,
                                          struct entro_message *message);

/* The same for bytes first..first+n-1 of the block alone, within its size: faster where they are few, though
 * the whole stored block is read and checked. See entro_block_decode_range. */
enum entro_error entro_image_decode_range(const struct entro_image *image, const struct entro_plane *plane,
                                          uint64_t block, size_t first, size_t n, uint8_t *target,
                                          struct entro_decoder *decoder, struct entro_message *message);

/*
 * Hints, worth it for several blocks that are decoded one after another from a mapped image; without effect
 * otherwise. will_need: this many blocks from `block` on are about to be decoded, by whatever thread. expect:
 * the call of entro_image_decode_block after the next one will be for this block, with this decoder.
 */
void entro_image_will_need(const struct entro_image *image, const struct entro_plane *plane, uint64_t block,
                           uint64_t n_blocks);
void entro_image_expect(const struct entro_image *image, const struct entro_plane *plane, uint64_t block,
                        struct entro_decoder *decoder);

uint32_t entro_plane_block_size(const struct entro_plane *plane, uint64_t block);

/* Where and how a block is stored: for --info and statistics. */
struct entro_block_place {
    uint64_t offset;
    uint32_t stored_bytes;
    enum entro_method method;
    uint64_t xxh3_64;
};
struct entro_block_place entro_image_block_place(const struct entro_image *image,
                                                 const struct entro_plane *plane, uint64_t block);

/* A codebook (not ENTRO_NONE) of a plane, as it is stored (codebook.h): for decoders of other machines. */
const uint8_t *entro_image_codebook(const struct entro_image *image, uint32_t codebook);

#endif
