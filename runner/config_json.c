/*
 * config.json and generation_config.json of a Hugging Face model, in the spelling of transformers 4
 * (rope_theta, rope_scaling) and 5 (rope_parameters). Values that the forward pass does not have are refused
 * by name, never ignored.
 */
#include <jansson.h>
#include <string.h>

#include "runner/config.h"
#include "runner/config_internal.h"

/* The parser's state: where values come from and where complaints go. */
struct reader {
    json_t *root;
    const char *path;
    struct entro_message *message;
};

static enum entro_error load(struct reader *reader, const char *text, size_t size_bytes)
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

/* NULL also where the value is null: transformers writes null for "not set". */
static json_t *get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

/* Reads a count; a missing one becomes `missing`, or an error where that is 0. */
static enum entro_error get_count(const struct reader *reader, const char *key, size_t missing, size_t *out)
{
    const json_t *value = get(reader->root, key);
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

static enum entro_error get_number(const struct reader *reader, const json_t *object, const char *key,
                                   double missing, float *out)
{
    const json_t *value = get(object, key);
    if (value != NULL && !json_is_number(value))
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: \"%s\" is not a number", reader->path,
                          key);
    *out = (float)(value == NULL ? missing : json_number_value(value));
    return ENTRO_OK;
}

static enum entro_error unsupported(const struct reader *reader, const char *key, const char *value)
{
    return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED, "%s: \"%s\": %s is not supported",
                      reader->path, key, value);
}

static enum entro_error read_architecture(const struct reader *reader, struct entro_config *out)
{
    const json_t *classes = get(reader->root, "architectures");
    const char *class = json_string_value(json_array_get(classes, 0));
    const char *model_type = json_string_value(get(reader->root, "model_type"));
    if (model_type == NULL)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: no \"model_type\"", reader->path);
    out->architecture = entro_architecture_from_hf(model_type);
    if (out->architecture == NULL || (class != NULL && strcmp(class, out->architecture->hf_class) != 0))
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: model type \"%s\" (%s) is not supported; supported: %s", reader->path,
                          model_type, class == NULL ? "no class named" : class, entro_architecture_names());
    return ENTRO_OK;
}

/* "default" means no scaling; every other kind of scaling changes the angles, one without a name too. */
static enum entro_error check_rope_type(const struct reader *reader, const char *key, const json_t *rope)
{
    if (!json_is_object(rope))
        return unsupported(reader, key, "anything but an object");
    const json_t *type = get(rope, "rope_type");
    if (type == NULL)
        type = get(rope, "type");
    if (type == NULL && get(rope, "factor") != NULL)
        return unsupported(reader, key, "a factor with no type");
    if (type == NULL || (json_is_string(type) && strcmp(json_string_value(type), "default") == 0))
        return ENTRO_OK;
    const char *name = json_is_string(type) ? json_string_value(type) : "a type that is no string";
    return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED, "%s: \"%s\": rope type %s is not supported",
                      reader->path, key, name);
}

static enum entro_error read_rope(const struct reader *reader, struct entro_config *out)
{
    enum entro_error error;
    const json_t *source = reader->root;
    const json_t *parameters = get(reader->root, "rope_parameters");
    const json_t *scaling = get(reader->root, "rope_scaling");
    if (scaling != NULL && (error = check_rope_type(reader, "rope_scaling", scaling)) != ENTRO_OK)
        return error;
    if (parameters != NULL) {
        if ((error = check_rope_type(reader, "rope_parameters", parameters)) != ENTRO_OK)
            return error;
        if (get(parameters, "rope_theta") != NULL)
            source = parameters;
    }
    float partial = 1.0F, partial_here = 1.0F;
    if ((error = get_number(reader, source, "rope_theta", 10000.0, &out->rope_theta)) != ENTRO_OK ||
        (error = get_number(reader, source, "partial_rotary_factor", 1.0, &partial_here)) != ENTRO_OK ||
        (error = get_number(reader, reader->root, "partial_rotary_factor", 1.0, &partial)) != ENTRO_OK)
        return error;
    if (partial != 1.0F || partial_here != 1.0F)
        return unsupported(reader, "partial_rotary_factor", "a value other than 1");
    return ENTRO_OK;
}

/* What transformers' class can do and this forward pass cannot. */
static enum entro_error check_features(const struct reader *reader, const struct entro_config *config)
{
    static const char *const must_be_false[] = {"attention_bias", "mlp_bias"};
    for (size_t i = 0; i < sizeof must_be_false / sizeof must_be_false[0]; i++) {
        const json_t *value = get(reader->root, must_be_false[i]);
        if (value != NULL && !json_is_false(value))
            return unsupported(reader, must_be_false[i], "anything but false");
    }
    static const char *const must_be_missing[] = {"quantization_config", "num_local_experts", "num_experts"};
    for (size_t i = 0; i < sizeof must_be_missing / sizeof must_be_missing[0]; i++)
        if (get(reader->root, must_be_missing[i]) != NULL)
            return unsupported(reader, must_be_missing[i], "a model with such a part");
    const json_t *activation = get(reader->root, "hidden_act");
    if (activation != NULL &&
        (!json_is_string(activation) ||
         strcmp(json_string_value(activation), config->architecture->hf_activation) != 0))
        return unsupported(reader, "hidden_act",
                           json_is_string(activation) ? json_string_value(activation)
                                                      : "anything but a name");
    return ENTRO_OK;
}

/* A number or a list of numbers. */
static enum entro_error add_eos_ids(const struct reader *reader, struct entro_config *config)
{
    const json_t *value = get(reader->root, "eos_token_id");
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

static enum entro_error read_bos_id(const struct reader *reader, struct entro_config *config)
{
    const json_t *value = get(reader->root, "bos_token_id");
    config->bos_id = -1;
    if (value == NULL)
        return ENTRO_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > INT32_MAX)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT, "%s: \"bos_token_id\" is not an id",
                          reader->path);
    config->bos_id = (int32_t)json_integer_value(value);
    return ENTRO_OK;
}

static enum entro_error read_sizes(const struct reader *reader, struct entro_config *out)
{
    enum entro_error error;
    if ((error = get_count(reader, "num_hidden_layers", 0, &out->n_layers)) != ENTRO_OK ||
        (error = get_count(reader, "hidden_size", 0, &out->n_hidden)) != ENTRO_OK ||
        (error = get_count(reader, "intermediate_size", 0, &out->n_intermediate)) != ENTRO_OK ||
        (error = get_count(reader, "num_attention_heads", 0, &out->n_heads)) != ENTRO_OK ||
        (error = get_count(reader, "num_key_value_heads", out->n_heads, &out->n_kv_heads)) != ENTRO_OK ||
        (error = get_count(reader, "vocab_size", 0, &out->n_vocabulary)) != ENTRO_OK ||
        (error = get_count(reader, "max_position_embeddings", 2048, &out->n_context)) != ENTRO_OK)
        return error;
    size_t head_dim = out->n_hidden / out->n_heads;
    if (get(reader->root, "head_dim") == NULL && out->n_hidden % out->n_heads != 0)
        return entro_fail(
            reader->message, ENTRO_ERROR_FORMAT,
            "%s: hidden size %zu is no multiple of %zu attention heads, and there is no \"head_dim\"",
            reader->path, out->n_hidden, out->n_heads);
    return get_count(reader, "head_dim", head_dim, &out->head_dim);
}

static enum entro_error read_config(const struct reader *reader, struct entro_config *out)
{
    enum entro_error error;
    if ((error = read_architecture(reader, out)) != ENTRO_OK ||
        (error = read_sizes(reader, out)) != ENTRO_OK ||
        (error = get_number(reader, reader->root, "rms_norm_eps", 1e-6, &out->norm_epsilon)) != ENTRO_OK ||
        (error = read_rope(reader, out)) != ENTRO_OK || (error = check_features(reader, out)) != ENTRO_OK ||
        (error = read_bos_id(reader, out)) != ENTRO_OK || (error = add_eos_ids(reader, out)) != ENTRO_OK)
        return error;
    out->tied_embeddings = json_is_true(get(reader->root, "tie_word_embeddings"));
    return entro_config_check(out, reader->path, reader->message);
}

enum entro_error entro_config_from_json(struct entro_config *out, const char *text, size_t size_bytes,
                                        const char *path, struct entro_message *message)
{
    *out = (struct entro_config){0};
    struct reader reader = {.path = path, .message = message};
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
    struct reader reader = {.path = path, .message = message};
    enum entro_error error = load(&reader, text, size_bytes);
    if (error != ENTRO_OK)
        return error;
    error = add_eos_ids(&reader, config);
    json_decref(reader.root);
    return error;
}
