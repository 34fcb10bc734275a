/*
 * Reads weights: the only place of the builder that turns source bytes into numbers.
 */
#include "mkentrofs/weights.h"

#include "codec/ggml_blocks.h"

enum entro_error entro_weights_read(const struct entro_input *input, const struct entro_source_tensor *tensor,
                                    uint64_t first, size_t n_elements, struct entro_weights *weights,
                                    struct entro_message *message)
{
    const struct entro_dtype_info *info = entro_dtype_info(tensor->dtype);
    uint64_t offset = tensor->offset + first / info->block_elements * info->block_bytes;
    size_t size_bytes = n_elements / info->block_elements * info->block_bytes;
    enum entro_error error = entro_input_read(input, offset, size_bytes, weights->bytes, message);
    if (error)
        return error;
    entro_dequantize_f32(tensor->dtype, weights->bytes, n_elements, weights->values);
    return ENTRO_OK;
}
