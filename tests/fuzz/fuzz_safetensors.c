/*
 * Input: four bytes, the size of the data; then the JSON text of a header, which is also tried as the index
 * of a sharded model; and all of it as the start of a file.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/models/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* What the header of an accepted file promises. */
static void check(const struct entro_safetensors *file, uint64_t file_size_bytes)
{
    uint64_t end = file->data_offset;
    for (size_t i = 0; i < file->n_tensors; i++) {
        const struct entro_model_tensor *tensor = &file->tensors[i];
        uint64_t size_bytes;
        require(tensor->rank <= ENTRO_MAX_RANK && tensor->offset == end);
        require(entro_dtype_size_bytes(tensor->dtype, tensor->shape, tensor->rank, &size_bytes));
        require(size_bytes == tensor->size_bytes);
        end += size_bytes;
    }
    require(end == file_size_bytes);
}

static void parse(const uint8_t *bytes, size_t size, uint64_t file_size_bytes)
{
    struct entro_safetensors file;
    struct entro_message message;
    if (entro_safetensors_parse(&file, bytes, size, file_size_bytes, "fuzz", &message) == ENTRO_OK) {
        check(&file, file_size_bytes);
        entro_safetensors_free(&file);
    }
}

static void parse_index(const char *text, size_t size)
{
    struct entro_safetensors_index index;
    struct entro_message message;
    if (entro_safetensors_index_parse(&index, text, size, "fuzz", &message) != ENTRO_OK)
        return;
    for (size_t i = 0; i < index.n_files; i++)
        require(strchr(index.files[i], '/') == NULL &&
                (i == 0 || strcmp(index.files[i - 1], index.files[i]) < 0));
    for (size_t i = 0; i < index.n_tensors; i++)
        require(index.tensor_files[i] < index.n_files &&
                (i == 0 || strcmp(index.tensors[i - 1], index.tensors[i]) < 0));
    entro_safetensors_index_free(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size, size);
    if (size < 4)
        return 0;
    size_t text_bytes = size - 4;
    uint8_t *bytes = malloc(8 + text_bytes);
    if (bytes == NULL)
        return 0;
    entro_store_u64(bytes, text_bytes);
    memcpy(bytes + 8, data + 4, text_bytes);
    parse(bytes, 8 + text_bytes, 8 + text_bytes + (uint64_t)entro_load_u32(data));
    parse_index((const char *)data + 4, text_bytes);
    free(bytes);
    return 0;
}
