/* config.json and generation_config.json from arbitrary bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "runner/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct entro_config config;
    struct entro_message message;
    if (entro_config_from_json(&config, (const char *)data, size, "config.json", &message) == ENTRO_OK) {
        /* What a caller may rely on. */
        if (config.n_heads % config.n_kv_heads != 0 || config.head_dim % 2 != 0 ||
            config.n_eos_ids > ENTRO_MAX_EOS_IDS)
            abort();
        entro_config_add_generation(&config, (const char *)data, size, "generation_config.json", &message);
    }
    return 0;
}
