/*
 * Tensor names become names of files on the mount: what cannot be one is refused here, with the file and the
 * tensor named.
 */
#include <stdlib.h>
#include <string.h>

#include "codec/image_rules.h"
#include "mkentrofs/source_internal.h"

struct named {
    const char *name;
    const struct entro_part *part;
};

static enum entro_error check_name(const struct entro_part *part, const char *name,
                                   struct entro_message *message)
{
    struct entro_quoted quoted = entro_quote(name, strlen(name));
    const char *fault = entro_name_fault(name, strlen(name));
    if (fault)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: the tensor name \"%s\" %s",
                          part->source_path, quoted.text, fault);
    return ENTRO_OK;
}

static int compare_named(const void *a, const void *b)
{
    const struct named *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    return order ? order : strcmp(left->part->path, right->part->path);
}

enum entro_error entro_source_check_names(const struct entro_source_tree *tree, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    size_t n = 0;
    struct named *all = calloc(tree->n_tensors ? tree->n_tensors : 1, sizeof *all);
    if (!all)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < tree->n_parts; i++)
        for (size_t j = 0; j < tree->parts[i].n_tensors; j++) {
            const char *name = tree->parts[i].tensors[j].name;
            if ((error = check_name(&tree->parts[i], name, message)))
                goto free_all;
            all[n++] = (struct named){.name = name, .part = &tree->parts[i]};
        }
    qsort(all, n, sizeof *all, compare_named);
    for (size_t i = 1; i < n; i++)
        if (strcmp(all[i - 1].name, all[i].name) == 0) {
            error = entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                               "tensor %s is both in %s and in %s: leave one file out with --exclude",
                               all[i].name, all[i - 1].part->path, all[i].part->path);
            goto free_all;
        }

free_all:
    free(all);
    return error;
}
