/* A GGUF header with other tensor types: types, offsets and general.file_type are patched in a copy; see
 * gguf.h. */
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/models/gguf_internal.h"

/* Where the source ends after its last tensor, and how the rewritten file shall. */
static uint64_t tail_bytes(const struct entro_gguf *gguf, uint64_t new_padding)
{
    const struct entro_model_tensor *last = &gguf->tensors[gguf->n_tensors - 1];
    uint64_t end = last->offset + last->size_bytes;
    uint64_t tail = gguf->file_size_bytes - end;
    if (tail == entro_gguf_padding(end - gguf->data_offset, gguf->alignment) || tail > new_padding)
        return new_padding;
    return tail;
}

/* Sizes of the tensors in the new types and the offsets that follow. */
static enum entro_error place_tensors(const struct entro_gguf *gguf, const enum entro_dtype *dtypes,
                                      uint64_t *offsets, uint64_t *file_size_bytes,
                                      struct entro_message *message)
{
    uint64_t end = gguf->data_offset;
    uint64_t padding = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct entro_model_tensor *tensor = &gguf->tensors[i];
        const struct entro_dtype_info *info = entro_dtype_info(dtypes[i]);
        uint64_t size_bytes;
        if (info == NULL || info->gguf_type < 0)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "tensor \"%s\": GGUF has no type for it",
                              tensor->name);
        if (!entro_dtype_size_bytes(dtypes[i], tensor->shape, tensor->rank, &size_bytes))
            return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                              "tensor \"%s\": the shape does not fit the blocks of %s", tensor->name,
                              info->name);
        if (!entro_add_u64(end, padding, &offsets[i]) || !entro_add_u64(offsets[i], size_bytes, &end) ||
            end > INT64_MAX)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "tensor \"%s\": the file would be too large",
                              tensor->name);
        padding = entro_gguf_padding(end - gguf->data_offset, gguf->alignment);
    }
    *file_size_bytes = gguf->n_tensors > 0 ? end + tail_bytes(gguf, padding) : gguf->file_size_bytes;
    return ENTRO_OK;
}

/* Walks the tensor descriptions in the header: name, rank, dimensions, type, offset. */
static void patch_tensors(const struct entro_gguf *gguf, const enum entro_dtype *dtypes,
                          const uint64_t *offsets, uint8_t *header)
{
    uint8_t *info = header + gguf->infos_offset;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        info += 8 + entro_load_u64(info);
        info += 4 + 8 * (size_t)entro_load_u32(info);
        entro_store_u32(info, (uint32_t)entro_dtype_info(dtypes[i])->gguf_type);
        entro_store_u64(info + 4, offsets[i] - gguf->data_offset);
        info += 4 + 8;
    }
}

enum entro_error entro_gguf_rewrite(const struct entro_gguf *gguf, const enum entro_dtype *dtypes,
                                    int file_type, uint8_t **header, size_t *header_size_bytes,
                                    uint64_t *offsets, uint64_t *file_size_bytes,
                                    struct entro_message *message)
{
    *header = NULL;
    enum entro_error error = place_tensors(gguf, dtypes, offsets, file_size_bytes, message);
    if (error != ENTRO_OK)
        return error;
    size_t size_bytes = (size_t)gguf->data_offset;
    uint8_t *copy = malloc(size_bytes);
    if (copy == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    memcpy(copy, gguf->header, size_bytes);
    patch_tensors(gguf, dtypes, offsets, copy);
    const struct entro_gguf_pair *pair = entro_gguf_find(gguf, "general.file_type");
    if (file_type >= 0 && pair != NULL && pair->type == ENTRO_GGUF_U32)
        entro_store_u32(copy + pair->value_offset, (uint32_t)file_type);
    *header = copy;
    *header_size_bytes = size_bytes;
    return ENTRO_OK;
}
