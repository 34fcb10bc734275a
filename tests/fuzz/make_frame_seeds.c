/* Writes the first inputs of fuzz_frame, well-formed frames: make_frame_seeds CORPUS_FOLDER. The corpus
 * beside this file began with its output. */
#include <stdio.h>
#include <stdlib.h>

#include "codec/entrocodec.h"

static uint32_t next_random(uint32_t *state)
{
    return *state = *state * 1664525 + 1013904223;
}

/* n bytes, those of chance below `chance` / 256 spread over `spread` values, all others 0. */
static int write_seed(const char *folder, const char *name, size_t n, unsigned chance, unsigned spread)
{
    static uint8_t bytes[200000], frame[300000];
    char path[4096];
    size_t frame_bytes;
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        uint32_t first = next_random(&state) >> 24, second = next_random(&state) >> 16,
                 third = next_random(&state) >> 16;
        bytes[i] = first < chance ? (uint8_t)(1 + (second % spread) * (third % spread) / spread) : 0;
    }
    struct entro_codec *codec = entro_codec_create();
    if (codec == NULL ||
        entro_compress(codec, NULL, bytes, n, frame, sizeof frame, &frame_bytes) != ENTRO_CODEC_OK)
        return -1;
    entro_codec_free(codec);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    size_t written = file != NULL ? fwrite(frame, 1, frame_bytes, file) : 0;
    return file != NULL && fclose(file) == 0 && written == frame_bytes ? 0 : -1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        size_t n;
        unsigned chance, spread;
    } seeds[] = {
        {"empty", 0, 0, 1},
        {"constant", 5000, 0, 1},
        {"constant_blocks", 140000, 0, 1},
        {"tiny", 3, 256, 100},
        {"raw", 300, 256, 255},
        {"coded", 900, 200, 20},
        {"few_values", 700, 256, 4},
        {"two_blocks_with_root", 66000, 4, 3},
    };
    if (argc != 2) {
        fprintf(stderr, "usage: make_frame_seeds CORPUS_FOLDER\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        if (write_seed(argv[1], seeds[i].name, seeds[i].n, seeds[i].chance, seeds[i].spread) != 0) {
            fprintf(stderr, "make_frame_seeds: cannot write %s\n", seeds[i].name);
            return 1;
        }
    }
    return 0;
}
