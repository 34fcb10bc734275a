/*
 * What differs between the models that the runner knows: one row of a table per architecture, no forward pass
 * of its own. Sizes come from the model's config (config.h); this is what its name alone decides.
 */
#ifndef ENTRO_RUNNER_ARCHITECTURE_H
#define ENTRO_RUNNER_ARCHITECTURE_H

#include <stdbool.h>
#include <stddef.h>

struct entro_architecture {
    const char *name;
    const char *hf_model_type;  /* "model_type" of config.json */
    const char *hf_class;       /* of "architectures" in config.json */
    const char *gguf;           /* general.architecture; the prefix of the GGUF's other keys */
    bool gguf_rope_interleaved; /* GGUF stores the rows of q and k for interleaved pairs */
    const char *hf_activation;  /* the "hidden_act" that the MLP uses */
};

/* NULL where no architecture has that name. Thread-safe. */
const struct entro_architecture *entro_architecture_from_hf(const char *model_type);
const struct entro_architecture *entro_architecture_from_gguf(const char *name, size_t name_bytes);

/* The names that are known, for messages: "llama, ...". */
const char *entro_architecture_names(void);

/* The tensors of a model by what they do. The per-layer ones come after ENTRO_TENSOR_FIRST_OF_LAYER. */
enum entro_tensor_role {
    ENTRO_TENSOR_EMBEDDING,
    ENTRO_TENSOR_FINAL_NORM,
    ENTRO_TENSOR_OUTPUT,
    ENTRO_TENSOR_ATTENTION_NORM,
    ENTRO_TENSOR_QUERY,
    ENTRO_TENSOR_KEY,
    ENTRO_TENSOR_VALUE,
    ENTRO_TENSOR_ATTENTION_OUTPUT,
    ENTRO_TENSOR_MLP_NORM,
    ENTRO_TENSOR_GATE,
    ENTRO_TENSOR_UP,
    ENTRO_TENSOR_DOWN,
};

/* Room for any name that entro_tensor_name writes. */
#define ENTRO_TENSOR_NAME_BYTES 96

/* Writes the name of a tensor as Hugging Face or GGUF has it; `layer` is ignored for the roles without one.
 * Thread-safe. */
void entro_tensor_name(char name[ENTRO_TENSOR_NAME_BYTES], enum entro_tensor_role role, bool gguf,
                       size_t layer);

#endif
