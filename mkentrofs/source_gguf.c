/*
 * Tensors of GGUF files. The header's grammar is codec/models/gguf.h's.
 */
#include <stdlib.h>
#include <string.h>

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
    if (error)
        goto close_input;
    part->tensors = calloc(gguf.n_tensors ? gguf.n_tensors : 1, sizeof *part->tensors);
    if (!part->tensors) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto free_gguf;
    }
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        struct entro_gguf_tensor *from = &gguf.tensors[i];
        struct entro_source_tensor *to = &part->tensors[i];
        to->name = from->name;
        from->name = NULL;
        to->dtype = from->dtype;
        to->rank = from->rank;
        memcpy(to->shape, from->shape, sizeof to->shape);
        to->offset = from->offset;
        to->size_bytes = from->size_bytes;
        part->n_tensors++;
        if (!entro_shape_elements(to->shape, to->rank, &to->n_elements)) {
            error = entro_fail(message, ENTRO_ERROR_FORMAT, "%s: tensor %s: its shape overflows",
                               part->source_path, to->name);
            entro_part_free_tensors(part);
            goto free_gguf;
        }
    }

free_gguf:
    entro_gguf_free(&gguf);
close_input:
    entro_input_close(&input);
    return error;
}
