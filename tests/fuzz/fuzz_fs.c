/*
 * Makes the names of a mount from an invented image whose checksums are right, finds each by its path, and
 * reads parts of each file.
 */
#include "fs/reader.h"
#include "tests/fuzz/fuzz_image_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A few bytes of input can stand for gigabytes of constant blocks, and for many files. */
#define READ_MAX_BYTES ((size_t)4 << 20)
#define CACHE_BYTES    100000

/* The reply must be all that was asked for or all that is left. */
static void read_part(struct entro_reader *reader, const struct entro_node *node, uint64_t offset,
                      size_t size)
{
    uint8_t *target = malloc(size); /* of its own, so that a sanitizer sees an overrun */
    size_t n_read;
    if (target != NULL && entro_reader_read(reader, node, offset, size, target, &n_read, NULL) == ENTRO_OK) {
        uint64_t left = offset < node->size_bytes ? node->size_bytes - offset : 0;
        if (n_read != (left < size ? left : size))
            abort();
    }
    free(target);
}

static size_t read_parts(struct entro_reader *reader, const struct entro_node *node)
{
    const size_t first = 100000, other = 3001;
    read_part(reader, node, 0, first);
    read_part(reader, node, node->size_bytes / 3, other);
    read_part(reader, node, node->size_bytes / 2 + 1, other);
    read_part(reader, node, node->size_bytes - (node->size_bytes < 1000 ? 0 : 1000), other);
    return first + 3 * other;
}

static void walk(const struct entro_namespace *names, struct entro_reader *reader)
{
    size_t n_asked = 0;
    for (uint64_t inode = 1; inode <= entro_namespace_last_inode(names) && n_asked < READ_MAX_BYTES;
         inode++) {
        const struct entro_node *node = entro_namespace_node(names, inode);
        if (node == NULL)
            continue;
        char path[2 * ENTRO_PATH_MAX_BYTES];
        entro_namespace_path(names, node, path, sizeof path);
        if (entro_namespace_find(names, path) != node)
            abort();
        if (!node->is_folder)
            n_asked += read_parts(reader, node);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct entro_namespace *names = NULL;
    struct entro_reader *reader = NULL;
    struct entro_message message;
    struct entro_image *image = open_input(data, size);
    if (image != NULL && entro_namespace_create(&names, image, &message) == ENTRO_OK &&
        entro_reader_create(&reader, names, CACHE_BYTES, (struct entro_report){0}) == ENTRO_OK)
        walk(names, reader);
    entro_reader_free(reader);
    entro_namespace_free(names);
    entro_image_close(image);
    return 0;
}
