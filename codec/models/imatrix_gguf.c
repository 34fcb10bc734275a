/* Importance matrices in the GGUF form: tensors NAME.in_sum2, .counts and .in_directions; see imatrix.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "codec/models/gguf.h"
#include "codec/models/imatrix_internal.h"
#include "codec/models/pread_internal.h"

#define SUMS       ".in_sum2"
#define COUNTS     ".counts"
#define DIRECTIONS ".in_directions"

static bool text_is(const struct entro_gguf *gguf, const char *key, const char *text)
{
    struct entro_gguf_string value;
    return entro_gguf_text(entro_gguf_find(gguf, key), &value) && value.size_bytes == strlen(text) &&
           memcmp(value.text, text, value.size_bytes) == 0;
}

/* The length of the name before the suffix, or 0. */
static size_t stem_of(const char *name, const char *suffix)
{
    size_t n = strlen(name), n_suffix = strlen(suffix);
    return n > n_suffix && strcmp(name + n - n_suffix, suffix) == 0 ? n - n_suffix : 0;
}

/* The tensors, to be found by name. */
struct named {
    const char *name;
    const struct entro_model_tensor *tensor;
};

static int compare_named(const void *left, const void *right)
{
    const struct named *a = left, *b = right;
    return strcmp(a->name, b->name);
}

/* The tensor of the same stem with another suffix, or NULL. */
static const struct entro_model_tensor *find_beside(const struct named *tensors, size_t n_tensors,
                                                    const char *name, size_t n_stem, const char *suffix)
{
    char wanted[ENTRO_GGUF_NAME_MAX_BYTES + sizeof DIRECTIONS];
    memcpy(wanted, name, n_stem);
    strcpy(wanted + n_stem, suffix);
    const struct named key = {.name = wanted};
    const struct named *found = bsearch(&key, tensors, n_tensors, sizeof *tensors, compare_named);
    return found == NULL ? NULL : found->tensor;
}

static uint64_t n_elements_of(const struct entro_model_tensor *tensor)
{
    return tensor->size_bytes / sizeof(float);
}

static enum entro_error read_entry(struct entro_imatrix *out, const struct entro_imatrix_file *file,
                                   const struct entro_model_tensor *sums,
                                   const struct entro_model_tensor *counts, size_t n_stem)
{
    struct entro_imatrix_entry *entry = &out->entries[out->n_entries];
    uint64_t n_values = n_elements_of(sums), n_matrices = n_elements_of(counts);
    if (sums->dtype != ENTRO_DTYPE_F32 || counts->dtype != ENTRO_DTYPE_F32)
        return entro_fail(file->message, ENTRO_ERROR_FORMAT,
                          "%s: tensor \"%.*s\": its importances are no F32", file->path, (int)n_stem,
                          sums->name);
    if (n_matrices == 0 || n_values == 0 || n_values % n_matrices != 0)
        return entro_fail(file->message, ENTRO_ERROR_FORMAT,
                          "%s: tensor \"%.*s\": %llu importances do not go with %llu counts", file->path,
                          (int)n_stem, sums->name, (unsigned long long)n_values,
                          (unsigned long long)n_matrices);
    out->n_entries++;
    entry->name = strndup(sums->name, n_stem);
    if (!entro_imatrix_entry_allocate(entry, (size_t)n_matrices, (size_t)(n_values / n_matrices)) ||
        entry->name == NULL)
        return entro_fail(file->message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", file->path);
    enum entro_error error =
        entro_pread_all(file->fd, (uint8_t *)entry->mean_squares, (size_t)sums->size_bytes, sums->offset,
                        file->path, file->message);
    if (error == ENTRO_OK)
        error = entro_pread_all(file->fd, (uint8_t *)entry->counts, (size_t)counts->size_bytes,
                                counts->offset, file->path, file->message);
    for (size_t i = 0; i < (size_t)n_values && error == ENTRO_OK; i++) {
        float count = entry->counts[i / entry->n_columns];
        /* A count that is no number is refused with the rest. */
        entry->mean_squares[i] = count == 0 ? 1 : entry->mean_squares[i] / count;
    }
    return error;
}

enum entro_error entro_imatrix_read_directions(const struct entro_imatrix_entry *entry, float *directions,
                                               struct entro_message *message)
{
    const struct entro_imatrix_source *source = entry->source;
    size_t n_values = entry->n_directions * entry->n_columns;
    /* They are read to the second half of their place, where no value is written before it has been used. */
    uint8_t *halves = (uint8_t *)directions + n_values * sizeof(uint16_t);
    enum entro_error error = entro_pread_all(source->fd, halves, n_values * sizeof(uint16_t),
                                             entry->directions_offset, source->path, message);
    for (size_t i = 0; i < n_values && error == ENTRO_OK; i++) {
        directions[i] = entro_bf16_to_f32(entro_load_u16(halves + i * sizeof(uint16_t)));
        if (!isfinite(directions[i]))
            error = entro_fail(message, ENTRO_ERROR_FORMAT,
                               "%s: tensor \"%s\": column %zu of its direction %zu is no number",
                               source->path, entry->name, i % entry->n_columns, i / entry->n_columns);
    }
    return error;
}

/* Finds the directions, if any, of the entry with importances that was read last, and looks at them once. */
static enum entro_error find_directions(struct entro_imatrix_entry *entry,
                                        const struct entro_imatrix_file *file,
                                        const struct entro_model_tensor *tensor)
{
    if (tensor == NULL)
        return ENTRO_OK;
    uint64_t n_directions = tensor->rank == 2 ? tensor->shape[0] : 1;
    if (tensor->dtype != ENTRO_DTYPE_BF16 || entry->n_matrices != 1 || tensor->rank < 1 || tensor->rank > 2 ||
        tensor->shape[tensor->rank - 1] != entry->n_columns || n_directions < 1 ||
        n_directions > ENTRO_IMATRIX_MAX_DIRECTIONS)
        return entro_fail(file->message, ENTRO_ERROR_FORMAT,
                          "%s: tensor \"%s\": its directions are not 1 to %d times %zu columns in BF16",
                          file->path, entry->name, ENTRO_IMATRIX_MAX_DIRECTIONS, entry->n_columns);
    entry->n_directions = (size_t)n_directions;
    entry->source = file->source;
    entry->directions_offset = tensor->offset;
    float *values = calloc((size_t)n_directions * entry->n_columns, sizeof *values);
    if (values == NULL)
        return entro_fail(file->message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", file->path);
    enum entro_error error = entro_imatrix_read_directions(entry, values, file->message);
    free(values);
    return error;
}

static enum entro_error read_entries(struct entro_imatrix *out, const struct entro_imatrix_file *file,
                                     const struct named *tensors, size_t n_tensors)
{
    for (size_t i = 0; i < n_tensors; i++) {
        const char *name = tensors[i].name;
        size_t n_stem = stem_of(name, DIRECTIONS);
        if (n_stem > 0 && find_beside(tensors, n_tensors, name, n_stem, SUMS) == NULL)
            return entro_fail(file->message, ENTRO_ERROR_FORMAT,
                              "%s: tensor \"%.*s\" has directions but no importances", file->path,
                              (int)n_stem, name);
        n_stem = stem_of(name, SUMS);
        if (n_stem == 0)
            continue;
        const struct entro_model_tensor *counts = find_beside(tensors, n_tensors, name, n_stem, COUNTS);
        if (counts == NULL)
            return entro_fail(file->message, ENTRO_ERROR_FORMAT,
                              "%s: tensor \"%.*s\" has importances but no counts", file->path, (int)n_stem,
                              name);
        if (out->n_entries == ENTRO_IMATRIX_MAX_ENTRIES)
            return entro_fail(file->message, ENTRO_ERROR_UNSUPPORTED, "%s: more than %d entries", file->path,
                              ENTRO_IMATRIX_MAX_ENTRIES);
        enum entro_error error = read_entry(out, file, tensors[i].tensor, counts, n_stem);
        if (error == ENTRO_OK)
            error = find_directions(&out->entries[out->n_entries - 1], file,
                                    find_beside(tensors, n_tensors, name, n_stem, DIRECTIONS));
        if (error != ENTRO_OK)
            return error;
    }
    return ENTRO_OK;
}

/* The chunks' number and size, and the first dataset, as far as the file says. */
static void read_metadata(struct entro_imatrix *out, const struct entro_gguf *gguf)
{
    int64_t value;
    const struct entro_gguf_pair *datasets = entro_gguf_find(gguf, "imatrix.datasets");
    if (entro_gguf_integer(entro_gguf_find(gguf, "imatrix.chunk_count"), &value) && value >= 0)
        out->n_chunks = (uint64_t)value;
    if (entro_gguf_integer(entro_gguf_find(gguf, "imatrix.chunk_size"), &value) && value >= 0)
        out->chunk_size = (uint64_t)value;
    if (datasets == NULL || datasets->type != ENTRO_GGUF_ARRAY ||
        datasets->element_type != ENTRO_GGUF_STRING || datasets->n_elements == 0)
        return;
    /* The array is at most as long as the header has bytes. */
    struct entro_gguf_string *texts = calloc((size_t)datasets->n_elements, sizeof *texts);
    if (texts != NULL && entro_gguf_strings(datasets, texts) &&
        texts[0].size_bytes <= ENTRO_IMATRIX_MAX_DATASET)
        out->dataset = strndup(texts[0].text, texts[0].size_bytes);
    free(texts);
}

enum entro_error entro_imatrix_read_gguf(struct entro_imatrix *out, const struct entro_imatrix_file *file)
{
    struct entro_gguf gguf;
    struct named *tensors = NULL;
    enum entro_error error = entro_gguf_open(&gguf, file->fd, file->size_bytes, file->path, file->message);
    if (error != ENTRO_OK)
        return error;
    if (!text_is(&gguf, "general.type", "imatrix")) {
        error = entro_fail(file->message, ENTRO_ERROR_FORMAT,
                           "%s: a GGUF file, but no importance matrix (general.type is not \"imatrix\")",
                           file->path);
        goto clean_up;
    }
    if (gguf.n_tensors > 3 * (size_t)ENTRO_IMATRIX_MAX_ENTRIES) {
        error = entro_fail(file->message, ENTRO_ERROR_UNSUPPORTED, "%s: more than %d entries", file->path,
                           ENTRO_IMATRIX_MAX_ENTRIES);
        goto clean_up;
    }
    tensors = calloc(gguf.n_tensors + 1, sizeof *tensors);
    out->entries = calloc(gguf.n_tensors + 1, sizeof *out->entries);
    if (tensors == NULL || out->entries == NULL) {
        error = entro_fail(file->message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", file->path);
        goto clean_up;
    }
    for (size_t i = 0; i < gguf.n_tensors; i++)
        tensors[i] = (struct named){.name = gguf.tensors[i].name, .tensor = &gguf.tensors[i]};
    qsort(tensors, gguf.n_tensors, sizeof *tensors, compare_named);
    read_metadata(out, &gguf);
    error = read_entries(out, file, tensors, gguf.n_tensors);

clean_up:
    free(tensors);
    entro_gguf_free(&gguf);
    return error;
}
