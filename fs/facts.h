/*
 * What an image tells about its tensors in words and figures: shared by tensors.json, extended attributes and
 * entrofsck.
 */
#ifndef ENTRO_FS_FACTS_H
#define ENTRO_FS_FACTS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/image.h"
#include "codec/names.h"

#define ENTRO_HEX_BYTES   33                        /* of an XXH3-128 in hex, with its NUL */
#define ENTRO_SHAPE_BYTES (21 * ENTRO_MAX_RANK + 1) /* of a shape in text, with its NUL */

/* Streams of a tensor: codes, row factors, column factors, outliers; ENTRO_NONE where there is none. */
#define ENTRO_N_PARTS 4
void entro_tensor_streams(const struct entro_tensor *tensor, uint32_t streams[ENTRO_N_PARTS]);

/* What all streams of a tensor cost in the image, and the same as bits an element (0 for no elements). */
uint64_t entro_tensor_stored_bytes(const struct entro_image *image, const struct entro_tensor *tensor);
double entro_tensor_bits_per_weight(const struct entro_image *image, const struct entro_tensor *tensor);

/* 32 lower-case hex digits. */
void entro_hex(const uint8_t bytes[16], char text[ENTRO_HEX_BYTES]);

/* "576,1536"; empty for rank 0. */
void entro_shape_text(const struct entro_tensor *tensor, char text[ENTRO_SHAPE_BYTES]);

#endif
