/* See json_internal.h. */
#include "codec/models/json_internal.h"

#include <stdbool.h>
#include <stdint.h>

/* Upper bounds of what jansson (2.14, 64 bits) allocates for each construct, the allocator's share included.
 */
#define OBJECT_BYTES 256
#define ARRAY_BYTES  128
#define MEMBER_BYTES 144
#define ITEM_BYTES   96
/* The most that a parsed text may take; a safetensors entry takes about 1.9 KB by this count. */
#define MAX_BYTES ((uint64_t)160 << 20)

struct cost {
    uint64_t memory_bytes;
    unsigned depth;
};

/*
 * What parsing would take, from the punctuation outside of strings alone. Of a text that is not JSON any
 * answer will do: the parser stops at the first error, having allocated no more than the punctuation up to
 * there accounts for.
 */
static struct cost estimate(const char *text, size_t size_bytes)
{
    /* The text itself, a string while it is scanned, and the string as it is kept. */
    struct cost cost = {.memory_bytes = 3 * (uint64_t)size_bytes};
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < size_bytes; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        switch (c) {
        case '"':
            in_string = true;
            break;
        case '{':
        case '[':
            cost.memory_bytes += c == '{' ? OBJECT_BYTES : ARRAY_BYTES;
            depth++;
            if (depth > cost.depth)
                cost.depth = depth;
            break;
        case '}':
        case ']':
            depth -= depth > 0;
            break;
        case ':':
            cost.memory_bytes += MEMBER_BYTES;
            break;
        case ',':
            cost.memory_bytes += ITEM_BYTES;
            break;
        default:
            break;
        }
    }
    return cost;
}

enum entro_error entro_json_parse(json_t **root, const char *text, size_t size_bytes, unsigned max_depth,
                                  const char *path, struct entro_message *message)
{
    struct cost cost = estimate(text, size_bytes);
    if (cost.memory_bytes > MAX_BYTES)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: the JSON text is too large: parsing it would take more than %d MiB", path,
                          (int)(MAX_BYTES >> 20));
    if (cost.depth > max_depth)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: the JSON text is nested more than %u deep", path,
                          max_depth);
    json_error_t error;
    *root = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, &error);
    /* In most places jansson says nothing where memory is short. */
    if (*root == NULL && (json_error_code(&error) == json_error_out_of_memory || error.text[0] == '\0'))
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
    if (*root == NULL)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: bad JSON at byte %d: %s", path, error.position,
                          error.text);
    if (!json_is_object(*root)) {
        json_decref(*root);
        *root = NULL;
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: the JSON text is no object", path);
    }
    return ENTRO_OK;
}
