/* Names with their numbers taken out, sorted; see kinds.h. */
#include "mkentrofs/kinds.h"

#include <stdlib.h>
#include <string.h>

/* Layers have smaller numbers than this; longer ones are no layers. */
#define MAX_LAYER_DIGITS 6

struct entry {
    char *kind;
    size_t number; /* of the tensor */
};

/* The length of the part of a name that `name` starts with, up to a point or the end. */
static size_t part_length(const char *name)
{
    return strcspn(name, ".");
}

/* Parts that are numbers become "*". The result is owned by the caller; NULL: no memory. */
static char *kind_of(const char *name, uint32_t *layer)
{
    char *kind = malloc(strlen(name) + 1), *to = kind;
    *layer = ENTRO_NO_LAYER;
    if (!kind)
        return NULL;
    for (;;) {
        size_t length = part_length(name);
        bool is_number = length > 0 && strspn(name, "0123456789") == length;
        if (is_number && *layer == ENTRO_NO_LAYER && length <= MAX_LAYER_DIGITS)
            *layer = (uint32_t)strtoul(name, NULL, 10);
        if (is_number) {
            *to++ = '*';
        } else {
            memcpy(to, name, length);
            to += length;
        }
        if (name[length] == '\0')
            break;
        *to++ = '.';
        name += length + 1;
    }
    *to = '\0';
    return kind;
}

static int by_kind(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->kind, y->kind);
    if (order != 0)
        return order;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* Entries sorted by kind; those of a kind by tensor. Kinds are numbered by their first tensors. */
static bool number_kinds(struct entro_kinds *out, struct entry *entries, size_t n)
{
    size_t *first = malloc((n + 1) * sizeof *first); /* of the tensor's kind: its first tensor */
    out->names = calloc(n + 1, sizeof *out->names);
    bool ok = first && out->names;
    for (size_t i = 0, start = 0; ok && i < n; i++) {
        if (i > 0 && strcmp(entries[i].kind, entries[start].kind) != 0)
            start = i;
        first[entries[i].number] = entries[start].number;
    }
    for (size_t i = 0; ok && i < n; i++) {
        if (first[i] == i)
            out->of[i].kind = (uint32_t)out->n++;
        else
            out->of[i].kind = out->of[first[i]].kind;
    }
    for (size_t i = 0; ok && i < n; i++)
        if (first[entries[i].number] == entries[i].number) {
            out->names[out->of[entries[i].number].kind] = entries[i].kind;
            entries[i].kind = NULL;
        }
    free(first);
    return ok;
}

bool entro_kinds_find(struct entro_kinds *out, const char *const *names, size_t n_names)
{
    *out = (struct entro_kinds){0};
    struct entry *entries = calloc(n_names + 1, sizeof *entries);
    out->of = calloc(n_names + 1, sizeof *out->of);
    bool ok = entries && out->of && n_names < UINT32_MAX;
    for (size_t i = 0; ok && i < n_names; i++) {
        entries[i] = (struct entry){.kind = kind_of(names[i], &out->of[i].layer), .number = i};
        ok = entries[i].kind != NULL;
    }
    if (ok) {
        qsort(entries, n_names, sizeof *entries, by_kind);
        ok = number_kinds(out, entries, n_names);
    }
    for (size_t i = 0; entries && i < n_names; i++)
        free(entries[i].kind);
    free(entries);
    if (!ok)
        entro_kinds_free(out);
    return ok;
}

void entro_kinds_free(struct entro_kinds *kinds)
{
    for (size_t i = 0; kinds->names && i < kinds->n; i++)
        free(kinds->names[i]);
    free(kinds->names);
    free(kinds->of);
    *kinds = (struct entro_kinds){0};
}
