/* The rules of records, for reader and writer alike; see image_rules.h and FORMAT.md, "What a reader
 * refuses". */
#include "codec/image_rules.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/utf8.h"
#include "codec/view.h"

#define PART_MAX_BYTES 255

struct entro_quoted entro_quote(const char *name, size_t name_bytes)
{
    struct entro_quoted quoted;
    size_t room = sizeof quoted.text - 4;
    size_t n = name_bytes < room ? name_bytes : room;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        quoted.text[i] = c < 0x20 || c == 0x7f || c == '"' ? '?' : (char)c;
    }
    static const char dots[] = "...";
    size_t end = n < name_bytes ? 0 : sizeof dots - 1;
    memcpy(quoted.text + n, dots + end, sizeof dots - end);
    return quoted;
}

static bool part_is(const char *part, size_t part_bytes, const char *word)
{
    return part_bytes == strlen(word) && memcmp(part, word, part_bytes) == 0;
}

static const char *part_fault(const char *part, size_t part_bytes)
{
    if (part_bytes == 0)
        return "has an empty part";
    if (part_bytes > PART_MAX_BYTES)
        return "has a part of more than 255 bytes";
    if (part_is(part, part_bytes, ".") || part_is(part, part_bytes, ".."))
        return "has a part \".\" or \"..\"";
    return NULL;
}

const char *entro_path_fault(const char *path, size_t path_bytes)
{
    if (path_bytes == 0)
        return "is empty";
    if (path_bytes > ENTRO_PATH_MAX_BYTES)
        return "has more than 4000 bytes";
    if (memchr(path, '\0', path_bytes) != NULL)
        return "contains a NUL byte";
    for (size_t start = 0; start <= path_bytes;) {
        const char *slash = memchr(path + start, '/', path_bytes - start);
        size_t end = slash != NULL ? (size_t)(slash - path) : path_bytes;
        const char *part = path + start;
        const char *fault = part_fault(part, end - start);
        if (fault != NULL)
            return fault;
        if (start == 0 && (part_is(part, end, "tensors") || part_is(part, end, "npy") ||
                           part_is(part, end, "tensors.json")))
            return "is where a mount has files of its own";
        start = end + 1;
    }
    return NULL;
}

const char *entro_name_fault(const char *name, size_t name_bytes)
{
    if (name_bytes == 0)
        return "is empty";
    if (name_bytes > ENTRO_NAME_MAX_BYTES)
        return "has more than 240 bytes";
    if (memchr(name, '\0', name_bytes) != NULL)
        return "contains a NUL byte";
    if (memchr(name, '/', name_bytes) != NULL)
        return "contains a \"/\"";
    if (part_is(name, name_bytes, ".") || part_is(name, name_bytes, ".."))
        return "is \".\" or \"..\"";
    if (!entro_is_utf8(name, name_bytes))
        return "is not UTF-8";
    return NULL;
}

static enum entro_error bad_tensor(const struct entro_tensor *tensor, struct entro_message *message,
                                   const char *fault)
{
    struct entro_quoted name = entro_quote(tensor->name, strlen(tensor->name));
    return entro_fail(message, ENTRO_ERROR_FORMAT, "tensor \"%s\" %s", name.text, fault);
}

/* A stream that the tensor refers to, and the size that follows from the tensor's shape. */
static enum entro_error check_stream(const struct entro_tensor *tensor, const char *what, uint32_t stream,
                                     uint64_t expected_bytes, const uint64_t *stream_sizes,
                                     uint32_t n_streams, struct entro_message *message)
{
    struct entro_quoted name = entro_quote(tensor->name, strlen(tensor->name));
    if (stream >= n_streams)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "tensor \"%s\": %s are stream %" PRIu32 ", but there are %" PRIu32 " streams",
                          name.text, what, stream, n_streams);
    if (stream_sizes[stream] != expected_bytes)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "tensor \"%s\": %s need a stream of %" PRIu64 " bytes, stream %" PRIu32
                          " has %" PRIu64,
                          name.text, what, expected_bytes, stream, stream_sizes[stream]);
    return ENTRO_OK;
}

static const char *lossless_fault(const struct entro_tensor *tensor)
{
    if (tensor->bits != 0 || tensor->scale != 0 || tensor->zero_point != 0)
        return "is lossless, but has bits, scale or zero point";
    if (tensor->row_scale != ENTRO_NONE || tensor->column_scale != ENTRO_NONE ||
        tensor->outliers != ENTRO_NONE)
        return "is lossless, but has factors or outliers";
    if (!(isinf(tensor->snr_db) && tensor->snr_db > 0))
        return "is lossless, but has a signal-to-noise ratio that is not infinite";
    return NULL;
}

static const char *quantized_fault(const struct entro_tensor *tensor)
{
    if (tensor->bits != 8 && tensor->bits != 4)
        return "is quantized, but not to 8 or 4 bits";
    if (!isnormal(tensor->scale) || tensor->scale < 0)
        return "has a scale that is no normal positive number";
    bool balanced = tensor->scheme == ENTRO_SCHEME_BALANCED;
    int32_t lowest = balanced ? ENTRO_ZERO_POINT_MIN : 0;
    int32_t highest = balanced ? ENTRO_ZERO_POINT_MAX : (1 << tensor->bits) - 1;
    if (tensor->zero_point < lowest || tensor->zero_point > highest)
        return "has a zero point out of range";
    if (!balanced && (tensor->row_scale != ENTRO_NONE || tensor->column_scale != ENTRO_NONE ||
                      tensor->outliers != ENTRO_NONE))
        return "has factors or outliers, which only the balanced scheme has";
    if (isnan(tensor->snr_db))
        return "has a signal-to-noise ratio that is not a number";
    return NULL;
}

static enum entro_error check_parts(const struct entro_tensor *tensor, const uint64_t *stream_sizes,
                                    uint32_t n_streams, struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    bool has_factors = tensor->row_scale != ENTRO_NONE || tensor->column_scale != ENTRO_NONE;
    if (has_factors && tensor->n_elements == 0)
        return bad_tensor(tensor, message, "has factors, but no elements");
    /* Rows and columns are fewer than the elements, which the codes' stream bounds: the products fit. */
    if (tensor->row_scale != ENTRO_NONE)
        error = check_stream(tensor, "row factors", tensor->row_scale, 2 * tensor->n_rows, stream_sizes,
                             n_streams, message);
    if (error == ENTRO_OK && tensor->column_scale != ENTRO_NONE)
        error = check_stream(tensor, "column factors", tensor->column_scale, 2 * tensor->n_columns,
                             stream_sizes, n_streams, message);
    if (error != ENTRO_OK || tensor->outliers == ENTRO_NONE)
        return error;
    if (tensor->outliers >= n_streams)
        return bad_tensor(tensor, message, "has its outliers in a stream that does not exist");
    uint64_t outlier_bytes = stream_sizes[tensor->outliers];
    if (outlier_bytes % ENTRO_OUTLIER_BYTES != 0 || outlier_bytes / ENTRO_OUTLIER_BYTES > tensor->n_elements)
        return bad_tensor(tensor, message, "has an outlier stream of a size that no list of outliers has");
    return ENTRO_OK;
}

enum entro_error entro_tensor_check(struct entro_tensor *tensor, const uint64_t *stream_sizes,
                                    uint32_t n_streams, struct entro_message *message)
{
    if (entro_dtype_info(tensor->dtype) == NULL)
        return bad_tensor(tensor, message, "has an unknown dtype");
    if (tensor->scheme > ENTRO_SCHEME_BALANCED)
        return bad_tensor(tensor, message, "has an unknown scheme");
    if (tensor->rank > ENTRO_MAX_RANK)
        return bad_tensor(tensor, message, "has more than 8 dimensions");
    for (unsigned i = tensor->rank; i < ENTRO_MAX_RANK; i++)
        if (tensor->shape[i] != 0)
            return bad_tensor(tensor, message, "has sizes in dimensions that it does not have");
    if (!entro_shape_elements(tensor->shape, tensor->rank, &tensor->n_elements))
        return bad_tensor(tensor, message, "has more elements than 64 bits can count");
    tensor->n_rows = tensor->rank > 0 ? tensor->shape[0] : 1;
    tensor->n_columns = tensor->n_elements > 0 ? tensor->n_elements / tensor->n_rows : 0;
    if (!isfinite(tensor->entropy_bits) || tensor->entropy_bits < 0)
        return bad_tensor(tensor, message, "has an entropy that is no number from 0 up");

    bool lossless = tensor->scheme == ENTRO_SCHEME_LOSSLESS;
    const char *fault = lossless ? lossless_fault(tensor) : quantized_fault(tensor);
    if (fault != NULL)
        return bad_tensor(tensor, message, fault);
    uint64_t stream_bytes;
    if (!lossless)
        stream_bytes = tensor->bits == 8 ? tensor->n_elements : entro_div_ceil_u64(tensor->n_elements, 2);
    else if (!entro_dtype_size_bytes(tensor->dtype, tensor->shape, tensor->rank, &stream_bytes))
        return bad_tensor(tensor, message, "has a shape that its dtype does not allow");
    const char *what = lossless ? "its bytes" : "its codes";
    enum entro_error error =
        check_stream(tensor, what, tensor->stream, stream_bytes, stream_sizes, n_streams, message);
    return error == ENTRO_OK ? check_parts(tensor, stream_sizes, n_streams, message) : error;
}

const char *entro_extent_fault(const struct entro_extent *extent, const struct entro_extent_targets *targets)
{
    if (extent->kind == ENTRO_EXTENT_STREAM) {
        if (extent->dtype != ENTRO_DTYPE_NONE)
            return "is part of a stream, but has a dtype";
        if (extent->reference >= targets->n_streams)
            return "refers to a stream that does not exist";
        uint64_t stream_bytes = targets->stream_sizes[extent->reference];
        if (extent->offset > stream_bytes || extent->size_bytes > stream_bytes - extent->offset)
            return "reaches beyond the end of its stream";
        return NULL;
    }
    if (extent->kind != ENTRO_EXTENT_VIEW)
        return "is of an unknown kind";
    if (extent->reference >= targets->n_tensors)
        return "refers to a tensor that does not exist";
    const struct entro_tensor *tensor = targets->tensor(targets->context, extent->reference);
    uint64_t view_bytes;
    if (!entro_view_is_defined(tensor, extent->dtype) ||
        !entro_view_size_bytes(tensor, extent->dtype, &view_bytes))
        return "is a view that its tensor does not have";
    if (extent->offset != 0 || extent->size_bytes != view_bytes)
        return "is not the whole of its view";
    return NULL;
}
