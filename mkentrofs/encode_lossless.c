/*
 * Lossless tensors: the source's bytes in the layout that suits their dtype.
 */
#include "mkentrofs/encode.h"

struct lossless {
    const struct entro_input *input;
    const struct entro_source_tensor *tensor;
};

static enum entro_error produce(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                struct entro_message *message)
{
    const struct lossless *lossless = context;
    return entro_input_read(lossless->input, lossless->tensor->offset + offset, size_bytes, target, message);
}

enum entro_error entro_encode_lossless(const struct entro_encoder *encoder, const struct entro_input *input,
                                       const struct entro_source_tensor *tensor, struct entro_encoded *out,
                                       struct entro_message *message)
{
    struct entro_layout layout = entro_layout_of_dtype(tensor->dtype);
    struct lossless lossless = {.input = input, .tensor = tensor};
    struct entro_producer producer = {.context = &lossless, .produce = produce};
    *out = (struct entro_encoded){.tensor = entro_encoded_tensor(tensor), .kept_reason = "lossless"};
    enum entro_error error = entro_writer_add_stream(encoder->writer, tensor->name, tensor->size_bytes,
                                                     &layout, &producer, &out->summary, message);
    if (error)
        return error;
    out->tensor.stream = out->summary.stream;
    if (tensor->n_elements)
        out->tensor.entropy_bits = out->summary.entropy_bits / (double)tensor->n_elements;
    return ENTRO_OK;
}
