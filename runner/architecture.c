/* The table of architectures; see architecture.h. */
#include "runner/architecture.h"

#include <string.h>

/* Defaults as in transformers' configuration classes (src/transformers/models/X/configuration_X.py). */
static const struct entro_architecture architectures[] = {
    {
        .name = "llama",
        .hf_model_type = "llama",
        .hf_class = "LlamaForCausalLM",
        .hf_activation_key = "hidden_act",
        .hf_activation = "silu",
        .gguf = "llama",
        .gguf_rope_interleaved = true,
        .missing = {.n_context = 2048, .norm_epsilon = 1e-6, .rope_theta = 1e4},
    },
    {
        .name = "mistral",
        .hf_model_type = "mistral",
        .hf_class = "MistralForCausalLM",
        .hf_activation_key = "hidden_act",
        .hf_activation = "silu",
        .window_rule = ENTRO_WINDOW_ALL_LAYERS,
        .missing =
            {.n_kv_heads = 8, .n_context = 131072, .window = 4096, .norm_epsilon = 1e-6, .rope_theta = 1e4},
    },
    {
        .name = "phi3",
        .hf_model_type = "phi3",
        .hf_class = "Phi3ForCausalLM",
        .hf_activation_key = "hidden_act",
        .hf_activation = "silu",
        .gguf = "phi3",
        .fused = true,
        .window_rule = ENTRO_WINDOW_ALL_LAYERS,
        .missing = {.n_context = 4096, .norm_epsilon = 1e-5, .rope_theta = 1e4},
    },
    {
        .name = "qwen2",
        .hf_model_type = "qwen2",
        .hf_class = "Qwen2ForCausalLM",
        .hf_activation_key = "hidden_act",
        .hf_activation = "silu",
        .gguf = "qwen2",
        .qkv_bias = true,
        .window_rule = ENTRO_WINDOW_UPPER_LAYERS,
        .missing =
            {.n_kv_heads = 32, .n_context = 32768, .window = 4096, .norm_epsilon = 1e-6, .rope_theta = 1e4},
    },
    {
        .name = "qwen3",
        .hf_model_type = "qwen3",
        .hf_class = "Qwen3ForCausalLM",
        .hf_activation_key = "hidden_act",
        .hf_activation = "silu",
        .gguf = "qwen3",
        .qk_norm = true,
        .window_rule = ENTRO_WINDOW_UPPER_LAYERS,
        .missing = {.n_kv_heads = 32,
                    .head_dim = 128,
                    .n_context = 32768,
                    .window = 4096,
                    .norm_epsilon = 1e-6,
                    .rope_theta = 1e4},
    },
    {
        .name = "gemma3",
        .hf_model_type = "gemma3_text",
        .hf_class = "Gemma3ForCausalLM",
        .hf_activation_key = "hidden_activation",
        .hf_activation = "gelu_pytorch_tanh",
        .gguf = "gemma3",
        .qk_norm = true,
        .post_norms = true,
        .norm_plus_one = true,
        .scaled_embedding = true,
        .query_scalar = true,
        .activation = ENTRO_ACTIVATION_GELU_TANH,
        .window_rule = ENTRO_WINDOW_ALL_BUT_EVERY_N,
        .missing = {.n_kv_heads = 4,
                    .head_dim = 256,
                    .n_context = 131072,
                    .window = 4096,
                    .norm_epsilon = 1e-6,
                    .rope_theta = 1e6,
                    .rope_theta_sliding = 1e4,
                    .tied_embeddings = true},
    },
};

#define N_ARCHITECTURES (sizeof architectures / sizeof architectures[0])

const struct entro_architecture *entro_architecture_from_hf(const char *model_type)
{
    for (size_t i = 0; i < N_ARCHITECTURES; i++)
        if (strcmp(architectures[i].hf_model_type, model_type) == 0)
            return &architectures[i];
    return NULL;
}

const struct entro_architecture *entro_architecture_from_gguf(const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < N_ARCHITECTURES; i++)
        if (architectures[i].gguf != NULL && strlen(architectures[i].gguf) == name_bytes &&
            memcmp(architectures[i].gguf, name, name_bytes) == 0)
            return &architectures[i];
    return NULL;
}

const char *entro_architecture_names(void)
{
    return "llama, mistral, phi3, qwen2, qwen3, gemma3_text";
}
