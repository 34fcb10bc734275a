/*
 * Tensors of one kind: their names differ in numbers only ("model.layers.7.mlp.up_proj.weight" and its like
 * in other layers).
 */
#ifndef ENTRO_KINDS_H
#define ENTRO_KINDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENTRO_NO_LAYER UINT32_MAX

struct entro_kind_of {
    uint32_t kind;
    uint32_t layer; /* the name's first number, or ENTRO_NO_LAYER */
};

/* Everything owned. */
struct entro_kinds {
    size_t n;
    char **names;             /* [n] with "*" in place of numbers, in the order in which they first come up */
    struct entro_kind_of *of; /* one a name */
};

/* False where memory is short; else the caller frees with entro_kinds_free. */
bool entro_kinds_find(struct entro_kinds *out, const char *const *names, size_t n_names);
void entro_kinds_free(struct entro_kinds *kinds);

#endif
