/* Writes the golden contents as the present writer does: make_golden IMAGE FRAME. README.md says when to do
 * that. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/entrocodec.h"
#include "golden.h"

static int write_frame(const char *path)
{
    static uint8_t content[GOLDEN_FRAME_CONTENT_BYTES];
    size_t capacity = entro_compress_bound(sizeof content), frame_bytes = 0, written = 0;
    struct entro_codec *codec = entro_codec_create();
    uint8_t *frame = malloc(capacity);
    FILE *file = NULL;
    golden_frame_content(content);
    if (codec != NULL && frame != NULL &&
        entro_compress(codec, NULL, content, sizeof content, frame, capacity, &frame_bytes) == ENTRO_CODEC_OK)
        file = fopen(path, "wb");
    if (file != NULL)
        written = fwrite(frame, 1, frame_bytes, file);
    bool good = file != NULL && fclose(file) == 0 && written == frame_bytes;
    if (!good)
        fprintf(stderr, "make_golden: %s: cannot be written\n", path);
    free(frame);
    entro_codec_free(codec);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct entro_pool *pool = NULL;
    struct entro_message message = {""};
    if (argc != 3) {
        fprintf(stderr, "usage: make_golden IMAGE FRAME\n");
        return EXIT_FAILURE;
    }
    enum entro_error error = entro_pool_create(&pool, 1);
    if (error == ENTRO_OK)
        error = golden_write(argv[1], pool, &message);
    entro_pool_free(pool);
    if (error != ENTRO_OK) {
        fprintf(stderr, "make_golden: %s: %s\n", entro_error_name(error), message.text);
        return EXIT_FAILURE;
    }
    return write_frame(argv[2]);
}
