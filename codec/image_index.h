/*
 * The index of an image in memory: the tables as they lie in the image, validated in full, and the native
 * records made from them. Internal to reader and writer; image.h is what others see.
 */
#ifndef ENTRO_IMAGE_INDEX_H
#define ENTRO_IMAGE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/format.h"
#include "codec/image.h"

/* All arrays are owned and immutable once parsed. */
struct entro_index {
    uint64_t counts[ENTRO_N_TABLES];
    const uint8_t *tables[ENTRO_N_TABLES]; /* into the bytes that were parsed, which the index does not own */
    char *strings;                         /* NUL-terminated paths and names */
    struct entro_file *files;
    struct entro_extent *extents;
    struct entro_tensor *tensors;
    struct entro_stream *streams;
    struct entro_plane *planes;
    struct entro_layout *layouts;
};

/* Bytes of a record of each table. */
extern const uint16_t entro_table_record_bytes[ENTRO_N_TABLES];

/* Where the next table starts: tables lie at multiples of 8. */
static inline uint64_t entro_table_align(uint64_t offset)
{
    return (offset + 7) & ~(uint64_t)7;
}

/*
 * Validates superblock and index against each other, fields and all (checksums, magic and version are the
 * caller's business). `bytes` are the superblock's index_bytes bytes and must outlive the index.
 * ENTRO_ERROR_FORMAT, _NO_MEMORY; *index is empty then. Time and memory are linear in the size of the index.
 */
enum entro_error entro_index_parse(struct entro_index *index, const struct entro_disk_superblock *superblock,
                                   const uint8_t *bytes, struct entro_message *message);
void entro_index_free(struct entro_index *index);

/* Fields of block `block` of the block table. */
struct entro_disk_block entro_index_block(const struct entro_index *index, uint64_t block);

/* Parts of entro_index_parse: image_streams.c parses and validates layouts, codebooks, streams, planes and
 * blocks. */
enum entro_error entro_index_parse_streams(struct entro_index *index, uint64_t data_end,
                                           struct entro_message *message);

#endif
