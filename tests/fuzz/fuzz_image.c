/*
 * Opens an invented image whose checksums are right, and decodes what opens.
 */
#include "tests/fuzz/fuzz_image_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A few bytes of input can stand for gigabytes of constant blocks. */
#define DECODE_MAX_BYTES ((uint64_t)1 << 20)

static void decode_all(const struct entro_image *image, struct entro_decoder *decoder, uint8_t *target)
{
    uint64_t n_decoded = 0;
    struct entro_message message;
    for (uint32_t i = 0; i < entro_image_info(image)->n_streams; i++) {
        const struct entro_stream *stream = entro_image_stream(image, i);
        for (unsigned k = 0; k < stream->layout->n_fields; k++)
            for (uint64_t block = 0; block < stream->planes[k].n_blocks && n_decoded < DECODE_MAX_BYTES;
                 block++) {
                entro_image_decode_block(image, &stream->planes[k], block, target, decoder, &message);
                n_decoded += entro_plane_block_size(&stream->planes[k], block);
            }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct entro_decoder *decoder; /* made once: it is large */
    static uint8_t *target;
    if (decoder == NULL) {
        decoder = entro_decoder_create();
        target = malloc(ENTRO_BLOCK_MAX_BYTES);
    }
    if (decoder == NULL || target == NULL)
        return 0;
    struct entro_image *image = open_input(data, size);
    if (image != NULL)
        decode_all(image, decoder, target);
    entro_image_close(image);
    return 0;
}
