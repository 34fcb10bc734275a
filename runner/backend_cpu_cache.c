/* What comes before attention: biases, norms and rotation of queries and keys, and the KV cache. */
#include "codec/bytes.h"
#include "codec/half.h"
#include "runner/backend_cpu_internal.h"

size_t entro_cpu_cache_offset(const struct entro_cpu_backend *self, size_t layer, size_t kv_head)
{
    const struct entro_config *config = self->config;
    return (layer * config->n_kv_heads + kv_head) * self->base.n_context * config->head_dim * 2;
}

void entro_cpu_place_token(void *context, size_t token, unsigned worker)
{
    const struct entro_cpu_attention *loop = context;
    struct entro_cpu_backend *self = loop->self;
    struct entro_cpu_state *state = &self->state;
    const struct entro_config *config = self->config;
    const struct entro_layer_weights *weights = &self->weights->layers[loop->layer];
    size_t head_dim = config->head_dim, n_pairs = head_dim / 2;
    size_t n_rotated = config->n_heads + config->n_kv_heads;
    bool sliding = loop->window != 0;
    const float *cosines = (sliding ? state->sliding_cosines : state->cosines) + token * n_pairs;
    const float *sines = (sliding ? state->sliding_sines : state->sines) + token * n_pairs;
    float *row = state->qkv + token * state->n_qkv;
    (void)worker;
    for (size_t i = 0; weights->qkv_bias != NULL && i < state->n_qkv; i++)
        row[i] += weights->qkv_bias[i];
    for (size_t i = 0; i < n_rotated; i++) {
        const float *norm = i < config->n_heads ? weights->query_norm : weights->key_norm;
        if (norm != NULL)
            self->math->rms_norm(row + i * head_dim, norm, config->norm_epsilon, head_dim,
                                 row + i * head_dim);
        entro_rope_rotate(row + i * head_dim, n_pairs, cosines, sines, config->rope_interleaved);
    }
    for (size_t head = 0; head < config->n_kv_heads; head++) {
        const float *key = row + (config->n_heads + head) * head_dim;
        const float *value = row + (n_rotated + head) * head_dim;
        size_t offset = (loop->position + token) * head_dim * 2;
        uint8_t *cached_key = state->keys + entro_cpu_cache_offset(self, loop->layer, head) + offset;
        uint8_t *cached_value = state->values + entro_cpu_cache_offset(self, loop->layer, head) + offset;
        for (size_t i = 0; i < head_dim; i++) {
            entro_store_u16(cached_key + 2 * i, entro_f32_to_f16(key[i]));
            entro_store_u16(cached_value + 2 * i, entro_f32_to_f16(value[i]));
        }
    }
}
