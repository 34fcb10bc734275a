/* The place at which the parser of a GGUF header stands, and steps over the format's primitive values. */
#ifndef ENTRO_MODELS_GGUF_READER_INTERNAL_H
#define ENTRO_MODELS_GGUF_READER_INTERNAL_H

#include "codec/models/gguf.h"

/* A place in a header of which only the first n_at_hand bytes have been read so far. */
struct entro_gguf_reader {
    const uint8_t *bytes;
    size_t n_at_hand;
    uint64_t file_size_bytes;
    uint64_t position; /* at most n_at_hand */
    uint64_t needed;   /* not 0: parsing stopped because it wants this many bytes at hand */
    const char *path;
    struct entro_message *message;
};

/* ENTRO_ERROR_FORMAT with "path: what", and ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_gguf_fail(const struct entro_gguf_reader *reader, const char *what);
enum entro_error entro_gguf_fail_memory(const struct entro_gguf_reader *reader);

/* Bytes from here to the end of the file. */
uint64_t entro_gguf_rest(const struct entro_gguf_reader *reader);

/*
 * Step over the next size_bytes bytes, pointing *start at them, or over a value. ENTRO_ERROR_FORMAT where the
 * file ends before, _UNSUPPORTED past the largest header, _ARGUMENT (and reader->needed set) where more of
 * the file must be read first.
 */
enum entro_error entro_gguf_take(struct entro_gguf_reader *reader, uint64_t size_bytes,
                                 const uint8_t **start);
enum entro_error entro_gguf_take_u32(struct entro_gguf_reader *reader, uint32_t *value);
enum entro_error entro_gguf_take_u64(struct entro_gguf_reader *reader, uint64_t *value);
enum entro_error entro_gguf_take_string(struct entro_gguf_reader *reader, struct entro_gguf_string *string);

#endif
