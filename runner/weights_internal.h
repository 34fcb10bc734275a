/* What the files that load weights share. */
#ifndef ENTRO_RUNNER_WEIGHTS_INTERNAL_H
#define ENTRO_RUNNER_WEIGHTS_INTERNAL_H

#include <stdbool.h>

#include "runner/weights.h"

/* Files and vectors that one tensor can need: codes, row factors, column factors, outliers. */
#define ENTRO_FILES_PER_TENSOR 4

struct entro_weights_loader {
    struct entro_weights *weights; /* with room for ENTRO_FILES_PER_TENSOR mappings and vectors a tensor */
    struct entro_config *config;
    const struct entro_manifest *manifest;
    int directory_fd;
    const char *directory;
    bool *used; /* [manifest->n_tensors] those that have their place in the model */
    struct entro_message *message;
};

/* Maps a tensor of the given shape (n_rows 1: a vector) with its factors and outliers. Errors of
 * entro_weights_map. */
enum entro_error entro_weights_map_matrix(const struct entro_weights_loader *loader,
                                          const struct entro_manifest_tensor *tensor, size_t n_rows,
                                          size_t n_columns, struct entro_matrix *out);

/* Room for n floats that live as long as the weights; NULL with a message where there is none. */
float *entro_weights_new_vector(const struct entro_weights_loader *loader, size_t n);

#endif
