/* The golden image, to be damaged. */
#ifndef ENTRO_BAD_IMAGE_FIXTURE_H
#define ENTRO_BAD_IMAGE_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/format.h"
#include "image_fixture.h"

/* The golden image in memory, and a file to damage. */
struct bad_image {
    struct fixture_folder folder;
    uint8_t *bytes;
    size_t size;
    struct entro_disk_superblock superblock;
};

int bad_image_set_up(void **state);
int bad_image_tear_down(void **state);

/* The error of opening the file, with its message, which is checked for what all messages must have. */
enum entro_error bad_image_open(const struct bad_image *bad, struct entro_message *message);

#endif
