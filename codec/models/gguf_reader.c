/* See gguf_reader_internal.h. */
#include "codec/models/gguf_reader_internal.h"

#include "codec/bytes.h"

enum entro_error entro_gguf_fail(const struct entro_gguf_reader *reader, const char *what)
{
    return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: %s", reader->path, what);
}

enum entro_error entro_gguf_fail_memory(const struct entro_gguf_reader *reader)
{
    return entro_fail(reader->message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", reader->path);
}

uint64_t entro_gguf_rest(const struct entro_gguf_reader *reader)
{
    return reader->file_size_bytes - reader->position;
}

enum entro_error entro_gguf_take(struct entro_gguf_reader *reader, uint64_t size_bytes, const uint8_t **start)
{
    if (size_bytes > entro_gguf_rest(reader))
        return entro_gguf_fail(reader, "truncated or malformed: the header runs past the end of the file");
    uint64_t end = reader->position + size_bytes;
    if (end > ENTRO_GGUF_HEADER_MAX_BYTES)
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED, "%s: a GGUF header of more than %llu MiB",
                          reader->path, (unsigned long long)ENTRO_GGUF_HEADER_MAX_BYTES >> 20);
    if (end > reader->n_at_hand) {
        reader->needed = end;
        return entro_fail(reader->message, ENTRO_ERROR_ARGUMENT, "%s: the whole header is not at hand",
                          reader->path);
    }
    *start = reader->bytes + reader->position;
    reader->position = end;
    return ENTRO_OK;
}

enum entro_error entro_gguf_take_u32(struct entro_gguf_reader *reader, uint32_t *value)
{
    const uint8_t *start = NULL;
    enum entro_error error = entro_gguf_take(reader, sizeof *value, &start);
    if (error == ENTRO_OK)
        *value = entro_load_u32(start);
    return error;
}

enum entro_error entro_gguf_take_u64(struct entro_gguf_reader *reader, uint64_t *value)
{
    const uint8_t *start = NULL;
    enum entro_error error = entro_gguf_take(reader, sizeof *value, &start);
    if (error == ENTRO_OK)
        *value = entro_load_u64(start);
    return error;
}

enum entro_error entro_gguf_take_string(struct entro_gguf_reader *reader, struct entro_gguf_string *string)
{
    uint64_t size_bytes;
    const uint8_t *start = NULL;
    enum entro_error error = entro_gguf_take_u64(reader, &size_bytes);
    if (error == ENTRO_OK)
        error = entro_gguf_take(reader, size_bytes, &start);
    if (error == ENTRO_OK)
        *string = (struct entro_gguf_string){(const char *)start, (size_t)size_bytes};
    return error;
}
