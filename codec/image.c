/*
 * An image opened for reading; see image.h. The index is read into memory and validated by image_index.c;
 * blocks are decoded from a mapping (image_map.c) or read with pread, so that an image that shrinks or fails
 * under us is an error and not a signal.
 */
#include "codec/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "codec/block.h"
#include "codec/bytes.h"
#include "codec/image_index.h"
#include "codec/image_map.h"
#include "codec/image_rules.h"
#include "codec/plane_code.h"

struct entro_image {
    int fd;
    struct entro_image_info info;
    uint8_t *index_bytes;
    struct entro_index index;
    struct entro_image_map *map;           /* owned */
    _Atomic(struct entro_pivot *) *pivots; /* one a plane, made when first needed by whoever comes first */
};

struct entro_decoder {
    struct entro_pivot_scratch *scratch;
    uint8_t stored[ENTRO_BLOCK_MAX_BYTES + ENTRO_READ_SLOP_BYTES];
};

static enum entro_error read_at(int fd, uint8_t *target, size_t size, uint64_t offset,
                                struct entro_message *message)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, target + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return entro_fail(message, ENTRO_ERROR_IO,
                              "cannot read %zu bytes at offset %" PRIu64 " of the image: %s", size, offset,
                              strerror(errno));
        if (n == 0)
            return entro_fail(message, ENTRO_ERROR_IO,
                              "the image ends at offset %" PRIu64 ", expected %zu bytes at %" PRIu64
                              ": it has been truncated",
                              offset + done, size, offset);
        done += (size_t)n;
    }
    return ENTRO_OK;
}

static enum entro_error check_superblock(const struct entro_disk_superblock *superblock, const uint8_t *bytes,
                                         uint64_t file_bytes, struct entro_message *message)
{
    size_t checked = offsetof(struct entro_disk_superblock, xxh3_64);
    uint64_t found = XXH3_64bits(bytes, checked);
    if (found != superblock->xxh3_64)
        return entro_fail(message, ENTRO_ERROR_CHECKSUM,
                          "checksum mismatch in the superblock: expected %016" PRIx64 ", found %016" PRIx64,
                          superblock->xxh3_64, found);
    if (superblock->version != ENTRO_FORMAT_VERSION)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "format version %" PRIu32 " is not supported, only %d is", superblock->version,
                          ENTRO_FORMAT_VERSION);
    if (superblock->incompatible != 0)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "the image needs features that this version does not know (bits %016" PRIx64 ")",
                          superblock->incompatible);
    if (superblock->superblock_bytes != ENTRO_SUPERBLOCK_BYTES)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "the superblock says that it has %" PRIu32 " bytes, expected %d",
                          superblock->superblock_bytes, ENTRO_SUPERBLOCK_BYTES);
    if (superblock->image_bytes != file_bytes)
        return entro_fail(
            message, ENTRO_ERROR_FORMAT, "the file has %" PRIu64 " bytes, expected %" PRIu64 ": %s",
            file_bytes, superblock->image_bytes,
            file_bytes < superblock->image_bytes ? "it looks truncated" : "something follows the image");
    uint64_t end;
    if (superblock->index_offset < ENTRO_SUPERBLOCK_BYTES ||
        superblock->image_bytes > ENTRO_IMAGE_MAX_BYTES ||
        !entro_add_u64(superblock->index_offset, superblock->index_bytes, &end) ||
        end != superblock->image_bytes)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "the index lies at %" PRIu64 " and has %" PRIu64
                          " bytes, which does not fit an image of %" PRIu64,
                          superblock->index_offset, superblock->index_bytes, superblock->image_bytes);
    if (superblock->index_bytes > ENTRO_INDEX_MAX_BYTES)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "the index has %" PRIu64 " bytes, expected at most %" PRIu64,
                          superblock->index_bytes, ENTRO_INDEX_MAX_BYTES);
    if (superblock->source < ENTRO_SOURCE_SAFETENSORS || superblock->source > ENTRO_SOURCE_NPY)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "unknown kind of source %" PRIu32, superblock->source);
    static const uint8_t zero[sizeof superblock->zero];
    if (superblock->reserved != 0 || memcmp(superblock->zero, zero, sizeof zero) != 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "reserved bytes of the superblock are not 0");
    return ENTRO_OK;
}

static enum entro_error read_superblock(int fd, uint64_t file_bytes, struct entro_disk_superblock *superblock,
                                        struct entro_message *message)
{
    uint8_t bytes[ENTRO_SUPERBLOCK_BYTES];
    size_t there = file_bytes < sizeof bytes ? (size_t)file_bytes : sizeof bytes;
    enum entro_error error = read_at(fd, bytes, there, 0, message);
    if (error != ENTRO_OK)
        return error;
    if (there < sizeof superblock->magic || memcmp(bytes, ENTRO_MAGIC, sizeof superblock->magic) != 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "not an entrofs image (%" PRIu64 " bytes%s)",
                          file_bytes,
                          there == 0 ? ", the file is empty" : ", the first 8 are not those of one");
    if (there < sizeof bytes)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "the file has %" PRIu64 " bytes, expected at least %d: it looks truncated",
                          file_bytes, ENTRO_SUPERBLOCK_BYTES);
    memcpy(superblock, bytes, sizeof bytes);
    return check_superblock(superblock, bytes, file_bytes, message);
}

static enum entro_error read_index(struct entro_image *image, const struct entro_disk_superblock *superblock,
                                   struct entro_message *message)
{
    /* The size is that of a file that is really there: no memory is promised to an invented number. */
    size_t size = superblock->index_bytes;
    image->index_bytes = malloc(size > 0 ? size : 1);
    if (image->index_bytes == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the index of the image (%zu bytes)",
                          size);
    enum entro_error error = read_at(image->fd, image->index_bytes, size, superblock->index_offset, message);
    if (error != ENTRO_OK)
        return error;
    XXH128_canonical_t found;
    XXH128_canonicalFromHash(&found, XXH3_128bits(image->index_bytes, size));
    if (memcmp(found.digest, superblock->index_xxh3_128, sizeof found.digest) != 0)
        return entro_fail(message, ENTRO_ERROR_CHECKSUM,
                          "checksum mismatch in the index (%zu bytes at offset %" PRIu64 ")", size,
                          superblock->index_offset);
    error = entro_index_parse(&image->index, superblock, image->index_bytes, message);
    if (error != ENTRO_OK)
        return error;

    size_t n_planes = image->index.counts[ENTRO_TABLE_PLANES];
    image->pivots = calloc(n_planes + 1, sizeof *image->pivots);
    if (image->pivots == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for %zu planes", n_planes);
    return ENTRO_OK;
}

static enum entro_error open_file(struct entro_image *image, const char *path, struct entro_message *message)
{
    /* O_NONBLOCK: a pipe by that name must not keep us waiting. */
    image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (image->fd < 0)
        return entro_fail(message, ENTRO_ERROR_IO, "%s", strerror(errno));
    struct stat status;
    if (fstat(image->fd, &status) != 0)
        return entro_fail(message, ENTRO_ERROR_IO, "%s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "not a regular file");

    struct entro_disk_superblock superblock;
    enum entro_error error = read_superblock(image->fd, (uint64_t)status.st_size, &superblock, message);
    if (error == ENTRO_OK)
        error = read_index(image, &superblock, message);
    if (error != ENTRO_OK)
        return error;
    struct entro_image_info *info = &image->info;
    memcpy(info->id, superblock.index_xxh3_128, sizeof info->id);
    info->image_bytes = superblock.image_bytes;
    info->index_bytes = superblock.index_bytes;
    info->source = (enum entro_source)superblock.source;
    info->version = superblock.version;
    info->n_files = (uint32_t)image->index.counts[ENTRO_TABLE_FILES];
    info->n_tensors = (uint32_t)image->index.counts[ENTRO_TABLE_TENSORS];
    info->n_streams = (uint32_t)image->index.counts[ENTRO_TABLE_STREAMS];
    info->n_blocks = image->index.counts[ENTRO_TABLE_BLOCKS];
    info->mtime_seconds = status.st_mtim.tv_sec;
    info->mtime_nanoseconds = status.st_mtim.tv_nsec;
    return ENTRO_OK;
}

enum entro_error entro_image_open(struct entro_image **out, const char *path, struct entro_message *message)
{
    *out = NULL;
    struct entro_image *image = calloc(1, sizeof *image);
    if (image == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
    image->fd = -1;
    struct entro_message detail = {""};
    image->map = calloc(1, sizeof *image->map);
    enum entro_error error = ENTRO_OK;
    if (image->map == NULL)
        error = entro_fail(&detail, ENTRO_ERROR_NO_MEMORY, "out of memory");
    if (error == ENTRO_OK)
        error = open_file(image, path, &detail);
    if (error != ENTRO_OK) {
        entro_image_close(image);
        return entro_fail(message, error, "%s: %s", path, detail.text);
    }
    *out = image;
    return ENTRO_OK;
}

void entro_image_close(struct entro_image *image)
{
    if (image == NULL)
        return;
    for (uint64_t i = 0; image->pivots != NULL && i < image->index.counts[ENTRO_TABLE_PLANES]; i++)
        entro_pivot_free(atomic_load_explicit(&image->pivots[i], memory_order_relaxed));
    free(image->pivots);
    entro_index_free(&image->index);
    free(image->index_bytes);
    if (image->map != NULL)
        entro_image_map_close(image->map);
    free(image->map);
    if (image->fd >= 0)
        close(image->fd);
    free(image);
}

bool entro_image_map(struct entro_image *image)
{
    image->map->is_read = entro_image_map_is_safe(image->fd) &&
                          entro_image_map_open(image->map, image->fd, image->info.image_bytes);
    return image->map->is_read;
}

enum entro_error entro_image_lock(struct entro_image *image, struct entro_message *message)
{
    if (!entro_image_map_open(image->map, image->fd, image->info.image_bytes))
        return entro_fail(message, ENTRO_ERROR_IO, "the image cannot be mapped: %s", strerror(errno));
    return entro_image_map_lock(image->map, message);
}

const struct entro_image_info *entro_image_info(const struct entro_image *image)
{
    return &image->info;
}

const struct entro_file *entro_image_file(const struct entro_image *image, uint32_t file)
{
    return &image->index.files[file];
}

const struct entro_tensor *entro_image_tensor(const struct entro_image *image, uint32_t tensor)
{
    return &image->index.tensors[tensor];
}

const struct entro_stream *entro_image_stream(const struct entro_image *image, uint32_t stream)
{
    return &image->index.streams[stream];
}

struct entro_decoder *entro_decoder_create(void)
{
    struct entro_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL)
        return NULL;
    decoder->scratch = entro_pivot_scratch_create(NULL);
    if (decoder->scratch == NULL) {
        free(decoder);
        return NULL;
    }
    return decoder;
}

void entro_decoder_free(struct entro_decoder *decoder)
{
    if (decoder == NULL)
        return;
    entro_pivot_scratch_free(decoder->scratch);
    free(decoder);
}

const uint8_t *entro_image_codebook(const struct entro_image *image, uint32_t codebook)
{
    return image->index.tables[ENTRO_TABLE_CODEBOOKS] + (uint64_t)codebook * ENTRO_CODEBOOK_BYTES;
}

/* The steps of a plane's codebooks, made by the first who needs them; of several who make them at once, one
 * wins and the others drop theirs. */
static enum entro_error pivot_of_plane(const struct entro_image *image, const struct entro_plane *plane,
                                       const struct entro_pivot **out)
{
    _Atomic(struct entro_pivot *) *place = &image->pivots[plane - image->index.planes];
    struct entro_pivot *pivot = atomic_load_explicit(place, memory_order_acquire);
    if (pivot == NULL) {
        struct entro_pivot *made;
        enum entro_error error = entro_codebook_plan(
            &made, entro_image_codebook(image, plane->codebook),
            plane->root_codebook != ENTRO_NONE ? entro_image_codebook(image, plane->root_codebook) : NULL);
        if (error != ENTRO_OK)
            return error;
        if (atomic_compare_exchange_strong_explicit(place, &pivot, made, memory_order_acq_rel,
                                                    memory_order_acquire))
            pivot = made;
        else
            entro_pivot_free(made);
    }
    *out = pivot;
    return ENTRO_OK;
}

uint32_t entro_plane_block_size(const struct entro_plane *plane, uint64_t block)
{
    uint64_t left = plane->size_bytes - block * plane->block_bytes;
    return left < plane->block_bytes ? (uint32_t)left : plane->block_bytes;
}

struct entro_block_place entro_image_block_place(const struct entro_image *image,
                                                 const struct entro_plane *plane, uint64_t block)
{
    struct entro_disk_block disk = entro_index_block(&image->index, plane->first_block + block);
    return (struct entro_block_place){
        .offset = ENTRO_BLOCK_OFFSET(disk.place),
        .stored_bytes = ENTRO_BLOCK_SIZE(disk.place),
        .method = (enum entro_method)ENTRO_BLOCK_METHOD(disk.place),
        .xxh3_64 = disk.xxh3_64,
    };
}

/* Blocks lie in the image as they were made; what is further apart than this is not one range. */
#define MAX_POPULATED_BYTES ((uint64_t)4 << 20)

void entro_image_will_need(const struct entro_image *image, const struct entro_plane *plane, uint64_t block,
                           uint64_t n_blocks)
{
    if (!image->map->is_read || n_blocks == 0)
        return;
    struct entro_block_place first = entro_image_block_place(image, plane, block);
    struct entro_block_place last = entro_image_block_place(image, plane, block + n_blocks - 1);
    uint64_t end = last.offset + last.stored_bytes;
    if (first.offset < end && end - first.offset <= MAX_POPULATED_BYTES)
        entro_image_map_populate(image->map, first.offset, end - first.offset);
}

void entro_image_expect(const struct entro_image *image, const struct entro_plane *plane, uint64_t block,
                        struct entro_decoder *decoder)
{
    struct entro_block_place place = entro_image_block_place(image, plane, block);
    if (entro_image_map_has(image->map, place.offset, place.stored_bytes))
        entro_pivot_prefetch(decoder->scratch, image->map->bytes + place.offset, place.stored_bytes);
}

enum entro_error entro_image_decode_block(const struct entro_image *image, const struct entro_plane *plane,
                                          uint64_t block, uint8_t *target, struct entro_decoder *decoder,
                                          struct entro_message *message)
{
    return entro_image_decode_range(image, plane, block, 0, entro_plane_block_size(plane, block), target,
                                    decoder, message);
}

enum entro_error entro_image_decode_range(const struct entro_image *image, const struct entro_plane *plane,
                                          uint64_t block, size_t first, size_t n, uint8_t *target,
                                          struct entro_decoder *decoder, struct entro_message *message)
{
    struct entro_block_place place = entro_image_block_place(image, plane, block);
    const struct entro_block stored = {
        .method = place.method, .stored_bytes = place.stored_bytes, .xxh3_64 = place.xxh3_64};
    uint32_t size = entro_plane_block_size(plane, block);
    const struct entro_pivot *pivot = NULL;
    enum entro_error error;
    if (place.method == ENTRO_METHOD_CODED) {
        error = pivot_of_plane(image, plane, &pivot);
        if (error != ENTRO_OK)
            return entro_fail(message, error, "codebook %" PRIu32 " of the image: %s", plane->codebook,
                              entro_error_name(error));
    }
    /* To map the pages of one block, and to let go of them again, costs more than their copy: blocks that are
     * wanted as a whole are read one after another, parts here and there. */
    bool is_worth_a_map = n == size || image->map->is_locked;
    if (is_worth_a_map && entro_image_map_has(image->map, place.offset, place.stored_bytes) &&
        entro_image_map_decode(image->map, pivot, stored, place.offset, size, first, n, target,
                               decoder->scratch) == ENTRO_OK)
        return ENTRO_OK;
    /* Not mapped, or something is wrong: what pread finds is what counts. */
    error = read_at(image->fd, decoder->stored, place.stored_bytes, place.offset, message);
    if (error != ENTRO_OK)
        return error;
    error =
        entro_block_decode_range(pivot, stored, decoder->stored, size, first, n, target, decoder->scratch);
    if (error == ENTRO_ERROR_CHECKSUM)
        return entro_fail(message, error,
                          "checksum mismatch in block %" PRIu64 " of the image (%" PRIu32
                          " bytes at offset %" PRIu64 "): expected %016" PRIx64 ", found %016" PRIx64,
                          plane->first_block + block, place.stored_bytes, place.offset, place.xxh3_64,
                          (uint64_t)XXH3_64bits(decoder->stored, place.stored_bytes));
    if (error != ENTRO_OK)
        return entro_fail(
            message, error, "block %" PRIu64 " of the image (%" PRIu32 " bytes at offset %" PRIu64 "): %s",
            plane->first_block + block, place.stored_bytes, place.offset, entro_error_name(error));
    return ENTRO_OK;
}
