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

enum entro_error entro_config_check(const struct entro_config *config, const char *path,
                                    struct entro_message *message)
{
    const struct {
        const char *what;
        size_t value, smallest, largest;
    } ranges[] = {
        {"number of layers", config->n_layers, 1, ENTRO_MAX_LAYERS},
        {"hidden size", config->n_hidden, 2, ENTRO_MAX_WIDTH},
        {"intermediate size", config->n_intermediate, 2, ENTRO_MAX_WIDTH},
        {"number of attention heads", config->n_heads, 1, ENTRO_MAX_WIDTH},
        {"number of key-value heads", config->n_kv_heads, 1, ENTRO_MAX_WIDTH},
        {"head size", config->head_dim, 2, ENTRO_MAX_HEAD_DIM},
        {"vocabulary size", config->n_vocabulary, config->gguf ? 0 : 2, ENTRO_MAX_VOCABULARY},
        {"context length", config->n_context, 1, ENTRO_MAX_CONTEXT},
    };
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
    if (!(config->rope_theta > 0 && isfinite(config->rope_theta)))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: rope theta %g is not a positive number", path,
                          (double)config->rope_theta);
    return ENTRO_OK;
}
