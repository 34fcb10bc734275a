/* A model's numbers from the metadata of a GGUF. Source: ggml-org/ggml docs/gguf.md, "Standardized key-value
 * pairs". */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runner/config.h"
#include "runner/config_internal.h"

struct reader {
    const struct entro_gguf *gguf;
    const char *prefix; /* the architecture's name */
    const char *path;
    struct entro_message *message;
};

static const struct entro_gguf_pair *find(const struct reader *reader, const char *suffix)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", reader->prefix, suffix);
    return entro_gguf_find(reader->gguf, key);
}

/* Reads a count; a missing one becomes `missing`, or an error where that is 0. */
static enum entro_error get_count(const struct reader *reader, const char *suffix, size_t missing,
                                  size_t *out)
{
    const struct entro_gguf_pair *pair = find(reader, suffix);
    int64_t value;
    if (pair == NULL && missing != 0) {
        *out = missing;
        return ENTRO_OK;
    }
    if (pair == NULL)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: no metadata \"%s.%s\"", reader->path,
                          reader->prefix, suffix);
    if (!entro_gguf_integer(pair, &value) || value < 1 || value > INT32_MAX)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                          "%s: metadata \"%s.%s\" is not a number from 1 to %d", reader->path, reader->prefix,
                          suffix, INT32_MAX);
    *out = (size_t)value;
    return ENTRO_OK;
}

static enum entro_error get_number(const struct reader *reader, const char *suffix, double missing,
                                   float *out)
{
    const struct entro_gguf_pair *pair = find(reader, suffix);
    double value = missing;
    if (pair != NULL && !entro_gguf_number(pair, &value))
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: metadata \"%s.%s\" is not a number",
                          reader->path, reader->prefix, suffix);
    *out = (float)value;
    return ENTRO_OK;
}

static enum entro_error unsupported(const struct reader *reader, const char *what)
{
    return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED, "%s: %s is not supported", reader->path,
                      what);
}

static bool text_is(const struct entro_gguf_string *text, const char *expected)
{
    return text->size_bytes == strlen(expected) && memcmp(text->text, expected, text->size_bytes) == 0;
}

/* Llama 3's scaling is no metadata but the tensor of factors (weights.h). */
static enum entro_error read_rope(const struct reader *reader, struct entro_config *out)
{
    enum entro_error error;
    const struct entro_gguf_pair *type = find(reader, "rope.scaling.type");
    struct entro_gguf_string name = {.text = "none", .size_bytes = 4};
    if (type != NULL && !entro_gguf_text(type, &name))
        name = (struct entro_gguf_string){.text = "?", .size_bytes = 1};
    if (!text_is(&name, "none") && !text_is(&name, "linear"))
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: rope scaling type \"%.*s\" is not supported", reader->path,
                          (int)(name.size_bytes > 64 ? 64 : name.size_bytes), name.text);
    float old_factor = 1.0F, factor = 1.0F, multiplier = 1.0F, sliding_theta;
    size_t n_rotated;
    double theta_sliding = out->architecture->missing.rope_theta_sliding;
    if ((error = get_number(reader, "rope.scale_linear", 1.0, &old_factor)) != ENTRO_OK ||
        (error = get_number(reader, "rope.scaling.factor", 1.0, &factor)) != ENTRO_OK ||
        (error = get_number(reader, "rope.scaling.attn_factor", 1.0, &multiplier)) != ENTRO_OK ||
        (error = get_number(reader, "rope.freq_base", out->architecture->missing.rope_theta,
                            &out->rope.theta)) != ENTRO_OK ||
        (error = get_number(reader, "rope.freq_base_swa",
                            theta_sliding != 0 ? theta_sliding : (double)out->rope.theta, &sliding_theta)) !=
            ENTRO_OK ||
        (error = get_count(reader, "rope.dimension_count", out->head_dim, &n_rotated)) != ENTRO_OK)
        return error;
    if (old_factor != 1.0F)
        return unsupported(reader, "rope.scale_linear other than 1");
    if (multiplier != 1.0F)
        return unsupported(reader, "rope.scaling.attn_factor other than 1");
    if (n_rotated != out->head_dim)
        return unsupported(reader, "a rope.dimension_count other than the head size");
    if (text_is(&name, "linear")) {
        out->rope.scaling = ENTRO_ROPE_LINEAR;
        out->rope.factor = factor;
    }
    /* Where layers with a window have a theta of their own, the scaling is the others'. */
    out->sliding_rope = theta_sliding != 0 ? (struct entro_rope){.theta = sliding_theta} : out->rope;
    return ENTRO_OK;
}

/* A list of booleans, one a layer. */
static enum entro_error read_pattern(const struct reader *reader, const struct entro_gguf_pair *pattern,
                                     struct entro_config *out)
{
    int64_t layers[ENTRO_MAX_LAYERS];
    if (pattern->n_elements != out->n_layers || !entro_gguf_integers(pattern, layers))
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                          "%s: metadata \"%s.attention.sliding_window_pattern\" is no list of %zu",
                          reader->path, reader->prefix, out->n_layers);
    for (size_t i = 0; i < out->n_layers; i++)
        if (layers[i] != 0)
            entro_config_set_window(out, i);
    return ENTRO_OK;
}

static enum entro_error read_windows(const struct reader *reader, struct entro_config *out)
{
    enum entro_error error;
    size_t n;
    const struct entro_gguf_pair *window = find(reader, "attention.sliding_window");
    const struct entro_gguf_pair *pattern = find(reader, "attention.sliding_window_pattern");
    int64_t width;
    if (window == NULL || (entro_gguf_integer(window, &width) && width == 0))
        return ENTRO_OK; /* converters write 0 for none */
    if ((error = get_count(reader, "attention.sliding_window", 0, &out->window)) != ENTRO_OK)
        return error;
    if (pattern != NULL && pattern->type == ENTRO_GGUF_ARRAY)
        return read_pattern(reader, pattern, out);
    if (out->architecture->window_rule != ENTRO_WINDOW_ALL_BUT_EVERY_N && pattern == NULL) {
        entro_config_set_windows_from(out, 0);
        return ENTRO_OK;
    }
    if ((error = get_count(reader, "attention.sliding_window_pattern", 6, &n)) != ENTRO_OK)
        return error;
    entro_config_set_windows_but_every(out, n);
    return ENTRO_OK;
}

/* Files do not say what "query_pre_attn_scalar" was: it is the head size but for the 27B model, which is told
 * by its depth (ggml-org/llama.cpp, src/llama-model.cpp). */
static enum entro_error read_scale(const struct reader *reader, struct entro_config *out)
{
    size_t scalar = out->head_dim;
    float softcap, said;
    enum entro_error error;
    if (out->architecture->query_scalar && out->n_layers == 62)
        scalar = out->n_hidden / out->n_heads;
    if ((error = get_number(reader, "attention.scale", 1.0 / sqrt((double)scalar), &said)) != ENTRO_OK ||
        (error = get_number(reader, "final_logit_softcapping", 0, &softcap)) != ENTRO_OK)
        return error;
    out->attention_scale = said;
    if (softcap != 0)
        return unsupported(reader, "final_logit_softcapping");
    if ((error = get_number(reader, "attn_logit_softcapping", 0, &softcap)) != ENTRO_OK)
        return error;
    return softcap != 0 ? unsupported(reader, "attn_logit_softcapping") : ENTRO_OK;
}

static enum entro_error read_special_ids(const struct reader *reader, struct entro_config *out)
{
    static const char *const end_keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                           "tokenizer.ggml.eom_token_id"};
    int64_t id;
    for (size_t i = 0; i < sizeof end_keys / sizeof end_keys[0]; i++) {
        const struct entro_gguf_pair *pair = entro_gguf_find(reader->gguf, end_keys[i]);
        if (pair != NULL && (!entro_gguf_integer(pair, &id) || !entro_config_add_eos(out, id)))
            return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: metadata \"%s\" is not an id",
                              reader->path, end_keys[i]);
    }
    out->bos_id = -1;
    const struct entro_gguf_pair *pair = entro_gguf_find(reader->gguf, "tokenizer.ggml.bos_token_id");
    if (pair == NULL)
        return ENTRO_OK;
    if (!entro_gguf_integer(pair, &id) || id < 0 || id > INT32_MAX)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                          "%s: metadata \"tokenizer.ggml.bos_token_id\" is not an id", reader->path);
    out->bos_id = (int32_t)id;
    return ENTRO_OK;
}

static enum entro_error read_sizes(const struct reader *reader, struct entro_config *out)
{
    enum entro_error error;
    if ((error = get_count(reader, "block_count", 0, &out->n_layers)) != ENTRO_OK ||
        (error = entro_config_check_layers(out, reader->path, reader->message)) != ENTRO_OK ||
        (error = get_count(reader, "embedding_length", 0, &out->n_hidden)) != ENTRO_OK ||
        (error = get_count(reader, "feed_forward_length", 0, &out->n_intermediate)) != ENTRO_OK ||
        (error = get_count(reader, "attention.head_count", 0, &out->n_heads)) != ENTRO_OK ||
        (error = get_count(reader, "attention.head_count_kv", out->n_heads, &out->n_kv_heads)) != ENTRO_OK ||
        (error = get_count(reader, "context_length", 2048, &out->n_context)) != ENTRO_OK)
        return error;
    if (find(reader, "attention.key_length") == NULL && out->n_hidden % out->n_heads != 0)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                          "%s: embedding length %zu is no multiple of %zu attention heads", reader->path,
                          out->n_hidden, out->n_heads);
    size_t value_dim;
    if ((error = get_count(reader, "attention.key_length", out->n_hidden / out->n_heads, &out->head_dim)) !=
            ENTRO_OK ||
        (error = get_count(reader, "attention.value_length", out->head_dim, &value_dim)) != ENTRO_OK)
        return error;
    if (value_dim != out->head_dim)
        return unsupported(reader, "an attention.value_length other than attention.key_length");
    if (find(reader, "vocab_size") != NULL)
        return get_count(reader, "vocab_size", 0, &out->n_vocabulary);
    return ENTRO_OK;
}

enum entro_error entro_config_from_gguf(struct entro_config *out, const struct entro_gguf *gguf,
                                        const char *path, struct entro_message *message)
{
    enum entro_error error;
    struct entro_gguf_string name;
    *out = (struct entro_config){.gguf = true};
    const struct entro_gguf_pair *pair = entro_gguf_find(gguf, "general.architecture");
    if (pair == NULL || !entro_gguf_text(pair, &name))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: no metadata \"general.architecture\"", path);
    out->architecture = entro_architecture_from_gguf(name.text, name.size_bytes);
    if (out->architecture == NULL)
        return entro_fail(
            message, ENTRO_ERROR_UNSUPPORTED, "%s: architecture \"%.*s\" is not supported; supported: %s",
            path, (int)(name.size_bytes > 64 ? 64 : name.size_bytes), name.text, entro_architecture_names());
    out->rope_interleaved = out->architecture->gguf_rope_interleaved;
    out->tied_embeddings = true; /* a GGUF without output.weight means just that */
    struct reader reader = {
        .gguf = gguf, .prefix = out->architecture->gguf, .path = path, .message = message};
    int64_t n_experts;
    pair = find(&reader, "expert_count");
    if (pair != NULL && (!entro_gguf_integer(pair, &n_experts) || n_experts != 0))
        return unsupported(&reader, "a mixture of experts");
    if ((error = read_sizes(&reader, out)) != ENTRO_OK ||
        (error = get_number(&reader, "attention.layer_norm_rms_epsilon", 1e-5, &out->norm_epsilon)) !=
            ENTRO_OK ||
        (error = read_rope(&reader, out)) != ENTRO_OK || (error = read_windows(&reader, out)) != ENTRO_OK ||
        (error = read_scale(&reader, out)) != ENTRO_OK ||
        (error = read_special_ids(&reader, out)) != ENTRO_OK)
        return error;
    return entro_config_check(out, path, message);
}
