/* What a model's numbers must satisfy, whichever file they came from; see config.h. */
#include "runner/config.h"

#include <math.h>

#include "runner/config_internal.h"

bool entro_config_is_eos(const struct entro_config *config, uint32_t id)
{
    for (size_t i = 0; i < config->n_eos_ids; i++)
        if (config->eos_ids[i] == id)
            return true;
    return false;
}

bool entro_config_add_eos(struct entro_config *config, int64_t id)
{
    if (id < 0 || (uint64_t)id >= ENTRO_MAX_VOCABULARY)
        return false;
    if (entro_config_is_eos(config, (uint32_t)id))
        return true;
    if (config->n_eos_ids == ENTRO_MAX_EOS_IDS)
        return false;
    config->eos_ids[config->n_eos_ids++] = (uint32_t)id;
    return true;
}

size_t entro_config_window(const struct entro_config *config, size_t layer)
{
    return config->sliding[layer / 8] >> layer % 8 & 1 ? config->window : 0;
}

size_t entro_config_n_windows(const struct entro_config *config)
{
    size_t n = 0;
    for (size_t i = 0; i < config->n_layers; i++)
        n += entro_config_window(config, i) != 0;
    return n;
}

void entro_config_set_window(struct entro_config *config, size_t layer)
{
    config->sliding[layer / 8] = (uint8_t)(config->sliding[layer / 8] | 1U << layer % 8);
}

void entro_config_set_windows_from(struct entro_config *config, size_t first)
{
    for (size_t i = first; i < config->n_layers; i++)
        entro_config_set_window(config, i);
}

void entro_config_set_windows_but_every(struct entro_config *config, size_t n)
{
    for (size_t i = 0; i < config->n_layers; i++)
        if ((i + 1) % n != 0)
            entro_config_set_window(config, i);
}

static enum entro_error check_rope(const struct entro_rope *rope, const char *path,
                                   struct entro_message *message)
{
    if (!(rope->theta > 0 && isfinite(rope->theta)))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: rope theta %g is not a positive number", path,
                          (double)rope->theta);
    if (rope->scaling != ENTRO_ROPE_UNSCALED && !(rope->factor > 0 && isfinite(rope->factor)))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: rope scaling factor %g is not a positive number",
                          path, (double)rope->factor);
    if (rope->scaling == ENTRO_ROPE_LLAMA3 &&
        !(rope->low_factor > 0 && rope->high_factor > rope->low_factor && isfinite(rope->high_factor) &&
          rope->original_context >= 1 && isfinite(rope->original_context)))
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "%s: rope scaling llama3: frequency factors %g to %g over %g positions make no "
                          "sense",
                          path, (double)rope->low_factor, (double)rope->high_factor,
                          (double)rope->original_context);
    return ENTRO_OK;
}

enum entro_error entro_config_check_layers(const struct entro_config *config, const char *path,
                                           struct entro_message *message)
{
    if (config->n_layers < 1 || config->n_layers > ENTRO_MAX_LAYERS)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: number of layers is %zu, outside 1 to %zu", path,
                          config->n_layers, ENTRO_MAX_LAYERS);
    return ENTRO_OK;
}

enum entro_error entro_config_check(const struct entro_config *config, const char *path,
                                    struct entro_message *message)
{
    const struct {
        const char *what;
        size_t value, smallest, largest;
    } ranges[] = {
        {"hidden size", config->n_hidden, 2, ENTRO_MAX_WIDTH},
        {"intermediate size", config->n_intermediate, 2, ENTRO_MAX_WIDTH},
        {"number of attention heads", config->n_heads, 1, ENTRO_MAX_WIDTH},
        {"number of key-value heads", config->n_kv_heads, 1, ENTRO_MAX_WIDTH},
        {"head size", config->head_dim, 2, ENTRO_MAX_HEAD_DIM},
        {"vocabulary size", config->n_vocabulary, config->gguf ? 0 : 2, ENTRO_MAX_VOCABULARY},
        {"context length", config->n_context, 1, ENTRO_MAX_CONTEXT},
    };
    enum entro_error error = entro_config_check_layers(config, path, message);
    if (error != ENTRO_OK)
        return error;
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (ranges[i].value < ranges[i].smallest || ranges[i].value > ranges[i].largest)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: %s is %zu, outside %zu to %zu", path,
                              ranges[i].what, ranges[i].value, ranges[i].smallest, ranges[i].largest);
    if (config->head_dim % 2 != 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: head size %zu is odd", path, config->head_dim);
    if (config->n_heads % config->n_kv_heads != 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "%s: %zu attention heads do not share %zu key-value heads evenly", path,
                          config->n_heads, config->n_kv_heads);
    if (config->n_heads * config->head_dim > ENTRO_MAX_WIDTH)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: %zu heads of %zu are too wide", path,
                          config->n_heads, config->head_dim);
    if (!(config->norm_epsilon >= 0 && config->norm_epsilon < 1))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: norm epsilon %g is outside 0 to 1", path,
                          (double)config->norm_epsilon);
    if (!(config->attention_scale > 0 && config->attention_scale <= 1))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: attention scale %g is outside 0 to 1", path,
                          (double)config->attention_scale);
    for (size_t i = 0; i < config->n_layers; i++)
        if (config->sliding[i / 8] >> i % 8 & 1 && config->window == 0)
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "%s: layer %zu is said to have a sliding window, but no window's size is given",
                              path, i);
    if ((error = check_rope(&config->rope, path, message)) != ENTRO_OK)
        return error;
    return check_rope(&config->sliding_rope, path, message);
}
