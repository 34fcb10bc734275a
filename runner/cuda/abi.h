/*
 * What entrorun and its GPU plug-in (libentrorun-cuda.so) say to each other: plain C structs and one table of
 * functions. entrorun itself is linked to no CUDA library and loads the plug-in only where a GPU is asked
 * for; the plug-in knows nothing of files, JSON or tokenizers.
 */
#ifndef ENTRO_CUDA_ABI_H
#define ENTRO_CUDA_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised with every change of anything here; a plug-in of another version is refused. */
#define ENTRO_CUDA_ABI_VERSION 3U

/* The one symbol of the plug-in, a struct entro_cuda_plugin. */
#define ENTRO_CUDA_PLUGIN_SYMBOL "entro_cuda_plugin"

enum entro_cuda_status {
    ENTRO_CUDA_OK,
    ENTRO_CUDA_NO_DEVICE,   /* no driver, an old one, no card, or one that the kernels were not built for */
    ENTRO_CUDA_NO_MEMORY,   /* on the card or in the host's pinned memory; nothing is left allocated */
    ENTRO_CUDA_SOURCE,      /* `fill` failed, with a message of its own */
    ENTRO_CUDA_FAILED,      /* a CUDA call failed for another reason */
    ENTRO_CUDA_UNSUPPORTED, /* a model that the kernels cannot take */
    ENTRO_CUDA_NO_NUMBERS   /* results are NaN or infinite */
};

enum entro_cuda_encoding {
    ENTRO_CUDA_U8, /* codes, a byte each */
    ENTRO_CUDA_U4, /* codes, two a byte, the even element low; a row may start in the middle of a byte */
    ENTRO_CUDA_BF16,
    ENTRO_CUDA_F16,
    ENTRO_CUDA_F32
};

/* A text for a person; see struct entro_message, which this is a plain copy of. */
struct entro_cuda_message {
    char text[1024];
};

struct entro_cuda_coded; /* decode.h */

/* Rows of weights: w[i][j] = scale * row[i] * column[j] * (q[i][j] - zero_point), or floats as they are. */
struct entro_cuda_matrix {
    const char *name;
    uint64_t n_rows;
    uint64_t n_columns;
    int32_t encoding;    /* enum entro_cuda_encoding */
    const void *source;  /* what `fill` reads: matrices of the same source lie in memory once */
    uint64_t size_bytes; /* of the source: whole rows without gaps */
    /* Where the same bytes are to be had as an image stores them, of which `fill_coded` reads the stored ones
     * by coded_source; NULL: nowhere. */
    const struct entro_cuda_coded *coded;
    const void *coded_source;
    float scale;
    float zero_point;
    const float *row_scale;    /* [n_rows], NULL: all 1 */
    const float *column_scale; /* [n_columns], all > 0; NULL: all 1 */
    const uint8_t *outliers;   /* [n_outliers] of 12 bytes: u64 element, F32 value; sorted by element */
    uint64_t n_outliers;
};

/* A layer; what a model lacks is NULL. Vectors are the host's. */
struct entro_cuda_layer {
    const float *attention_norm;
    uint32_t n_qkv;
    struct entro_cuda_matrix qkv[3];
    const float *qkv_bias;
    const float *query_norm;
    const float *key_norm;
    struct entro_cuda_matrix attention_output;
    const float *post_attention_norm;
    const float *mlp_norm;
    uint32_t n_gate_up;
    struct entro_cuda_matrix gate_up[2];
    struct entro_cuda_matrix down;
    const float *post_mlp_norm;
    uint64_t window; /* 0: none */
};

/*
 * Writes bytes offset .. offset + size_bytes of a source to `to`, which is aligned to 4096 bytes and has room
 * for a multiple of them, as has `offset`. Called by several threads at once. Not 0: failed, with a message.
 */
typedef int entro_cuda_fill(const void *source, uint64_t offset, size_t size_bytes, void *to,
                            struct entro_cuda_message *message);

struct entro_cuda_model {
    uint32_t n_layers;
    uint32_t n_hidden;
    uint32_t n_intermediate;
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t n_vocabulary;
    uint32_t rope_interleaved;
    uint32_t gelu;         /* the gate's activation: 0 SiLU, 1 GELU by tanh */
    float embedding_scale; /* 1: none */
    float norm_epsilon;
    float attention_scale;
    const float *frequencies;         /* [head_dim / 2] radians a position, of layers without a window */
    const float *sliding_frequencies; /* of layers with one */
    const float *final_norm;
    struct entro_cuda_matrix embedding;
    struct entro_cuda_matrix output;
    const struct entro_cuda_layer *layers;
    entro_cuda_fill *fill;
    entro_cuda_fill *fill_coded; /* NULL where no matrix is coded */
};

struct entro_cuda_settings {
    uint64_t n_context;
    uint32_t n_batch;    /* tokens that are computed together, at most */
    uint32_t n_threads;  /* that read weights; at least 1 */
    uint32_t keep_coded; /* the layers' coded matrices stay so, and are decoded ahead of each use */
};

/* What a probe and a load tell. */
struct entro_cuda_device {
    char name[256];
    uint32_t major, minor; /* compute capability */
    uint32_t n_multiprocessors;
    uint64_t free_bytes;
    uint64_t total_bytes;
};

struct entro_cuda_figures {
    uint64_t read_bytes;   /* copied to the card: as the image stores them where they are decoded there */
    uint64_t weight_bytes; /* matrices in the card's memory; of coded ones also the ring that they are decoded
                              to */
    uint64_t decoded_bytes; /* what they would take if all were decoded */
    uint64_t cache_bytes;   /* keys and values */
    uint64_t work_bytes;    /* everything else on the card */
    double load_seconds;
};

/* How a token is picked on the card: sampler.h's rules, without a penalty. */
struct entro_cuda_pick {
    float temperature; /* <= 0: the most likely token */
    uint32_t top_k;    /* 1 .. ENTRO_CUDA_MAX_TOP_K where temperature > 0 */
    float top_p;
    float min_p;
    double point; /* the random number, 0 <= point < 1 */
};
#define ENTRO_CUDA_MAX_TOP_K 256U

struct entro_cuda_plugin {
    uint32_t abi_version; /* ENTRO_CUDA_ABI_VERSION; the only field that every version has */
    uint32_t model_bytes; /* sizeof(struct entro_cuda_model), against a build that mixes headers */

    /* Whether there is a card that the kernels run on: ENTRO_CUDA_OK, or _NO_DEVICE and why. */
    int (*probe)(struct entro_cuda_device *device, struct entro_cuda_message *message);

    /* Loads a model. On success the caller frees with `free`; the model may go afterwards. */
    int (*create)(void **out, const struct entro_cuda_model *model,
                  const struct entro_cuda_settings *settings, struct entro_cuda_figures *figures,
                  struct entro_cuda_message *message);

    /* Runs 1 .. n_batch tokens at the positions position ...; arguments are the caller's to check. A single
     * token is only started: what goes wrong may be told by the next call. */
    int (*forward)(void *state, const uint32_t *tokens, uint32_t n_tokens, uint64_t position,
                   struct entro_cuda_message *message);

    /* Logits behind the tokens first .. first + n - 1 of the last `forward`: [n][n_vocabulary]. */
    int (*logits)(void *state, uint32_t first, uint32_t n, float *logits, struct entro_cuda_message *message);

    /* Picks a token from the logits behind the last token of the last `forward` or `next`. */
    int (*pick)(void *state, const struct entro_cuda_pick *how, uint32_t *token,
                struct entro_cuda_message *message);

    void (*free)(void *state);
};

#ifdef __cplusplus
}
#endif

#endif
