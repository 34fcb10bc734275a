/* Mapping of one raw tensor file with what belongs to it; see weights_internal.h. */
#include "runner/weights_internal.h"

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

/* Maps `file` and finds its size; a size of `expected_bytes` is demanded unless that is UINT64_MAX. An empty
 * file maps to NULL. */
static enum entro_error map_file(const struct entro_weights_loader *loader, const char *tensor,
                                 const char *file, uint64_t expected_bytes, const uint8_t **data,
                                 uint64_t *size_bytes)
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
        error = entro_fail(loader->message, errno == ENOMEM ? ENTRO_ERROR_NO_MEMORY : ENTRO_ERROR_IO,
                           "%s: cannot map %llu bytes: %s", mapping->path, (unsigned long long)*size_bytes,
                           strerror(errno));
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

float *entro_weights_new_vector(const struct entro_weights_loader *loader, size_t n)
{
    float *vector = calloc(n, sizeof *vector);
    if (vector == NULL)
        entro_fail(loader->message, ENTRO_ERROR_NO_MEMORY, "no memory for %zu numbers", n);
    else
        loader->weights->vectors[loader->weights->n_vectors++] = vector;
    return vector;
}

/* A vector of n F16 factors as F32; *out stays NULL where there is no file. */
static enum entro_error read_factors(const struct entro_weights_loader *loader, const char *tensor,
                                     const char *file, size_t n, const float **out)
{
    const uint8_t *data;
    uint64_t size_bytes;
    *out = NULL;
    if (file == NULL)
        return ENTRO_OK;
    enum entro_error error = map_file(loader, tensor, file, (uint64_t)n * 2, &data, &size_bytes);
    if (error != ENTRO_OK)
        return error;
    float *factors = entro_weights_new_vector(loader, n);
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

static enum entro_error read_outliers(const struct entro_weights_loader *loader, const char *file,
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
        if (!isfinite(entro_load_f32(matrix->outliers + i * ENTRO_OUTLIER_BYTES + 8)))
            return entro_fail(loader->message, ENTRO_ERROR_FORMAT,
                              "%s/%s: outlier %zu of tensor \"%s\" is not a number", loader->directory, file,
                              i, matrix->name);
        if (index >= n_elements ||
            (i > 0 && index <= entro_load_u64(matrix->outliers + (i - 1) * ENTRO_OUTLIER_BYTES)))
            return entro_fail(loader->message, ENTRO_ERROR_FORMAT,
                              "%s/%s: outlier %zu of tensor \"%s\" is out of order", loader->directory, file,
                              i, matrix->name);
    }
    return ENTRO_OK;
}

static enum entro_error check_shape(const struct entro_weights_loader *loader,
                                    const struct entro_manifest_tensor *tensor,
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

enum entro_error entro_weights_map_matrix(const struct entro_weights_loader *loader,
                                          const struct entro_manifest_tensor *tensor, size_t n_rows,
                                          size_t n_columns, struct entro_matrix *out)
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
