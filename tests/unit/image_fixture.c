/* See image_fixture.h. Anything that goes wrong with the fixture itself fails the test. */
#include "image_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>
#include <xxhash.h>

#include "codec/format.h"

void fixture_folder_create(struct fixture_folder *folder)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder->path, sizeof folder->path, "%s/entrofs-test-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->image, sizeof folder->image, "%s/image.entrofs", folder->path);
}

static unsigned for_each_entry(const struct fixture_folder *folder, bool remove_it)
{
    unsigned n_entries = 0;
    DIR *stream = opendir(folder->path);
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        n_entries++;
        if (remove_it)
            assert_return_code(unlinkat(dirfd(stream), entry->d_name, 0), 0);
    }
    closedir(stream);
    return n_entries;
}

void fixture_folder_remove(struct fixture_folder *folder)
{
    for_each_entry(folder, true);
    assert_return_code(rmdir(folder->path), 0);
}

unsigned fixture_folder_entries(const struct fixture_folder *folder)
{
    return for_each_entry(folder, false);
}

uint8_t *fixture_load(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_return_code(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

void fixture_store(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_return_code(fclose(file), 0);
}

enum entro_error fixture_read_stream(const struct entro_image *image, const struct entro_stream *stream,
                                     uint8_t *target, struct entro_message *message)
{
    const struct entro_layout *layout = stream->layout;
    struct entro_decoder *decoder = entro_decoder_create();
    assert_non_null(decoder);
    enum entro_error error = ENTRO_OK;
    uint8_t *planes[ENTRO_MAX_FIELDS] = {NULL};
    for (unsigned i = 0; i < layout->n_fields; i++) {
        const struct entro_plane *plane = &stream->planes[i];
        /* Exactly as large as the plane: a byte too many is then the sanitizer's to see. */
        planes[i] = malloc(plane->size_bytes > 0 ? plane->size_bytes : 1);
        assert_non_null(planes[i]);
        for (uint64_t block = 0; error == ENTRO_OK && block < plane->n_blocks; block++)
            error = entro_image_decode_block(image, plane, block, planes[i] + block * plane->block_bytes,
                                             decoder, message);
    }
    if (error == ENTRO_OK)
        entro_layout_join(layout, (const uint8_t *const *)planes, stream->size_bytes / layout->record_bytes,
                          target);
    for (unsigned i = 0; i < layout->n_fields; i++)
        free(planes[i]);
    entro_decoder_free(decoder);
    return error;
}

void fixture_reseal(uint8_t *bytes, size_t size)
{
    struct entro_disk_superblock superblock;
    assert_true(size >= sizeof superblock);
    memcpy(&superblock, bytes, sizeof superblock);
    if (superblock.index_offset <= size && superblock.index_bytes <= size - superblock.index_offset) {
        XXH128_canonical_t digest;
        XXH128_canonicalFromHash(&digest,
                                 XXH3_128bits(bytes + superblock.index_offset, superblock.index_bytes));
        memcpy(superblock.index_xxh3_128, digest.digest, sizeof superblock.index_xxh3_128);
    }
    memcpy(bytes, &superblock, sizeof superblock);
    superblock.xxh3_64 = XXH3_64bits(bytes, offsetof(struct entro_disk_superblock, xxh3_64));
    memcpy(bytes, &superblock, sizeof superblock);
}
