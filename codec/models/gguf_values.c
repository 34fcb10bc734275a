/* Reading metadata out of a parsed GGUF header, whose values gguf.c has checked to lie in it; see gguf.h. */
#include <string.h>

#include "codec/bytes.h"
#include "codec/models/gguf_internal.h"

size_t entro_gguf_scalar_bytes(enum entro_gguf_type type)
{
    switch (type) {
    case ENTRO_GGUF_U8:
    case ENTRO_GGUF_I8:
    case ENTRO_GGUF_BOOL:
        return 1;
    case ENTRO_GGUF_U16:
    case ENTRO_GGUF_I16:
        return 2;
    case ENTRO_GGUF_U32:
    case ENTRO_GGUF_I32:
    case ENTRO_GGUF_F32:
        return 4;
    case ENTRO_GGUF_U64:
    case ENTRO_GGUF_I64:
    case ENTRO_GGUF_F64:
        return 8;
    case ENTRO_GGUF_STRING:
    case ENTRO_GGUF_ARRAY:
        break;
    }
    return 0;
}

const struct entro_gguf_pair *entro_gguf_find(const struct entro_gguf *gguf, const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < gguf->n_pairs; i++) {
        const struct entro_gguf_string *candidate = &gguf->pairs[i].key;
        if (candidate->size_bytes == length && memcmp(candidate->text, key, length) == 0)
            return &gguf->pairs[i];
    }
    return NULL;
}

static bool load_integer(enum entro_gguf_type type, const uint8_t *source, int64_t *value)
{
    switch (type) {
    case ENTRO_GGUF_U8:
    case ENTRO_GGUF_BOOL:
        *value = *source;
        return true;
    case ENTRO_GGUF_I8:
        *value = *source - (*source < 128 ? 0 : 256);
        return true;
    case ENTRO_GGUF_U16:
        *value = entro_load_u16(source);
        return true;
    case ENTRO_GGUF_I16:
        *value = (int16_t)entro_load_u16(source);
        return true;
    case ENTRO_GGUF_U32:
        *value = entro_load_u32(source);
        return true;
    case ENTRO_GGUF_I32:
        *value = entro_load_i32(source);
        return true;
    case ENTRO_GGUF_U64:
    case ENTRO_GGUF_I64:
        *value = entro_load_i64(source);
        return type == ENTRO_GGUF_I64 || *value >= 0;
    case ENTRO_GGUF_F32:
    case ENTRO_GGUF_F64:
    case ENTRO_GGUF_STRING:
    case ENTRO_GGUF_ARRAY:
        break;
    }
    return false;
}

static bool load_number(enum entro_gguf_type type, const uint8_t *source, double *value)
{
    int64_t integer;
    switch (type) {
    case ENTRO_GGUF_F32:
        *value = (double)entro_load_f32(source);
        return true;
    case ENTRO_GGUF_F64:
        *value = entro_load_f64(source);
        return true;
    case ENTRO_GGUF_U64:
        *value = (double)entro_load_u64(source);
        return true;
    case ENTRO_GGUF_BOOL:
        return false;
    default:
        if (!load_integer(type, source, &integer))
            return false;
        *value = (double)integer;
        return true;
    }
}

static struct entro_gguf_string load_string(const uint8_t *source)
{
    return (struct entro_gguf_string){(const char *)source + 8, (size_t)entro_load_u64(source)};
}

bool entro_gguf_integer(const struct entro_gguf_pair *pair, int64_t *value)
{
    return pair != NULL && load_integer(pair->type, pair->value, value);
}

bool entro_gguf_number(const struct entro_gguf_pair *pair, double *value)
{
    return pair != NULL && load_number(pair->type, pair->value, value);
}

bool entro_gguf_text(const struct entro_gguf_pair *pair, struct entro_gguf_string *value)
{
    if (pair == NULL || pair->type != ENTRO_GGUF_STRING)
        return false;
    *value = load_string(pair->value);
    return true;
}

static bool is_array(const struct entro_gguf_pair *pair)
{
    return pair != NULL && pair->type == ENTRO_GGUF_ARRAY;
}

bool entro_gguf_integers(const struct entro_gguf_pair *pair, int64_t *values)
{
    if (!is_array(pair) || pair->element_type == ENTRO_GGUF_F32 || pair->element_type == ENTRO_GGUF_F64 ||
        pair->element_type == ENTRO_GGUF_STRING)
        return false;
    size_t step = entro_gguf_scalar_bytes(pair->element_type);
    for (size_t i = 0; i < pair->n_elements; i++)
        if (!load_integer(pair->element_type, pair->value + i * step, &values[i]))
            return false;
    return true;
}

bool entro_gguf_numbers(const struct entro_gguf_pair *pair, double *values)
{
    if (!is_array(pair) || pair->element_type == ENTRO_GGUF_BOOL || pair->element_type == ENTRO_GGUF_STRING)
        return false;
    size_t step = entro_gguf_scalar_bytes(pair->element_type);
    for (size_t i = 0; i < pair->n_elements; i++)
        if (!load_number(pair->element_type, pair->value + i * step, &values[i]))
            return false;
    return true;
}

bool entro_gguf_strings(const struct entro_gguf_pair *pair, struct entro_gguf_string *values)
{
    if (!is_array(pair) || pair->element_type != ENTRO_GGUF_STRING)
        return false;
    const uint8_t *source = pair->value;
    for (size_t i = 0; i < pair->n_elements; i++) {
        values[i] = load_string(source);
        source += 8 + values[i].size_bytes;
    }
    return true;
}
