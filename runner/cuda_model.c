/* A model as the GPU plug-in wants it; see cuda_model.h. */
#include "runner/cuda_model.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "codec/ggml_blocks.h"
#include "codec/half.h"
#include "runner/matrix_internal.h"

#define PAGE_BYTES ((size_t)4096)

/* Codes less their zero point become F16 for batches; outliers as what their codes would have to be. */
#define MAX_CODE 60000.0F

/* Elements that are dequantized at a time: a multiple of every block. */
#define PIECE ((size_t)1024)

/* Where a matrix's bytes come from. */
struct source {
    const struct entro_matrix *matrix;
    const char *path; /* NULL: from memory */
    bool expanded;    /* GGUF's blocks become F16 */
    bool direct_io;
    struct entro_coded_stream *coded; /* the same bytes in the image; NULL: not there, or not for a card */
};

struct entro_cuda_host_model {
    struct entro_cuda_model model;
    const struct entro_weights *weights;
    bool direct_io;
    const struct entro_coded_source *coded; /* or NULL */
    struct entro_cuda_layer *layers;
    struct source *sources; /* [n_sources] */
    size_t n_sources;
    float *frequencies; /* [2][head_dim / 2] */
};

/* GGUF's blocks as F16: 11 bits, where a block's scale has no more. */
static void expand(const struct source *source, uint64_t offset, size_t size_bytes, uint8_t *to)
{
    const struct entro_dtype_info *info = entro_dtype_info(source->matrix->dtype);
    float piece[PIECE];
    size_t element = (size_t)(offset / 2), n = size_bytes / 2;
    for (size_t done = 0; done < n; done += PIECE) {
        size_t n_piece = n - done < PIECE ? n - done : PIECE;
        entro_dequantize_f32(source->matrix->dtype,
                             source->matrix->data +
                                 (element + done) / info->block_elements * info->block_bytes,
                             n_piece, piece);
        for (size_t i = 0; i < n_piece; i++)
            entro_store_u16(to + 2 * (done + i), entro_f32_to_f16(piece[i]));
    }
}

/* Reads what there is from `offset` on; whole pages where O_DIRECT wants them. */
static int read_file(const struct source *source, uint64_t offset, size_t size_bytes, uint8_t *to,
                     bool direct, struct entro_cuda_message *message)
{
    size_t done = 0;
    int fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (direct ? O_DIRECT : 0));
    if (fd < 0 && direct)
        return read_file(source, offset, size_bytes, to, false, message);
    while (fd >= 0 && done < size_bytes) {
        size_t wanted =
            direct ? (size_bytes - done + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES : size_bytes - done;
        ssize_t n = pread(fd, to + done, wanted, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || (direct && (size_t)n % PAGE_BYTES != 0 && done + (size_t)n < size_bytes))
            break;
        done += (size_t)n;
    }
    int reason = errno;
    if (fd >= 0)
        close(fd);
    if (done >= size_bytes)
        return 0;
    if (fd >= 0 && direct) /* a file system that takes no such reads */
        return read_file(source, offset, size_bytes, to, false, message);
    snprintf(
        message->text, sizeof message->text,
        "%s: cannot be read at byte %llu: %s: the block is damaged, the file was cut short or the mount is "
        "gone; entrofsck IMAGE tells which",
        source->path, (unsigned long long)(offset + done),
        fd < 0 || reason != 0 ? strerror(reason) : "end of file");
    return -1;
}

static int fill(const void *context, uint64_t offset, size_t size_bytes, void *to,
                struct entro_cuda_message *message)
{
    const struct source *source = context;
    if (source->expanded)
        expand(source, offset, size_bytes, to);
    else if (source->path == NULL)
        memcpy(to, source->matrix->data + offset, size_bytes);
    else {
        errno = 0;
        return read_file(source, offset, size_bytes, to, source->direct_io, message);
    }
    return 0;
}

static const char *path_of(const struct entro_weights *weights, const uint8_t *data)
{
    for (size_t i = 0; i < weights->n_mappings; i++)
        if (weights->mappings[i].address == data)
            return weights->mappings[i].path;
    return NULL;
}

/* Outliers are divided by the factors of their rows and columns. */
static enum entro_error check_outliers(const struct entro_matrix *matrix, struct entro_message *message)
{
    if (matrix->n_outliers > UINT32_MAX)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "tensor \"%s\" has too many outliers for the GPU",
                          matrix->name);
    for (size_t i = 0; i < matrix->n_outliers; i++) {
        uint64_t element = entro_outlier_index(matrix, i);
        size_t row = (size_t)(element / matrix->n_columns), column = (size_t)(element % matrix->n_columns);
        float factor = entro_matrix_row_factor(matrix, row) *
                       (matrix->column_scale == NULL ? 1.0F : matrix->column_scale[column]);
        if (!(fabsf(entro_outlier_value(matrix, i) / factor) <= MAX_CODE))
            return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                              "outlier %zu of tensor \"%s\" is too large beside its factors for the GPU", i,
                              matrix->name);
    }
    return ENTRO_OK;
}

static int encoding_of(const struct entro_matrix *matrix)
{
    if (matrix->encoding != ENTRO_MATRIX_DTYPE)
        return matrix->encoding == ENTRO_MATRIX_U8 ? ENTRO_CUDA_U8 : ENTRO_CUDA_U4;
    return matrix->dtype == ENTRO_DTYPE_F32    ? ENTRO_CUDA_F32
           : matrix->dtype == ENTRO_DTYPE_BF16 ? ENTRO_CUDA_BF16
                                               : ENTRO_CUDA_F16;
}

/*
 * Finds a tensor in the image. That its codes are those of the mounted file, and not of an image of the same
 * model with another scale, the file's checksum says.
 */
static enum entro_error find_coded(const struct entro_cuda_host_model *host, struct source *source,
                                   struct entro_message *message)
{
    char found[33] = "", expected[33];
    if (source->expanded || source->path == NULL)
        return ENTRO_OK;
    enum entro_error error =
        entro_coded_stream_create(&source->coded, host->coded, source->matrix->name, message);
    if (error == ENTRO_ERROR_UNSUPPORTED)
        return ENTRO_OK;
    if (error != ENTRO_OK)
        return error;
    for (unsigned i = 0; i < 16; i++)
        snprintf(expected + 2 * i, 3, "%02x", source->coded->xxh3_128[i]);
    if (getxattr(source->path, "user.entrofs.xxh3", found, sizeof found - 1) != 32)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "%s: no file of a mount, whose image could be read instead", source->path);
    if (strcmp(found, expected) != 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "%s: not what the image has as tensor \"%s\": is it another one?", source->path,
                          source->matrix->name);
    return ENTRO_OK;
}

static enum entro_error describe(struct entro_cuda_host_model *host, const struct entro_matrix *matrix,
                                 struct entro_cuda_matrix *out, struct entro_message *message)
{
    struct source *source = &host->sources[host->n_sources++];
    int encoding = encoding_of(matrix);
    if (matrix->n_rows > INT32_MAX || matrix->n_columns > INT32_MAX - PIECE)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "tensor \"%s\" is too large for the GPU",
                          matrix->name);
    uint64_t n_elements = (uint64_t)matrix->n_rows * matrix->n_columns;
    *source = (struct source){.matrix = matrix,
                              .path = path_of(host->weights, matrix->data),
                              .expanded = encoding == ENTRO_CUDA_F16 && matrix->dtype != ENTRO_DTYPE_F16,
                              .direct_io = host->direct_io};
    *out = (struct entro_cuda_matrix){.name = matrix->name,
                                      .n_rows = matrix->n_rows,
                                      .n_columns = matrix->n_columns,
                                      .encoding = encoding,
                                      .source = source};
    enum entro_error error = host->coded != NULL ? find_coded(host, source, message) : ENTRO_OK;
    if (error != ENTRO_OK)
        return error;
    if (source->coded != NULL) {
        out->coded = &source->coded->coded;
        out->coded_source = source->coded;
    }
    out->size_bytes = encoding == ENTRO_CUDA_U4   ? n_elements / 2 + n_elements % 2
                      : encoding == ENTRO_CUDA_U8 ? n_elements
                                                  : n_elements * (encoding == ENTRO_CUDA_F32 ? 4 : 2);
    if (matrix->encoding == ENTRO_MATRIX_DTYPE)
        return ENTRO_OK;
    if (!(fabsf(matrix->zero_point) <= MAX_CODE))
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "tensor \"%s\": a zero point of %g is too far from its codes for the GPU",
                          matrix->name, (double)matrix->zero_point);
    out->scale = matrix->scale;
    out->zero_point = matrix->zero_point;
    out->row_scale = matrix->row_scale;
    out->column_scale = matrix->column_scale;
    out->outliers = matrix->outliers;
    out->n_outliers = matrix->n_outliers;
    return check_outliers(matrix, message);
}

static enum entro_error describe_layer(struct entro_cuda_host_model *host,
                                       const struct entro_layer_weights *layer, struct entro_cuda_layer *out,
                                       struct entro_message *message)
{
    out->attention_norm = layer->attention_norm;
    out->n_qkv = (uint32_t)layer->n_qkv;
    out->qkv_bias = layer->qkv_bias;
    out->query_norm = layer->query_norm;
    out->key_norm = layer->key_norm;
    out->post_attention_norm = layer->post_attention_norm;
    out->mlp_norm = layer->mlp_norm;
    out->n_gate_up = (uint32_t)layer->n_gate_up;
    out->post_mlp_norm = layer->post_mlp_norm;
    enum entro_error error = describe(host, &layer->attention_output, &out->attention_output, message);
    if (error == ENTRO_OK)
        error = describe(host, &layer->down, &out->down, message);
    for (size_t i = 0; error == ENTRO_OK && i < layer->n_qkv; i++)
        error = describe(host, &layer->qkv[i], &out->qkv[i], message);
    for (size_t i = 0; error == ENTRO_OK && i < layer->n_gate_up; i++)
        error = describe(host, &layer->gate_up[i], &out->gate_up[i], message);
    return error;
}

static enum entro_error describe_model(struct entro_cuda_host_model *host, const struct entro_config *config,
                                       struct entro_message *message)
{
    const struct entro_weights *weights = host->weights;
    size_t n_pairs = config->head_dim / 2;
    entro_rope_frequencies(&config->rope, weights->rope_factors, n_pairs, host->frequencies);
    entro_rope_frequencies(&config->sliding_rope, weights->rope_factors, n_pairs,
                           host->frequencies + n_pairs);
    host->model = (struct entro_cuda_model){
        .n_layers = (uint32_t)config->n_layers,
        .n_hidden = (uint32_t)config->n_hidden,
        .n_intermediate = (uint32_t)config->n_intermediate,
        .n_heads = (uint32_t)config->n_heads,
        .n_kv_heads = (uint32_t)config->n_kv_heads,
        .head_dim = (uint32_t)config->head_dim,
        .n_vocabulary = (uint32_t)config->n_vocabulary,
        .rope_interleaved = config->rope_interleaved,
        .gelu = config->architecture->activation == ENTRO_ACTIVATION_GELU_TANH,
        .embedding_scale = config->architecture->scaled_embedding ? sqrtf((float)config->n_hidden) : 1.0F,
        .norm_epsilon = config->norm_epsilon,
        .attention_scale = config->attention_scale,
        .frequencies = host->frequencies,
        .sliding_frequencies = host->frequencies + n_pairs,
        .final_norm = weights->final_norm,
        .layers = host->layers,
        .fill = fill,
        .fill_coded = entro_coded_fill};
    enum entro_error error = describe(host, &weights->embedding, &host->model.embedding, message);
    if (error == ENTRO_OK && weights->output.data == weights->embedding.data)
        host->model.output = host->model.embedding;
    else if (error == ENTRO_OK)
        error = describe(host, &weights->output, &host->model.output, message);
    for (size_t i = 0; error == ENTRO_OK && i < config->n_layers; i++) {
        host->layers[i].window = entro_config_window(config, i);
        error = describe_layer(host, &weights->layers[i], &host->layers[i], message);
    }
    return error;
}

enum entro_error entro_cuda_host_model_create(struct entro_cuda_host_model **out,
                                              const struct entro_config *config,
                                              const struct entro_weights *weights, bool direct_io,
                                              const struct entro_coded_source *coded,
                                              struct entro_message *message)
{
    enum entro_error error = ENTRO_ERROR_NO_MEMORY;
    struct entro_cuda_host_model *host = calloc(1, sizeof *host);
    if (host != NULL) {
        host->weights = weights;
        host->direct_io = direct_io;
        host->coded = coded;
        host->layers = calloc(config->n_layers + 1, sizeof *host->layers);
        host->sources = calloc(config->n_layers * 7 + 2, sizeof *host->sources);
        host->frequencies = calloc(config->head_dim + 1, sizeof *host->frequencies);
    }
    if (host == NULL || host->layers == NULL || host->sources == NULL || host->frequencies == NULL)
        entro_fail(message, error, "no memory for a list of %zu layers", config->n_layers);
    else
        error = describe_model(host, config, message);
    if (error != ENTRO_OK) {
        entro_cuda_host_model_free(host);
        return error;
    }
    *out = host;
    return ENTRO_OK;
}

const struct entro_cuda_model *entro_cuda_host_model_get(const struct entro_cuda_host_model *host)
{
    return &host->model;
}

void entro_cuda_host_model_free(struct entro_cuda_host_model *host)
{
    if (host == NULL)
        return;
    for (size_t i = 0; i < host->n_sources; i++)
        entro_coded_stream_free(host->sources[i].coded);
    free(host->layers);
    free(host->sources);
    free(host->frequencies);
    free(host);
}
