/*
 * Makes the first inputs of fuzz_image: small images written by the library, in that target's short form.
 * make_image_seeds FOLDER. The corpus beside this file began with its output.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/bytes.h"
#include "codec/writer.h"

static enum entro_error produce(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                struct entro_message *message)
{
    (void)message;
    for (size_t i = 0; i < size_bytes; i++)
        target[i] = (uint8_t)((offset + i) * (offset + i) * *(const unsigned *)context >> 7 & 31);
    return ENTRO_OK;
}

/* Nearly all bytes alike: the code's root has a codebook of its own. */
static enum entro_error produce_skewed(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                       struct entro_message *message)
{
    unsigned factor = 5;
    (void)context;
    enum entro_error error = produce(&factor, offset, size_bytes, target, message);
    for (size_t i = 0; i < size_bytes; i++)
        target[i] = target[i] < 31 ? 3 : target[i];
    return error;
}

static uint32_t add_stream(struct entro_writer *writer, const struct entro_layout *layout, uint64_t size,
                           unsigned factor)
{
    struct entro_stream_summary summary;
    const struct entro_producer producer = {.context = &factor, .produce = produce};
    if (entro_writer_add_stream(writer, "seed", size, layout, &producer, &summary, NULL) != ENTRO_OK)
        return ENTRO_NONE;
    return summary.stream;
}

static bool add_skewed_stream(struct entro_writer *writer)
{
    struct entro_stream_summary summary;
    const struct entro_producer producer = {.produce = produce_skewed};
    return entro_writer_add_stream(writer, "skewed", 20000, &entro_layout_bytes, &producer, &summary, NULL) ==
           ENTRO_OK;
}

static void add_tensors(struct entro_writer *writer)
{
    uint32_t number;
    struct entro_tensor tensor = {.name = "a.weight",
                                  .dtype = ENTRO_DTYPE_BF16,
                                  .scheme = ENTRO_SCHEME_BALANCED,
                                  .bits = 4,
                                  .rank = 2,
                                  .shape = {30, 32},
                                  .stream = add_stream(writer, &entro_layout_bytes, 480, 3),
                                  .row_scale = add_stream(writer, &entro_layout_bytes, 60, 5),
                                  .column_scale = ENTRO_NONE,
                                  .outliers = add_stream(writer, &entro_layout_bytes, 24, 0),
                                  .scale = 0.25F,
                                  .zero_point = 7,
                                  .entropy_bits = 3,
                                  .snr_db = 20};
    entro_writer_add_tensor(writer, &tensor, &number, NULL);
    const struct entro_extent views[] = {
        {.kind = ENTRO_EXTENT_STREAM, .reference = tensor.stream, .offset = 3, .size_bytes = 100},
        {.kind = ENTRO_EXTENT_VIEW, .dtype = ENTRO_DTYPE_F16, .reference = number, .size_bytes = 1920}};
    entro_writer_add_file(writer, "folder/model.safetensors", views, 2, NULL);
    tensor.name = "a.views";
    tensor.scheme = ENTRO_SCHEME_UNSIGNED;
    tensor.row_scale = tensor.outliers = ENTRO_NONE;
    tensor.zero_point = 15;
    entro_writer_add_tensor(writer, &tensor, &number, NULL);
    const struct entro_extent plain_views[] = {
        {.kind = ENTRO_EXTENT_VIEW, .dtype = ENTRO_DTYPE_Q4_1, .reference = number, .size_bytes = 600},
        {.kind = ENTRO_EXTENT_VIEW, .dtype = ENTRO_DTYPE_Q8_0, .reference = number, .size_bytes = 1020}};
    entro_writer_add_file(writer, "model.gguf", plain_views, 2, NULL);
    const struct entro_layout pairs = {2, 2, 2, {1, 1}};
    tensor = (struct entro_tensor){.name = "b.bias",
                                   .dtype = ENTRO_DTYPE_F16,
                                   .rank = 1,
                                   .shape = {500},
                                   .stream = add_stream(writer, &pairs, 1000, 9)};
    entro_writer_add_tensor(writer, &tensor, &number, NULL);
}

static enum entro_error write_image(const char *path, unsigned kind)
{
    struct entro_pool *pool = NULL;
    struct entro_writer *writer = NULL;
    struct entro_message message = {""};
    uint64_t image_bytes;
    enum entro_error error = entro_pool_create(&pool, 1);
    if (error == ENTRO_OK)
        error = entro_writer_create(&writer, path, true, ENTRO_SOURCE_SAFETENSORS, pool, &message);
    if (error == ENTRO_OK) {
        const struct entro_layout records = {18, 0, 3, {1, 1, 16}};
        entro_writer_set_block_log2(writer, 12);
        if (kind % 2 == 1)
            add_tensors(writer);
        if (kind / 2 % 2 == 1)
            add_stream(writer, &records, 18 * 300, 2);
        if (kind / 4 % 2 == 1) {
            const struct entro_extent extent = {.reference = add_stream(writer, &entro_layout_bytes, 900, 77),
                                                .size_bytes = 900};
            entro_writer_add_file(writer, "config.json", &extent, 1, NULL);
            entro_writer_add_file(writer, "empty", NULL, 0, NULL);
        }
        if (kind / 8 % 2 == 1 && !add_skewed_stream(writer))
            error = ENTRO_ERROR_ARGUMENT;
    }
    if (error == ENTRO_OK) {
        error = entro_writer_finish(writer, &image_bytes, &message);
    }
    if (error != ENTRO_OK)
        fprintf(stderr, "%s: %s\n", path, message.text);
    entro_writer_free(writer);
    entro_pool_free(pool);
    return error;
}

/* From an image to the short form: the superblock's counts, and what follows the superblock. */
static int shorten(const char *from, const char *to)
{
    static uint8_t bytes[65536], head[40];
    struct entro_disk_superblock superblock;
    FILE *file = fopen(from, "rb");
    size_t size = file != NULL ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (file != NULL)
        fclose(file);
    if (size < sizeof superblock || size == sizeof bytes)
        return -1;
    memcpy(&superblock, bytes, sizeof superblock);
    for (unsigned i = 0; i < ENTRO_N_TABLES; i++)
        entro_store_u32(head + 4 * i, (uint32_t)superblock.tables[i].count);
    entro_store_u32(head + 36, (uint32_t)(superblock.index_offset - sizeof superblock));
    file = fopen(to, "wb");
    if (file == NULL)
        return -1;
    fwrite(head, 1, sizeof head, file);
    fwrite(bytes + sizeof superblock, 1, size - sizeof superblock, file);
    return fclose(file);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_image_seeds FOLDER\n");
        return EXIT_FAILURE;
    }
    for (unsigned kind = 0; kind <= 8; kind++) {
        char image[4096], seed[4096];
        snprintf(image, sizeof image, "%s/image", argv[1]);
        snprintf(seed, sizeof seed, "%s/seed-%u", argv[1], kind);
        if (write_image(image, kind) != ENTRO_OK || shorten(image, seed) != 0)
            return EXIT_FAILURE;
        unlink(image);
    }
    return EXIT_SUCCESS;
}
