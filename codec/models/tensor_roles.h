/*
 * What the tensors of a language model are for, by the names that Hugging Face's transformers and GGUF give
 * them.
 */
#ifndef ENTRO_TENSOR_ROLES_H
#define ENTRO_TENSOR_ROLES_H

#include <stdbool.h>
#include <stddef.h>

/* The tensors of a model by what they do. */
enum entro_tensor_role {
    ENTRO_TENSOR_EMBEDDING,
    ENTRO_TENSOR_FINAL_NORM,
    ENTRO_TENSOR_OUTPUT,
    ENTRO_TENSOR_ROPE_FACTORS, /* GGUF only: what frequencies are divided by */
    /* One a layer: */
    ENTRO_TENSOR_ATTENTION_NORM,
    ENTRO_TENSOR_QKV, /* rows of q, then k, then v */
    ENTRO_TENSOR_QUERY,
    ENTRO_TENSOR_KEY,
    ENTRO_TENSOR_VALUE,
    ENTRO_TENSOR_QUERY_BIAS,
    ENTRO_TENSOR_KEY_BIAS,
    ENTRO_TENSOR_VALUE_BIAS,
    ENTRO_TENSOR_QUERY_NORM,
    ENTRO_TENSOR_KEY_NORM,
    ENTRO_TENSOR_ATTENTION_OUTPUT,
    ENTRO_TENSOR_MLP_NORM, /* of a model without post norms */
    ENTRO_TENSOR_PRE_MLP_NORM,
    ENTRO_TENSOR_POST_ATTENTION_NORM,
    ENTRO_TENSOR_POST_MLP_NORM,
    ENTRO_TENSOR_GATE_UP, /* rows of gate, then up */
    ENTRO_TENSOR_GATE,
    ENTRO_TENSOR_UP,
    ENTRO_TENSOR_DOWN,
};

/* Tensors of a layer at most, and others, for tables of them. */
#define ENTRO_TENSORS_PER_LAYER 18
#define ENTRO_TENSORS_OF_MODEL  4

/* Room for any name that entro_tensor_name writes. */
#define ENTRO_TENSOR_NAME_BYTES 96

/* Writes the name of a tensor as Hugging Face or GGUF has it; `layer` is ignored for the roles without one.
 * Thread-safe. */
void entro_tensor_name(char name[ENTRO_TENSOR_NAME_BYTES], enum entro_tensor_role role, bool gguf,
                       size_t layer);

/* What a name says. */
struct entro_tensor_place {
    enum entro_tensor_role role;
    bool gguf;    /* GGUF's name, else Hugging Face's */
    size_t layer; /* 0 for the roles without one */
};

/* False for names that no role has. Names of language models inside larger ones ("language_model.model...")
 * and of a model without its head ("layers.0...") are understood, and what other families than Llama's call
 * the embedding, the final norm and the head; entro_tensor_name does not give them back. A name that several
 * roles share is the first one's (ENTRO_TENSOR_MLP_NORM for GGUF's "ffn_norm", ENTRO_TENSOR_GATE_UP for its
 * "ffn_up"). Thread-safe. */
bool entro_tensor_place(const char *name, struct entro_tensor_place *out);

#endif
