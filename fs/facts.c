/* Names and figures of images and tensors; see facts.h. */
#include "fs/facts.h"

#include <inttypes.h>
#include <stdio.h>

void entro_tensor_streams(const struct entro_tensor *tensor, uint32_t streams[ENTRO_N_PARTS])
{
    streams[0] = tensor->stream;
    streams[1] = tensor->row_scale;
    streams[2] = tensor->column_scale;
    streams[3] = tensor->outliers;
}

uint64_t entro_tensor_stored_bytes(const struct entro_image *image, const struct entro_tensor *tensor)
{
    uint32_t streams[ENTRO_N_PARTS];
    entro_tensor_streams(tensor, streams);
    uint64_t stored_bytes = 0;
    for (unsigned part = 0; part < ENTRO_N_PARTS; part++)
        if (streams[part] != ENTRO_NONE)
            stored_bytes += entro_image_stream(image, streams[part])->stored_bytes;
    return stored_bytes;
}

double entro_tensor_bits_per_weight(const struct entro_image *image, const struct entro_tensor *tensor)
{
    if (tensor->n_elements == 0)
        return 0;
    return 8.0 * (double)entro_tensor_stored_bytes(image, tensor) / (double)tensor->n_elements;
}

void entro_hex(const uint8_t bytes[16], char text[ENTRO_HEX_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[32] = '\0';
}

void entro_shape_text(const struct entro_tensor *tensor, char text[ENTRO_SHAPE_BYTES])
{
    size_t length = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < tensor->rank; i++)
        length += (size_t)snprintf(text + length, ENTRO_SHAPE_BYTES - length, "%s%" PRIu64, i == 0 ? "" : ",",
                                   tensor->shape[i]);
}
