/* The table of tensor names; see tensor_roles.h. */
#include "codec/models/tensor_roles.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_ROLES (sizeof names / sizeof names[0])

#define HF_LAYER "model.layers.%zu."

/* %zu is the layer. */
static const struct {
    const char *hf;
    const char *gguf;
} names[] = {
    [ENTRO_TENSOR_EMBEDDING] = {"model.embed_tokens.weight", "token_embd.weight"},
    [ENTRO_TENSOR_FINAL_NORM] = {"model.norm.weight", "output_norm.weight"},
    [ENTRO_TENSOR_OUTPUT] = {"lm_head.weight", "output.weight"},
    [ENTRO_TENSOR_ROPE_FACTORS] = {"", "rope_freqs.weight"},
    [ENTRO_TENSOR_ATTENTION_NORM] = {HF_LAYER "input_layernorm.weight", "blk.%zu.attn_norm.weight"},
    [ENTRO_TENSOR_QKV] = {HF_LAYER "self_attn.qkv_proj.weight", "blk.%zu.attn_qkv.weight"},
    [ENTRO_TENSOR_QUERY] = {HF_LAYER "self_attn.q_proj.weight", "blk.%zu.attn_q.weight"},
    [ENTRO_TENSOR_KEY] = {HF_LAYER "self_attn.k_proj.weight", "blk.%zu.attn_k.weight"},
    [ENTRO_TENSOR_VALUE] = {HF_LAYER "self_attn.v_proj.weight", "blk.%zu.attn_v.weight"},
    [ENTRO_TENSOR_QUERY_BIAS] = {HF_LAYER "self_attn.q_proj.bias", "blk.%zu.attn_q.bias"},
    [ENTRO_TENSOR_KEY_BIAS] = {HF_LAYER "self_attn.k_proj.bias", "blk.%zu.attn_k.bias"},
    [ENTRO_TENSOR_VALUE_BIAS] = {HF_LAYER "self_attn.v_proj.bias", "blk.%zu.attn_v.bias"},
    [ENTRO_TENSOR_QUERY_NORM] = {HF_LAYER "self_attn.q_norm.weight", "blk.%zu.attn_q_norm.weight"},
    [ENTRO_TENSOR_KEY_NORM] = {HF_LAYER "self_attn.k_norm.weight", "blk.%zu.attn_k_norm.weight"},
    [ENTRO_TENSOR_ATTENTION_OUTPUT] = {HF_LAYER "self_attn.o_proj.weight", "blk.%zu.attn_output.weight"},
    [ENTRO_TENSOR_MLP_NORM] = {HF_LAYER "post_attention_layernorm.weight", "blk.%zu.ffn_norm.weight"},
    [ENTRO_TENSOR_PRE_MLP_NORM] = {HF_LAYER "pre_feedforward_layernorm.weight", "blk.%zu.ffn_norm.weight"},
    [ENTRO_TENSOR_POST_ATTENTION_NORM] = {HF_LAYER "post_attention_layernorm.weight",
                                          "blk.%zu.post_attention_norm.weight"},
    [ENTRO_TENSOR_POST_MLP_NORM] = {HF_LAYER "post_feedforward_layernorm.weight",
                                    "blk.%zu.post_ffw_norm.weight"},
    [ENTRO_TENSOR_GATE_UP] = {HF_LAYER "mlp.gate_up_proj.weight", "blk.%zu.ffn_up.weight"},
    [ENTRO_TENSOR_GATE] = {HF_LAYER "mlp.gate_proj.weight", "blk.%zu.ffn_gate.weight"},
    [ENTRO_TENSOR_UP] = {HF_LAYER "mlp.up_proj.weight", "blk.%zu.ffn_up.weight"},
    [ENTRO_TENSOR_DOWN] = {HF_LAYER "mlp.down_proj.weight", "blk.%zu.ffn_down.weight"},
};

/* What else the ends of a model are called: recognised, never written. */
static const struct {
    enum entro_tensor_role role;
    const char *name;
} other_names[] = {
    {ENTRO_TENSOR_EMBEDDING, "transformer.wte.weight"}, /* GPT-2, MPT, Qwen */
    {ENTRO_TENSOR_EMBEDDING, "wte.weight"},
    {ENTRO_TENSOR_EMBEDDING, "transformer.word_embeddings.weight"}, /* Falcon, BLOOM */
    {ENTRO_TENSOR_EMBEDDING, "word_embeddings.weight"},
    {ENTRO_TENSOR_EMBEDDING, "gpt_neox.embed_in.weight"},
    {ENTRO_TENSOR_EMBEDDING, "model.decoder.embed_tokens.weight"}, /* OPT */
    {ENTRO_TENSOR_EMBEDDING, "backbone.embeddings.weight"},        /* Mamba */
    {ENTRO_TENSOR_EMBEDDING, "shared.weight"},                     /* T5 */
    {ENTRO_TENSOR_EMBEDDING, "model.shared.weight"},               /* BART */
    {ENTRO_TENSOR_FINAL_NORM, "transformer.ln_f.weight"},
    {ENTRO_TENSOR_FINAL_NORM, "ln_f.weight"},
    {ENTRO_TENSOR_FINAL_NORM, "transformer.norm_f.weight"},
    {ENTRO_TENSOR_FINAL_NORM, "gpt_neox.final_layer_norm.weight"},
    {ENTRO_TENSOR_FINAL_NORM, "model.decoder.final_layer_norm.weight"},
    {ENTRO_TENSOR_FINAL_NORM, "decoder.final_layer_norm.weight"},
    {ENTRO_TENSOR_FINAL_NORM, "backbone.norm_f.weight"},
    {ENTRO_TENSOR_FINAL_NORM, "model.final_layernorm.weight"}, /* Phi-2 */
    {ENTRO_TENSOR_OUTPUT, "embed_out.weight"},
};

/* Where a language model is a part of a larger one, or has been stored without its head. */
static const struct {
    const char *prefix;
    const char *meaning;
} prefixes[] = {
    {"model.language_model.", "model."},
    {"model.text_model.", "model."},
    {"language_model.", ""},
    {"thinker.", ""}, /* Qwen's omni models */
    {"", "model."},
};

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

/* Whether the name is the pattern with a number in the place of its %zu, written without leading zeros. */
static bool matches(const char *pattern, const char *name, size_t *layer)
{
    const char *number = strstr(pattern, "%zu");
    *layer = 0;
    if (number == NULL)
        return *pattern != '\0' && strcmp(pattern, name) == 0;
    size_t n_before = (size_t)(number - pattern);
    if (strncmp(pattern, name, n_before) != 0)
        return false;
    const char *digits = name + n_before;
    if (*digits < '0' || *digits > '9' || (*digits == '0' && digits[1] >= '0' && digits[1] <= '9'))
        return false;
    char *end;
    errno = 0;
    *layer = strtoul(digits, &end, 10);
    return errno == 0 && strcmp(end, number + 3) == 0;
}

static bool place_of(const char *name, struct entro_tensor_place *out)
{
    for (size_t role = 0; role < N_ROLES; role++) {
        for (int gguf = 0; gguf < 2; gguf++) {
            *out = (struct entro_tensor_place){.role = (enum entro_tensor_role)role, .gguf = gguf};
            if (matches(gguf ? names[role].gguf : names[role].hf, name, &out->layer))
                return true;
        }
    }
    for (size_t i = 0; i < sizeof other_names / sizeof *other_names; i++)
        if (strcmp(other_names[i].name, name) == 0) {
            *out = (struct entro_tensor_place){.role = other_names[i].role};
            return true;
        }
    return false;
}

bool entro_tensor_place(const char *name, struct entro_tensor_place *out)
{
    if (place_of(name, out))
        return true;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t length = strlen(prefixes[i].prefix);
        char plain[ENTRO_TENSOR_NAME_BYTES];
        if (strncmp(name, prefixes[i].prefix, length) != 0)
            continue;
        int n = snprintf(plain, sizeof plain, "%s%s", prefixes[i].meaning, name + length);
        if (n >= 0 && (size_t)n < sizeof plain && place_of(plain, out))
            return true;
    }
    return false;
}
