/*
 * A model's weights: the raw tensor files of a directory, mapped, never copied or dequantized as a whole
 * (norms, biases and factor vectors apart, which are small and become F32).
 */
#ifndef ENTRO_RUNNER_WEIGHTS_H
#define ENTRO_RUNNER_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "runner/config.h"
#include "runner/manifest.h"
#include "runner/matrix.h"

/* Parts that a model lacks are NULL. Rows of one product lie in one matrix or in several, in order. */
struct entro_layer_weights {
    float *attention_norm;                /* [n_hidden] */
    size_t n_qkv;                         /* 1: rows of q, k and v together; 3: one matrix each */
    struct entro_matrix qkv[3];           /* together [(n_heads + 2 * n_kv_heads) * head_dim][n_hidden] */
    float *qkv_bias;                      /* as many as qkv has rows */
    float *query_norm;                    /* [head_dim] */
    float *key_norm;                      /* [head_dim] */
    struct entro_matrix attention_output; /* [n_hidden][n_heads * head_dim] */
    float *post_attention_norm;           /* [n_hidden] */
    float *mlp_norm;                      /* [n_hidden] */
    size_t n_gate_up;                     /* 1: rows of gate and up together; 2: one matrix each */
    struct entro_matrix gate_up[2];       /* together [2 * n_intermediate][n_hidden] */
    struct entro_matrix down;             /* [n_hidden][n_intermediate] */
    float *post_mlp_norm;                 /* [n_hidden] */
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
    float *rope_factors;        /* [head_dim / 2] what frequencies are divided by, or NULL */
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
 * biases, factors and outliers. On success the caller frees with entro_weights_free (the manifest must live
 * as long); on failure nothing is left. ENTRO_ERROR_NOT_FOUND (a tensor or a file is missing), _FORMAT (wrong
 * shape or file size, bad outliers, norms, biases or factors that are no numbers), _UNSUPPORTED (a dtype that
 * no kernel reads, a tensor of a GGUF that has no place in the model), _IO, _NO_MEMORY.
 */
enum entro_error entro_weights_map(struct entro_weights *out, struct entro_config *config,
                                   const struct entro_manifest *manifest, int directory_fd,
                                   const char *directory, struct entro_message *message);
void entro_weights_free(struct entro_weights *weights);

/*
 * Reads all weights, and fails with ENTRO_ERROR_FORMAT and the name of the first tensor with an element that
 * is not a finite number. For when results are none: too slow to do beforehand. _NO_MEMORY.
 */
enum entro_error entro_weights_check_finite(const struct entro_weights *weights,
                                            struct entro_message *message);

/* Why a model's results are no numbers; never ENTRO_OK. As entro_weights_check_finite, which it calls. */
enum entro_error entro_weights_explain_no_numbers(const struct entro_weights *weights,
                                                  struct entro_message *message);

#endif
