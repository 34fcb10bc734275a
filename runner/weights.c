/* Mapping a model's raw tensor files; see weights.h. */
#include "runner/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/bytes.h"
#include "codec/ggml_blocks.h"
#include "codec/half.h"

/* Files and vectors that one matrix can need: codes, row factors, column factors, outliers. */
#define FILES_PER_TENSOR 4

struct loader {
    struct entro_weights *weights;
    struct entro_config *config;
    const struct entro_manifest *manifest;
    int directory_fd;
    const char *directory;
    bool *used; /* [manifest->n_tensors] those that have their place in the model */
    struct entro_message *message;
};

/* Maps `file` and finds its size; a size of `expected_bytes` is demanded unless that is UINT64_MAX. An empty
 * file maps to NULL. */
static enum entro_error map_file(const struct loader *loader, const char *tensor, const char *file,
                                 uint64_t expected_bytes, const uint8_t **data, uint64_t *size_bytes)
{
    enum entro_error error = ENTRO_OK;
    struct entro_weights *weights = loader->weights;
    struct stat status;
    int fd = openat(loader->directory_fd, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return entro_fail(loader->message, errno == ENOENT ? ENTRO_ERROR_NOT_FOUND : ENTRO_ERROR_IO,
                          "%s/%s: %s (tensor \"%s\")", loader->directory, file, strerror(errno), tensor);
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        error = entro_fail(loader->message, ENTRO_ERROR_IO, "%s/%s: not a regular file (tensor \"%s\")",
                           loader->directory, file, tensor);
        goto close_file;
    }
    *size_bytes = (uint64_t)status.st_size;
    if (expected_bytes != UINT64_MAX && *size_bytes != expected_bytes) {
        error = entro_fail(loader->message, ENTRO_ERROR_FORMAT,
                           "%s/%s: %llu bytes, but tensor \"%s\" takes %llu", loader->directory, file,
                           (unsigned long long)*size_bytes, tensor, (unsigned long long)expected_bytes);
        goto close_file;
    }
    *data = NULL;
    if (*size_bytes == 0)
        goto close_file;
    struct entro_mapping *mapping = &weights->mappings[weights->n_mappings];
    size_t path_bytes = strlen(loader->directory) + strlen(file) + 2;
    mapping->path = malloc(path_bytes);
    if (mapping->path == NULL) {
        error = entro_fail(loader->message, ENTRO_ERROR_NO_MEMORY, "no memory for the name of a file");
        goto close_file;
    }
    snprintf(mapping->path, path_bytes, "%s/%s", loader->directory, file);
    mapping->size_bytes = (size_t)*size_bytes;
    mapping->address = mmap(NULL, mapping->size_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (mapping->address == MAP_FAILED) {
        error = entro_fail(loader->message, ENTRO_ERROR_IO, "%s: cannot map %llu bytes: %s", mapping->path,
                           (unsigned long long)*size_bytes, strerror(errno));
        free(mapping->path);
        goto close_file;
    }
    *data = mapping->address;
    weights->n_mappings++;
    weights->size_bytes += *size_bytes;
close_file:
    close(fd);
    return error;
}

/* Room for n floats that live as long as the weights; NULL with a message where there is none. */
static float *new_vector(const struct loader *loader, size_t n)
{
    float *vector = calloc(n, sizeof *vector);
    if (vector == NULL)
        entro_fail(loader->message, ENTRO_ERROR_NO_MEMORY, "no memory for %zu numbers", n);
    else
        loader->weights->vectors[loader->weights->n_vectors++] = vector;
    return vector;
}

/* A vector of n F16 factors as F32; *out stays NULL where there is no file. */
static enum entro_error read_factors(const struct loader *loader, const char *tensor, const char *file,
                                     size_t n, const float **out)
{
    const uint8_t *data;
    uint64_t size_bytes;
    *out = NULL;
    if (file == NULL)
        return ENTRO_OK;
    enum entro_error error = map_file(loader, tensor, file, (uint64_t)n * 2, &data, &size_bytes);
    if (error != ENTRO_OK)
        return error;
    float *factors = new_vector(loader, n);
    if (factors == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        factors[i] = entro_f16_to_f32(entro_load_u16(data + 2 * i));
        if (!isfinite(factors[i]))
            return entro_fail(loader->message, ENTRO_ERROR_FORMAT,
                              "%s/%s: factor %zu of tensor \"%s\" is not a number", loader->directory, file,
                              i, tensor);
    }
    *out = factors;
    return ENTRO_OK;
}

static enum entro_error read_outliers(const struct loader *loader, const char *file,
                                      struct entro_matrix *matrix)
{
    uint64_t size_bytes;
    if (file == NULL)
        return ENTRO_OK;
    enum entro_error error = map_file(loader, matrix->name, file, UINT64_MAX, &matrix->outliers, &size_bytes);
    if (error != ENTRO_OK)
        return error;
    if (size_bytes % ENTRO_OUTLIER_BYTES != 0)
        return entro_fail(loader->message, ENTRO_ERROR_FORMAT, "%s/%s: %llu bytes are no whole records of %d",
                          loader->directory, file, (unsigned long long)size_bytes, ENTRO_OUTLIER_BYTES);
    matrix->n_outliers = (size_t)(size_bytes / ENTRO_OUTLIER_BYTES);
    uint64_t n_elements = (uint64_t)matrix->n_rows * matrix->n_columns;
    for (size_t i = 0; i < matrix->n_outliers; i++) {
        uint64_t index = entro_load_u64(matrix->outliers + i * ENTRO_OUTLIER_BYTES);
        if (index >= n_elements ||
            (i > 0 && index <= entro_load_u64(matrix->outliers + (i - 1) * ENTRO_OUTLIER_BYTES)))
            return entro_fail(loader->message, ENTRO_ERROR_FORMAT,
                              "%s/%s: outlier %zu of tensor \"%s\" is out of order", loader->directory, file,
                              i, matrix->name);
    }
    return ENTRO_OK;
}

static enum entro_error check_shape(const struct loader *loader, const struct entro_manifest_tensor *tensor,
                                    const struct entro_matrix *matrix)
{
    uint64_t rows = tensor->rank == 2 ? tensor->shape[0] : 1;
    uint64_t columns = tensor->rank == 0 ? 0 : tensor->shape[tensor->rank - 1];
    bool vector = matrix->n_rows == 1;
    if (tensor->rank != (vector ? 1 : 2) || rows != matrix->n_rows || columns != matrix->n_columns)
        return entro_fail(
            loader->message, ENTRO_ERROR_FORMAT,
            "%s: tensor \"%s\" has %u dimensions, %llu x %llu, but the model's config asks for %zu x %zu",
            loader->directory, tensor->name, tensor->rank, (unsigned long long)rows,
            (unsigned long long)columns, matrix->n_rows, matrix->n_columns);
    return ENTRO_OK;
}

/* Maps a tensor of the given shape. */
static enum entro_error map_matrix(const struct loader *loader, const struct entro_manifest_tensor *tensor,
                                   size_t n_rows, size_t n_columns, struct entro_matrix *out)
{
    enum entro_error error;
    uint64_t size_bytes;
    *out = (struct entro_matrix){.name = tensor->name, .n_rows = n_rows, .n_columns = n_columns};
    if ((error = check_shape(loader, tensor, out)) != ENTRO_OK)
        return error;
    out->encoding = tensor->bits == 8   ? ENTRO_MATRIX_U8
                    : tensor->bits == 4 ? ENTRO_MATRIX_U4
                                        : ENTRO_MATRIX_DTYPE;
    out->dtype = tensor->dtype;
    if (out->encoding == ENTRO_MATRIX_DTYPE && !entro_can_dequantize(tensor->dtype))
        return entro_fail(loader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: tensor \"%s\": dtype %s is not supported", loader->directory, tensor->name,
                          tensor->dtype_name);
    out->scale = tensor->scale;
    out->zero_point = tensor->zero_point;
    if ((error = map_file(loader, tensor->name, tensor->file, tensor->size_bytes, &out->data, &size_bytes)) !=
            ENTRO_OK ||
        (error = read_factors(loader, tensor->name, tensor->row_scale, n_rows, &out->row_scale)) !=
            ENTRO_OK ||
        (error = read_factors(loader, tensor->name, tensor->column_scale, n_columns, &out->column_scale)) !=
            ENTRO_OK)
        return error;
    loader->weights->n_parameters += (uint64_t)n_rows * n_columns;
    return read_outliers(loader, tensor->outliers, out);
}

static enum entro_error find_tensor(const struct loader *loader, enum entro_tensor_role role, size_t layer,
                                    const struct entro_manifest_tensor **out)
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
static enum entro_error check_all_used(const struct loader *loader)
{
    for (size_t i = 0; loader->config->gguf && i < loader->manifest->n_tensors; i++)
        if (!loader->used[i])
            return entro_fail(loader->message, ENTRO_ERROR_UNSUPPORTED,
                              "%s: tensor \"%s\" is no part of a %s model of %zu layers that is supported",
                              loader->directory, loader->manifest->tensors[i].name,
                              loader->config->architecture->name, loader->config->n_layers);
    return ENTRO_OK;
}

static enum entro_error load_matrix(const struct loader *loader, enum entro_tensor_role role, size_t layer,
                                    size_t n_rows, size_t n_columns, struct entro_matrix *out)
{
    const struct entro_manifest_tensor *tensor;
    enum entro_error error = find_tensor(loader, role, layer, &tensor);
    return error != ENTRO_OK ? error : map_matrix(loader, tensor, n_rows, n_columns, out);
}

/* A norm's weights as F32. */
static enum entro_error load_vector(const struct loader *loader, enum entro_tensor_role role, size_t layer,
                                    size_t n, float **out)
{
    struct entro_matrix matrix;
    enum entro_error error = load_matrix(loader, role, layer, 1, n, &matrix);
    if (error != ENTRO_OK)
        return error;
    *out = new_vector(loader, n);
    if (*out == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    entro_matrix_row(&matrix, 0, *out);
    for (size_t i = 0; i < n; i++)
        if (!isfinite((*out)[i]))
            return entro_fail(loader->message, ENTRO_ERROR_FORMAT,
                              "%s: element %zu of tensor \"%s\" is not a number", loader->directory, i,
                              matrix.name);
    return ENTRO_OK;
}

static enum entro_error load_layer(const struct loader *loader, size_t layer, struct entro_layer_weights *out)
{
    const struct entro_config *config = loader->config;
    size_t n_hidden = config->n_hidden, n_mlp = config->n_intermediate;
    size_t n_query = config->n_heads * config->head_dim, n_kv = config->n_kv_heads * config->head_dim;
    const struct {
        enum entro_tensor_role role;
        size_t n_rows, n_columns;
        struct entro_matrix *matrix;
    } matrices[] = {
        {ENTRO_TENSOR_QUERY, n_query, n_hidden, &out->query},
        {ENTRO_TENSOR_KEY, n_kv, n_hidden, &out->key},
        {ENTRO_TENSOR_VALUE, n_kv, n_hidden, &out->value},
        {ENTRO_TENSOR_ATTENTION_OUTPUT, n_hidden, n_query, &out->attention_output},
        {ENTRO_TENSOR_GATE, n_mlp, n_hidden, &out->gate},
        {ENTRO_TENSOR_UP, n_mlp, n_hidden, &out->up},
        {ENTRO_TENSOR_DOWN, n_hidden, n_mlp, &out->down},
    };
    enum entro_error error;
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
        error = load_matrix(loader, matrices[i].role, layer, matrices[i].n_rows, matrices[i].n_columns,
                            matrices[i].matrix);
        if (error != ENTRO_OK)
            return error;
    }
    if ((error = load_vector(loader, ENTRO_TENSOR_ATTENTION_NORM, layer, n_hidden, &out->attention_norm)) !=
        ENTRO_OK)
        return error;
    return load_vector(loader, ENTRO_TENSOR_MLP_NORM, layer, n_hidden, &out->mlp_norm);
}

static enum entro_error load_embedding(const struct loader *loader)
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
    return map_matrix(loader, tensor, config->n_vocabulary, config->n_hidden, &loader->weights->embedding);
}

static enum entro_error load_output(const struct loader *loader)
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

static enum entro_error load_all(const struct loader *loader)
{
    struct entro_weights *weights = loader->weights;
    enum entro_error error;
    size_t n_layers = loader->config->n_layers;
    size_t n_tensors = n_layers * 9 + 3;
    weights->layers = calloc(n_layers, sizeof *weights->layers);
    weights->mappings = calloc(n_tensors * FILES_PER_TENSOR, sizeof *weights->mappings);
    weights->vectors = calloc(n_tensors * FILES_PER_TENSOR, sizeof *weights->vectors);
    if (weights->layers == NULL || weights->mappings == NULL || weights->vectors == NULL)
        return entro_fail(loader->message, ENTRO_ERROR_NO_MEMORY, "no memory for the tables of %zu tensors",
                          n_tensors);
    weights->n_layers = n_layers;
    if ((error = load_embedding(loader)) != ENTRO_OK || (error = load_output(loader)) != ENTRO_OK ||
        (error = load_vector(loader, ENTRO_TENSOR_FINAL_NORM, 0, loader->config->n_hidden,
                             &weights->final_norm)) != ENTRO_OK)
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
    const struct loader loader = {.weights = out,
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
