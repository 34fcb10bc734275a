/*
 * A model's weights: the raw tensor files of a directory, mapped, never copied or dequantized as a whole
 * (norms and factor vectors apart, which are small and become F32).
 */
#ifndef ENTRO_RUNNER_WEIGHTS_H
#define ENTRO_RUNNER_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "runner/config.h"
#include "runner/manifest.h"
#include "runner/matrix.h"

struct entro_layer_weights {
    float *attention_norm;                /* [n_hidden] */
    struct entro_matrix query;            /* [n_heads * head_dim][n_hidden] */
    struct entro_matrix key;              /* [n_kv_heads * head_dim][n_hidden] */
    struct entro_matrix value;            /* [n_kv_heads * head_dim][n_hidden] */
    struct entro_matrix attention_output; /* [n_hidden][n_heads * head_dim] */
    float *mlp_norm;                      /* [n_hidden] */
    struct entro_matrix gate;             /* [n_intermediate][n_hidden] */
    struct entro_matrix up;               /* [n_intermediate][n_hidden] */
    struct entro_matrix down;             /* [n_hidden][n_intermediate] */
};

/* A mapped file; the path is for whoever must explain a SIGBUS. */
struct entro_mapping {
    void *address;
    size_t size_bytes;
    char *path;
};

struct entro_weights {
    struct entro_matrix embedding; /* [n_vocabulary][n_hidden] */
    size_t n_layers;
    struct entro_layer_weights *layers;
    float *final_norm;          /* [n_hidden] */
    struct entro_matrix output; /* [n_vocabulary][n_hidden]; the embedding where the two are tied */
    uint64_t n_parameters;
    uint64_t size_bytes; /* of the mapped files: what one token reads at most */
    /* What the above lies in. */
    size_t n_mappings;
    struct entro_mapping *mappings;
    size_t n_vectors;
    float **vectors;
};

/*
 * Maps every tensor that `config` calls for. The directory is open as directory_fd and called `directory` in
 * messages; where the config does not know the vocabulary's size, it is set from the embedding. Reads norms,
 * factors and outliers. On success the caller frees with entro_weights_free (the manifest must live as long);
 * on failure nothing is left. ENTRO_ERROR_NOT_FOUND (a tensor or a file is missing), _FORMAT (wrong shape or
 * file size, bad outliers, norms that are no numbers), _UNSUPPORTED (a dtype that no kernel reads, a tensor
 * of a GGUF that has no place in the model), _IO, _NO_MEMORY.
 */
enum entro_error entro_weights_map(struct entro_weights *out, struct entro_config *config,
                                   const struct entro_manifest *manifest, int directory_fd,
                                   const char *directory, struct entro_message *message);
void entro_weights_free(struct entro_weights *weights);

#endif
