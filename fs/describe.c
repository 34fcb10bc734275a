/* Descriptions; see describe.h. */
#include "fs/describe.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "fs/facts.h"

#define N_METHODS 3

/* Sums over a whole image. */
struct sums {
    uint64_t decoded_bytes; /* of all streams */
    uint64_t n_parameters;
    uint64_t tensor_bytes; /* as the tensors' streams decode */
    uint64_t stored_bytes; /* of the tensors; shared streams count for each */
    uint64_t n_blocks[N_METHODS];
    uint64_t block_bytes[N_METHODS];
};

static struct sums sum_up(const struct entro_image *image)
{
    const struct entro_image_info *info = entro_image_info(image);
    struct sums sums = {0};
    for (uint32_t i = 0; i < info->n_streams; i++) {
        const struct entro_stream *stream = entro_image_stream(image, i);
        sums.decoded_bytes += stream->size_bytes;
        for (unsigned p = 0; p < stream->layout->n_fields; p++)
            for (uint64_t block = 0; block < stream->planes[p].n_blocks; block++) {
                struct entro_block_place place = entro_image_block_place(image, &stream->planes[p], block);
                sums.n_blocks[place.method]++;
                sums.block_bytes[place.method] += place.stored_bytes;
            }
    }
    for (uint32_t i = 0; i < info->n_tensors; i++) {
        const struct entro_tensor *tensor = entro_image_tensor(image, i);
        sums.n_parameters += tensor->n_elements;
        sums.tensor_bytes += entro_image_stream(image, tensor->stream)->size_bytes;
        sums.stored_bytes += entro_tensor_stored_bytes(image, tensor);
    }
    return sums;
}

static double bits_per_weight(const struct sums *sums)
{
    return sums->n_parameters == 0 ? 0 : 8.0 * (double)sums->stored_bytes / (double)sums->n_parameters;
}

/* Names of an image may hold anything: what could move a terminal's cursor is shown as '?'. */
static void print_name(const char *name, int width, FILE *out)
{
    int n = 0;
    for (; *name != '\0'; name++, n++) {
        unsigned char c = (unsigned char)*name;
        fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
    }
    for (; n < width; n++)
        fputc(' ', out);
}

static void print_tensor(const struct entro_image *image, const struct entro_tensor *tensor, FILE *out)
{
    char shape[ENTRO_SHAPE_BYTES];
    entro_shape_text(tensor, shape);
    print_name(tensor->name, 50, out);
    fprintf(out, " %-6s %-18s %-10s", entro_dtype_name(tensor->dtype), shape,
            entro_scheme_name(tensor->scheme));
    if (tensor->scheme == ENTRO_SCHEME_LOSSLESS)
        fprintf(out, "  -      -");
    else
        fprintf(out, " u%u %6.2f", tensor->bits, tensor->snr_db);
    fprintf(out, " %8.3f %8.3f %12" PRIu64 "%s%s\n", tensor->entropy_bits,
            entro_tensor_bits_per_weight(image, tensor), entro_tensor_stored_bytes(image, tensor),
            tensor->row_scale != ENTRO_NONE || tensor->column_scale != ENTRO_NONE ? " factors" : "",
            tensor->outliers != ENTRO_NONE ? " outliers" : "");
}

enum entro_error entro_describe_text(const struct entro_namespace *names, const char *path, FILE *out)
{
    const struct entro_image *image = entro_namespace_image(names);
    const struct entro_image_info *info = entro_image_info(image);
    struct sums sums = sum_up(image);
    char id[ENTRO_HEX_BYTES];
    entro_hex(info->id, id);
    fprintf(out, "image        %s\n", path);
    fprintf(out, "format       version %u, made from %s\n", info->version, entro_source_name(info->source));
    fprintf(out, "id           %s\n", id);
    fprintf(out, "size         %" PRIu64 " bytes, of which index %" PRIu64 "\n", info->image_bytes,
            info->index_bytes);
    fprintf(out, "files        %u\n", info->n_files);
    fprintf(out, "streams      %u, %" PRIu64 " bytes decoded, %" PRIu64 " blocks:", info->n_streams,
            sums.decoded_bytes, info->n_blocks);
    for (unsigned method = 0; method < N_METHODS; method++)
        fprintf(out, "%s %" PRIu64 " %s (%" PRIu64 " bytes)", method == 0 ? "" : ",", sums.n_blocks[method],
                entro_method_name(method), sums.block_bytes[method]);
    fprintf(out,
            "\ntensors      %u, %" PRIu64 " weights, %" PRIu64 " bytes raw, %" PRIu64
            " stored, %.3f bits a weight\n",
            info->n_tensors, sums.n_parameters, sums.tensor_bytes, sums.stored_bytes, bits_per_weight(&sums));
    if (info->n_files > 0) {
        fprintf(out, "\n%-50s %14s %14s\n", "file", "bytes", "stored");
        for (uint32_t i = 0; i < info->n_files; i++) {
            const struct entro_file *file = entro_image_file(image, i);
            print_name(file->path, 50, out);
            fprintf(out, " %14" PRIu64 " %14" PRIu64 "\n", file->size_bytes,
                    entro_namespace_node(names, ENTRO_INODE_FIRST_FILE + i)->stored_bytes);
        }
    }
    if (info->n_tensors > 0) {
        fprintf(out, "\n%-50s %-6s %-18s %-10s %s %6s %8s %8s %12s\n", "tensor", "dtype", "shape", "scheme",
                "as", "SNR dB", "entropy", "stored", "bytes");
        for (uint32_t i = 0; i < info->n_tensors; i++)
            print_tensor(image, entro_image_tensor(image, i), out);
    }
    return ENTRO_OK;
}

static json_t *files_array(const struct entro_namespace *names)
{
    const struct entro_image *image = entro_namespace_image(names);
    json_t *array = json_array();
    for (uint32_t i = 0; array != NULL && i < entro_image_info(image)->n_files; i++) {
        const struct entro_file *file = entro_image_file(image, i);
        const struct entro_node *node = entro_namespace_node(names, ENTRO_INODE_FIRST_FILE + i);
        json_t *path = json_string(file->path);
        json_array_append_new(array, json_pack("{s:o, s:I, s:I}", "path", path != NULL ? path : json_null(),
                                               "size_bytes", (json_int_t)file->size_bytes, "stored_bytes",
                                               (json_int_t)node->stored_bytes));
    }
    return array;
}

static json_t *blocks_object(const struct sums *sums)
{
    json_t *object = json_object();
    for (unsigned method = 0; method < N_METHODS; method++)
        json_object_set_new(object, entro_method_name(method),
                            json_pack("{s:I, s:I}", "blocks", (json_int_t)sums->n_blocks[method],
                                      "stored_bytes", (json_int_t)sums->block_bytes[method]));
    return object;
}

/* The objects of tensors.json, which the namespace holds as text. */
static json_t *tensors_array(const struct entro_namespace *names)
{
    const struct entro_span *span = entro_namespace_node(names, ENTRO_INODE_TENSORS_JSON)->spans;
    json_t *root = json_loadb((const char *)span->bytes, (size_t)span->size_bytes, 0, NULL);
    json_t *tensors = json_incref(json_object_get(root, "tensors"));
    json_decref(root);
    return tensors;
}

enum entro_error entro_describe_json(const struct entro_namespace *names, const char *path, FILE *out)
{
    const struct entro_image *image = entro_namespace_image(names);
    const struct entro_image_info *info = entro_image_info(image);
    struct sums sums = sum_up(image);
    char id[ENTRO_HEX_BYTES];
    entro_hex(info->id, id);
    json_t *image_path = json_string(path);
    json_t *root = json_pack(
        "{s:i, s:o, s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:o}", "format", 1,
        "image", image_path != NULL ? image_path : json_null(), "version", (int)info->version, "id", id,
        "source", entro_source_name(info->source), "image_bytes", (json_int_t)info->image_bytes,
        "index_bytes", (json_int_t)info->index_bytes, "n_streams", (json_int_t)info->n_streams, "n_blocks",
        (json_int_t)info->n_blocks, "decoded_bytes", (json_int_t)sums.decoded_bytes, "n_weights",
        (json_int_t)sums.n_parameters, "tensor_bytes", (json_int_t)sums.tensor_bytes, "tensor_stored_bytes",
        (json_int_t)sums.stored_bytes, "bits_per_weight", bits_per_weight(&sums), "methods",
        blocks_object(&sums), "files", files_array(names), "tensors", tensors_array(names));
    if (root == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    json_dumpf(root, out, JSON_INDENT(1));
    fputc('\n', out);
    json_decref(root);
    return ENTRO_OK;
}
