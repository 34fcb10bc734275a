/* See importances.h. */
#include "mkentrofs/importances.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "codec/error_feedback.h"

/* Added to each importance, of their mean: columns that a short text never reached may matter in another. */
#define REGULARIZATION 1e-3

enum entro_error entro_importances_open(struct entro_importances *out, const char *path,
                                        struct entro_message *message)
{
    *out = (struct entro_importances){.path = path};
    return entro_imatrix_open(&out->imatrix, path, message);
}

void entro_importances_free(struct entro_importances *importances)
{
    entro_imatrix_free(&importances->imatrix);
    *importances = (struct entro_importances){0};
}

static double mean_of(const struct entro_imatrix_entry *entry)
{
    double sum = 0;
    for (size_t i = 0; i < entry->n_columns; i++)
        sum += (double)entry->mean_squares[i];
    return sum / (double)entry->n_columns;
}

const struct entro_imatrix_entry *entro_importances_of(const struct entro_importances *importances,
                                                       const struct entro_source_tensor *tensor)
{
    const struct entro_imatrix_entry *entry = entro_imatrix_find(&importances->imatrix, tensor->name);
    /* Several matrices, those of experts, share no columns. */
    if (!entry || tensor->rank != 2 || entry->n_matrices != 1)
        return NULL;
    return entry->counts[0] > 0 && mean_of(entry) > 0 ? entry : NULL;
}

_Static_assert(ENTRO_IMATRIX_MAX_DIRECTIONS <= ENTRO_FEEDBACK_MAX_DIRECTIONS, "all of a file's are used");

const struct entro_imatrix_entry *entro_importances_inputs(const struct entro_importances *importances,
                                                           const struct entro_source_tensor *tensor)
{
    const struct entro_imatrix_entry *entry =
        entro_imatrix_find_directions(&importances->imatrix, tensor->name);
    bool is_usable = entry && tensor->rank == 2 && entry->n_columns == tensor->shape[1] &&
                     entry->n_columns <= ENTRO_FEEDBACK_MAX_COLUMNS && entry->counts[0] > 0 &&
                     mean_of(entry) > 0;
    return is_usable ? entry : NULL;
}

/* Inputs of a matrix, also of one in a stack. */
static uint64_t n_columns_of(const struct entro_source_tensor *tensor)
{
    return tensor->rank > 0 ? tensor->shape[tensor->rank - 1] : 1;
}

static bool fits(const struct entro_imatrix_entry *entry, const struct entro_source_tensor *tensor)
{
    uint64_t n_columns = n_columns_of(tensor);
    if (entry->n_columns == n_columns)
        return true;
    /* The older form has the columns of all experts in one row. */
    return tensor->rank > 2 && n_columns > 0 && entry->n_columns % n_columns == 0 &&
           entry->n_columns / n_columns == tensor->shape[0];
}

enum entro_error entro_importances_check_tensor(struct entro_importances_check *check,
                                                const struct entro_source_tensor *tensor,
                                                struct entro_message *message)
{
    const struct entro_importances *importances = check->importances;
    const struct entro_imatrix_entry *entry = entro_imatrix_find(&importances->imatrix, tensor->name);
    if (entry && !fits(entry, tensor))
        return entro_fail(
            message, ENTRO_ERROR_FORMAT,
            "%s: is of another model: it has %zu columns for \"%s\", the source's tensor \"%s\" "
            "has %llu",
            importances->path, entry->n_columns, entry->name, tensor->name,
            (unsigned long long)n_columns_of(tensor));
    if (entro_importances_of(importances, tensor)) {
        check->n_found++;
        return ENTRO_OK;
    }
    if (check->n_missing < sizeof check->missing / sizeof *check->missing)
        check->missing[check->n_missing] = tensor->name;
    check->n_missing++;
    return ENTRO_OK;
}

enum entro_error entro_importances_check_end(const struct entro_importances_check *check,
                                             const struct entro_monitor *monitor,
                                             struct entro_message *message)
{
    const struct entro_importances *importances = check->importances;
    const size_t n_names = sizeof check->missing / sizeof *check->missing;
    if (check->n_found == 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "%s: is of another model: it says nothing of any tensor to quantize (its first is "
                          "\"%s\"%s%s%s)",
                          importances->path, importances->imatrix.entries[0].name,
                          check->n_missing ? ", the source's \"" : "",
                          check->n_missing ? check->missing[0] : "", check->n_missing ? "\"" : "");
    if (check->n_missing == 0)
        return ENTRO_OK;
    char names[384] = "";
    size_t n = 0;
    for (size_t i = 0; i < check->n_missing && i < n_names && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", check->missing[i]);
    entro_monitor_warn(monitor, "%s: says nothing of %zu of %zu tensors, which go without: %s%s",
                       importances->path, check->n_missing, check->n_missing + check->n_found, names,
                       check->n_missing > n_names ? ", ..." : "");
    return ENTRO_OK;
}

void entro_importances_columns(const struct entro_imatrix_entry *entry, double *columns)
{
    double added = REGULARIZATION * mean_of(entry);
    for (size_t i = 0; i < entry->n_columns; i++)
        columns[i] = 1 / sqrt((double)entry->mean_squares[i] + added);
}
