/* Extended attributes in one table; see attributes.h. */
#include "fs/attributes.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "fs/facts.h"

#define STATS_NAME "user.entrofs.stats"

enum fact { DTYPE, SHAPE, SCHEME, SCALE, ZERO_POINT, BITS_PER_WEIGHT, XXH3, N_FACTS };

static const char *const fact_names[N_FACTS] = {
    [DTYPE] = "user.entrofs.dtype",
    [SHAPE] = "user.entrofs.shape",
    [SCHEME] = "user.entrofs.scheme",
    [SCALE] = "user.entrofs.scale",
    [ZERO_POINT] = "user.entrofs.zero_point",
    [BITS_PER_WEIGHT] = "user.entrofs.bits_per_weight",
    [XXH3] = "user.entrofs.xxh3",
};

/* A lossless tensor has neither scale nor zero point. */
static bool has_fact(const struct entro_tensor *tensor, enum fact fact)
{
    return (fact != SCALE && fact != ZERO_POINT) || tensor->scheme != ENTRO_SCHEME_LOSSLESS;
}

static void fact_text(const struct entro_image *image, const struct entro_tensor *tensor, enum fact fact,
                      char *value, size_t size)
{
    char shape[ENTRO_SHAPE_BYTES], hex[ENTRO_HEX_BYTES];
    switch (fact) {
    case DTYPE:
        snprintf(value, size, "%s", entro_dtype_name(tensor->dtype));
        break;
    case SHAPE:
        entro_shape_text(tensor, shape);
        snprintf(value, size, "%s", shape);
        break;
    case SCHEME:
        snprintf(value, size, "%s", entro_scheme_name(tensor->scheme));
        break;
    case SCALE: /* nine digits give the same F32 back */
        snprintf(value, size, "%.9g", (double)tensor->scale);
        break;
    case ZERO_POINT:
        snprintf(value, size, "%d", (int)tensor->zero_point);
        break;
    case BITS_PER_WEIGHT:
        snprintf(value, size, "%.4f", entro_tensor_bits_per_weight(image, tensor));
        break;
    case XXH3:
        entro_hex(entro_image_stream(image, tensor->stream)->xxh3_128, hex);
        snprintf(value, size, "%s", hex);
        break;
    case N_FACTS:
        break;
    }
}

bool entro_attribute_value(const struct entro_attributes *attributes, const struct entro_node *node,
                           const char *name, char value[ENTRO_ATTRIBUTE_BYTES], size_t *length, bool *grows)
{
    *grows = false;
    if (node->inode == ENTRO_INODE_ROOT && strcmp(name, STATS_NAME) == 0) {
        static_assert(ENTRO_STATS_TEXT_BYTES < ENTRO_ATTRIBUTE_BYTES, "the counters fit");
        size_t n = entro_stats_text(attributes->stats, value);
        n += (size_t)snprintf(value + n, ENTRO_ATTRIBUTE_BYTES - n, "%s", atomic_load(&attributes->notes));
        *length = n < ENTRO_ATTRIBUTE_BYTES ? n : ENTRO_ATTRIBUTE_BYTES - 1;
        *grows = true;
        return true;
    }
    if (node->tensor == ENTRO_NONE)
        return false;
    const struct entro_image *image = entro_namespace_image(attributes->names);
    const struct entro_tensor *tensor = entro_image_tensor(image, node->tensor);
    for (unsigned fact = 0; fact < N_FACTS; fact++)
        if (strcmp(name, fact_names[fact]) == 0 && has_fact(tensor, fact)) {
            value[0] = '\0';
            fact_text(image, tensor, fact, value, ENTRO_ATTRIBUTE_BYTES);
            *length = strlen(value);
            return true;
        }
    return false;
}

static size_t append_name(char *list, size_t length, const char *name)
{
    size_t n = strlen(name) + 1;
    memcpy(list + length, name, n);
    return length + n;
}

size_t entro_attribute_names(const struct entro_namespace *names, const struct entro_node *node,
                             char list[ENTRO_ATTRIBUTE_BYTES])
{
    size_t length = 0;
    if (node->inode == ENTRO_INODE_ROOT)
        length = append_name(list, length, STATS_NAME);
    if (node->tensor == ENTRO_NONE)
        return length;
    const struct entro_tensor *tensor = entro_image_tensor(entro_namespace_image(names), node->tensor);
    for (unsigned fact = 0; fact < N_FACTS; fact++)
        if (has_fact(tensor, fact))
            length = append_name(list, length, fact_names[fact]);
    return length;
}
