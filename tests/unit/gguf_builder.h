/* Builds GGUF files in memory, byte by byte, well-formed or not. For the tests of what reads them. */
#ifndef ENTRO_TESTS_GGUF_BUILDER_H
#define ENTRO_TESTS_GGUF_BUILDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "codec/models/gguf.h"

#define FILE_ROOM 8192

/* A file under construction. */
struct file {
    uint8_t bytes[FILE_ROOM];
    size_t size;
};

static inline void put(struct file *file, const void *bytes, size_t n)
{
    assert_true(file->size + n <= FILE_ROOM);
    memcpy(file->bytes + file->size, bytes, n);
    file->size += n;
}

static inline void put_u32(struct file *file, uint32_t value)
{
    put(file, &value, sizeof value);
}

static inline void put_u64(struct file *file, uint64_t value)
{
    put(file, &value, sizeof value);
}

static inline void put_string(struct file *file, const char *text)
{
    put_u64(file, strlen(text));
    put(file, text, strlen(text));
}

static inline void put_key(struct file *file, const char *key, enum entro_gguf_type type)
{
    put_string(file, key);
    put_u32(file, type);
}

static inline void put_array(struct file *file, const char *key, enum entro_gguf_type element_type,
                             uint64_t n)
{
    put_key(file, key, ENTRO_GGUF_ARRAY);
    put_u32(file, element_type);
    put_u64(file, n);
}

static inline void start_file(struct file *file, uint64_t n_tensors, uint64_t n_pairs)
{
    file->size = 0;
    put(file, "GGUF", 4);
    put_u32(file, 3);
    put_u64(file, n_tensors);
    put_u64(file, n_pairs);
}

/* A tensor's description; the dimensions in GGUF's order. */
static inline void put_tensor(struct file *file, const char *name, uint32_t rank, const uint64_t *dimensions,
                              uint32_t type, uint64_t offset)
{
    put_string(file, name);
    put_u32(file, rank);
    for (uint32_t i = 0; i < rank; i++)
        put_u64(file, dimensions[i]);
    put_u32(file, type);
    put_u64(file, offset);
}

static inline void put_vector(struct file *file, const char *name, uint64_t length, uint64_t offset)
{
    put_tensor(file, name, 1, &length, 0, offset);
}

static inline void pad(struct file *file, size_t alignment)
{
    while (file->size % alignment != 0)
        put(file, "", 1);
}

/* n zero bytes of tensor data. */
static inline void put_data(struct file *file, size_t n)
{
    static const uint8_t zeros[FILE_ROOM];
    put(file, zeros, n);
}

/* A file with one of everything: metadata of every type, tensors of three types with padding between them and
 * after the last. */
static inline void make_sample(struct file *file)
{
    start_file(file, 3, 16);
    put_key(file, "general.architecture", ENTRO_GGUF_STRING);
    put_string(file, "llama");
    put_key(file, "general.file_type", ENTRO_GGUF_U32);
    put_u32(file, 15);
    put_key(file, "u8", ENTRO_GGUF_U8);
    put(file, "\xff", 1);
    put_key(file, "i8", ENTRO_GGUF_I8);
    put(file, "\xff", 1);
    put_key(file, "u16", ENTRO_GGUF_U16);
    put(file, "\xfe\xff", 2);
    put_key(file, "i16", ENTRO_GGUF_I16);
    put(file, "\xfe\xff", 2);
    put_key(file, "i32", ENTRO_GGUF_I32);
    put_u32(file, (uint32_t)-7);
    put_key(file, "f32", ENTRO_GGUF_F32);
    put(file, &(float){0.5F}, 4);
    put_key(file, "bool", ENTRO_GGUF_BOOL);
    put(file, "\x01", 1);
    put_key(file, "u64", ENTRO_GGUF_U64);
    put_u64(file, UINT64_MAX);
    put_key(file, "i64", ENTRO_GGUF_I64);
    put_u64(file, (uint64_t)INT64_MIN);
    put_key(file, "f64", ENTRO_GGUF_F64);
    put(file, &(double){-0.25}, 8);
    put_array(file, "strings", ENTRO_GGUF_STRING, 3);
    put_string(file, "one");
    put_string(file, "");
    put_string(file, "\xff three");
    put_array(file, "integers", ENTRO_GGUF_I32, 2);
    put_u32(file, 1);
    put_u32(file, (uint32_t)-1);
    put_array(file, "numbers", ENTRO_GGUF_F32, 2);
    put(file, (const float[]){1.5F, -2.0F}, 8);
    put_array(file, "nothing", ENTRO_GGUF_STRING, 0);
    put_tensor(file, "token_embd.weight", 2, (const uint64_t[]){64, 3}, 8, 0); /* Q8_0: 204 bytes */
    put_vector(file, "norm", 5, 224);
    put_tensor(file, "half", 3, (const uint64_t[]){3, 2, 1}, 1, 256);
    pad(file, 32);
    put_data(file, 224 + 32 + 32);
}

/* Parses a copy in memory of exactly its size. */
static inline enum entro_error parse(struct entro_gguf *out, const struct file *file,
                                     struct entro_message *message)
{
    uint8_t *copy = malloc(file->size > 0 ? file->size : 1);
    assert_non_null(copy);
    memcpy(copy, file->bytes, file->size);
    message->text[0] = '\0';
    enum entro_error error = entro_gguf_parse(out, copy, file->size, file->size, "m.gguf", message);
    free(copy);
    return error;
}

#endif
