/* Stored bytes of an image's tensors; see coded_source.h. */
#include "runner/coded_source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/bytes.h"
#include "codec/checksum.h"
#include "codec/codebook.h"
#include "codec/image.h"
#include "runner/coded_plan.h"

struct entro_coded_source {
    struct entro_image *image;
    int fd;
};

enum entro_error entro_coded_source_open(struct entro_coded_source **out, const char *path,
                                         struct entro_message *message)
{
    struct entro_coded_source *source = calloc(1, sizeof *source);
    *out = NULL;
    if (source == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory to open %s", path);
    enum entro_error error = entro_image_open(&source->image, path, message);
    if (error != ENTRO_OK)
        goto free_source;
    /* Another one than the image's own: that it is the same file, the blocks' checksums show. */
    source->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (source->fd < 0) {
        error = entro_fail(message, ENTRO_ERROR_IO, "%s: %s", path, strerror(errno));
        goto close_image;
    }
    *out = source;
    return ENTRO_OK;
close_image:
    entro_image_close(source->image);
free_source:
    free(source);
    return error;
}

void entro_coded_source_close(struct entro_coded_source *source)
{
    if (source == NULL)
        return;
    close(source->fd);
    entro_image_close(source->image);
    free(source);
}

/* Tensors are sorted by name. */
static const struct entro_tensor *find_tensor(const struct entro_image *image, const char *name)
{
    uint32_t low = 0, high = entro_image_info(image)->n_tensors;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct entro_tensor *tensor = entro_image_tensor(image, middle);
        int order = strcmp(name, tensor->name);
        if (order == 0)
            return tensor;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* Bytes as they are, or words of bytes, rotated as a whole or not at all. */
static bool is_joined_by_kernels(const struct entro_layout *layout)
{
    return layout->n_fields == layout->record_bytes && layout->record_bytes <= 8 &&
           (layout->rotate_bytes == 0 || layout->rotate_bytes == layout->record_bytes);
}

static enum entro_error make_plan(struct entro_cuda_plan *plan, const struct entro_image *image,
                                  uint32_t codebook)
{
    uint8_t lengths[ENTRO_N_SYMBOLS];
    entro_codebook_unpack(entro_image_codebook(image, codebook), lengths);
    return entro_coded_plan(plan, lengths);
}

/* Plans 2i and 2i + 1 are plane i's, and its root's. */
static enum entro_error add_plane(struct entro_coded_stream *self, const struct entro_plane *plane,
                                  uint32_t number, uint64_t target)
{
    const struct entro_image *image = self->source->image;
    struct entro_cuda_coded *coded = &self->coded;
    enum entro_error error = ENTRO_OK;
    if (plane->codebook != ENTRO_NONE)
        error = make_plan(&self->plans[2 * number], image, plane->codebook);
    coded->has_root |= plane->root_codebook != ENTRO_NONE;
    if (error == ENTRO_OK && plane->root_codebook != ENTRO_NONE)
        error = make_plan(&self->plans[2 * number + 1], image, plane->root_codebook);
    for (uint64_t i = 0; i < plane->n_blocks && error == ENTRO_OK; i++) {
        struct entro_block_place place = entro_image_block_place(image, plane, i);
        struct entro_cuda_block *block = &self->blocks[coded->n_blocks];
        *block = (struct entro_cuda_block){
            .source = coded->stored_bytes,
            .target = target,
            .stored_bytes = place.stored_bytes,
            .size_bytes = entro_plane_block_size(plane, i),
            .method = place.method,
            .plan = 2 * number,
            .root_plan = plane->root_codebook != ENTRO_NONE ? 2 * number + 1 : ENTRO_CUDA_NO_PLAN};
        self->offsets[coded->n_blocks] = place.offset;
        self->checksums[coded->n_blocks++] = place.xxh3_64;
        coded->stored_bytes += place.stored_bytes;
        target += block->size_bytes;
        if (block->size_bytes > coded->max_size_bytes)
            coded->max_size_bytes = block->size_bytes;
        if (block->method == ENTRO_CUDA_CODED && block->stored_bytes > coded->max_stored_bytes)
            coded->max_stored_bytes = block->stored_bytes;
    }
    return error;
}

enum entro_error entro_coded_stream_create(struct entro_coded_stream **out,
                                           const struct entro_coded_source *source, const char *tensor_name,
                                           struct entro_message *message)
{
    *out = NULL;
    const struct entro_tensor *tensor = find_tensor(source->image, tensor_name);
    if (tensor == NULL)
        return entro_fail(message, ENTRO_ERROR_NOT_FOUND, "the image has no tensor \"%s\"", tensor_name);
    const struct entro_stream *stream = entro_image_stream(source->image, tensor->stream);
    const struct entro_layout *layout = stream->layout;
    if (!is_joined_by_kernels(layout))
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "tensor \"%s\": a layout for the CPU alone",
                          tensor_name);
    uint64_t n_blocks = 0;
    for (unsigned i = 0; i < layout->n_fields; i++)
        n_blocks += stream->planes[i].n_blocks;
    if (n_blocks > UINT32_MAX / 2)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "tensor \"%s\": too many blocks", tensor_name);

    enum entro_error error = ENTRO_ERROR_NO_MEMORY;
    struct entro_coded_stream *self = calloc(1, sizeof *self);
    if (self == NULL)
        goto no_memory;
    self->source = source;
    self->plans = calloc(2u * layout->n_fields, sizeof *self->plans);
    self->blocks = calloc(n_blocks + 1, sizeof *self->blocks);
    self->offsets = calloc(n_blocks + 1, sizeof *self->offsets);
    self->checksums = calloc(n_blocks + 1, sizeof *self->checksums);
    if (self->plans == NULL || self->blocks == NULL || self->offsets == NULL || self->checksums == NULL)
        goto no_memory;
    memcpy(self->xxh3_128, stream->xxh3_128, sizeof self->xxh3_128);
    self->coded = (struct entro_cuda_coded){.plans = self->plans,
                                            .blocks = self->blocks,
                                            .n_plans = 2u * layout->n_fields,
                                            .size_bytes = stream->size_bytes,
                                            .record_bytes = layout->record_bytes,
                                            .is_rotated = layout->rotate_bytes != 0,
                                            .max_size_bytes = 1,
                                            .max_stored_bytes = 1};
    uint64_t target = 0;
    for (unsigned i = 0; i < layout->n_fields; i++) {
        error = add_plane(self, &stream->planes[i], i, target);
        if (error == ENTRO_ERROR_NO_MEMORY)
            goto no_memory;
        if (error != ENTRO_OK) {
            entro_fail(message, error, "tensor \"%s\": a codebook of field %u makes no code", tensor_name, i);
            goto free_stream;
        }
        target += stream->planes[i].size_bytes;
    }
    *out = self;
    return ENTRO_OK;
no_memory:
    error = entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                       "tensor \"%s\": no memory for its list of %" PRIu64 " blocks", tensor_name, n_blocks);
free_stream:
    entro_coded_stream_free(self);
    return error;
}

void entro_coded_stream_free(struct entro_coded_stream *stream)
{
    if (stream == NULL)
        return;
    free(stream->plans);
    free(stream->blocks);
    free(stream->offsets);
    free(stream->checksums);
    free(stream);
}

/* Block `i` to `to`. */
static enum entro_error read_block(const struct entro_coded_stream *self, uint32_t i, uint8_t *to,
                                   struct entro_message *message)
{
    size_t n = self->blocks[i].stored_bytes;
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(self->source->fd, to + done, n - done, (off_t)(self->offsets[i] + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return entro_fail(message, ENTRO_ERROR_IO, "reading the image at offset %" PRIu64 ": %s",
                              self->offsets[i] + done, got < 0 ? strerror(errno) : "it has become shorter");
        done += (size_t)got;
    }
    uint64_t found = entro_checksum64(to, n);
    if (found != self->checksums[i])
        return entro_fail(message, ENTRO_ERROR_CHECKSUM,
                          "checksum mismatch of %zu bytes at offset %" PRIu64
                          " of the image: expected %016" PRIx64 ", found %016" PRIx64,
                          n, self->offsets[i], self->checksums[i], found);
    return ENTRO_OK;
}

/* The block that has byte `offset` < stored_bytes. */
static uint32_t block_at(const struct entro_coded_stream *self, uint64_t offset)
{
    uint32_t low = 0, high = self->coded.n_blocks;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (self->blocks[middle].source <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

enum entro_error entro_coded_stream_read(const struct entro_coded_stream *self, uint64_t offset, size_t n,
                                         uint8_t *to, struct entro_message *message)
{
    if (offset > self->coded.stored_bytes || n > self->coded.stored_bytes - offset)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "no such stored bytes");
    if (n == 0)
        return ENTRO_OK;
    enum entro_error error = ENTRO_OK;
    uint8_t *part = malloc(ENTRO_BLOCK_MAX_BYTES); /* a block of which only some is wanted */
    if (part == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for a block");
    uint64_t end = offset + n;
    for (uint32_t i = block_at(self, offset); offset < end && error == ENTRO_OK; i++) {
        uint64_t from = self->blocks[i].source, to_end = from + self->blocks[i].stored_bytes;
        size_t wanted = (size_t)((to_end < end ? to_end : end) - offset);
        bool is_whole = wanted == self->blocks[i].stored_bytes;
        error = read_block(self, i, is_whole ? to : part, message);
        if (error == ENTRO_OK && !is_whole)
            memcpy(to, part + (offset - from), wanted);
        to += wanted;
        offset += wanted;
    }
    free(part);
    return error;
}

_Static_assert(sizeof(struct entro_cuda_message) == sizeof(struct entro_message),
               "one is a copy of the other");

int entro_coded_fill(const void *stream, uint64_t offset, size_t n, void *to,
                     struct entro_cuda_message *message)
{
    struct entro_message own = {""};
    enum entro_error error = entro_coded_stream_read(stream, offset, n, to, &own);
    memcpy(message->text, own.text, sizeof message->text);
    return error != ENTRO_OK;
}
