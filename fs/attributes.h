/*
 * Extended attributes: a tensor's facts on its raw file and its .npy, the reader's counters on the root. Each
 * a short text.
 */
#ifndef ENTRO_FS_ATTRIBUTES_H
#define ENTRO_FS_ATTRIBUTES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include "fs/namespace.h"
#include "fs/stats.h"

/* Room that any value needs at most, with a NUL. */
#define ENTRO_ATTRIBUTE_BYTES 2048

/* What a value may grow by between the question for its size and that for itself. */
#define ENTRO_ATTRIBUTE_SLACK 256

/* What the values are made from. */
struct entro_attributes {
    const struct entro_namespace *names;
    struct entro_stats *stats;
    _Atomic(const char *) notes; /* "name value" lines, or ""; may be set at any time */
};

/* The value of an attribute of a node and its length; false where it has none of this name. *grows: the next
 * value may be longer. */
bool entro_attribute_value(const struct entro_attributes *attributes, const struct entro_node *node,
                           const char *name, char value[ENTRO_ATTRIBUTE_BYTES], size_t *length, bool *grows);

/* The names that a node has, each with its NUL, one after another; returns the length. */
size_t entro_attribute_names(const struct entro_namespace *names, const struct entro_node *node,
                             char list[ENTRO_ATTRIBUTE_BYTES]);

#endif
