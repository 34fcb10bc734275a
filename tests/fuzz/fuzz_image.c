/*
 * Opens an invented image whose checksums are right, and decodes what opens. An input is short: the target
 * makes an image of it.
 *
 *   9 x u32   counts of the tables, whose offsets follow from them
 *   u32       size of the blocks' data
 *   data, then the index up to the end of the input
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "codec/bytes.h"
#include "codec/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD_BYTES 40
/* A few bytes of input can stand for gigabytes of constant blocks. */
#define DECODE_MAX_BYTES ((uint64_t)1 << 20)

/* The tables tile the index; a multiple of 8 bytes is what a reader expects of it. */
static void place_tables(struct entro_disk_superblock *superblock, const uint8_t *counts)
{
    static const uint16_t record_bytes[ENTRO_N_TABLES] = {1, 24, 24, 120, 32, 40, 16, 128, 16};
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

static void decode_all(const struct entro_image *image, struct entro_decoder *decoder, uint8_t *target)
{
    uint64_t n_decoded = 0;
    struct entro_message message;
    for (uint32_t i = 0; i < entro_image_info(image)->n_streams; i++) {
        const struct entro_stream *stream = entro_image_stream(image, i);
        for (unsigned k = 0; k < stream->layout->n_fields; k++)
            for (uint64_t block = 0; block < stream->planes[k].n_blocks && n_decoded < DECODE_MAX_BYTES;
                 block++) {
                entro_image_decode_block(image, &stream->planes[k], block, target, decoder, &message);
                n_decoded += entro_plane_block_size(&stream->planes[k], block);
            }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct entro_decoder *decoder; /* made once: it is large */
    static uint8_t *target;
    static int fd = -1;
    if (decoder == NULL) {
        decoder = entro_decoder_create();
        target = malloc(ENTRO_BLOCK_MAX_BYTES);
        fd = memfd_create("image", MFD_CLOEXEC);
    }
    if (size < HEAD_BYTES || decoder == NULL || target == NULL || fd < 0)
        return 0;
    size_t image_bytes;
    uint8_t *bytes = make_image(data, size, &image_bytes);
    if (bytes == NULL)
        return 0;
    char path[64];
    struct entro_image *image = NULL;
    struct entro_message message;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (ftruncate(fd, 0) == 0 && pwrite(fd, bytes, image_bytes, 0) == (ssize_t)image_bytes &&
        entro_image_open(&image, path, &message) == ENTRO_OK)
        decode_all(image, decoder, target);
    entro_image_close(image);
    free(bytes);
    return 0;
}
