/*
 * Tensors of safetensors files, and the indices that spread them over shards. The header's grammar is
 * codec/models/safetensors.h's.
 */
#include <stdlib.h>
#include <string.h>

#include "codec/models/safetensors.h"
#include "mkentrofs/source_internal.h"

/* An index lists a name of at most 240 bytes a tensor: 100000 tensors fit many times. */
#define INDEX_MAX_BYTES ((uint64_t)64 << 20)

static const char index_suffix[] = ".safetensors.index.json";

enum entro_error entro_part_read_safetensors(struct entro_part *part, const struct entro_monitor *monitor,
                                             struct entro_message *message)
{
    struct entro_input input;
    enum entro_error error = entro_input_open(&input, part->source_path, &part->identity, monitor, message);
    if (error)
        return error;
    struct entro_safetensors header;
    error = entro_safetensors_open(&header, input.fd, input.identity.size_bytes, part->source_path, message);
    if (!error) {
        error = entro_part_take_tensors(part, header.tensors, header.n_tensors, message);
        entro_safetensors_free(&header);
    }
    entro_input_close(&input);
    return error;
}

static int compare_paths(const void *key, const void *part)
{
    return strcmp(key, ((const struct entro_part *)part)->path);
}

/* The part with the name that an index gives, in the folder where the index lies. */
static const struct entro_part *find_shard(const struct entro_source_tree *tree, const char *index_path,
                                           const char *name)
{
    const char *slash = strrchr(index_path, '/');
    size_t folder_bytes = slash ? (size_t)(slash - index_path) + 1 : 0;
    size_t name_bytes = strlen(name);
    char *path = malloc(folder_bytes + name_bytes + 1);
    if (!path)
        return NULL;
    memcpy(path, index_path, folder_bytes);
    memcpy(path + folder_bytes, name, name_bytes + 1);
    const struct entro_part *part =
        bsearch(path, tree->parts, tree->n_parts, sizeof *tree->parts, compare_paths);
    free(path);
    return part;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted names of a part's tensors (not owned), or NULL where memory is short. */
static const char **sorted_names(const struct entro_part *part)
{
    const char **names = malloc((part->n_tensors ? part->n_tensors : 1) * sizeof *names);
    if (!names)
        return NULL;
    for (size_t i = 0; i < part->n_tensors; i++)
        names[i] = part->tensors[i].name;
    qsort(names, part->n_tensors, sizeof *names, compare_names);
    return names;
}

static enum entro_error check_index(const struct entro_source_tree *tree, const struct entro_part *index_part,
                                    const struct entro_safetensors_index *index,
                                    struct entro_message *message)
{
    const char *index_path = index_part->source_path;
    for (size_t file = 0; file < index->n_files; file++) {
        const struct entro_part *shard = find_shard(tree, index_part->path, index->files[file]);
        if (!shard || shard->kind != ENTRO_PART_SAFETENSORS)
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "%s: the index names the file %s, which is not there", index_path,
                              index->files[file]);
        const char **names = sorted_names(shard);
        if (!names)
            return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        for (size_t i = 0; i < index->n_tensors; i++) {
            const char *name = index->tensors[i];
            if (index->tensor_files[i] == file &&
                !bsearch(&name, names, shard->n_tensors, sizeof *names, compare_names)) {
                free(names);
                return entro_fail(message, ENTRO_ERROR_FORMAT,
                                  "%s: tensor %s is not in %s, where the index has it", index_path, name,
                                  index->files[file]);
            }
        }
        free(names);
    }
    return ENTRO_OK;
}

static enum entro_error read_index(const struct entro_source_tree *tree, const struct entro_part *part,
                                   const struct entro_monitor *monitor, struct entro_message *message)
{
    if (part->identity.size_bytes > INDEX_MAX_BYTES)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: an index of %llu bytes is too large",
                          part->source_path, (unsigned long long)part->identity.size_bytes);
    size_t size_bytes = (size_t)part->identity.size_bytes;
    struct entro_input input;
    enum entro_error error = entro_input_open(&input, part->source_path, &part->identity, monitor, message);
    if (error)
        return error;
    char *text = malloc(size_bytes + 1);
    if (!text) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto close_input;
    }
    if ((error = entro_input_read(&input, 0, size_bytes, (uint8_t *)text, message)))
        goto free_text;
    text[size_bytes] = '\0';
    struct entro_safetensors_index index;
    if ((error = entro_safetensors_index_parse(&index, text, size_bytes, part->source_path, message)))
        goto free_text;
    error = check_index(tree, part, &index, message);
    entro_safetensors_index_free(&index);

free_text:
    free(text);
close_input:
    entro_input_close(&input);
    return error;
}

enum entro_error entro_source_check_indices(const struct entro_source_tree *tree,
                                            const struct entro_monitor *monitor,
                                            struct entro_message *message)
{
    if (tree->kind != ENTRO_SOURCE_SAFETENSORS)
        return ENTRO_OK;
    for (size_t i = 0; i < tree->n_parts; i++)
        if (entro_has_suffix(tree->parts[i].path, index_suffix)) {
            enum entro_error error = read_index(tree, &tree->parts[i], monitor, message);
            if (error)
                return error;
        }
    return ENTRO_OK;
}
