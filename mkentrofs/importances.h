/*
 * What an importance matrix (codec/models/imatrix.h) says of a model's linear tensors: which entry is whose,
 * whether it is this model's, and the column factors that follow.
 */
#ifndef ENTRO_IMPORTANCES_H
#define ENTRO_IMPORTANCES_H

#include <stdbool.h>

#include "codec/error.h"
#include "codec/models/imatrix.h"
#include "mkentrofs/monitor.h"
#include "mkentrofs/source.h"

struct entro_importances {
    struct entro_imatrix imatrix; /* owned */
    const char *path;             /* its file, the caller's */
};

/* Errors of entro_imatrix_open. On success the caller frees with entro_importances_free. */
enum entro_error entro_importances_open(struct entro_importances *out, const char *path,
                                        struct entro_message *message);
void entro_importances_free(struct entro_importances *importances);

/* The entry of a tensor, where it says anything: NULL where there is none, where no token was seen, or where
 * all is 0. */
const struct entro_imatrix_entry *entro_importances_of(const struct entro_importances *importances,
                                                       const struct entro_source_tensor *tensor);

/* Adds up what is looked for, and what is found. */
struct entro_importances_check {
    const struct entro_importances *importances;
    size_t n_found, n_missing;
    const char *missing[4]; /* the first of them; names of the source's tensors */
};

/* Looks up one tensor that is to have column factors. ENTRO_ERROR_FORMAT: its entry has another number of
 * columns; the message names both. */
enum entro_error entro_importances_check_tensor(struct entro_importances_check *check,
                                                const struct entro_source_tensor *tensor,
                                                struct entro_message *message);

/* After all of them: ENTRO_ERROR_FORMAT where none was found; one warning about those that were not. */
enum entro_error entro_importances_check_end(const struct entro_importances_check *check,
                                             const struct entro_monitor *monitor,
                                             struct entro_message *message);

/* The entry whose directions and mean squares say how the inputs of a tensor's columns go together, for error
 * feedback (codec/error_feedback.h); NULL: not known. */
const struct entro_imatrix_entry *entro_importances_inputs(const struct entro_importances *importances,
                                                           const struct entro_source_tensor *tensor);

/* One over the roots of the importances [entry->n_columns] of an entry of entro_importances_of: positive and
 * finite. */
void entro_importances_columns(const struct entro_imatrix_entry *entry, double *columns);

#endif
