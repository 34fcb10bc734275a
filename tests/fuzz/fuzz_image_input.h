/*
 * Images for fuzz targets: the short input of a target, made an image whose checksums are right.
 *
 *   9 x u32   counts of the tables, whose offsets follow from them
 *   u32       size of the blocks' data
 *   data, then the index up to the end of the input
 */
#ifndef FUZZ_IMAGE_INPUT_H
#define FUZZ_IMAGE_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "codec/bytes.h"
#include "codec/image.h"

#define HEAD_BYTES 40

/* The tables tile the index; a multiple of 8 bytes is what a reader expects of it. */
static void place_tables(struct entro_disk_superblock *superblock, const uint8_t *counts)
{
    static const uint16_t record_bytes[ENTRO_N_TABLES] = {1, 24, 24, 120, 32, 40, 24, 128, 16};
    uint64_t offset = 0;
    for (unsigned i = 0; i < ENTRO_N_TABLES; i++) {
        superblock->tables[i].offset = offset;
        superblock->tables[i].count = entro_load_u32(counts + 4 * i);
        offset = (offset + superblock->tables[i].count * record_bytes[i] + 7) / 8 * 8;
    }
}

/* Gives the blocks the checksums of their bytes, so that decoders get to see them. */
static void mend_blocks(const struct entro_disk_superblock *superblock, uint8_t *image)
{
    const struct entro_disk_table *table = &superblock->tables[ENTRO_TABLE_BLOCKS];
    for (uint64_t i = 0; i < table->count; i++) {
        struct entro_disk_block block;
        uint64_t at = table->offset + i * sizeof block;
        if (at + sizeof block > superblock->index_bytes)
            return;
        memcpy(&block, image + superblock->index_offset + at, sizeof block);
        uint64_t offset = ENTRO_BLOCK_OFFSET(block.place);
        uint32_t stored = ENTRO_BLOCK_SIZE(block.place);
        if (offset > superblock->image_bytes || stored > superblock->image_bytes - offset)
            continue;
        block.xxh3_64 = XXH3_64bits(image + offset, stored);
        memcpy(image + superblock->index_offset + at, &block, sizeof block);
    }
}

/* The image of an input, sealed; the caller frees. */
static uint8_t *make_image(const uint8_t *data, size_t size, size_t *image_bytes)
{
    size_t data_bytes = entro_load_u32(data + 36);
    if (data_bytes > size - HEAD_BYTES)
        data_bytes = size - HEAD_BYTES;
    struct entro_disk_superblock superblock = {.version = ENTRO_FORMAT_VERSION,
                                               .superblock_bytes = ENTRO_SUPERBLOCK_BYTES,
                                               .source = ENTRO_SOURCE_SAFETENSORS,
                                               .index_offset = ENTRO_SUPERBLOCK_BYTES + data_bytes,
                                               .index_bytes = size - HEAD_BYTES - data_bytes};
    memcpy(superblock.magic, ENTRO_MAGIC, sizeof superblock.magic);
    superblock.image_bytes = superblock.index_offset + superblock.index_bytes;
    place_tables(&superblock, data);
    uint8_t *image = malloc(superblock.image_bytes);
    if (image == NULL)
        return NULL;
    memcpy(image + ENTRO_SUPERBLOCK_BYTES, data + HEAD_BYTES, size - HEAD_BYTES);
    mend_blocks(&superblock, image);
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits(image + superblock.index_offset, superblock.index_bytes));
    memcpy(superblock.index_xxh3_128, digest.digest, sizeof superblock.index_xxh3_128);
    superblock.xxh3_64 = XXH3_64bits(&superblock, offsetof(struct entro_disk_superblock, xxh3_64));
    memcpy(image, &superblock, sizeof superblock);
    *image_bytes = superblock.image_bytes;
    return image;
}

/* Opens the image of an input, or returns NULL. The file lives in memory until the next call. */
static struct entro_image *open_input(const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("image", MFD_CLOEXEC);
    if (size < HEAD_BYTES || fd < 0)
        return NULL;
    size_t image_bytes;
    uint8_t *bytes = make_image(data, size, &image_bytes);
    if (bytes == NULL)
        return NULL;
    char path[64];
    struct entro_image *image = NULL;
    struct entro_message message;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, bytes, image_bytes, 0) != (ssize_t)image_bytes ||
        entro_image_open(&image, path, &message) != ENTRO_OK)
        image = NULL;
    free(bytes);
    return image;
}

#endif
