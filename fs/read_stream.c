/* Streams: from a range of bytes to planes, and from these to blocks; see reader_internal.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fs/reader_internal.h"

bool entro_stream_is_plain(const struct entro_stream *stream)
{
    return stream->layout->n_fields == 1 && stream->layout->rotate_bytes == 0;
}

static enum entro_error decode(struct entro_read *read, uint32_t stream, const struct entro_plane *plane,
                               uint64_t block, uint8_t *target)
{
    struct entro_reader *reader = read->reader;
    struct entro_message cause;
    enum entro_error error =
        entro_image_decode_block(reader->image, plane, block, target, read->workspace->decoder, &cause);
    if (error == ENTRO_OK) {
        entro_count(&reader->stats.blocks_decoded, 1);
        entro_count(&reader->stats.bytes_decoded, entro_plane_block_size(plane, block));
        return ENTRO_OK;
    }
    entro_count(&reader->stats.blocks_failed, 1);
    struct entro_message line;
    const struct entro_stream *facts = entro_image_stream(reader->image, stream);
    entro_fail(&line, error, "block %llu of %llu (stream %u, plane %u): %s", (unsigned long long)block,
               (unsigned long long)plane->n_blocks, stream, (unsigned)(plane - facts->planes), cause.text);
    return entro_read_report(read, error, entro_namespace_stream_tensor(reader->names, stream), &line);
}

/* Copies a block that others wait for, from where it was decoded to, into the cache. */
static void share(struct entro_cache *blocks, struct entro_buffers *buffers, struct entro_cache_entry *entry,
                  const uint8_t *bytes, size_t size)
{
    uint8_t *copy = entro_buffer_take(buffers, size);
    if (copy == NULL) {
        entro_cache_fail(blocks, entry, ENTRO_ERROR_NO_MEMORY);
        return;
    }
    memcpy(copy, bytes, size);
    entro_cache_give(blocks, entry, copy, size);
    entro_cache_release(blocks, entry);
}

/* The claim on `entry` is this thread's: makes the block, to `whole` or for the cache, and ends the claim. */
static enum entro_error make_block(struct entro_read *read, uint32_t stream, const struct entro_plane *plane,
                                   uint64_t block, uint8_t *whole, struct entro_cache_entry *entry,
                                   struct entro_open_block *open)
{
    struct entro_cache *blocks = read->reader->blocks;
    size_t size = entro_plane_block_size(plane, block);
    uint8_t *target = whole != NULL ? whole : entro_buffer_take(read->reader->buffers, size);
    if (target == NULL) {
        entro_cache_fail(blocks, entry, ENTRO_ERROR_NO_MEMORY);
        return entro_fail(read->message, ENTRO_ERROR_NO_MEMORY, "out of memory for a block");
    }
    enum entro_error error = decode(read, stream, plane, block, target);
    if (error != ENTRO_OK) {
        entro_cache_fail(blocks, entry, error);
        if (target != whole)
            entro_buffer_give(target);
        return error;
    }
    open->bytes = target;
    if (target == whole) {
        if (!entro_cache_drop(blocks, entry))
            share(blocks, read->reader->buffers, entry, target, size);
        return ENTRO_OK;
    }
    entro_cache_give(blocks, entry, target, size);
    open->entry = entry;
    return ENTRO_OK;
}

enum entro_error entro_block_open(struct entro_read *read, uint32_t stream, const struct entro_plane *plane,
                                  uint64_t block, uint8_t *whole, struct entro_open_block *open)
{
    struct entro_cache *blocks = read->reader->blocks;
    struct entro_cache_entry *entry;
    enum entro_error error = ENTRO_OK;
    *open = (struct entro_open_block){0};
    if (read->keeps_blocks)
        whole = NULL;
    switch (entro_cache_claim(blocks, plane->first_block + block, &entry, &error)) {
    case ENTRO_CACHE_READY:
        open->entry = entry;
        open->bytes = entro_cache_value(entry);
        return ENTRO_OK;
    case ENTRO_CACHE_MINE:
        return make_block(read, stream, plane, block, whole, entry, open);
    case ENTRO_CACHE_FAILED:
        break;
    }
    return entro_fail(read->message, error, "block %llu of stream %u: %s (reported before)",
                      (unsigned long long)block, stream, entro_error_name(error));
}

void entro_block_close(struct entro_read *read, struct entro_open_block *open, size_t n_read)
{
    if (open->entry != NULL)
        entro_cache_release_read(read->reader->blocks, open->entry, n_read);
    open->entry = NULL;
}

/*
 * Bytes begin..begin+n of a block alone, where they are few and nobody has asked for another part of it
 * lately. False where not, or where it goes wrong: whoever decodes the block as a whole finds out why, once
 * for all, and reports it.
 */
static bool read_part(struct entro_read *read, const struct entro_plane *plane, uint64_t block, size_t begin,
                      size_t n, uint8_t *target)
{
    struct entro_reader *reader = read->reader;
    size_t block_size = entro_plane_block_size(plane, block);
    if (!entro_read_wants_part(read, n, block_size) ||
        !entro_cache_touch(reader->blocks, plane->first_block + block, n, block_size) ||
        entro_image_decode_range(reader->image, plane, block, begin, n, target, read->workspace->decoder,
                                 NULL) != ENTRO_OK)
        return false;
    entro_count(&reader->stats.blocks_partial, 1);
    entro_count(&reader->stats.bytes_partial, n);
    return true;
}

/* Bytes offset..offset+size of a plane. Blocks that are wanted as a whole are decoded straight to the target.
 */
static enum entro_error read_plane(struct entro_read *read, uint32_t stream, const struct entro_plane *plane,
                                   uint64_t offset, size_t size, uint8_t *target)
{
    while (size > 0) {
        uint64_t block = offset / plane->block_bytes;
        size_t begin = (size_t)(offset % plane->block_bytes);
        size_t block_size = entro_plane_block_size(plane, block);
        size_t n = block_size - begin < size ? block_size - begin : size;
        assert(target != NULL);
        if (!read_part(read, plane, block, begin, n, target)) {
            struct entro_open_block open;
            enum entro_error error =
                entro_block_open(read, stream, plane, block, n == block_size ? target : NULL, &open);
            if (error != ENTRO_OK)
                return error;
            assert(open.bytes != NULL);
            if (open.bytes != target)
                memcpy(target, open.bytes + begin, n);
            entro_block_close(read, &open, n);
        }
        target += n;
        offset += n;
        size -= n;
    }
    return ENTRO_OK;
}

/*
 * Records first..first+n_records of a stream of several planes (they fit a piece), of which bytes
 * skip..skip+size are wanted. Whole records are joined straight into the target; a record that is cut by the
 * range goes through a buffer of its own.
 */
static enum entro_error read_records(struct entro_read *read, uint32_t stream, uint64_t first,
                                     size_t n_records, size_t skip, size_t size, uint8_t *target)
{
    const struct entro_stream *facts = entro_image_stream(read->reader->image, stream);
    const struct entro_layout *layout = facts->layout;
    const uint8_t *planes[ENTRO_MAX_FIELDS];
    uint8_t *room = read->workspace->planes;
    for (unsigned i = 0; i < layout->n_fields; i++) {
        size_t field_bytes = layout->field_bytes[i];
        enum entro_error error =
            read_plane(read, stream, &facts->planes[i], first * field_bytes, n_records * field_bytes, room);
        if (error != ENTRO_OK)
            return error;
        planes[i] = room;
        room += n_records * field_bytes;
    }
    size_t record_bytes = layout->record_bytes;
    uint8_t record[ENTRO_LAYOUT_MAX_BYTES];
    while (size > 0) {
        size_t n_whole = skip == 0 ? size / record_bytes : 0;
        size_t n, n_joined;
        if (n_whole > 0) {
            n_joined = n_whole;
            n = n_whole * record_bytes;
            entro_layout_join(layout, planes, n_joined, target);
        } else {
            n_joined = 1;
            n = record_bytes - skip < size ? record_bytes - skip : size;
            entro_layout_join(layout, planes, 1, record);
            memcpy(target, record + skip, n);
            skip = 0;
        }
        for (unsigned i = 0; i < layout->n_fields; i++)
            planes[i] += n_joined * layout->field_bytes[i];
        target += n;
        size -= n;
    }
    return ENTRO_OK;
}

/*
 * The largest power of two of records of which no plane takes more than a block (and all fit a piece): planes
 * whose fields are powers of two then have whole blocks in it, or blocks have whole runs.
 */
static size_t records_of_piece(const struct entro_stream *stream)
{
    const struct entro_layout *layout = stream->layout;
    size_t n_records = 1;
    while (2 * n_records * layout->record_bytes <= ENTRO_PIECE_BYTES) {
        for (unsigned i = 0; i < layout->n_fields; i++)
            if (2 * n_records * layout->field_bytes[i] > stream->planes[i].block_bytes)
                return n_records;
        n_records *= 2;
    }
    return n_records;
}

size_t entro_stream_piece(const struct entro_stream *stream, uint64_t offset)
{
    size_t piece_bytes = entro_stream_is_plain(stream)
                             ? stream->planes[0].block_bytes
                             : records_of_piece(stream) * stream->layout->record_bytes;
    return piece_bytes - (size_t)(offset % piece_bytes);
}

enum entro_error entro_read_stream(struct entro_read *read, uint32_t stream, uint64_t offset, size_t size,
                                   uint8_t *target)
{
    const struct entro_stream *facts = entro_image_stream(read->reader->image, stream);
    if (entro_stream_is_plain(facts))
        return read_plane(read, stream, &facts->planes[0], offset, size, target);
    size_t record_bytes = facts->layout->record_bytes;
    size_t n_records = records_of_piece(facts);
    while (size > 0) {
        uint64_t first = offset / record_bytes;
        size_t skip = (size_t)(offset % record_bytes);
        size_t n_to_edge = n_records - (size_t)(first % n_records); /* pieces are aligned */
        size_t n_wanted = (skip + size - 1) / record_bytes + 1;
        size_t n = n_wanted < n_to_edge ? n_wanted : n_to_edge;
        size_t n_bytes = n * record_bytes - skip < size ? n * record_bytes - skip : size;
        enum entro_error error = read_records(read, stream, first, n, skip, n_bytes, target);
        if (error != ENTRO_OK)
            return error;
        target += n_bytes;
        offset += n_bytes;
        size -= n_bytes;
    }
    return ENTRO_OK;
}

void entro_stream_warm(struct entro_read *read, uint32_t stream, uint64_t offset, size_t size)
{
    const struct entro_stream *facts = entro_image_stream(read->reader->image, stream);
    const struct entro_layout *layout = facts->layout;
    uint64_t first = offset / layout->record_bytes, last = (offset + size - 1) / layout->record_bytes;
    for (unsigned i = 0; i < layout->n_fields; i++) {
        const struct entro_plane *plane = &facts->planes[i];
        uint64_t block = first * layout->field_bytes[i] / plane->block_bytes;
        uint64_t end = ((last + 1) * layout->field_bytes[i] - 1) / plane->block_bytes;
        for (; block <= end; block++) {
            struct entro_open_block open;
            if (entro_block_open(read, stream, plane, block, NULL, &open) != ENTRO_OK)
                return; /* reported; who asks for it gets the error */
            entro_block_close(read, &open, 0);
        }
    }
}

void entro_stream_will_need(struct entro_read *read, uint32_t stream, uint64_t offset, size_t size)
{
    const struct entro_image *image = read->reader->image;
    const struct entro_stream *facts = entro_image_stream(image, stream);
    if (!entro_stream_is_plain(facts))
        return;
    const struct entro_plane *plane = &facts->planes[0];
    uint64_t first = offset / plane->block_bytes, last = (offset + size - 1) / plane->block_bytes;
    entro_image_will_need(image, plane, first, last - first + 1);
}

void entro_stream_expect(struct entro_read *read, uint32_t stream, uint64_t offset)
{
    const struct entro_image *image = read->reader->image;
    const struct entro_stream *facts = entro_image_stream(image, stream);
    if (entro_stream_is_plain(facts))
        entro_image_expect(image, &facts->planes[0], offset / facts->planes[0].block_bytes,
                           read->workspace->decoder);
}
