/* Parsing of a GGUF header; see gguf.h. Values are read out by gguf_values.c, headers made by gguf_rewrite.c.
 */
#include "codec/models/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/models/gguf_internal.h"
#include "codec/models/gguf_reader_internal.h"
#include "codec/models/pread_internal.h"
#include "codec/utf8.h"

#define FIRST_READ_BYTES  ((size_t)1 << 20)
#define DEFAULT_ALIGNMENT 32
#define KEY_MAX_BYTES     65535
#define MAX_RANK          4
/* The least that a pair takes (a key of one byte, a value of one) and a tensor's description (a name of one
 * byte, rank 0). */
#define PAIR_MIN_BYTES   (8 + 1 + 4 + 1)
#define TENSOR_MIN_BYTES (8 + 1 + 4 + 4 + 8)

static enum entro_error check_bools(const struct entro_gguf_reader *reader, const uint8_t *values, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (values[i] > 1)
            return entro_gguf_fail(reader, "a bool in the metadata is neither 0 nor 1");
    return ENTRO_OK;
}

/* Steps over n values of a type that is no array. */
static enum entro_error skip_values(struct entro_gguf_reader *reader, enum entro_gguf_type type, uint64_t n)
{
    if (type == ENTRO_GGUF_STRING) {
        if (n > entro_gguf_rest(reader) / 8)
            return entro_gguf_fail(reader,
                                   "an array in the metadata has more strings than the file has room for");
        enum entro_error error = ENTRO_OK;
        struct entro_gguf_string string;
        for (uint64_t i = 0; i < n && error == ENTRO_OK; i++)
            error = entro_gguf_take_string(reader, &string);
        return error;
    }
    uint64_t size_bytes;
    const uint8_t *start = NULL;
    if (!entro_mul_u64(n, entro_gguf_scalar_bytes(type), &size_bytes))
        return entro_gguf_fail(reader,
                               "an array in the metadata has more elements than the file has room for");
    enum entro_error error = entro_gguf_take(reader, size_bytes, &start);
    if (error == ENTRO_OK && type == ENTRO_GGUF_BOOL)
        error = check_bools(reader, start, n);
    return error;
}

static enum entro_error take_type(struct entro_gguf_reader *reader, enum entro_gguf_type *type)
{
    uint32_t number;
    enum entro_error error = entro_gguf_take_u32(reader, &number);
    if (error != ENTRO_OK)
        return error;
    if (number > ENTRO_GGUF_F64)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: unknown metadata type %u", reader->path,
                          number);
    *type = (enum entro_gguf_type)number;
    return ENTRO_OK;
}

static enum entro_error take_pair(struct entro_gguf_reader *reader, struct entro_gguf_pair *pair)
{
    enum entro_error error = entro_gguf_take_string(reader, &pair->key);
    if (error != ENTRO_OK)
        return error;
    if (pair->key.size_bytes == 0 || pair->key.size_bytes > KEY_MAX_BYTES)
        return entro_gguf_fail(reader, "a metadata key is empty or too long");
    error = take_type(reader, &pair->type);
    if (error != ENTRO_OK)
        return error;
    enum entro_gguf_type type = pair->type;
    uint64_t n = 1;
    if (type == ENTRO_GGUF_ARRAY) {
        error = take_type(reader, &pair->element_type);
        if (error == ENTRO_OK)
            error = entro_gguf_take_u64(reader, &pair->n_elements);
        if (error != ENTRO_OK)
            return error;
        type = pair->element_type;
        n = pair->n_elements;
        if (type == ENTRO_GGUF_ARRAY)
            return entro_gguf_fail(reader, "the metadata has an array of arrays");
    }
    pair->value_offset = (size_t)reader->position;
    pair->value = reader->bytes + reader->position;
    error = skip_values(reader, type, n);
    pair->value_size_bytes = (size_t)reader->position - pair->value_offset;
    return error;
}

/* A copy of a tensor's name, fit for a C string and for JSON. */
static enum entro_error copy_name(const struct entro_gguf_reader *reader, struct entro_gguf_string name,
                                  char **copy)
{
    if (name.size_bytes == 0 || name.size_bytes > ENTRO_GGUF_NAME_MAX_BYTES)
        return entro_gguf_fail(reader, "a tensor's name is empty or too long");
    if (!entro_is_utf8(name.text, name.size_bytes) || memchr(name.text, '\0', name.size_bytes) != NULL)
        return entro_gguf_fail(reader, "a tensor's name is not UTF-8 text");
    *copy = strndup(name.text, name.size_bytes);
    return *copy != NULL ? ENTRO_OK : entro_gguf_fail_memory(reader);
}

/* One tensor's description; its offset still counts from the start of the data. */
static enum entro_error take_tensor(struct entro_gguf_reader *reader, struct entro_model_tensor *tensor)
{
    struct entro_gguf_string name;
    uint32_t rank, type;
    enum entro_error error = entro_gguf_take_string(reader, &name);
    if (error == ENTRO_OK)
        error = copy_name(reader, name, &tensor->name);
    if (error == ENTRO_OK)
        error = entro_gguf_take_u32(reader, &rank);
    if (error != ENTRO_OK)
        return error;
    if (rank > MAX_RANK)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                          "%s: tensor \"%s\": %u dimensions; GGUF has at most %d", reader->path, tensor->name,
                          rank, MAX_RANK);
    tensor->rank = rank;
    for (uint32_t i = rank; i-- > 0 && error == ENTRO_OK;) {
        error = entro_gguf_take_u64(reader, &tensor->shape[i]);
        if (error == ENTRO_OK && tensor->shape[i] > INT64_MAX)
            error = entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                               "%s: tensor \"%s\": a dimension is no size", reader->path, tensor->name);
    }
    if (error == ENTRO_OK)
        error = entro_gguf_take_u32(reader, &type);
    if (error == ENTRO_OK)
        error = entro_gguf_take_u64(reader, &tensor->offset);
    if (error != ENTRO_OK)
        return error;
    const struct entro_dtype_info *info = entro_dtype_from_gguf(type);
    if (info == NULL)
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: tensor \"%s\": unknown tensor type %u", reader->path, tensor->name, type);
    tensor->dtype = info->dtype;
    if (!entro_dtype_size_bytes(info->dtype, tensor->shape, tensor->rank, &tensor->size_bytes))
        return entro_fail(
            reader->message, ENTRO_ERROR_FORMAT,
            "%s: tensor \"%s\": the shape does not fit the blocks of %s, or has no size that fits 64 bits",
            reader->path, tensor->name, info->name);
    return ENTRO_OK;
}

static int compare_strings(const void *left, const void *right)
{
    const struct entro_gguf_string *a = left;
    const struct entro_gguf_string *b = right;
    size_t common = a->size_bytes < b->size_bytes ? a->size_bytes : b->size_bytes;
    int order = memcmp(a->text, b->text, common);
    return order != 0 ? order : (a->size_bytes > b->size_bytes) - (a->size_bytes < b->size_bytes);
}

/* Refuses equal strings among n; sorts them. `what` they are is for the message. */
static enum entro_error check_distinct(const struct entro_gguf_reader *reader,
                                       struct entro_gguf_string *strings, size_t n, const char *what)
{
    if (n > 0)
        qsort(strings, n, sizeof *strings, compare_strings);
    for (size_t i = 1; i < n; i++)
        if (compare_strings(&strings[i - 1], &strings[i]) == 0)
            return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: two %s \"%.*s\"", reader->path, what,
                              (int)strings[i].size_bytes, strings[i].text);
    return ENTRO_OK;
}

static enum entro_error check_duplicates(const struct entro_gguf_reader *reader,
                                         const struct entro_gguf *gguf)
{
    size_t n_most = gguf->n_pairs > gguf->n_tensors ? gguf->n_pairs : gguf->n_tensors;
    struct entro_gguf_string *strings = calloc(n_most > 0 ? n_most : 1, sizeof *strings);
    if (strings == NULL)
        return entro_gguf_fail_memory(reader);
    for (size_t i = 0; i < gguf->n_pairs; i++)
        strings[i] = gguf->pairs[i].key;
    enum entro_error error = check_distinct(reader, strings, gguf->n_pairs, "metadata keys");
    if (error == ENTRO_OK) {
        for (size_t i = 0; i < gguf->n_tensors; i++)
            strings[i] = (struct entro_gguf_string){gguf->tensors[i].name, strlen(gguf->tensors[i].name)};
        error = check_distinct(reader, strings, gguf->n_tensors, "tensors");
    }
    free(strings);
    return error;
}

static enum entro_error take_prologue(struct entro_gguf_reader *reader, struct entro_gguf *gguf)
{
    const uint8_t *magic;
    if (reader->file_size_bytes < 4)
        return entro_gguf_fail(reader, "no GGUF file");
    enum entro_error error = entro_gguf_take(reader, 4, &magic);
    if (error != ENTRO_OK)
        return error;
    if (memcmp(magic, "GGUF", 4) != 0)
        return entro_gguf_fail(reader, "no GGUF file");
    error = entro_gguf_take_u32(reader, &gguf->version);
    if (error != ENTRO_OK)
        return error;
    if (gguf->version != 0 && (gguf->version & 0xffffU) == 0)
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED, "%s: a big-endian GGUF file",
                          reader->path);
    if (gguf->version != 2 && gguf->version != 3)
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: GGUF version %u; only 2 and 3 are supported", reader->path, gguf->version);
    uint64_t n_tensors, n_pairs;
    error = entro_gguf_take_u64(reader, &n_tensors);
    if (error == ENTRO_OK)
        error = entro_gguf_take_u64(reader, &n_pairs);
    if (error != ENTRO_OK)
        return error;
    if (n_tensors > entro_gguf_rest(reader) / TENSOR_MIN_BYTES ||
        n_pairs > entro_gguf_rest(reader) / PAIR_MIN_BYTES)
        return entro_gguf_fail(reader, "more tensors or metadata than the file has room for");
    if (n_tensors > ENTRO_GGUF_MAX_TENSORS || n_pairs > ENTRO_GGUF_MAX_PAIRS)
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: more than %d tensors or %d metadata pairs", reader->path,
                          ENTRO_GGUF_MAX_TENSORS, ENTRO_GGUF_MAX_PAIRS);
    gguf->pairs = calloc(n_pairs > 0 ? (size_t)n_pairs : 1, sizeof *gguf->pairs);
    gguf->tensors = calloc(n_tensors > 0 ? (size_t)n_tensors : 1, sizeof *gguf->tensors);
    gguf->n_pairs = (size_t)n_pairs;
    gguf->n_tensors = (size_t)n_tensors;
    if (gguf->pairs == NULL || gguf->tensors == NULL) {
        gguf->n_tensors = 0;
        return entro_gguf_fail_memory(reader);
    }
    return ENTRO_OK;
}

static enum entro_error read_alignment(const struct entro_gguf_reader *reader, struct entro_gguf *gguf)
{
    gguf->alignment = DEFAULT_ALIGNMENT;
    const struct entro_gguf_pair *pair = entro_gguf_find(gguf, "general.alignment");
    if (pair == NULL)
        return ENTRO_OK;
    if (pair->type != ENTRO_GGUF_U32)
        return entro_gguf_fail(reader, "general.alignment is no U32");
    gguf->alignment = entro_load_u32(pair->value);
    if (gguf->alignment == 0 || (gguf->alignment & (gguf->alignment - 1)) != 0)
        return entro_gguf_fail(reader, "general.alignment is no power of two");
    return ENTRO_OK;
}

/* Checks that the tensors lie one after the other, padded, up to the end of the file; makes the offsets those
 * of the file. */
static enum entro_error place_tensors(struct entro_gguf_reader *reader, struct entro_gguf *gguf)
{
    gguf->header_size_bytes = (size_t)reader->position;
    uint64_t padding = entro_gguf_padding(reader->position, gguf->alignment);
    const uint8_t *start = NULL;
    if (gguf->n_tensors == 0 && padding > entro_gguf_rest(reader))
        padding = entro_gguf_rest(reader);
    enum entro_error error = entro_gguf_take(reader, padding, &start);
    if (error != ENTRO_OK)
        return error;
    gguf->data_offset = reader->position;
    /* `end` stays within the file; the sums of it and `tail` are used only where they do too. */
    uint64_t end = gguf->data_offset;
    uint64_t tail = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct entro_model_tensor *tensor = &gguf->tensors[i];
        if (tensor->offset != end + tail - gguf->data_offset)
            return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                              "%s: tensor \"%s\" does not start right after the one before it", reader->path,
                              tensor->name);
        if (tail > reader->file_size_bytes - end || tensor->size_bytes > reader->file_size_bytes - end - tail)
            return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                              "%s: truncated: tensor \"%s\" does not lie in the file", reader->path,
                              tensor->name);
        tensor->offset = end + tail;
        end = tensor->offset + tensor->size_bytes;
        tail = entro_gguf_padding(end - gguf->data_offset, gguf->alignment);
    }
    if (reader->file_size_bytes - end > tail)
        return entro_gguf_fail(reader, "there are bytes after the last tensor");
    return ENTRO_OK;
}

static enum entro_error read_header(struct entro_gguf_reader *reader, struct entro_gguf *gguf)
{
    *gguf = (struct entro_gguf){.file_size_bytes = reader->file_size_bytes};
    enum entro_error error = take_prologue(reader, gguf);
    for (size_t i = 0; i < gguf->n_pairs && error == ENTRO_OK; i++)
        error = take_pair(reader, &gguf->pairs[i]);
    gguf->infos_offset = (size_t)reader->position;
    for (size_t i = 0; i < gguf->n_tensors && error == ENTRO_OK; i++)
        error = take_tensor(reader, &gguf->tensors[i]);
    if (error == ENTRO_OK)
        error = check_duplicates(reader, gguf);
    if (error == ENTRO_OK)
        error = read_alignment(reader, gguf);
    if (error == ENTRO_OK)
        error = place_tensors(reader, gguf);
    if (error != ENTRO_OK)
        entro_gguf_free(gguf);
    return error;
}

/* How much to have at hand next: at least what is needed, else twice as much as before. */
static size_t next_read_bytes(const struct entro_gguf_reader *reader)
{
    uint64_t size_bytes = reader->n_at_hand > 0 ? 2 * (uint64_t)reader->n_at_hand : FIRST_READ_BYTES;
    if (size_bytes < reader->needed)
        size_bytes = reader->needed;
    if (size_bytes > ENTRO_GGUF_HEADER_MAX_BYTES)
        size_bytes = ENTRO_GGUF_HEADER_MAX_BYTES;
    if (size_bytes > reader->file_size_bytes)
        size_bytes = reader->file_size_bytes;
    return (size_t)size_bytes;
}

enum entro_error entro_gguf_open(struct entro_gguf *out, int fd, uint64_t file_size_bytes, const char *path,
                                 struct entro_message *message)
{
    struct entro_gguf_reader reader = {.file_size_bytes = file_size_bytes, .path = path, .message = message};
    uint8_t *header = NULL;
    enum entro_error error;
    *out = (struct entro_gguf){0};
    do {
        size_t size_bytes = next_read_bytes(&reader);
        uint8_t *larger = realloc(header, size_bytes > 0 ? size_bytes : 1);
        if (larger == NULL) {
            error = entro_gguf_fail_memory(&reader);
            break;
        }
        header = larger;
        error = entro_pread_all(fd, header + reader.n_at_hand, size_bytes - reader.n_at_hand,
                                reader.n_at_hand, path, message);
        if (error != ENTRO_OK)
            break;
        reader.bytes = header;
        reader.n_at_hand = size_bytes;
        reader.position = 0;
        reader.needed = 0;
        error = read_header(&reader, out);
    } while (reader.needed > 0);
    if (error == ENTRO_OK)
        out->header = header;
    else
        free(header);
    return error;
}

enum entro_error entro_gguf_parse(struct entro_gguf *out, const uint8_t *bytes, size_t size_bytes,
                                  uint64_t file_size_bytes, const char *path, struct entro_message *message)
{
    struct entro_gguf_reader reader = {.file_size_bytes = file_size_bytes, .path = path, .message = message};
    *out = (struct entro_gguf){0};
    reader.n_at_hand =
        size_bytes < ENTRO_GGUF_HEADER_MAX_BYTES ? size_bytes : (size_t)ENTRO_GGUF_HEADER_MAX_BYTES;
    uint8_t *header = malloc(reader.n_at_hand > 0 ? reader.n_at_hand : 1);
    if (header == NULL)
        return entro_gguf_fail_memory(&reader);
    if (reader.n_at_hand > 0)
        memcpy(header, bytes, reader.n_at_hand);
    reader.bytes = header;
    enum entro_error error = read_header(&reader, out);
    if (error == ENTRO_OK)
        out->header = header;
    else
        free(header);
    return error;
}

void entro_gguf_free(struct entro_gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_tensors; i++)
        free(gguf->tensors[i].name);
    free(gguf->tensors);
    free(gguf->pairs);
    free(gguf->header);
    *gguf = (struct entro_gguf){0};
}
