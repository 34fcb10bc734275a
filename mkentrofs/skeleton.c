/*
 * Cuts a model file into its tensors and the gaps between them; the gaps become one stream.
 */
#include "mkentrofs/skeleton.h"

#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"

struct gap {
    uint64_t skeleton_offset, file_offset, size_bytes;
};

struct skeleton {
    const struct entro_skeleton_file *file;
    size_t n_gaps;
    struct gap *gaps; /* none is empty */
    uint64_t size_bytes;
};

/* Bytes of the file that are in no tensor. */
static enum entro_error read_file(const struct entro_skeleton_file *file, uint64_t offset, size_t size_bytes,
                                  uint8_t *target, struct entro_message *message)
{
    if (file->input)
        return entro_input_read(file->input, offset, size_bytes, target, message);
    size_t from_header = 0;
    if (offset < file->header_size_bytes) {
        from_header = file->header_size_bytes - (size_t)offset;
        if (from_header > size_bytes)
            from_header = size_bytes;
        memcpy(target, file->header + offset, from_header);
    }
    memset(target + from_header, 0, size_bytes - from_header);
    return ENTRO_OK;
}

/* The gap that holds this byte of the skeleton: the last that does not start behind it. */
static size_t find_gap(const struct skeleton *skeleton, uint64_t offset)
{
    size_t low = 0, high = skeleton->n_gaps;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (skeleton->gaps[middle].skeleton_offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static enum entro_error produce(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                struct entro_message *message)
{
    const struct skeleton *skeleton = context;
    size_t i = find_gap(skeleton, offset);
    while (size_bytes > 0) {
        const struct gap *gap = &skeleton->gaps[i++];
        uint64_t skip = offset - gap->skeleton_offset;
        uint64_t left = gap->size_bytes - skip;
        size_t n = left < size_bytes ? (size_t)left : size_bytes;
        enum entro_error error = read_file(skeleton->file, gap->file_offset + skip, n, target, message);
        if (error)
            return error;
        offset += n;
        target += n;
        size_bytes -= n;
    }
    return ENTRO_OK;
}

/* Appends the gap from `start` to `end` and its extent (the stream's number comes later). */
static void add_gap(struct skeleton *skeleton, struct entro_extent *extents, uint32_t *n_extents,
                    uint64_t start, uint64_t end)
{
    if (start == end)
        return;
    skeleton->gaps[skeleton->n_gaps++] = (struct gap){
        .skeleton_offset = skeleton->size_bytes, .file_offset = start, .size_bytes = end - start};
    extents[(*n_extents)++] = (struct entro_extent){.kind = ENTRO_EXTENT_STREAM,
                                                    .reference = ENTRO_NONE,
                                                    .offset = skeleton->size_bytes,
                                                    .size_bytes = end - start};
    skeleton->size_bytes += end - start;
}

enum entro_error entro_skeleton_add(struct entro_writer *writer, const struct entro_skeleton_file *file,
                                    const char *name, const struct entro_extent *tensor_extents,
                                    struct entro_extent **extents, uint32_t *n_extents,
                                    struct entro_message *message)
{
    enum entro_error error;
    struct skeleton skeleton = {.file = file};
    uint32_t n = 0;
    if (file->n_places > UINT32_MAX / 2 - 1)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: too many tensors", name);
    skeleton.gaps = calloc(file->n_places + 1, sizeof *skeleton.gaps);
    struct entro_extent *all = calloc(2 * file->n_places + 1, sizeof *all);
    if (!skeleton.gaps || !all) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto fail;
    }
    uint64_t position = 0;
    for (size_t i = 0; i < file->n_places; i++) {
        struct entro_place place = file->places[i];
        if (place.offset < position || place.offset > file->size_bytes ||
            place.size_bytes > file->size_bytes - place.offset) {
            error = entro_fail(message, ENTRO_ERROR_FORMAT, "%s: tensors overlap or leave the file", name);
            goto fail;
        }
        add_gap(&skeleton, all, &n, position, place.offset);
        if (place.size_bytes)
            all[n++] = tensor_extents[i];
        position = place.offset + place.size_bytes;
    }
    add_gap(&skeleton, all, &n, position, file->size_bytes);
    if (skeleton.n_gaps) {
        struct entro_producer producer = {.context = &skeleton, .produce = produce};
        struct entro_stream_summary summary;
        error = entro_writer_add_stream(writer, name, skeleton.size_bytes, &entro_layout_bytes, &producer,
                                        &summary, message);
        if (error)
            goto fail;
        for (uint32_t i = 0; i < n; i++)
            if (all[i].reference == ENTRO_NONE)
                all[i].reference = summary.stream;
    }
    free(skeleton.gaps);
    *extents = all;
    *n_extents = n;
    return ENTRO_OK;

fail:
    free(skeleton.gaps);
    free(all);
    return error;
}
