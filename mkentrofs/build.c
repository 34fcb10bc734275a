/*
 * One file of the source after another: its tensors by their treatment (encode.h), the rest as a skeleton,
 * and then its extents.
 */
#include "mkentrofs/build.h"

#include <stdlib.h>

#include "codec/models/gguf.h"
#include "codec/writer.h"
#include "mkentrofs/balance_source.h"
#include "mkentrofs/skeleton.h"
#include "mkentrofs/views.h"

struct build {
    struct entro_encoder encoder;
    const struct entro_monitor *monitor;
    struct entro_tensor_result *next_result;
    const struct entro_balanced_tensor *next_balanced; /* of the same tensor */
    struct entro_code_counts *codes;                   /* NULL: not counted */
    size_t n_done;                                     /* tensors */
    struct entro_message *message;
};

/* Passes over the source's bytes: two of the writer, and one that finds a mixed tensor's range. */
static uint64_t work_bytes(const struct entro_plan_options *options, const struct entro_source_tensor *tensor)
{
    bool finds_range = entro_tensor_plan(options, tensor).treatment == ENTRO_TREATMENT_MIXED;
    return tensor->size_bytes * (finds_range ? 3 : 2);
}

static void plan_progress(const struct entro_source_tree *tree, const struct entro_plan_options *options,
                          const struct entro_monitor *monitor)
{
    uint64_t total_bytes = 0;
    for (size_t i = 0; i < tree->n_parts; i++) {
        const struct entro_part *part = &tree->parts[i];
        if (part->kind == ENTRO_PART_PLAIN)
            total_bytes += 2 * part->identity.size_bytes;
        for (size_t j = 0; j < part->n_tensors; j++)
            total_bytes +=
                work_bytes(options, &part->tensors[j]) +
                (entro_tensor_plan(options, &part->tensors[j]).treatment == ENTRO_TREATMENT_BALANCED
                     ? entro_balance_work_bytes(&part->tensors[j])
                     : 0);
    }
    entro_progress_plan(monitor->progress, tree->size_bytes, total_bytes);
}

/* A pattern with a slip in it would quantize what was to be kept. */
static void warn_of_unused_keeps(const struct entro_source_tree *tree,
                                 const struct entro_plan_options *options,
                                 const struct entro_monitor *monitor)
{
    for (size_t keep = 0; keep < options->n_keeps; keep++) {
        bool used = false;
        for (size_t i = 0; i < tree->n_parts && !used; i++)
            for (size_t j = 0; j < tree->parts[i].n_tensors && !used; j++)
                used = entro_keep_matches(options->keeps[keep], &tree->parts[i].tensors[j]);
        if (!used)
            entro_monitor_warn(monitor, "--keep %s: matches no tensor", options->keeps[keep]);
    }
}

static enum entro_error produce_plain(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                      struct entro_message *message)
{
    return entro_input_read(context, offset, size_bytes, target, message);
}

static enum entro_error build_plain(struct build *build, const struct entro_part *part)
{
    struct entro_input input;
    enum entro_error error =
        entro_input_open(&input, part->source_path, &part->identity, build->monitor, build->message);
    if (error)
        return error;
    struct entro_writer *writer = build->encoder.writer;
    struct entro_extent extent = {.kind = ENTRO_EXTENT_STREAM, .size_bytes = part->identity.size_bytes};
    if (extent.size_bytes) {
        struct entro_producer producer = {.context = &input, .produce = produce_plain};
        struct entro_stream_summary summary;
        error = entro_writer_add_stream(writer, part->path, extent.size_bytes, &entro_layout_bytes, &producer,
                                        &summary, build->message);
        if (error)
            goto close_input;
        extent.reference = summary.stream;
    }
    if ((error = entro_input_check(&input, build->message)))
        goto close_input;
    error = entro_writer_add_file(writer, part->path, &extent, extent.size_bytes ? 1 : 0, build->message);
    entro_progress_settle(build->monitor->progress, 2 * part->identity.size_bytes);

close_input:
    entro_input_close(&input);
    return error;
}

static enum entro_error encode_tensor(struct build *build, const struct entro_input *input,
                                      const struct entro_source_tensor *tensor,
                                      const struct entro_balanced_tensor *balanced,
                                      struct entro_encoded *encoded)
{
    const struct entro_encoder *encoder = &build->encoder;
    struct entro_tensor_plan plan = entro_tensor_plan(encoder->options, tensor);
    const char *reason = plan.reason;
    enum entro_error error = ENTRO_OK;
    switch (plan.treatment) {
    case ENTRO_TREATMENT_MIXED:
        error = entro_encode_mixed(encoder, input, tensor, encoded, build->message);
        reason = encoded->kept_reason;
        break;
    case ENTRO_TREATMENT_BALANCED:
        reason = balanced->kept_reason;
        if (!reason)
            error = entro_encode_balanced(encoder, input, tensor, balanced, encoded, build->message);
        break;
    case ENTRO_TREATMENT_LOSSLESS:
        break;
    }
    if (error)
        return error;
    if (reason && !plan.reason)
        entro_monitor_warn(build->monitor, "%s: tensor %s is kept as it is: %s", input->path, tensor->name,
                           reason);
    if (reason) {
        error = entro_encode_lossless(encoder, input, tensor, encoded, build->message);
        encoded->kept_reason = reason;
    }
    entro_progress_settle(build->monitor->progress, work_bytes(encoder->options, tensor));
    return error;
}

/* The same, and its codes are counted. */
static enum entro_error encode_and_count(struct build *build, const struct entro_input *input,
                                         const struct entro_source_tensor *tensor,
                                         const struct entro_balanced_tensor *balanced,
                                         struct entro_encoded *encoded)
{
    uint64_t bytes[ENTRO_N_SYMBOLS] = {0};
    build->encoder.counts = build->codes ? bytes : NULL;
    enum entro_error error = encode_tensor(build, input, tensor, balanced, encoded);
    build->encoder.counts = NULL;
    if (!error && build->codes && encoded->tensor.scheme != ENTRO_SCHEME_LOSSLESS)
        entro_code_counts_add(build->codes, build->n_done, encoded->tensor.bits, tensor->n_elements, bytes);
    build->n_done++;
    return error;
}

/* Encodes all tensors of a part into its results and makes the extent that each of them is in the model file.
 */
static enum entro_error encode_tensors(struct build *build, const struct entro_part *part,
                                       const struct entro_input *input, struct entro_tensor_result *results,
                                       struct entro_extent *extents, bool *is_lossless)
{
    *is_lossless = true;
    for (size_t i = 0; i < part->n_tensors; i++) {
        const struct entro_source_tensor *source = &part->tensors[i];
        struct entro_tensor_result *result = &results[i];
        uint32_t number;
        *result = (struct entro_tensor_result){.part = part, .source = source};
        enum entro_error error =
            encode_and_count(build, input, source, build->next_balanced + i, &result->encoded);
        if (error)
            return error;
        const struct entro_tensor *tensor = &result->encoded.tensor;
        error = entro_writer_add_tensor(build->encoder.writer, tensor, &number, build->message);
        if (error)
            return error;
        result->view = entro_view_dtype(part->kind, &result->encoded);
        if (tensor->scheme == ENTRO_SCHEME_LOSSLESS) {
            extents[i] = (struct entro_extent){
                .kind = ENTRO_EXTENT_STREAM, .reference = tensor->stream, .size_bytes = source->size_bytes};
        } else {
            *is_lossless = false;
            extents[i] =
                (struct entro_extent){.kind = ENTRO_EXTENT_VIEW, .dtype = result->view, .reference = number};
            if (!entro_dtype_size_bytes(result->view, source->shape, source->rank, &extents[i].size_bytes))
                return entro_fail(build->message, ENTRO_ERROR_UNSUPPORTED,
                                  "%s: tensor %s: its view is too large", input->path, source->name);
        }
    }
    return ENTRO_OK;
}

/* A GGUF file with quantized tensors is shown under a header of its own: its tensors have other types and
 * hence other places. */
static enum entro_error rewrite_gguf(struct build *build, const struct entro_part *part,
                                     const struct entro_input *input,
                                     const struct entro_tensor_result *results, struct entro_place *places,
                                     uint8_t **header, struct entro_skeleton_file *file)
{
    size_t n = part->n_tensors;
    struct entro_gguf gguf;
    enum entro_error error =
        entro_gguf_open(&gguf, input->fd, input->identity.size_bytes, input->path, build->message);
    if (error)
        return error;
    enum entro_dtype *views = calloc(n, sizeof *views);
    struct entro_encoded *encoded = calloc(n, sizeof *encoded);
    uint64_t *offsets = calloc(n, sizeof *offsets);
    if (!views || !encoded || !offsets) {
        error = entro_fail(build->message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto free_all;
    }
    if (gguf.n_tensors != n) {
        error =
            entro_fail(build->message, ENTRO_ERROR_IO, "%s: the file changed during the build", input->path);
        goto free_all;
    }
    for (size_t i = 0; i < n; i++) {
        views[i] = results[i].view;
        encoded[i] = results[i].encoded;
    }
    error = entro_gguf_rewrite(&gguf, views, entro_gguf_file_type(encoded, views, n), header,
                               &file->header_size_bytes, offsets, &file->size_bytes, build->message);
    if (error)
        goto free_all;
    file->header = *header;
    file->input = NULL;
    for (size_t i = 0; i < n; i++)
        places[i].offset = offsets[i];

free_all:
    free(offsets);
    free(encoded);
    free(views);
    entro_gguf_free(&gguf);
    return error;
}

static enum entro_error build_model_file(struct build *build, const struct entro_part *part)
{
    struct entro_input input;
    enum entro_error error =
        entro_input_open(&input, part->source_path, &part->identity, build->monitor, build->message);
    if (error)
        return error;
    struct entro_tensor_result *results = build->next_result;
    build->next_result += part->n_tensors;
    uint8_t *header = NULL;
    struct entro_extent *extents = NULL;
    size_t n = part->n_tensors;
    struct entro_extent *tensor_extents = calloc(n ? n : 1, sizeof *tensor_extents);
    struct entro_place *places = calloc(n ? n : 1, sizeof *places);
    if (!tensor_extents || !places) {
        error = entro_fail(build->message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto clean_up;
    }
    bool is_lossless;
    error = encode_tensors(build, part, &input, results, tensor_extents, &is_lossless);
    build->next_balanced += n;
    if (error)
        goto clean_up;
    struct entro_skeleton_file file = {
        .input = &input, .size_bytes = input.identity.size_bytes, .n_places = n, .places = places};
    for (size_t i = 0; i < n; i++)
        places[i] = (struct entro_place){.offset = part->tensors[i].offset,
                                         .size_bytes = tensor_extents[i].size_bytes};
    if (part->kind == ENTRO_PART_GGUF && !is_lossless &&
        (error = rewrite_gguf(build, part, &input, results, places, &header, &file)))
        goto clean_up;
    uint32_t n_extents;
    error = entro_skeleton_add(build->encoder.writer, &file, part->path, tensor_extents, &extents, &n_extents,
                               build->message);
    if (error || (error = entro_input_check(&input, build->message)))
        goto clean_up;
    error = entro_writer_add_file(build->encoder.writer, part->path, extents, n_extents, build->message);

clean_up:
    free(extents);
    free(header);
    free(places);
    free(tensor_extents);
    entro_input_close(&input);
    return error;
}

enum entro_error entro_build(struct entro_build_result *out, const struct entro_source_tree *tree,
                             const struct entro_build_options *options, struct entro_pool *pool,
                             const struct entro_monitor *monitor, struct entro_message *message)
{
    *out = (struct entro_build_result){.n_tensors = tree->n_tensors};
    out->tensors = calloc(tree->n_tensors ? tree->n_tensors : 1, sizeof *out->tensors);
    if (!out->tensors)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    struct entro_writer *writer;
    enum entro_error error =
        entro_writer_create(&writer, options->image_path, options->replace, tree->kind, pool, message);
    if (error)
        goto free_tensors;
    struct build build = {
        .encoder = {.writer = writer, .pool = pool, .options = &options->plan, .monitor = monitor},
        .monitor = monitor,
        .next_result = out->tensors,
        .codes = options->codes,
        .message = message,
    };
    if ((error = entro_writer_set_block_log2(writer, options->block_log2)))
        goto free_writer;
    struct entro_balanced_source balanced;
    warn_of_unused_keeps(tree, &options->plan, monitor);
    plan_progress(tree, &options->plan, monitor);
    if ((error = entro_balance_source(&balanced, tree, &options->plan, pool, monitor, message)))
        goto free_writer;
    build.next_balanced = balanced.tensors;
    error = entro_balanced_source_allocate(&balanced, tree, &options->plan, message);
    for (size_t i = 0; i < tree->n_parts && !error; i++) {
        const struct entro_part *part = &tree->parts[i];
        error = part->kind == ENTRO_PART_PLAIN ? build_plain(&build, part) : build_model_file(&build, part);
    }
    if (!error && entro_monitor_cancelled(monitor))
        error = entro_fail(message, ENTRO_ERROR_CANCELLED, "interrupted");
    if (!error)
        error = entro_writer_finish(writer, &out->image_bytes, message);
    entro_balanced_source_free(&balanced);

free_writer:
    entro_writer_free(writer);
free_tensors:
    if (error)
        entro_build_result_free(out);
    return error;
}

void entro_build_result_free(struct entro_build_result *result)
{
    free(result->tensors);
    *result = (struct entro_build_result){0};
}
