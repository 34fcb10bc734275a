/*
 * entrocodec: a lossless order-0 coder for bytes, made for the weights of machine-learning models. Huffman
 * codes are stored node by node of the code tree, so that decoding runs at many bytes an instruction ("pivot
 * coding").
 *
 * A buffer becomes a frame: one codebook, blocks that are coded, constant or raw, a checksum of each.
 * FORMAT.md, "Frames", is its specification. Link with what `pkg-config --libs entrocodec` says.
 *
 * Thread safety: everything but a struct entro_codec may be used by several threads at once. Nothing is
 * printed, no signal is touched, no thread is started. The instructions used are the best that the processor
 * has, or those that the environment variable ENTRO_KERNEL names; all give the same frames.
 */
#ifndef ENTROCODEC_H
#define ENTROCODEC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ENTRO_CODEC_API __attribute__((visibility("default")))
#else
#define ENTRO_CODEC_API
#endif

enum entro_codec_error {
    ENTRO_CODEC_OK = 0,
    ENTRO_CODEC_NO_MEMORY = 1,
    ENTRO_CODEC_FORMAT = 3,   /* no frame, or a damaged one */
    ENTRO_CODEC_CHECKSUM = 4, /* a damaged frame */
    ENTRO_CODEC_ARGUMENT = 6  /* the target is too small */
};

/* "0.1.0", of the library that is linked. */
ENTRO_CODEC_API const char *entro_codec_version(void);

/* The text of an error; never NULL. */
ENTRO_CODEC_API const char *entro_codec_error_text(enum entro_codec_error error);

/*
 * The working memory of one thread: 1.3 MB, of which less than half is ever touched. Not used by two threads
 * at the same time. NULL where memory is short.
 */
struct entro_codec;
ENTRO_CODEC_API struct entro_codec *entro_codec_create(void);
ENTRO_CODEC_API void entro_codec_free(struct entro_codec *codec); /* NULL is allowed */

/*
 * Code lengths for bytes, chosen for size and decoding speed together. Immutable: one may serve many buffers
 * with much the same distribution, and several threads. A block (64 KiB) with a byte that has no code is
 * stored as it is: where other buffers may have any byte, count each at least once.
 */
struct entro_codebook;
ENTRO_CODEC_API enum entro_codec_error entro_codebook_from_bytes(struct entro_codebook **out,
                                                                 const void *bytes, size_t size_bytes);
/* counts: how often each byte value comes up; their sum is less than 2^59, else ENTRO_CODEC_ARGUMENT. */
ENTRO_CODEC_API enum entro_codec_error entro_codebook_from_counts(struct entro_codebook **out,
                                                                  const uint64_t counts[256]);
ENTRO_CODEC_API void entro_codebook_free(struct entro_codebook *codebook); /* NULL is allowed */

/* A frame of size_bytes bytes is never larger; SIZE_MAX where that does not fit a size_t. */
ENTRO_CODEC_API size_t entro_compress_bound(size_t size_bytes);

/*
 * Writes a frame of the size_bytes bytes to target and its size to *frame_bytes. codebook NULL: one is made
 * of the bytes. ENTRO_CODEC_ARGUMENT: the frame does not fit capacity (entro_compress_bound always does), or
 * size_bytes is more than 2^46. _NO_MEMORY. On failure the target's content is undefined. Bytes and target do
 * not overlap, here and below.
 */
ENTRO_CODEC_API enum entro_codec_error entro_compress(struct entro_codec *codec,
                                                      const struct entro_codebook *codebook,
                                                      const void *bytes, size_t size_bytes, void *target,
                                                      size_t capacity, size_t *frame_bytes);

/*
 * The size of what a frame holds, of a frame that is all there: frame_bytes is its exact size. Its head is
 * checked, its blocks are not. ENTRO_CODEC_FORMAT, _CHECKSUM. A small frame may claim a large size (10,000
 * times its own): a caller who allocates it sets a limit.
 */
ENTRO_CODEC_API enum entro_codec_error entro_decompressed_size(const void *frame, size_t frame_bytes,
                                                               uint64_t *size_bytes);

/*
 * Decodes a frame to target and the size to *size_bytes. Any frame, however hostile, ends in an error or in
 * the bytes that it declares, within capacity and in time proportional to it. ENTRO_CODEC_FORMAT, _CHECKSUM,
 * _ARGUMENT (capacity is less than the frame's size), _NO_MEMORY. On failure the target's content is
 * undefined.
 */
ENTRO_CODEC_API enum entro_codec_error entro_decompress(struct entro_codec *codec, const void *frame,
                                                        size_t frame_bytes, void *target, size_t capacity,
                                                        size_t *size_bytes);

#ifdef __cplusplus
}
#endif

#endif
