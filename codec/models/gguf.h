/*
 * GGUF files, versions 2 and 3: metadata and tensor descriptions, and the writing of a header whose tensors
 * have other types. Reads no tensor data. Source: ggml-org/ggml docs/gguf.md.
 */
#ifndef ENTRO_MODELS_GGUF_H
#define ENTRO_MODELS_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/error.h"
#include "codec/models/tensor.h"

enum entro_gguf_type {
    ENTRO_GGUF_U8 = 0,
    ENTRO_GGUF_I8 = 1,
    ENTRO_GGUF_U16 = 2,
    ENTRO_GGUF_I16 = 3,
    ENTRO_GGUF_U32 = 4,
    ENTRO_GGUF_I32 = 5,
    ENTRO_GGUF_F32 = 6,
    ENTRO_GGUF_BOOL = 7,
    ENTRO_GGUF_STRING = 8,
    ENTRO_GGUF_ARRAY = 9,
    ENTRO_GGUF_U64 = 10,
    ENTRO_GGUF_I64 = 11,
    ENTRO_GGUF_F64 = 12,
};

/* Points into the header's bytes, which the entro_gguf owns. Not NUL-terminated. */
struct entro_gguf_string {
    const char *text;
    size_t size_bytes;
};

/* One metadata pair. Scalars, strings and arrays are read with the functions below. */
struct entro_gguf_pair {
    struct entro_gguf_string key;
    enum entro_gguf_type type;
    enum entro_gguf_type element_type; /* of an array */
    uint64_t n_elements;               /* of an array */
    const uint8_t *value; /* the value's first byte in the header (of a string: its length, of an array: its
                             first element) */
    size_t value_offset;  /* the same as an offset from the start of the file */
    size_t value_size_bytes;
};

struct entro_gguf {
    uint32_t version;
    uint32_t alignment;
    uint64_t file_size_bytes;
    uint64_t data_offset; /* start of the tensor data: everything before it is the header with its padding */
    uint8_t *header;      /* the file's first data_offset bytes at least, owned */
    size_t header_size_bytes; /* without the padding before the data */
    size_t infos_offset;      /* of the first tensor description in the header */
    size_t n_pairs;
    struct entro_gguf_pair *pairs;
    size_t n_tensors;
    struct entro_model_tensor *tensors; /* in the file's order, which is that of their offsets */
};

/* Largest header (metadata, tensor descriptions and padding) that is read, and how much of what it may hold.
 */
#define ENTRO_GGUF_HEADER_MAX_BYTES ((uint64_t)128 << 20)
#define ENTRO_GGUF_MAX_PAIRS        65536
#define ENTRO_GGUF_MAX_TENSORS      262144
/* Longest tensor name. ggml's default is 63; builds of it for image models allow 127. */
#define ENTRO_GGUF_NAME_MAX_BYTES 127

/*
 * Parses the header of the open file `fd` (pread only). On success the caller frees with entro_gguf_free; on
 * failure nothing is left. ENTRO_ERROR_FORMAT (counts, strings, offsets or sizes that do not fit the file,
 * duplicate names or keys, nested arrays, names that are not UTF-8, bytes after the last tensor's padding),
 * _UNSUPPORTED (version, big-endian file, unknown tensor type, more than the limits above), _IO, _NO_MEMORY.
 * A file without tensors may end anywhere in the padding; its data_offset is its size.
 */
enum entro_error entro_gguf_open(struct entro_gguf *out, int fd, uint64_t file_size_bytes, const char *path,
                                 struct entro_message *message);

/*
 * The same over bytes in memory (copied), of which the first size_bytes of a file of file_size_bytes are at
 * hand; for tests and fuzzers. ENTRO_ERROR_ARGUMENT where those end before the data starts.
 */
enum entro_error entro_gguf_parse(struct entro_gguf *out, const uint8_t *bytes, size_t size_bytes,
                                  uint64_t file_size_bytes, const char *path, struct entro_message *message);
void entro_gguf_free(struct entro_gguf *gguf);

/* NULL where the key is missing. */
const struct entro_gguf_pair *entro_gguf_find(const struct entro_gguf *gguf, const char *key);

/*
 * Value of any integer or bool type / any number type / a string; false where `pair` is NULL, the type does
 * not match or the value does not fit. Texts are bytes as the file has them, not always UTF-8.
 */
bool entro_gguf_integer(const struct entro_gguf_pair *pair, int64_t *value);
bool entro_gguf_number(const struct entro_gguf_pair *pair, double *value);
bool entro_gguf_text(const struct entro_gguf_pair *pair, struct entro_gguf_string *value);

/* Elements of an array, all at once: `values` has room for pair->n_elements. False as above, for the first
 * that fails. */
bool entro_gguf_integers(const struct entro_gguf_pair *pair, int64_t *values);
bool entro_gguf_numbers(const struct entro_gguf_pair *pair, double *values);
bool entro_gguf_strings(const struct entro_gguf_pair *pair, struct entro_gguf_string *values);

/*
 * Makes the header (with the padding up to the data) of the same file with tensor i stored as dtypes[i]: same
 * metadata, names, shapes and order; offsets are the running sum of the sizes padded to the alignment. Writes
 * the offset of each tensor from the start of the new file to offsets[i] and the file's whole size to
 * *file_size_bytes: padded after the last tensor where the source is. If general.file_type is an U32, it
 * becomes `file_type` unless that is negative. The header's size does not change, and with the source's
 * dtypes neither do its bytes. *header is malloc'ed, the caller's. ENTRO_ERROR_ARGUMENT where a shape does
 * not fit a dtype's block or GGUF has no such type.
 */
enum entro_error entro_gguf_rewrite(const struct entro_gguf *gguf, const enum entro_dtype *dtypes,
                                    int file_type, uint8_t **header, size_t *header_size_bytes,
                                    uint64_t *offsets, uint64_t *file_size_bytes,
                                    struct entro_message *message);

#endif
