/* What both forms of importance matrices share; see imatrix.h. */
#include "codec/models/imatrix.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/models/imatrix_internal.h"
#include "codec/models/pread_internal.h"
#include "codec/models/tensor_roles.h"

bool entro_imatrix_entry_allocate(struct entro_imatrix_entry *entry, size_t n_matrices, size_t n_columns)
{
    entry->n_matrices = n_matrices;
    entry->n_columns = n_columns;
    entry->mean_squares = calloc(n_matrices * n_columns, sizeof *entry->mean_squares);
    entry->counts = calloc(n_matrices, sizeof *entry->counts);
    return entry->mean_squares != NULL && entry->counts != NULL;
}

static int compare_entries(const void *left, const void *right)
{
    const struct entro_imatrix_entry *a = left, *b = right;
    return strcmp(a->name, b->name);
}

/* What every reader of a matrix relies on. */
static enum entro_error check_entry(const struct entro_imatrix_entry *entry,
                                    const struct entro_imatrix_file *file)
{
    for (size_t i = 0; i < entry->n_matrices; i++)
        if (!(entry->counts[i] >= 0) || isinf(entry->counts[i]))
            return entro_fail(file->message, ENTRO_ERROR_FORMAT,
                              "%s: tensor \"%s\": its count of %g is no number of tokens", file->path,
                              entry->name, (double)entry->counts[i]);
    for (size_t i = 0; i < entry->n_matrices * entry->n_columns; i++)
        if (!(entry->mean_squares[i] >= 0) || isinf(entry->mean_squares[i]))
            return entro_fail(file->message, ENTRO_ERROR_FORMAT,
                              "%s: tensor \"%s\": the importance of column %zu is %g, neither positive nor 0",
                              file->path, entry->name, i % entry->n_columns, (double)entry->mean_squares[i]);
    return ENTRO_OK;
}

static enum entro_error check(struct entro_imatrix *imatrix, const struct entro_imatrix_file *file)
{
    if (imatrix->n_entries == 0)
        return entro_fail(file->message, ENTRO_ERROR_FORMAT, "%s: an importance matrix without entries",
                          file->path);
    qsort(imatrix->entries, imatrix->n_entries, sizeof *imatrix->entries, compare_entries);
    for (size_t i = 0; i < imatrix->n_entries; i++) {
        if (i > 0 && strcmp(imatrix->entries[i - 1].name, imatrix->entries[i].name) == 0)
            return entro_fail(file->message, ENTRO_ERROR_FORMAT, "%s: two entries for tensor \"%s\"",
                              file->path, imatrix->entries[i].name);
        enum entro_error error = check_entry(&imatrix->entries[i], file);
        if (error != ENTRO_OK)
            return error;
    }
    return ENTRO_OK;
}

static enum entro_error read_file(struct entro_imatrix *out, const struct entro_imatrix_file *file)
{
    char magic[4];
    if (file->size_bytes < sizeof magic)
        return entro_fail(file->message, ENTRO_ERROR_FORMAT, "%s: no importance matrix: too short",
                          file->path);
    enum entro_error error =
        entro_pread_all(file->fd, (uint8_t *)magic, sizeof magic, 0, file->path, file->message);
    if (error == ENTRO_OK)
        error = memcmp(magic, "GGUF", sizeof magic) == 0 ? entro_imatrix_read_gguf(out, file)
                                                         : entro_imatrix_read_dat(out, file);
    if (error == ENTRO_OK && out->dataset == NULL && (out->dataset = strdup("")) == NULL)
        error = entro_fail(file->message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", file->path);
    if (error == ENTRO_OK)
        error = check(out, file);
    return error;
}

/* Keeps `fd` and `path` for later, or closes the former. */
static struct entro_imatrix_source *make_source(int fd, const char *path)
{
    size_t path_bytes = strlen(path) + 1;
    struct entro_imatrix_source *source = malloc(sizeof *source + path_bytes);
    if (source == NULL) {
        close(fd);
        return NULL;
    }
    source->fd = fd;
    memcpy(source->path, path, path_bytes);
    return source;
}

static void free_source(struct entro_imatrix *imatrix)
{
    if (imatrix->source != NULL)
        close(imatrix->source->fd);
    free(imatrix->source);
    imatrix->source = NULL;
}

static bool has_directions(const struct entro_imatrix *imatrix)
{
    for (size_t i = 0; i < imatrix->n_entries; i++)
        if (imatrix->entries[i].n_directions > 0)
            return true;
    return false;
}

enum entro_error entro_imatrix_open(struct entro_imatrix *out, const char *path,
                                    struct entro_message *message)
{
    struct stat status;
    *out = (struct entro_imatrix){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return entro_fail(message, errno == ENOENT ? ENTRO_ERROR_NOT_FOUND : ENTRO_ERROR_IO, "%s: %s", path,
                          strerror(errno));
    out->source = make_source(fd, path);
    if (out->source == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", path);
    struct entro_imatrix_file file = {.source = out->source, .fd = fd, .path = path, .message = message};
    enum entro_error error;
    if (fstat(fd, &status) != 0) {
        error = entro_fail(message, ENTRO_ERROR_IO, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "%s: is not a regular file", path);
    } else {
        file.size_bytes = (uint64_t)status.st_size;
        error = read_file(out, &file);
    }
    if (error != ENTRO_OK)
        entro_imatrix_free(out);
    else if (!has_directions(out))
        free_source(out);
    return error;
}

void entro_imatrix_free(struct entro_imatrix *imatrix)
{
    for (size_t i = 0; i < imatrix->n_entries; i++) {
        free(imatrix->entries[i].name);
        free(imatrix->entries[i].mean_squares);
        free(imatrix->entries[i].counts);
    }
    free(imatrix->entries);
    free(imatrix->dataset);
    free_source(imatrix);
    *imatrix = (struct entro_imatrix){0};
}

static const struct entro_imatrix_entry *find_exactly(const struct entro_imatrix *imatrix, const char *name)
{
    size_t low = 0, high = imatrix->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, imatrix->entries[middle].name);
        if (order == 0)
            return &imatrix->entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct entro_imatrix_entry *entro_imatrix_find(const struct entro_imatrix *imatrix,
                                                     const char *tensor_name)
{
    struct entro_tensor_place place;
    char name[ENTRO_TENSOR_NAME_BYTES];
    const struct entro_imatrix_entry *entry = find_exactly(imatrix, tensor_name);
    if (entry != NULL || !entro_tensor_place(tensor_name, &place))
        return entry;
    entro_tensor_name(name, place.role, !place.gguf, place.layer);
    return find_exactly(imatrix, name);
}

/* The first of a layer's matrices that are multiplied with the same input as the role's. */
static enum entro_tensor_role first_of_input(enum entro_tensor_role role)
{
    switch (role) {
    case ENTRO_TENSOR_KEY:
    case ENTRO_TENSOR_VALUE:
        return ENTRO_TENSOR_QUERY;
    case ENTRO_TENSOR_UP:
    case ENTRO_TENSOR_GATE_UP: /* what GGUF's name of UP is understood as */
        return ENTRO_TENSOR_GATE;
    default:
        return role;
    }
}

const struct entro_imatrix_entry *entro_imatrix_find_directions(const struct entro_imatrix *imatrix,
                                                                const char *tensor_name)
{
    struct entro_tensor_place place;
    char name[ENTRO_TENSOR_NAME_BYTES];
    const struct entro_imatrix_entry *own = entro_imatrix_find(imatrix, tensor_name);
    if (own == NULL || own->n_directions > 0)
        return own;
    if (!entro_tensor_place(tensor_name, &place))
        return NULL;
    entro_tensor_name(name, first_of_input(place.role), true, place.layer);
    const struct entro_imatrix_entry *first = entro_imatrix_find(imatrix, name);
    return first != NULL && first->n_directions > 0 && first->n_columns == own->n_columns ? first : NULL;
}
