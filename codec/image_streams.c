/* The half of the index that says how bytes are stored: layouts, codebooks, streams, planes and blocks. See
 * image_index.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/image_index.h"
#include "codec/image_rules.h"

/* How far the tables have been used up: records are numbered in the order of their first use. */
struct cursor {
    uint64_t n_planes, n_blocks, n_layouts, n_codebooks;
};

static enum entro_error parse_layouts(struct entro_index *index, struct entro_message *message)
{
    for (uint64_t i = 0; i < index->counts[ENTRO_TABLE_LAYOUTS]; i++) {
        struct entro_disk_layout disk;
        memcpy(&disk, index->tables[ENTRO_TABLE_LAYOUTS] + i * sizeof disk, sizeof disk);
        struct entro_layout *layout = &index->layouts[i];
        *layout = (struct entro_layout){
            .record_bytes = disk.record_bytes, .rotate_bytes = disk.rotate_bytes, .n_fields = disk.n_fields};
        memcpy(layout->field_bytes, disk.field_bytes, sizeof layout->field_bytes);
        static const uint8_t zero[sizeof disk.reserved];
        if (memcmp(disk.reserved, zero, sizeof zero) != 0 || !entro_layout_is_valid(layout))
            return entro_fail(message, ENTRO_ERROR_FORMAT, "layout %" PRIu64 " is not valid", i);
    }
    return ENTRO_OK;
}

static enum entro_error check_codebooks(const struct entro_index *index, struct entro_message *message)
{
    for (uint64_t i = 0; i < index->counts[ENTRO_TABLE_CODEBOOKS]; i++) {
        const char *fault =
            entro_codebook_fault(index->tables[ENTRO_TABLE_CODEBOOKS] + i * ENTRO_CODEBOOK_BYTES);
        if (fault != NULL)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "codebook %" PRIu64 " %s", i, fault);
    }
    return ENTRO_OK;
}

struct entro_disk_block entro_index_block(const struct entro_index *index, uint64_t block)
{
    struct entro_disk_block disk;
    memcpy(&disk, index->tables[ENTRO_TABLE_BLOCKS] + block * sizeof disk, sizeof disk);
    return disk;
}

/* Checks one block of a plane; *is_coded is set where it needs the codebook. */
static const char *block_fault(const struct entro_plane *plane, uint64_t block, struct entro_disk_block disk,
                               uint64_t data_end, bool *is_coded)
{
    uint64_t offset = ENTRO_BLOCK_OFFSET(disk.place);
    uint32_t stored = ENTRO_BLOCK_SIZE(disk.place);
    uint32_t decoded = entro_plane_block_size(plane, block);
    if (offset < ENTRO_SUPERBLOCK_BYTES || offset > data_end || stored > data_end - offset)
        return "lies outside of the image's data";
    switch (ENTRO_BLOCK_METHOD(disk.place)) {
    case ENTRO_METHOD_CONSTANT:
        return stored == 1 ? NULL : "is constant, but not stored as one byte";
    case ENTRO_METHOD_RAW:
        return stored == decoded ? NULL : "is stored raw, but not in as many bytes as it has";
    case ENTRO_METHOD_CODED:
        *is_coded = true;
        if (plane->codebook == ENTRO_NONE)
            return "is coded, but its plane has no codebook";
        return stored > 0 && stored < decoded ? NULL : "is coded, but not in fewer bytes than it has";
    default:
        return "is stored by an unknown method";
    }
}

static enum entro_error parse_blocks(const struct entro_index *index, uint64_t stream,
                                     const struct entro_plane *plane, uint64_t data_end,
                                     uint64_t *stored_bytes, struct entro_message *message)
{
    bool is_coded = false;
    for (uint64_t i = 0; i < plane->n_blocks; i++) {
        struct entro_disk_block disk = entro_index_block(index, plane->first_block + i);
        const char *fault = block_fault(plane, i, disk, data_end, &is_coded);
        if (fault != NULL)
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "block %" PRIu64 " (of stream %" PRIu64 ", %u bytes at offset %" PRIu64 ") %s",
                              plane->first_block + i, stream, ENTRO_BLOCK_SIZE(disk.place),
                              ENTRO_BLOCK_OFFSET(disk.place), fault);
        *stored_bytes += ENTRO_BLOCK_SIZE(disk.place) + sizeof disk;
    }
    if (!is_coded && plane->codebook != ENTRO_NONE)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "stream %" PRIu64 " has a codebook, but no coded block in its plane", stream);
    return ENTRO_OK;
}

/* Counts a codebook for the stream that is the first to use it. */
static enum entro_error use_codebook(const struct entro_index *index, uint64_t plane, uint32_t codebook,
                                     struct cursor *cursor, uint64_t *stored_bytes,
                                     struct entro_message *message)
{
    if (codebook > cursor->n_codebooks || codebook >= index->counts[ENTRO_TABLE_CODEBOOKS])
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "plane %" PRIu64 " has codebook %" PRIu32 ", expected at most %" PRIu64, plane,
                          codebook, cursor->n_codebooks);
    if (codebook == cursor->n_codebooks) {
        cursor->n_codebooks++;
        *stored_bytes += ENTRO_CODEBOOK_BYTES;
    }
    return ENTRO_OK;
}

static enum entro_error parse_plane(struct entro_index *index, uint64_t stream, uint64_t plane_bytes,
                                    struct cursor *cursor, uint64_t data_end, uint64_t *stored_bytes,
                                    struct entro_message *message)
{
    struct entro_disk_plane disk;
    enum entro_error error;
    uint64_t number = cursor->n_planes;
    memcpy(&disk, index->tables[ENTRO_TABLE_PLANES] + number * sizeof disk, sizeof disk);
    if (disk.block_log2 < ENTRO_BLOCK_LOG2_MIN || disk.block_log2 > ENTRO_BLOCK_LOG2_MAX)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "plane %" PRIu64 " has blocks of 2^%u bytes", number,
                          disk.block_log2);
    static const uint8_t zero[sizeof disk.reserved];
    if (memcmp(disk.reserved, zero, sizeof zero) != 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "plane %" PRIu64 " has reserved bytes that are not 0",
                          number);

    struct entro_plane *plane = &index->planes[number];
    plane->size_bytes = plane_bytes;
    plane->block_bytes = (uint32_t)1 << disk.block_log2;
    plane->n_blocks = entro_div_ceil_u64(plane_bytes, plane->block_bytes);
    plane->first_block = disk.first_block;
    plane->codebook = disk.codebook;
    plane->root_codebook = disk.root_codebook;
    if (disk.first_block != cursor->n_blocks ||
        plane->n_blocks > index->counts[ENTRO_TABLE_BLOCKS] - cursor->n_blocks)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "plane %" PRIu64 " has %" PRIu64 " blocks from %" PRIu64 " on, but %" PRIu64
                          " of %" PRIu64 " are taken",
                          number, plane->n_blocks, disk.first_block, cursor->n_blocks,
                          index->counts[ENTRO_TABLE_BLOCKS]);
    if (disk.codebook != ENTRO_NONE) {
        error = use_codebook(index, number, disk.codebook, cursor, stored_bytes, message);
        if (error != ENTRO_OK)
            return error;
    }
    if (disk.root_codebook != ENTRO_NONE) {
        if (disk.codebook == ENTRO_NONE ||
            entro_codebook_is_leaf(index->tables[ENTRO_TABLE_CODEBOOKS] +
                                   (uint64_t)disk.codebook * ENTRO_CODEBOOK_BYTES))
            return entro_fail(
                message, ENTRO_ERROR_FORMAT,
                "plane %" PRIu64 " has a codebook for the root of a tree that has no inner node", number);
        error = use_codebook(index, number, disk.root_codebook, cursor, stored_bytes, message);
        if (error != ENTRO_OK)
            return error;
    }
    *stored_bytes += sizeof disk;
    cursor->n_planes++;
    cursor->n_blocks += plane->n_blocks;
    return parse_blocks(index, stream, plane, data_end, stored_bytes, message);
}

static enum entro_error parse_stream(struct entro_index *index, uint64_t number, struct cursor *cursor,
                                     uint64_t data_end, struct entro_message *message)
{
    struct entro_disk_stream disk;
    memcpy(&disk, index->tables[ENTRO_TABLE_STREAMS] + number * sizeof disk, sizeof disk);
    if (disk.layout > cursor->n_layouts || disk.layout >= index->counts[ENTRO_TABLE_LAYOUTS])
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "stream %" PRIu64 " has layout %" PRIu32 ", expected at most %" PRIu64, number,
                          disk.layout, cursor->n_layouts);
    if (disk.layout == cursor->n_layouts)
        cursor->n_layouts++;
    const struct entro_layout *layout = &index->layouts[disk.layout];
    if (disk.size_bytes > ENTRO_STREAM_MAX_BYTES || disk.size_bytes % layout->record_bytes != 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "stream %" PRIu64 " has %" PRIu64 " bytes, which is too many or no multiple of %u",
                          number, disk.size_bytes, layout->record_bytes);
    if (disk.first_plane != cursor->n_planes ||
        layout->n_fields > index->counts[ENTRO_TABLE_PLANES] - cursor->n_planes)
        return entro_fail(
            message, ENTRO_ERROR_FORMAT,
            "stream %" PRIu64 " has %u planes from %" PRIu32 " on, but %" PRIu64 " of %" PRIu64 " are taken",
            number, layout->n_fields, disk.first_plane, cursor->n_planes, index->counts[ENTRO_TABLE_PLANES]);

    struct entro_stream *stream = &index->streams[number];
    stream->size_bytes = disk.size_bytes;
    memcpy(stream->xxh3_128, disk.xxh3_128, sizeof stream->xxh3_128);
    stream->layout = layout;
    stream->planes = &index->planes[cursor->n_planes];
    stream->stored_bytes = sizeof disk;
    uint64_t n_records = disk.size_bytes / layout->record_bytes;
    for (unsigned i = 0; i < layout->n_fields; i++) {
        enum entro_error error = parse_plane(index, number, n_records * layout->field_bytes[i], cursor,
                                             data_end, &stream->stored_bytes, message);
        if (error != ENTRO_OK)
            return error;
    }
    return ENTRO_OK;
}

enum entro_error entro_index_parse_streams(struct entro_index *index, uint64_t data_end,
                                           struct entro_message *message)
{
    enum entro_error error = parse_layouts(index, message);
    if (error == ENTRO_OK)
        error = check_codebooks(index, message);
    struct cursor cursor = {0};
    for (uint64_t i = 0; error == ENTRO_OK && i < index->counts[ENTRO_TABLE_STREAMS]; i++)
        error = parse_stream(index, i, &cursor, data_end, message);
    if (error != ENTRO_OK)
        return error;
    if (cursor.n_planes != index->counts[ENTRO_TABLE_PLANES] ||
        cursor.n_blocks != index->counts[ENTRO_TABLE_BLOCKS] ||
        cursor.n_layouts != index->counts[ENTRO_TABLE_LAYOUTS] ||
        cursor.n_codebooks != index->counts[ENTRO_TABLE_CODEBOOKS])
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "the index has planes, blocks, layouts or codebooks that no stream uses");
    return ENTRO_OK;
}
