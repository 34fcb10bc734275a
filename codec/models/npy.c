/* Headers of .npy files; see npy.h. The dictionary in them is the literal that NumPy writes, read here as
 * such and not as Python. */
#include "codec/models/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec/bytes.h"

#define MAGIC           "\x93NUMPY"
#define MAGIC_BYTES     6
#define ALIGNMENT       64
#define DESCR_MAX_BYTES 16
/* NumPy leaves room for the first dimension to grow to this many digits in place. */
#define GROWTH_DIGITS 21

struct descr {
    enum entro_dtype dtype;
    const char *text;
};

static const struct descr descrs[] = {
    {ENTRO_DTYPE_F32, "<f4"}, {ENTRO_DTYPE_F16, "<f2"}, {ENTRO_DTYPE_F64, "<f8"}, {ENTRO_DTYPE_BOOL, "|b1"},
    {ENTRO_DTYPE_U8, "|u1"},  {ENTRO_DTYPE_I8, "|i1"},  {ENTRO_DTYPE_U16, "<u2"}, {ENTRO_DTYPE_I16, "<i2"},
    {ENTRO_DTYPE_U32, "<u4"}, {ENTRO_DTYPE_I32, "<i4"}, {ENTRO_DTYPE_U64, "<u8"}, {ENTRO_DTYPE_I64, "<i8"},
    {ENTRO_DTYPE_C64, "<c8"},
};

#define N_DESCRS (sizeof descrs / sizeof descrs[0])

const char *entro_npy_descr(enum entro_dtype dtype)
{
    for (size_t i = 0; i < N_DESCRS; i++)
        if (descrs[i].dtype == dtype)
            return descrs[i].text;
    return dtype == ENTRO_DTYPE_BF16 ? "<u2" : "|u1";
}

size_t entro_npy_header(uint8_t header[ENTRO_NPY_HEADER_MAX_BYTES], const char *descr, const uint64_t *shape,
                        unsigned rank)
{
    if (rank > ENTRO_MAX_RANK || strlen(descr) > DESCR_MAX_BYTES)
        return 0;
    char text[ENTRO_NPY_HEADER_MAX_BYTES];
    size_t n =
        (size_t)snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    int first_digits = 0;
    for (unsigned i = 0; i < rank; i++) {
        int digits = snprintf(text + n, sizeof text - n, "%" PRIu64, shape[i]);
        n += (size_t)digits;
        if (i == 0)
            first_digits = digits;
        if (i + 1 < rank || rank == 1)
            n += (size_t)snprintf(text + n, sizeof text - n, i + 1 < rank ? ", " : ",");
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "), }%*s", rank > 0 ? GROWTH_DIGITS - first_digits : 0,
                          "");
    /* At least the newline, then spaces before it: where the text alone would do, a whole further line of 64,
     * as NumPy. */
    size_t prefix_bytes = MAGIC_BYTES + 2 + 2;
    size_t padding = ALIGNMENT - (prefix_bytes + n + 1) % ALIGNMENT;
    size_t total = prefix_bytes + n + padding + 1;
    memcpy(header, MAGIC "\x01\x00", MAGIC_BYTES + 2);
    entro_store_u16(header + MAGIC_BYTES + 2, (uint16_t)(total - prefix_bytes));
    memcpy(header + prefix_bytes, text, n);
    memset(header + prefix_bytes + n, ' ', padding);
    header[total - 1] = '\n';
    return total;
}

/* A place in the dictionary's text. */
struct scanner {
    const char *at;
    const char *end;
};

static void skip_space(struct scanner *scanner)
{
    while (scanner->at < scanner->end &&
           (*scanner->at == ' ' || *scanner->at == '\t' || *scanner->at == '\n'))
        scanner->at++;
}

/* Steps over `expected`, white space before it allowed. */
static bool accept(struct scanner *scanner, const char *expected)
{
    size_t length = strlen(expected);
    skip_space(scanner);
    if ((size_t)(scanner->end - scanner->at) < length || memcmp(scanner->at, expected, length) != 0)
        return false;
    scanner->at += length;
    return true;
}

/* A string in either kind of quotes, without escapes; copied with a NUL where it fits `text`, else refused.
 */
static bool take_string(struct scanner *scanner, char *text, size_t text_bytes)
{
    skip_space(scanner);
    if (scanner->at == scanner->end || (*scanner->at != '\'' && *scanner->at != '"'))
        return false;
    char quote = *scanner->at++;
    size_t n = 0;
    while (scanner->at < scanner->end && *scanner->at != quote) {
        char c = *scanner->at++;
        if (c == '\\' || c < ' ' || c > '~' || n + 1 >= text_bytes)
            return false;
        text[n++] = c;
    }
    text[n] = '\0';
    return accept(scanner, quote == '\'' ? "'" : "\"");
}

/* A decimal number that fits 63 bits, of which Python 2 wrote some with an L. */
static bool take_size(struct scanner *scanner, uint64_t *size)
{
    skip_space(scanner);
    const char *start = scanner->at;
    *size = 0;
    while (scanner->at < scanner->end && *scanner->at >= '0' && *scanner->at <= '9') {
        uint64_t digit = (uint64_t)(*scanner->at++ - '0');
        if (!entro_mul_u64(*size, 10, size) || !entro_add_u64(*size, digit, size) || *size > INT64_MAX)
            return false;
    }
    if (scanner->at == start)
        return false;
    if (scanner->at < scanner->end && *scanner->at == 'L')
        scanner->at++;
    return true;
}

/* (), (3,), (3, 4) or (3, 4,). */
static bool take_shape(struct scanner *scanner, struct entro_npy *npy, bool *too_many)
{
    if (!accept(scanner, "("))
        return false;
    bool comma = true;
    npy->rank = 0;
    while (!accept(scanner, ")")) {
        if (npy->rank == ENTRO_MAX_RANK) {
            *too_many = true;
            return false;
        }
        if (!comma || !take_size(scanner, &npy->shape[npy->rank]))
            return false;
        npy->rank++;
        comma = accept(scanner, ",");
    }
    return npy->rank != 1 || comma; /* "(3)" is a number in Python */
}

/* "<f4", "=f4" and "f4" (of a machine that is little-endian) and, for one byte, "|u1". */
static enum entro_error read_descr(struct entro_npy *npy, const char *descr, const char *path,
                                   struct entro_message *message)
{
    if (descr[0] == '>')
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: a big-endian array", path);
    const char *type = descr + (descr[0] == '<' || descr[0] == '|' || descr[0] == '=');
    for (size_t i = 0; i < N_DESCRS; i++)
        if (strcmp(descrs[i].text + 1, type) == 0 && (descr[0] != '|' || descrs[i].text[0] == '|')) {
            npy->dtype = descrs[i].dtype;
            return ENTRO_OK;
        }
    return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: an array of NumPy type \"%s\"", path, descr);
}

enum key { KEY_DESCR = 1, KEY_ORDER = 2, KEY_SHAPE = 4, KEYS = 7 };

struct dictionary {
    unsigned keys;
    bool fortran_order;
    char descr[64];
};

static enum key find_key(const char *name)
{
    if (strcmp(name, "descr") == 0)
        return KEY_DESCR;
    if (strcmp(name, "fortran_order") == 0)
        return KEY_ORDER;
    return strcmp(name, "shape") == 0 ? KEY_SHAPE : 0;
}

/* One "key: value". */
static enum entro_error take_item(struct scanner *scanner, struct dictionary *dictionary,
                                  struct entro_npy *npy, const char *path, struct entro_message *message)
{
    char name[32];
    bool too_many = false;
    bool good = take_string(scanner, name, sizeof name) && accept(scanner, ":");
    enum key key = good ? find_key(name) : 0;
    if (key == 0 || (dictionary->keys & key) != 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: the header has an unknown or a second key", path);
    dictionary->keys |= key;
    if (key == KEY_DESCR) {
        if (accept(scanner, "["))
            return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: an array of records", path);
        good = take_string(scanner, dictionary->descr, sizeof dictionary->descr);
    } else if (key == KEY_ORDER) {
        dictionary->fortran_order = accept(scanner, "True");
        good = dictionary->fortran_order || accept(scanner, "False");
    } else {
        good = take_shape(scanner, npy, &too_many);
    }
    if (too_many)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: more than %d dimensions", path,
                          ENTRO_MAX_RANK);
    if (!good)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: bad value of %s in the header", path, name);
    return ENTRO_OK;
}

static enum entro_error read_dictionary(struct entro_npy *npy, struct scanner *scanner, const char *path,
                                        struct entro_message *message)
{
    struct dictionary dictionary = {0};
    bool comma = true;
    if (!accept(scanner, "{"))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: the header is no dictionary", path);
    while (!accept(scanner, "}")) {
        if (!comma)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: the header is no dictionary", path);
        enum entro_error error = take_item(scanner, &dictionary, npy, path, message);
        if (error != ENTRO_OK)
            return error;
        comma = accept(scanner, ",");
    }
    skip_space(scanner);
    if (scanner->at != scanner->end)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: more than a dictionary in the header", path);
    if (dictionary.keys != KEYS)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: the header lacks descr, fortran_order or shape",
                          path);
    if (dictionary.fortran_order && npy->rank > 1)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: an array in Fortran order", path);
    return read_descr(npy, dictionary.descr, path, message);
}

enum entro_error entro_npy_parse(struct entro_npy *out, const uint8_t *bytes, size_t size_bytes,
                                 uint64_t file_size_bytes, const char *path, struct entro_message *message)
{
    *out = (struct entro_npy){0};
    if (size_bytes < MAGIC_BYTES + 4 || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: no .npy file", path);
    unsigned version = bytes[MAGIC_BYTES];
    if (version < 1 || version > 3 || bytes[MAGIC_BYTES + 1] != 0)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: .npy version %u.%u", path, version,
                          bytes[MAGIC_BYTES + 1]);
    size_t prefix_bytes = MAGIC_BYTES + 2 + (version == 1 ? 2 : 4);
    if (size_bytes < prefix_bytes)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: truncated: the file ends within the header",
                          path);
    size_t header_bytes =
        version == 1 ? entro_load_u16(bytes + MAGIC_BYTES + 2) : entro_load_u32(bytes + MAGIC_BYTES + 2);
    if (header_bytes > size_bytes - prefix_bytes)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: truncated: the file ends within the header",
                          path);
    const char *text = (const char *)bytes + prefix_bytes;
    struct scanner scanner = {text, text + header_bytes};
    enum entro_error error = read_dictionary(out, &scanner, path, message);
    if (error != ENTRO_OK)
        return error;
    out->data_offset = prefix_bytes + header_bytes;
    if (!entro_dtype_size_bytes(out->dtype, out->shape, out->rank, &out->size_bytes))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: the shape's size does not fit 64 bits", path);
    if (file_size_bytes < out->data_offset || file_size_bytes - out->data_offset != out->size_bytes)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "%s: the data is shorter or longer than the shape says", path);
    return ENTRO_OK;
}
