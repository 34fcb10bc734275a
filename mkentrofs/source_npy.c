/*
 * A NumPy file is one tensor, named by the file without its suffix.
 */
#include <stdlib.h>
#include <string.h>

#include "codec/models/npy.h"
#include "mkentrofs/source_internal.h"

/* Headers are padded to a multiple of 64 and describe one array; versions 2 and 3 could be longer, no writer
 * makes them so. */
#define HEADER_READ_BYTES 65536

enum entro_error entro_part_read_npy(struct entro_part *part, const struct entro_monitor *monitor,
                                     struct entro_message *message)
{
    struct entro_input input;
    uint8_t *start = NULL;
    enum entro_error error = entro_input_open(&input, part->source_path, &part->identity, monitor, message);
    if (error)
        return error;
    size_t size_bytes = HEADER_READ_BYTES;
    if (input.identity.size_bytes < size_bytes)
        size_bytes = (size_t)input.identity.size_bytes;
    const char *slash = strrchr(part->path, '/');
    const char *name = slash ? slash + 1 : part->path;
    struct entro_source_tensor *tensor = calloc(1, sizeof *tensor);
    start = malloc(HEADER_READ_BYTES);
    if (!tensor || !start || !(tensor->name = strndup(name, strlen(name) - strlen(".npy")))) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto fail;
    }
    struct entro_npy npy;
    if ((error = entro_input_read(&input, 0, size_bytes, start, message)) ||
        (error =
             entro_npy_parse(&npy, start, size_bytes, input.identity.size_bytes, part->source_path, message)))
        goto fail;
    tensor->dtype = npy.dtype;
    tensor->rank = npy.rank;
    memcpy(tensor->shape, npy.shape, sizeof tensor->shape);
    tensor->offset = npy.data_offset;
    tensor->size_bytes = npy.size_bytes;
    if (!entro_shape_elements(tensor->shape, tensor->rank, &tensor->n_elements)) {
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "%s: its shape overflows", part->source_path);
        goto fail;
    }
    part->tensors = tensor;
    part->n_tensors = 1;
    free(start);
    entro_input_close(&input);
    return ENTRO_OK;

fail:
    if (tensor)
        free(tensor->name);
    free(tensor);
    free(start);
    entro_input_close(&input);
    return error;
}
