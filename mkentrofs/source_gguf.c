/*
 * Tensors of GGUF files. The header's grammar is codec/models/gguf.h's.
 */
#include "codec/models/gguf.h"
#include "mkentrofs/source_internal.h"

enum entro_error entro_part_read_gguf(struct entro_part *part, const struct entro_monitor *monitor,
                                      struct entro_message *message)
{
    struct entro_input input;
    enum entro_error error = entro_input_open(&input, part->source_path, &part->identity, monitor, message);
    if (error)
        return error;
    struct entro_gguf gguf;
    error = entro_gguf_open(&gguf, input.fd, input.identity.size_bytes, part->source_path, message);
    if (!error) {
        error = entro_part_take_tensors(part, gguf.tensors, gguf.n_tensors, message);
        entro_gguf_free(&gguf);
    }
    entro_input_close(&input);
    return error;
}
