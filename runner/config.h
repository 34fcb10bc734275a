/*
 * The numbers that describe a model, from config.json (and generation_config.json) or from a GGUF's metadata.
 * Weights are weights.h's business, the tokenizer is tokenizer.h's.
 */
#ifndef ENTRO_RUNNER_CONFIG_H
#define ENTRO_RUNNER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/models/gguf.h"
#include "runner/architecture.h"
#include "runner/rope.h"

#define ENTRO_MAX_EOS_IDS 32
/* More layers than any model has. */
#define ENTRO_MAX_LAYERS ((size_t)4096)

struct entro_config {
    const struct entro_architecture *architecture;
    bool gguf;             /* tensor names are GGUF's */
    bool rope_interleaved; /* rotate elements 2i and 2i+1 of a head; else i and i + head_dim/2 */
    size_t n_layers;
    size_t n_hidden;       /* width of the residual stream */
    size_t n_intermediate; /* width of the MLP */
    size_t n_heads;        /* query heads; a multiple of n_kv_heads */
    size_t n_kv_heads;
    size_t head_dim;     /* even */
    size_t n_vocabulary; /* 0: as many as the embedding has rows (a GGUF need not say) */
    size_t n_context;    /* positions that the model was made for */
    float norm_epsilon;
    float attention_scale;          /* of the products of queries and keys */
    struct entro_rope rope;         /* of layers that see all positions */
    struct entro_rope sliding_rope; /* of layers with a window */
    size_t window;                  /* positions that a layer with a window sees, its own the last of them */
    uint8_t sliding[ENTRO_MAX_LAYERS / 8]; /* a bit a layer: it has a window; read by entro_config_window */
    bool tied_embeddings;                  /* the output head may be missing and is the embedding then */
    int32_t bos_id;                        /* -1: none */
    size_t n_eos_ids;                      /* ids that end a text, the union of what all files say */
    uint32_t eos_ids[ENTRO_MAX_EOS_IDS];
};

/*
 * Parses config.json. `path` is for messages. ENTRO_ERROR_FORMAT (bad JSON, missing or absurd numbers),
 * _UNSUPPORTED (an architecture or a part of one that the runner lacks, named in the message).
 */
enum entro_error entro_config_from_json(struct entro_config *out, const char *text, size_t size_bytes,
                                        const char *path, struct entro_message *message);

/* Adds the end-of-text ids of generation_config.json to those that are there. Errors as above. */
enum entro_error entro_config_add_generation(struct entro_config *config, const char *text, size_t size_bytes,
                                             const char *path, struct entro_message *message);

/* The same from a GGUF's metadata. */
enum entro_error entro_config_from_gguf(struct entro_config *out, const struct entro_gguf *gguf,
                                        const char *path, struct entro_message *message);

/* Adds an id to the end-of-text ids unless it is there. False where there is no room or the id is negative or
 * absurd. */
bool entro_config_add_eos(struct entro_config *config, int64_t id);

/* Whether `id` ends a text. */
bool entro_config_is_eos(const struct entro_config *config, uint32_t id);

/* Position i of a layer sees the positions j <= i with i - j < the layer's window; 0: all j <= i. */
size_t entro_config_window(const struct entro_config *config, size_t layer);

/* How many layers have a window. */
size_t entro_config_n_windows(const struct entro_config *config);

#endif
