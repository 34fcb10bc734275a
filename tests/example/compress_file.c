/*
 * An example of libentrocodec: compress_file FROM TO compresses a file, compress_file -d FROM TO does the
 * reverse. Built against the installed library: cc compress_file.c $(pkg-config --cflags --libs entrocodec)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <entrocodec.h>

#define LIMIT_BYTES ((uint64_t)1 << 32) /* a frame may claim any size: believe no more than this */

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "compress_file: %s: %s\n", what, why);
    exit(1);
}

static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    long end;
    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (end = ftell(file)) < 0)
        fail(path, "cannot read");
    rewind(file);
    *size = (size_t)end;
    unsigned char *bytes = malloc(*size + 1);
    if (bytes == NULL || fread(bytes, 1, *size, file) != *size)
        fail(path, "cannot read");
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        fail(path, "cannot write");
}

int main(int argc, char **argv)
{
    int is_reverse = argc == 4 && strcmp(argv[1], "-d") == 0;
    if (argc != 3 + is_reverse)
        fail("usage", "compress_file [-d] FROM TO");
    const char *from = argv[1 + is_reverse], *to = argv[2 + is_reverse];
    size_t size, capacity, new_size;
    unsigned char *bytes = read_file(from, &size);

    uint64_t decoded_size = 0;
    enum entro_codec_error error = ENTRO_CODEC_OK;
    if (is_reverse && (error = entro_decompressed_size(bytes, size, &decoded_size)) != ENTRO_CODEC_OK)
        fail(from, entro_codec_error_text(error));
    if (decoded_size > LIMIT_BYTES)
        fail(from, "too large");
    capacity = is_reverse ? (size_t)decoded_size : entro_compress_bound(size);

    struct entro_codec *codec = entro_codec_create();
    unsigned char *target = malloc(capacity + 1);
    if (codec == NULL || target == NULL)
        fail(from, "out of memory");
    error = is_reverse ? entro_decompress(codec, bytes, size, target, capacity, &new_size)
                       : entro_compress(codec, NULL, bytes, size, target, capacity, &new_size);
    if (error != ENTRO_CODEC_OK)
        fail(from, entro_codec_error_text(error));
    write_file(to, target, new_size);
    printf("%zu -> %zu bytes, libentrocodec %s\n", size, new_size, entro_codec_version());
    free(target);
    free(bytes);
    entro_codec_free(codec);
    return 0;
}
