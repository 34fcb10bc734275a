/* Which tensors make up a model, and where each goes; see weights.h. */
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "codec/models/tensor_roles.h"
#include "runner/weights_internal.h"

static enum entro_error find_tensor(const struct entro_weights_loader *loader, enum entro_tensor_role role,
                                    size_t layer, const struct entro_manifest_tensor **out)
{
    char name[ENTRO_TENSOR_NAME_BYTES];
    entro_tensor_name(name, role, loader->config->gguf, layer);
    *out = entro_manifest_find(loader->manifest, name);
    if (*out == NULL)
        return entro_fail(loader->message, ENTRO_ERROR_NOT_FOUND,
                          "%s/tensors.json: no tensor \"%s\", which a %s model has", loader->directory, name,
                          loader->config->architecture->name);
    loader->used[*out - loader->manifest->tensors] = true;
    return ENTRO_OK;
}

/* A GGUF's metadata do not say which parts a model has, its tensors do: one that is left over, such as a
 * bias, would be missing from every result. */
static enum entro_error check_all_used(const struct entro_weights_loader *loader)
{
    for (size_t i = 0; loader->config->gguf && i < loader->manifest->n_tensors; i++)
        if (!loader->used[i])
            return entro_fail(loader->message, ENTRO_ERROR_UNSUPPORTED,
                              "%s: tensor \"%s\" is no part of a %s model of %zu layers that is supported",
                              loader->directory, loader->manifest->tensors[i].name,
                              loader->config->architecture->name, loader->config->n_layers);
    return ENTRO_OK;
}

static enum entro_error load_matrix(const struct entro_weights_loader *loader, enum entro_tensor_role role,
                                    size_t layer, size_t n_rows, size_t n_columns, struct entro_matrix *out)
{
    const struct entro_manifest_tensor *tensor;
    enum entro_error error = find_tensor(loader, role, layer, &tensor);
    return error != ENTRO_OK ? error : entro_weights_map_matrix(loader, tensor, n_rows, n_columns, out);
}

/* A vector's elements as F32, to `out`. */
static enum entro_error read_vector(const struct entro_weights_loader *loader, enum entro_tensor_role role,
                                    size_t layer, size_t n, float *out)
{
    struct entro_matrix matrix;
    enum entro_error error = load_matrix(loader, role, layer, 1, n, &matrix);
    if (error != ENTRO_OK)
        return error;
    entro_matrix_row(&matrix, 0, out);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i]))
            return entro_fail(loader->message, ENTRO_ERROR_FORMAT,
                              "%s: element %zu of tensor \"%s\" is not a number", loader->directory, i,
                              matrix.name);
    return ENTRO_OK;
}

/* A norm's weights. GGUF files hold them as they are. */
static enum entro_error load_norm(const struct entro_weights_loader *loader, enum entro_tensor_role role,
                                  size_t layer, size_t n, float **out)
{
    *out = entro_weights_new_vector(loader, n);
    if (*out == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    enum entro_error error = read_vector(loader, role, layer, n, *out);
    if (error == ENTRO_OK && loader->config->architecture->norm_plus_one && !loader->config->gguf)
        for (size_t i = 0; i < n; i++)
            (*out)[i] += 1.0F;
    return error;
}

static enum entro_error load_matrices(const struct entro_weights_loader *loader, size_t layer,
                                      struct entro_layer_weights *out)
{
    const struct entro_config *config = loader->config;
    bool fused = config->architecture->fused;
    size_t n_hidden = config->n_hidden, n_mlp = config->n_intermediate;
    size_t n_query = config->n_heads * config->head_dim, n_kv = config->n_kv_heads * config->head_dim;
    out->n_qkv = fused ? 1 : 3;
    out->n_gate_up = fused ? 1 : 2;
    const struct {
        bool wanted;
        enum entro_tensor_role role;
        size_t n_rows, n_columns;
        struct entro_matrix *matrix;
    } matrices[] = {
        {fused, ENTRO_TENSOR_QKV, n_query + 2 * n_kv, n_hidden, &out->qkv[0]},
        {!fused, ENTRO_TENSOR_QUERY, n_query, n_hidden, &out->qkv[0]},
        {!fused, ENTRO_TENSOR_KEY, n_kv, n_hidden, &out->qkv[1]},
        {!fused, ENTRO_TENSOR_VALUE, n_kv, n_hidden, &out->qkv[2]},
        {true, ENTRO_TENSOR_ATTENTION_OUTPUT, n_hidden, n_query, &out->attention_output},
        {fused, ENTRO_TENSOR_GATE_UP, 2 * n_mlp, n_hidden, &out->gate_up[0]},
        {!fused, ENTRO_TENSOR_GATE, n_mlp, n_hidden, &out->gate_up[0]},
        {!fused, ENTRO_TENSOR_UP, n_mlp, n_hidden, &out->gate_up[1]},
        {true, ENTRO_TENSOR_DOWN, n_hidden, n_mlp, &out->down},
    };
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
        enum entro_error error = ENTRO_OK;
        if (matrices[i].wanted)
            error = load_matrix(loader, matrices[i].role, layer, matrices[i].n_rows, matrices[i].n_columns,
                                matrices[i].matrix);
        if (error != ENTRO_OK)
            return error;
    }
    return ENTRO_OK;
}

/* The biases of q, k and v, one after another. */
static enum entro_error load_bias(const struct entro_weights_loader *loader, size_t layer,
                                  struct entro_layer_weights *out)
{
    const struct entro_config *config = loader->config;
    size_t n_query = config->n_heads * config->head_dim, n_kv = config->n_kv_heads * config->head_dim;
    enum entro_error error;
    out->qkv_bias = entro_weights_new_vector(loader, n_query + 2 * n_kv);
    if (out->qkv_bias == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    if ((error = read_vector(loader, ENTRO_TENSOR_QUERY_BIAS, layer, n_query, out->qkv_bias)) != ENTRO_OK ||
        (error = read_vector(loader, ENTRO_TENSOR_KEY_BIAS, layer, n_kv, out->qkv_bias + n_query)) !=
            ENTRO_OK)
        return error;
    return read_vector(loader, ENTRO_TENSOR_VALUE_BIAS, layer, n_kv, out->qkv_bias + n_query + n_kv);
}

static enum entro_error load_layer(const struct entro_weights_loader *loader, size_t layer,
                                   struct entro_layer_weights *out)
{
    const struct entro_architecture *architecture = loader->config->architecture;
    size_t n_hidden = loader->config->n_hidden, head_dim = loader->config->head_dim;
    bool post = architecture->post_norms, qk = architecture->qk_norm;
    const struct {
        bool wanted;
        enum entro_tensor_role role;
        size_t n;
        float **vector;
    } norms[] = {
        {true, ENTRO_TENSOR_ATTENTION_NORM, n_hidden, &out->attention_norm},
        {qk, ENTRO_TENSOR_QUERY_NORM, head_dim, &out->query_norm},
        {qk, ENTRO_TENSOR_KEY_NORM, head_dim, &out->key_norm},
        {post, ENTRO_TENSOR_POST_ATTENTION_NORM, n_hidden, &out->post_attention_norm},
        {true, post ? ENTRO_TENSOR_PRE_MLP_NORM : ENTRO_TENSOR_MLP_NORM, n_hidden, &out->mlp_norm},
        {post, ENTRO_TENSOR_POST_MLP_NORM, n_hidden, &out->post_mlp_norm},
    };
    enum entro_error error = load_matrices(loader, layer, out);
    for (size_t i = 0; error == ENTRO_OK && i < sizeof norms / sizeof norms[0]; i++)
        if (norms[i].wanted)
            error = load_norm(loader, norms[i].role, layer, norms[i].n, norms[i].vector);
    return error == ENTRO_OK && architecture->qkv_bias ? load_bias(loader, layer, out) : error;
}

/* What a converter made of Llama 3's rope scaling; most files have none. */
static enum entro_error load_rope_factors(const struct entro_weights_loader *loader)
{
    char name[ENTRO_TENSOR_NAME_BYTES];
    size_t n = loader->config->head_dim / 2;
    entro_tensor_name(name, ENTRO_TENSOR_ROPE_FACTORS, true, 0);
    if (!loader->config->gguf || entro_manifest_find(loader->manifest, name) == NULL)
        return ENTRO_OK;
    float *factors = loader->weights->rope_factors = entro_weights_new_vector(loader, n);
    if (factors == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    enum entro_error error = read_vector(loader, ENTRO_TENSOR_ROPE_FACTORS, 0, n, factors);
    for (size_t i = 0; error == ENTRO_OK && i < n; i++)
        if (!(factors[i] > 0))
            error = entro_fail(loader->message, ENTRO_ERROR_FORMAT,
                               "%s: element %zu of tensor \"%s\" is no factor", loader->directory, i, name);
    return error;
}

static enum entro_error load_embedding(const struct entro_weights_loader *loader)
{
    const struct entro_manifest_tensor *tensor;
    struct entro_config *config = loader->config;
    enum entro_error error = find_tensor(loader, ENTRO_TENSOR_EMBEDDING, 0, &tensor);
    if (error != ENTRO_OK)
        return error;
    if (config->n_vocabulary == 0) {
        if (tensor->rank != 2 || tensor->shape[0] == 0 || tensor->shape[0] > INT32_MAX)
            return entro_fail(loader->message, ENTRO_ERROR_FORMAT,
                              "%s: tensor \"%s\" is no table of embeddings", loader->directory, tensor->name);
        config->n_vocabulary = (size_t)tensor->shape[0];
    }
    return entro_weights_map_matrix(loader, tensor, config->n_vocabulary, config->n_hidden,
                                    &loader->weights->embedding);
}

static enum entro_error load_output(const struct entro_weights_loader *loader)
{
    char name[ENTRO_TENSOR_NAME_BYTES];
    const struct entro_config *config = loader->config;
    entro_tensor_name(name, ENTRO_TENSOR_OUTPUT, config->gguf, 0);
    if (config->tied_embeddings && (!config->gguf || entro_manifest_find(loader->manifest, name) == NULL)) {
        loader->weights->output = loader->weights->embedding;
        return ENTRO_OK;
    }
    return load_matrix(loader, ENTRO_TENSOR_OUTPUT, 0, config->n_vocabulary, config->n_hidden,
                       &loader->weights->output);
}

static enum entro_error load_all(const struct entro_weights_loader *loader)
{
    struct entro_weights *weights = loader->weights;
    enum entro_error error;
    size_t n_layers = loader->config->n_layers;
    size_t n_tensors = n_layers * ENTRO_TENSORS_PER_LAYER + ENTRO_TENSORS_OF_MODEL;
    weights->layers = calloc(n_layers, sizeof *weights->layers);
    weights->mappings = calloc(n_tensors * ENTRO_FILES_PER_TENSOR, sizeof *weights->mappings);
    weights->vectors = calloc(n_tensors * ENTRO_FILES_PER_TENSOR, sizeof *weights->vectors);
    if (weights->layers == NULL || weights->mappings == NULL || weights->vectors == NULL)
        return entro_fail(loader->message, ENTRO_ERROR_NO_MEMORY, "no memory for the tables of %zu tensors",
                          n_tensors);
    weights->n_layers = n_layers;
    if ((error = load_embedding(loader)) != ENTRO_OK || (error = load_output(loader)) != ENTRO_OK ||
        (error = load_norm(loader, ENTRO_TENSOR_FINAL_NORM, 0, loader->config->n_hidden,
                           &weights->final_norm)) != ENTRO_OK ||
        (error = load_rope_factors(loader)) != ENTRO_OK)
        return error;
    for (size_t i = 0; i < n_layers; i++)
        if ((error = load_layer(loader, i, &weights->layers[i])) != ENTRO_OK)
            return error;
    return check_all_used(loader);
}

enum entro_error entro_weights_map(struct entro_weights *out, struct entro_config *config,
                                   const struct entro_manifest *manifest, int directory_fd,
                                   const char *directory, struct entro_message *message)
{
    *out = (struct entro_weights){0};
    const struct entro_weights_loader loader = {.weights = out,
                                                .config = config,
                                                .manifest = manifest,
                                                .directory_fd = directory_fd,
                                                .directory = directory,
                                                .used = calloc(manifest->n_tensors + 1, sizeof *loader.used),
                                                .message = message};
    if (loader.used == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for %zu tensors", manifest->n_tensors);
    enum entro_error error = load_all(&loader);
    free(loader.used);
    if (error != ENTRO_OK)
        entro_weights_free(out);
    return error;
}

void entro_weights_free(struct entro_weights *weights)
{
    for (size_t i = 0; i < weights->n_mappings; i++) {
        munmap(weights->mappings[i].address, weights->mappings[i].size_bytes);
        free(weights->mappings[i].path);
    }
    for (size_t i = 0; i < weights->n_vectors; i++)
        free(weights->vectors[i]);
    free(weights->mappings);
    free(weights->vectors);
    free(weights->layers);
    *weights = (struct entro_weights){0};
}
