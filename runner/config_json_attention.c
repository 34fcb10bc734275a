/* What config.json says of positions: the rotary embedding and sliding windows; see config_json_internal.h.
 */
#include <string.h>

#include "runner/config_json_internal.h"

static enum entro_error read_scaling(const struct entro_config_reader *reader, const char *key,
                                     const json_t *object, struct entro_rope *out)
{
    enum entro_error error;
    const json_t *type = entro_config_get(object, "rope_type");
    if (type == NULL)
        type = entro_config_get(object, "type");
    if (type == NULL && entro_config_get(object, "factor") != NULL)
        return entro_config_unsupported(reader, key, "a factor with no type");
    const char *name = type == NULL           ? "default"
                       : json_is_string(type) ? json_string_value(type)
                                              : "a type that is no string";
    if (strcmp(name, "default") == 0)
        return ENTRO_OK;
    bool llama3 = strcmp(name, "llama3") == 0;
    if (!llama3 && strcmp(name, "linear") != 0)
        return entro_fail(reader->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: \"%s\": rope type %s is not supported", reader->path, key, name);
    out->scaling = llama3 ? ENTRO_ROPE_LLAMA3 : ENTRO_ROPE_LINEAR;
    /* Factors that are missing become 0, which entro_config_check refuses. */
    error = entro_config_get_number(reader, object, "factor", 0, &out->factor);
    if (error != ENTRO_OK || !llama3)
        return error;
    if ((error = entro_config_get_number(reader, object, "low_freq_factor", 0, &out->low_factor)) !=
            ENTRO_OK ||
        (error = entro_config_get_number(reader, object, "high_freq_factor", 0, &out->high_factor)) !=
            ENTRO_OK)
        return error;
    return entro_config_get_number(reader, object, "original_max_position_embeddings", 0,
                                   &out->original_context);
}

/* One kind of rotation from `object` (NULL: nothing is said); its theta is there, else root's `theta_key`. */
static enum entro_error read_one(const struct entro_config_reader *reader, const char *key,
                                 const json_t *object, const char *theta_key, double theta,
                                 struct entro_rope *out)
{
    enum entro_error error;
    float partial = 1.0F;
    *out = (struct entro_rope){.scaling = ENTRO_ROPE_UNSCALED};
    if (object != NULL && !json_is_object(object))
        return entro_config_unsupported(reader, key, "anything but an object");
    const json_t *source = object != NULL && entro_config_get(object, "rope_theta") != NULL ? object : NULL;
    if ((error = entro_config_get_number(reader, source == NULL ? reader->root : source,
                                         source == NULL ? theta_key : "rope_theta", theta, &out->theta)) !=
            ENTRO_OK ||
        (error = read_scaling(reader, key, object, out)) != ENTRO_OK ||
        (error = entro_config_get_number(reader, object, "partial_rotary_factor", 1.0, &partial)) != ENTRO_OK)
        return error;
    if (partial != 1.0F)
        return entro_config_unsupported(reader, "partial_rotary_factor", "a value other than 1");
    return ENTRO_OK;
}

enum entro_error entro_config_read_rope(const struct entro_config_reader *reader, struct entro_config *out)
{
    enum entro_error error;
    float partial = 1.0F;
    const struct entro_architecture *architecture = out->architecture;
    bool two = architecture->missing.rope_theta_sliding != 0;
    const json_t *parameters = entro_config_get(reader->root, "rope_parameters");
    const json_t *scaling = entro_config_get(reader->root, "rope_scaling");
    if (parameters != NULL && !json_is_object(parameters))
        return entro_config_unsupported(reader, "rope_parameters", "anything but an object");
    if (parameters != NULL && scaling != NULL && !json_equal(parameters, scaling))
        return entro_config_unsupported(reader, "rope_scaling", "one that contradicts rope_parameters");
    const char *key = scaling != NULL ? "rope_scaling" : "rope_parameters";
    const json_t *object = scaling != NULL ? scaling : parameters, *sliding = NULL;
    if (two && scaling == NULL && parameters != NULL) {
        object = entro_config_get(parameters, "full_attention");
        sliding = entro_config_get(parameters, "sliding_attention");
        if (object == NULL || sliding == NULL)
            return entro_config_unsupported(reader, key,
                                            "one without \"full_attention\" and \"sliding_attention\"");
    } else if (entro_config_get(object, "full_attention") != NULL) {
        return entro_config_unsupported(reader, key, "one for each kind of layer");
    }
    if ((error = read_one(reader, key, object, "rope_theta", architecture->missing.rope_theta, &out->rope)) !=
            ENTRO_OK ||
        (error = entro_config_get_number(reader, reader->root, "partial_rotary_factor", 1.0, &partial)) !=
            ENTRO_OK)
        return error;
    if (partial != 1.0F)
        return entro_config_unsupported(reader, "partial_rotary_factor", "a value other than 1");
    out->sliding_rope = out->rope;
    if (!two)
        return ENTRO_OK;
    return read_one(reader, key, sliding, "rope_local_base_freq", architecture->missing.rope_theta_sliding,
                    &out->sliding_rope);
}

/* A list of "full_attention" and "sliding_attention", one a layer. */
static enum entro_error read_layer_types(const struct entro_config_reader *reader, const json_t *types,
                                         struct entro_config *out)
{
    if (!json_is_array(types) || json_array_size(types) != out->n_layers)
        return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                          "%s: \"layer_types\" is no list of %zu, one for each layer", reader->path,
                          out->n_layers);
    for (size_t i = 0; i < out->n_layers; i++) {
        const json_t *type = json_array_get(types, i);
        const char *name = json_is_string(type) ? json_string_value(type) : "what is no name";
        if (strcmp(name, "sliding_attention") == 0)
            entro_config_set_window(out, i);
        else if (strcmp(name, "full_attention") != 0)
            return entro_config_unsupported(reader, "layer_types", name);
    }
    return ENTRO_OK;
}

static enum entro_error apply_rule(const struct entro_config_reader *reader, struct entro_config *out)
{
    enum entro_error error;
    size_t n;
    const json_t *first = entro_config_get(reader->root, "max_window_layers");
    if (out->window == 0)
        return ENTRO_OK;
    switch (out->architecture->window_rule) {
    case ENTRO_WINDOW_NEVER:
        break;
    case ENTRO_WINDOW_ALL_LAYERS:
        entro_config_set_windows_from(out, 0);
        break;
    case ENTRO_WINDOW_UPPER_LAYERS:
        if (first != NULL && (!json_is_integer(first) || json_integer_value(first) < 0))
            return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                              "%s: \"max_window_layers\" is not a number of layers", reader->path);
        entro_config_set_windows_from(out, first == NULL ? 28 : (size_t)json_integer_value(first));
        break;
    case ENTRO_WINDOW_ALL_BUT_EVERY_N:
        if ((error = entro_config_get_count(reader, "sliding_window_pattern", 6, &n)) != ENTRO_OK)
            return error;
        entro_config_set_windows_but_every(out, n);
        break;
    }
    return ENTRO_OK;
}

enum entro_error entro_config_read_windows(const struct entro_config_reader *reader, struct entro_config *out)
{
    enum entro_error error;
    enum entro_window_rule rule = out->architecture->window_rule;
    const json_t *window = json_object_get(reader->root, "sliding_window");
    const json_t *types = entro_config_get(reader->root, "layer_types");
    if (rule == ENTRO_WINDOW_NEVER || json_is_null(window))
        out->window = 0;
    else if (rule == ENTRO_WINDOW_UPPER_LAYERS &&
             !json_is_true(entro_config_get(reader->root, "use_sliding_window")))
        out->window = 0;
    else if (window == NULL)
        out->window = out->architecture->missing.window;
    else if ((error = entro_config_get_count(reader, "sliding_window", 0, &out->window)) != ENTRO_OK)
        return error;
    if (types == NULL)
        return apply_rule(reader, out);
    if ((error = read_layer_types(reader, types, out)) != ENTRO_OK)
        return error;
    /* Transformers ignores the list for these: one that says something else is for another class. */
    size_t n_windows = entro_config_n_windows(out);
    if (rule == ENTRO_WINDOW_ALL_LAYERS && out->window != 0 && n_windows != out->n_layers)
        return entro_config_unsupported(reader, "layer_types", "layers without the model's window");
    return ENTRO_OK;
}
