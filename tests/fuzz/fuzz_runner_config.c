/* config.json and generation_config.json, or the header of a GGUF, from arbitrary bytes. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runner/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_rope(const struct entro_rope *rope, size_t n_pairs)
{
    float frequencies[2048];
    require(n_pairs <= 2048);
    entro_rope_frequencies(rope, NULL, n_pairs, frequencies);
    for (size_t i = 0; i < n_pairs; i++)
        require(!isnan(frequencies[i]) && frequencies[i] >= 0);
}

/* What a caller may rely on. */
static void check(const struct entro_config *config)
{
    require(config->n_heads % config->n_kv_heads == 0 && config->head_dim % 2 == 0 &&
            config->n_eos_ids <= ENTRO_MAX_EOS_IDS);
    require(config->n_layers >= 1 && config->n_layers <= ENTRO_MAX_LAYERS);
    require(config->attention_scale > 0);
    size_t n_windows = 0;
    for (size_t i = 0; i < config->n_layers; i++)
        n_windows += entro_config_window(config, i) != 0;
    require(n_windows == entro_config_n_windows(config));
    check_rope(&config->rope, config->head_dim / 2);
    check_rope(&config->sliding_rope, config->head_dim / 2);
}

static void read_gguf(const uint8_t *data, size_t size)
{
    struct entro_gguf gguf;
    struct entro_config config;
    struct entro_message message;
    if (entro_gguf_parse(&gguf, data, size, size, "m.gguf", &message) != ENTRO_OK)
        return;
    if (entro_config_from_gguf(&config, &gguf, "m.gguf", &message) == ENTRO_OK)
        check(&config);
    entro_gguf_free(&gguf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct entro_config config;
    struct entro_message message;
    if (size > 4 && memcmp(data, "GGUF", 4) == 0) {
        read_gguf(data, size);
        return 0;
    }
    if (entro_config_from_json(&config, (const char *)data, size, "config.json", &message) == ENTRO_OK) {
        check(&config);
        entro_config_add_generation(&config, (const char *)data, size, "generation_config.json", &message);
    }
    return 0;
}
