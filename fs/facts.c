/* Names and figures of images and tensors; see facts.h. */
#include "fs/facts.h"

#include <inttypes.h>
#include <stdio.h>

const char *entro_scheme_name(enum entro_scheme scheme)
{
    switch (scheme) {
    case ENTRO_SCHEME_LOSSLESS:
        return "lossless";
    case ENTRO_SCHEME_UNSIGNED:
        return "unsigned";
    case ENTRO_SCHEME_ASYMMETRIC:
        return "asymmetric";
    case ENTRO_SCHEME_BALANCED:
        return "balanced";
    }
    return "unknown";
}

const char *entro_source_name(enum entro_source source)
{
    switch (source) {
    case ENTRO_SOURCE_SAFETENSORS:
        return "safetensors";
    case ENTRO_SOURCE_GGUF:
        return "gguf";
    case ENTRO_SOURCE_NPY:
        return "npy";
    }
    return "unknown";
}

const char *entro_method_name(enum entro_method method)
{
    switch (method) {
    case ENTRO_METHOD_CONSTANT:
        return "constant";
    case ENTRO_METHOD_RAW:
        return "raw";
    case ENTRO_METHOD_CODED:
        return "coded";
    }
    return "unknown";
}

const char *entro_dtype_name(enum entro_dtype dtype)
{
    const struct entro_dtype_info *info = entro_dtype_info(dtype);
    return info == NULL ? "unknown" : info->name;
}

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
    for (unsigned i = 0; i < 16; i++) {
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
