/*
 * What differs between the models that the runner knows: one row of a table per architecture, no forward pass
 * of its own. Sizes come from the model's config (config.h); this is what its name alone decides.
 */
#ifndef ENTRO_RUNNER_ARCHITECTURE_H
#define ENTRO_RUNNER_ARCHITECTURE_H

#include <stdbool.h>
#include <stddef.h>

/* What the MLP does to its gate. */
enum entro_activation {
    ENTRO_ACTIVATION_SILU,
    ENTRO_ACTIVATION_GELU_TANH, /* GELU by its approximation with tanh */
};

/* Which layers attend to a sliding window, where config.json lists no "layer_types". */
enum entro_window_rule {
    ENTRO_WINDOW_NEVER,
    ENTRO_WINDOW_ALL_LAYERS,     /* where there is a "sliding_window" */
    ENTRO_WINDOW_UPPER_LAYERS,   /* with "use_sliding_window", from layer "max_window_layers" on */
    ENTRO_WINDOW_ALL_BUT_EVERY_N /* every "sliding_window_pattern"-th layer sees all positions */
};

struct entro_architecture {
    const char *name;
    const char *hf_model_type;     /* "model_type" of config.json */
    const char *hf_class;          /* of "architectures" in config.json */
    const char *hf_activation_key; /* of config.json */
    const char *hf_activation;     /* its value */
    const char *gguf; /* general.architecture; the prefix of the GGUF's other keys. NULL: GGUF files of such a
                         model bear another's name */
    bool gguf_rope_interleaved; /* GGUF stores the rows of q and k for interleaved pairs */
    bool fused;                 /* q, k and v are one tensor, gate and up another */
    bool qkv_bias;              /* q, k and v have biases */
    bool qk_norm;               /* each head of q and k is normed before it is rotated */
    bool post_norms;            /* what a block adds is normed too */
    bool norm_plus_one;         /* safetensors hold the norms' weights less 1 */
    bool scaled_embedding;      /* the embedding is multiplied by sqrt(n_hidden) */
    bool query_scalar;          /* "query_pre_attn_scalar" takes the place of the head size in the scale */
    enum entro_activation activation;
    enum entro_window_rule window_rule;
    /* What transformers takes where config.json says nothing. */
    struct {
        size_t n_kv_heads; /* 0: n_heads */
        size_t head_dim;   /* 0: n_hidden / n_heads */
        size_t n_context;
        size_t window; /* 0: none */
        double norm_epsilon;
        double rope_theta;
        double rope_theta_sliding; /* of layers with a window; 0: as the others */
        bool tied_embeddings;
    } missing;
};

/* NULL where no architecture has that name. Thread-safe. */
const struct entro_architecture *entro_architecture_from_hf(const char *model_type);
const struct entro_architecture *entro_architecture_from_gguf(const char *name, size_t name_bytes);

/* The names that are known, for messages: "llama, ...". */
const char *entro_architecture_names(void);

#endif
