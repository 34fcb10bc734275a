/* The tables of architectures and of tensor names; see architecture.h. */
#include "runner/architecture.h"

#include <stdio.h>
#include <string.h>

static const struct entro_architecture architectures[] = {
    {
        .name = "llama",
        .hf_model_type = "llama",
        .hf_class = "LlamaForCausalLM",
        .gguf = "llama",
        .gguf_rope_interleaved = true,
        .hf_activation = "silu",
    },
};

#define N_ARCHITECTURES (sizeof architectures / sizeof architectures[0])

/* %zu is the layer. */
static const struct {
    const char *hf;
    const char *gguf;
} names[] = {
    [ENTRO_TENSOR_EMBEDDING] = {"model.embed_tokens.weight", "token_embd.weight"},
    [ENTRO_TENSOR_FINAL_NORM] = {"model.norm.weight", "output_norm.weight"},
    [ENTRO_TENSOR_OUTPUT] = {"lm_head.weight", "output.weight"},
    [ENTRO_TENSOR_ATTENTION_NORM] = {"model.layers.%zu.input_layernorm.weight", "blk.%zu.attn_norm.weight"},
    [ENTRO_TENSOR_QUERY] = {"model.layers.%zu.self_attn.q_proj.weight", "blk.%zu.attn_q.weight"},
    [ENTRO_TENSOR_KEY] = {"model.layers.%zu.self_attn.k_proj.weight", "blk.%zu.attn_k.weight"},
    [ENTRO_TENSOR_VALUE] = {"model.layers.%zu.self_attn.v_proj.weight", "blk.%zu.attn_v.weight"},
    [ENTRO_TENSOR_ATTENTION_OUTPUT] = {"model.layers.%zu.self_attn.o_proj.weight",
                                       "blk.%zu.attn_output.weight"},
    [ENTRO_TENSOR_MLP_NORM] = {"model.layers.%zu.post_attention_layernorm.weight", "blk.%zu.ffn_norm.weight"},
    [ENTRO_TENSOR_GATE] = {"model.layers.%zu.mlp.gate_proj.weight", "blk.%zu.ffn_gate.weight"},
    [ENTRO_TENSOR_UP] = {"model.layers.%zu.mlp.up_proj.weight", "blk.%zu.ffn_up.weight"},
    [ENTRO_TENSOR_DOWN] = {"model.layers.%zu.mlp.down_proj.weight", "blk.%zu.ffn_down.weight"},
};

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
        if (strlen(architectures[i].gguf) == name_bytes &&
            memcmp(architectures[i].gguf, name, name_bytes) == 0)
            return &architectures[i];
    return NULL;
}

const char *entro_architecture_names(void)
{
    return "llama";
}

void entro_tensor_name(char name[ENTRO_TENSOR_NAME_BYTES], enum entro_tensor_role role, bool gguf,
                       size_t layer)
{
    const char *pattern = gguf ? names[role].gguf : names[role].hf;
    const char *number = strstr(pattern, "%zu");
    if (number == NULL)
        snprintf(name, ENTRO_TENSOR_NAME_BYTES, "%s", pattern);
    else
        snprintf(name, ENTRO_TENSOR_NAME_BYTES, "%.*s%zu%s", (int)(number - pattern), pattern, layer,
                 number + 3);
}
