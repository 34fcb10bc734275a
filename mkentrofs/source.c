/*
 * Opens a source: decides what kind of weights it has, and has all headers read and checked. The walk over
 * its files is source_walk.c's, what is inside model files is source_safetensors.c's, source_gguf.c's and
 * source_npy.c's; names are checked by names.c.
 */
#include "mkentrofs/source.h"

#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "mkentrofs/source_internal.h"

bool entro_has_suffix(const char *text, const char *suffix)
{
    size_t length = strlen(text), suffix_length = strlen(suffix);
    return length >= suffix_length && strcmp(text + length - suffix_length, suffix) == 0;
}

void entro_part_free_tensors(struct entro_part *part)
{
    for (size_t i = 0; i < part->n_tensors; i++)
        free(part->tensors[i].name);
    free(part->tensors);
    part->tensors = NULL;
    part->n_tensors = 0;
}

enum entro_error entro_part_take_tensors(struct entro_part *part, struct entro_model_tensor *tensors,
                                         size_t n_tensors, struct entro_message *message)
{
    part->tensors = calloc(n_tensors ? n_tensors : 1, sizeof *part->tensors);
    if (!part->tensors)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n_tensors; i++) {
        struct entro_source_tensor *tensor = &part->tensors[i];
        *tensor = (struct entro_source_tensor){.name = tensors[i].name,
                                               .dtype = tensors[i].dtype,
                                               .rank = tensors[i].rank,
                                               .offset = tensors[i].offset,
                                               .size_bytes = tensors[i].size_bytes};
        memcpy(tensor->shape, tensors[i].shape, sizeof tensor->shape);
        tensors[i].name = NULL;
        part->n_tensors++;
        if (!entro_shape_elements(tensor->shape, tensor->rank, &tensor->n_elements)) {
            entro_fail(message, ENTRO_ERROR_FORMAT, "%s: tensor %s: its shape overflows", part->source_path,
                       tensor->name);
            entro_part_free_tensors(part);
            return ENTRO_ERROR_FORMAT;
        }
    }
    return ENTRO_OK;
}

void entro_source_free(struct entro_source_tree *tree)
{
    for (size_t i = 0; i < tree->n_parts; i++) {
        entro_part_free_tensors(&tree->parts[i]);
        free(tree->parts[i].path);
        free(tree->parts[i].source_path);
    }
    free(tree->parts);
    *tree = (struct entro_source_tree){0};
}

enum entro_part_kind entro_part_kind_of_name(const char *path)
{
    if (entro_has_suffix(path, ".safetensors"))
        return ENTRO_PART_SAFETENSORS;
    if (entro_has_suffix(path, ".gguf"))
        return ENTRO_PART_GGUF;
    if (entro_has_suffix(path, ".npy"))
        return ENTRO_PART_NPY;
    return ENTRO_PART_PLAIN;
}

/* Decides which files hold the weights: an image has one kind of them. NumPy files only count where there is
 * nothing else. */
static enum entro_error choose_kind(struct entro_source_tree *tree, const char *path,
                                    struct entro_message *message)
{
    const struct entro_part *first[ENTRO_PART_NPY + 1] = {NULL};
    for (size_t i = 0; i < tree->n_parts; i++) {
        enum entro_part_kind kind = entro_part_kind_of_name(tree->parts[i].path);
        if (!first[kind])
            first[kind] = &tree->parts[i];
    }
    if (first[ENTRO_PART_SAFETENSORS] && first[ENTRO_PART_GGUF])
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "%s holds both safetensors (%s) and GGUF (%s) weights: leave one kind out, with "
                          "--exclude '*.gguf' say",
                          path, first[ENTRO_PART_SAFETENSORS]->path, first[ENTRO_PART_GGUF]->path);
    enum entro_part_kind kind = ENTRO_PART_NPY;
    tree->kind = ENTRO_SOURCE_NPY;
    if (first[ENTRO_PART_SAFETENSORS]) {
        kind = ENTRO_PART_SAFETENSORS;
        tree->kind = ENTRO_SOURCE_SAFETENSORS;
    } else if (first[ENTRO_PART_GGUF]) {
        kind = ENTRO_PART_GGUF;
        tree->kind = ENTRO_SOURCE_GGUF;
    } else if (!first[ENTRO_PART_NPY]) {
        return entro_fail(message, ENTRO_ERROR_NOT_FOUND,
                          "%s: no weights: no .safetensors, .gguf or .npy file", path);
    }
    for (size_t i = 0; i < tree->n_parts; i++)
        if (entro_part_kind_of_name(tree->parts[i].path) == kind)
            tree->parts[i].kind = kind;
    return ENTRO_OK;
}

static enum entro_error read_headers(struct entro_source_tree *tree, const struct entro_monitor *monitor,
                                     struct entro_message *message)
{
    for (size_t i = 0; i < tree->n_parts; i++) {
        struct entro_part *part = &tree->parts[i];
        enum entro_error error = ENTRO_OK;
        switch (part->kind) {
        case ENTRO_PART_PLAIN:
            break;
        case ENTRO_PART_SAFETENSORS:
            error = entro_part_read_safetensors(part, monitor, message);
            break;
        case ENTRO_PART_GGUF:
            error = entro_part_read_gguf(part, monitor, message);
            break;
        case ENTRO_PART_NPY:
            error = entro_part_read_npy(part, monitor, message);
            break;
        }
        if (error)
            return error;
        tree->n_tensors += part->n_tensors;
        if (!entro_add_u64(tree->size_bytes, part->identity.size_bytes, &tree->size_bytes))
            return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "the source is too large");
    }
    return ENTRO_OK;
}

enum entro_error entro_source_open(struct entro_source_tree *out, const struct entro_source_options *options,
                                   const struct entro_monitor *monitor, struct entro_message *message)
{
    *out = (struct entro_source_tree){0};
    enum entro_error error = entro_source_walk(out, options, monitor, message);
    if (error)
        goto fail;
    if ((error = choose_kind(out, options->path, message)) || (error = read_headers(out, monitor, message)) ||
        (error = entro_source_check_names(out, message)) ||
        (error = entro_source_check_indices(out, monitor, message)))
        goto fail;
    if (out->n_tensors == 0) {
        error = entro_fail(message, ENTRO_ERROR_NOT_FOUND, "%s: no weights: not one tensor in its files",
                           options->path);
        goto fail;
    }
    return ENTRO_OK;

fail:
    entro_source_free(out);
    return error;
}
