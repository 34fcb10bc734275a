/* The two forms of file, each in a file of its own. */
#ifndef ENTRO_MODELS_IMATRIX_INTERNAL_H
#define ENTRO_MODELS_IMATRIX_INTERNAL_H

#include "codec/models/imatrix.h"

/* What is needed to read more of the file later. */
struct entro_imatrix_source {
    int fd;
    char path[]; /* for messages */
};

struct entro_imatrix_file {
    const struct entro_imatrix_source *source;
    int fd;
    uint64_t size_bytes;
    const char *path; /* for messages */
    struct entro_message *message;
};

/* Both fill a zeroed *out with entries in any order, whose mean_squares may be anything; what they have
 * filled stays the caller's to free on failure too. Errors as of entro_imatrix_open. */
enum entro_error entro_imatrix_read_gguf(struct entro_imatrix *out, const struct entro_imatrix_file *file);
enum entro_error entro_imatrix_read_dat(struct entro_imatrix *out, const struct entro_imatrix_file *file);

/* Room for the entry's values and counts, all 0. False where there is no memory for it. */
bool entro_imatrix_entry_allocate(struct entro_imatrix_entry *entry, size_t n_matrices, size_t n_columns);

#endif
