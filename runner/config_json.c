/*
 * config.json and generation_config.json of a Hugging Face model, as transformers 4 and 5 write them. Values
 * that the forward pass does not have are refused by name, never ignored. What they say of positions is
 * config_json_attention.c's business.
 */
#include <math.h>
#include <string.h>

#include "runner/config_json_internal.h"

static enum entro_error load(struct entro_config_reader *reader, const char *text, size_t size_bytes)
{
    json_error_t error;
    reader->root = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, &error);
    if (reader->root == NULL)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s:%d: %s", reader->path, error.line,
                          error.text);
    if (!json_is_object(reader->root)) {
        json_decref(reader->root);
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: not a JSON object", reader->path);
    }
    return ENTRO_OK;
}

json_t *entro_config_get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

enum entro_error entro_config_get_count(const struct entro_config_reader *reader, const char *key,
                                        size_t missing, size_t *out)
{
    const json_t *value = entro_config_get(reader->root, key);
    if (value == NULL && missing != 0) {
        *out = missing;
        return ENTRO_OK;
    }
    if (value == NULL)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: no \"%s\"", reader->path, key);
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > INT32_MAX)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: \"%s\" is not a number from 1 to %d",
                          reader->path, key, INT32_MAX);
    *out = (size_t)json_integer_value(value);
    return ENTRO_OK;
}

enum entro_error entro_config_get_number(const struct entro_config_reader *reader, const json_t *object,
                                         const char *key, double missing, float *out)
{
    const json_t *value = entro_config_get(object, key);
    if (value != NULL && !json_is_number(value))
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: \"%s\" is not a number", reader->path,
                          key);
    *out = (float)(value == NULL ? missing : json_number_value(value));
    return ENTRO_OK;
}

enum entro_error entro_config_unsupported(const struct entro_config_reader *reader, const char *key,
                                          const char *value)
{
    return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED, "%s: \"%s\": %s is not supported",
                      reader->path, key, value);
}

static enum entro_error read_architecture(const struct entro_config_reader *reader, struct entro_config *out)
{
    const json_t *classes = entro_config_get(reader->root, "architectures");
    const char *class = json_string_value(json_array_get(classes, 0));
    const char *model_type = json_string_value(entro_config_get(reader->root, "model_type"));
    if (model_type == NULL)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: no \"model_type\"", reader->path);
    out->architecture = entro_architecture_from_hf(model_type);
    if (out->architecture == NULL || (class != NULL && strcmp(class, out->architecture->hf_class) != 0))
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: model type \"%s\" (%s) is not supported; supported: %s", reader->path,
                          model_type, class == NULL ? "no class named" : class, entro_architecture_names());
    return ENTRO_OK;
}

/* What transformers' class can do and this forward pass cannot. */
static enum entro_error check_features(const struct entro_config_reader *reader,
                                       const struct entro_config *config)
{
    static const char *const must_be_false[] = {"attention_bias", "mlp_bias", "use_bidirectional_attention"};
    for (size_t i = 0; i < sizeof must_be_false / sizeof must_be_false[0]; i++) {
        const json_t *value = entro_config_get(reader->root, must_be_false[i]);
        if (value != NULL && !json_is_false(value))
            return entro_config_unsupported(reader, must_be_false[i], "anything but false");
    }
    static const char *const must_be_missing[] = {"quantization_config",
                                                  "num_local_experts",
                                                  "num_experts",
                                                  "vision_config",
                                                  "text_config",
                                                  "attn_logit_softcapping",
                                                  "final_logit_softcapping",
                                                  "dual_chunk_attention_config"};
    for (size_t i = 0; i < sizeof must_be_missing / sizeof must_be_missing[0]; i++)
        if (entro_config_get(reader->root, must_be_missing[i]) != NULL)
            return entro_config_unsupported(reader, must_be_missing[i], "a model with such a part");
    const char *key = config->architecture->hf_activation_key;
    const json_t *activation = entro_config_get(reader->root, key);
    if (activation != NULL &&
        (!json_is_string(activation) ||
         strcmp(json_string_value(activation), config->architecture->hf_activation) != 0))
        return entro_config_unsupported(
            reader, key, json_is_string(activation) ? json_string_value(activation) : "anything but a name");
    return ENTRO_OK;
}

/* A number or a list of numbers. */
static enum entro_error add_eos_ids(const struct entro_config_reader *reader, struct entro_config *config)
{
    const json_t *value = entro_config_get(reader->root, "eos_token_id");
    if (value == NULL)
        return ENTRO_OK;
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(id) || !entro_config_add_eos(config, json_integer_value(id)))
            return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                              "%s: \"eos_token_id\" is neither an id nor a list of at most %d ids",
                              reader->path, ENTRO_MAX_EOS_IDS);
    }
    return ENTRO_OK;
}

static enum entro_error read_bos_id(const struct entro_config_reader *reader, struct entro_config *config)
{
    const json_t *value = entro_config_get(reader->root, "bos_token_id");
    config->bos_id = -1;
    if (value == NULL)
        return ENTRO_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > INT32_MAX)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: \"bos_token_id\" is not an id",
                          reader->path);
    config->bos_id = (int32_t)json_integer_value(value);
    return ENTRO_OK;
}

static enum entro_error read_sizes(const struct entro_config_reader *reader, struct entro_config *out)
{
    enum entro_error error;
    const struct entro_architecture *architecture = out->architecture;
    if ((error = entro_config_get_count(reader, "num_hidden_layers", 0, &out->n_layers)) != ENTRO_OK ||
        (error = entro_config_check_layers(out, reader->path, reader->message)) != ENTRO_OK ||
        (error = entro_config_get_count(reader, "hidden_size", 0, &out->n_hidden)) != ENTRO_OK ||
        (error = entro_config_get_count(reader, "intermediate_size", 0, &out->n_intermediate)) != ENTRO_OK ||
        (error = entro_config_get_count(reader, "num_attention_heads", 0, &out->n_heads)) != ENTRO_OK ||
        (error = entro_config_get_count(reader, "vocab_size", 0, &out->n_vocabulary)) != ENTRO_OK ||
        (error = entro_config_get_count(reader, "max_position_embeddings", architecture->missing.n_context,
                                        &out->n_context)) != ENTRO_OK)
        return error;
    /* null means as many as query heads; only a missing key means the class's own number. */
    size_t n_kv_heads =
        json_object_get(reader->root, "num_key_value_heads") == NULL ? architecture->missing.n_kv_heads : 0;
    if ((error = entro_config_get_count(reader, "num_key_value_heads",
                                        n_kv_heads != 0 ? n_kv_heads : out->n_heads, &out->n_kv_heads)) !=
        ENTRO_OK)
        return error;
    size_t head_dim = json_object_get(reader->root, "head_dim") == NULL ? architecture->missing.head_dim : 0;
    if (head_dim == 0 && entro_config_get(reader->root, "head_dim") == NULL &&
        out->n_hidden % out->n_heads != 0)
        return entro_fail(
            reader->message, ENTRO_ERROR_FORMAT,
            "%s: hidden size %zu is no multiple of %zu attention heads, and there is no \"head_dim\"",
            reader->path, out->n_hidden, out->n_heads);
    return entro_config_get_count(reader, "head_dim", head_dim != 0 ? head_dim : out->n_hidden / out->n_heads,
                                  &out->head_dim);
}

/* 1 / sqrt(head size), or of what takes its place. */
static enum entro_error read_scale(const struct entro_config_reader *reader, struct entro_config *out)
{
    float scalar = (float)out->head_dim;
    if (out->architecture->query_scalar) {
        enum entro_error error =
            entro_config_get_number(reader, reader->root, "query_pre_attn_scalar", 256, &scalar);
        if (error != ENTRO_OK)
            return error;
    }
    out->attention_scale = 1.0F / sqrtf(scalar);
    return ENTRO_OK;
}

static enum entro_error read_config(const struct entro_config_reader *reader, struct entro_config *out)
{
    enum entro_error error;
    if ((error = read_architecture(reader, out)) != ENTRO_OK ||
        (error = check_features(reader, out)) != ENTRO_OK || (error = read_sizes(reader, out)) != ENTRO_OK ||
        (error = entro_config_get_number(reader, reader->root, "rms_norm_eps",
                                         out->architecture->missing.norm_epsilon, &out->norm_epsilon)) !=
            ENTRO_OK ||
        (error = read_scale(reader, out)) != ENTRO_OK ||
        (error = entro_config_read_rope(reader, out)) != ENTRO_OK ||
        (error = entro_config_read_windows(reader, out)) != ENTRO_OK ||
        (error = read_bos_id(reader, out)) != ENTRO_OK || (error = add_eos_ids(reader, out)) != ENTRO_OK)
        return error;
    const json_t *tied = entro_config_get(reader->root, "tie_word_embeddings");
    out->tied_embeddings = tied == NULL ? out->architecture->missing.tied_embeddings : json_is_true(tied);
    return entro_config_check(out, reader->path, reader->message);
}

enum entro_error entro_config_from_json(struct entro_config *out, const char *text, size_t size_bytes,
                                        const char *path, struct entro_message *message)
{
    *out = (struct entro_config){0};
    struct entro_config_reader reader = {.path = path, .message = message};
    enum entro_error error = load(&reader, text, size_bytes);
    if (error != ENTRO_OK)
        return error;
    error = read_config(&reader, out);
    json_decref(reader.root);
    return error;
}

enum entro_error entro_config_add_generation(struct entro_config *config, const char *text, size_t size_bytes,
                                             const char *path, struct entro_message *message)
{
    struct entro_config_reader reader = {.path = path, .message = message};
    enum entro_error error = load(&reader, text, size_bytes);
    if (error != ENTRO_OK)
        return error;
    error = add_eos_ids(&reader, config);
    json_decref(reader.root);
    return error;
}
