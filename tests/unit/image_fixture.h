/* What the tests of images share: a folder of their own, whole streams, and images with mended checksums. */
#ifndef ENTRO_IMAGE_FIXTURE_H
#define ENTRO_IMAGE_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/image.h"

#define GOLDEN_IMAGE ENTRO_TEST_GOLDEN "/golden-v1.entrofs"

/* A folder that goes with all that is in it. */
struct fixture_folder {
    char path[256];
    char image[300]; /* "image.entrofs" in it */
};
void fixture_folder_create(struct fixture_folder *folder);
void fixture_folder_remove(struct fixture_folder *folder);
/* Entries of the folder, "." and ".." not counted. */
unsigned fixture_folder_entries(const struct fixture_folder *folder);

/* A whole file in memory that the caller frees. */
uint8_t *fixture_load(const char *path, size_t *size);
void fixture_store(const char *path, const void *bytes, size_t size);

/* Decodes a whole stream block by block into `target`; the first error. */
enum entro_error fixture_read_stream(const struct entro_image *image, const struct entro_stream *stream,
                                     uint8_t *target, struct entro_message *message);

/* Puts right the checksums of index and superblock, so that only validation can refuse the image. */
void fixture_reseal(uint8_t *bytes, size_t size);

#endif
