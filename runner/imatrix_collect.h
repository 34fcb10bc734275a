/*
 * Collects an importance matrix: runs windows of tokens through a model and sums the squares of what each
 * linear layer's columns are multiplied with, as llama-imatrix does, and which directions these inputs mostly
 * lie in (directions.h). Source: ggml-org/llama.cpp, tools/imatrix/imatrix.cpp. The file is
 * codec/models/imatrix.h's.
 */
#ifndef ENTRO_RUNNER_IMATRIX_COLLECT_H
#define ENTRO_RUNNER_IMATRIX_COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/models/imatrix.h"
#include "codec/pool.h"
#include "runner/backend.h"
#include "runner/tokenizer_text.h"

struct entro_imatrix_run {
    struct entro_backend *backend; /* one that can be observed */
    const struct entro_weights *weights;
    size_t n_vocabulary;
    struct entro_pool *pool; /* the backend's */
    size_t n_window;         /* tokens of a window: 1 to the backend's context */
    size_t max_windows;      /* SIZE_MAX: all */
    uint32_t bos_id;         /* replaces the first token of each window; ENTRO_TOKEN_NONE: none does */
    bool with_output;        /* the output head too: costs its products with every token */
    bool with_directions;    /* of each input once, for the first matrix that has it; not of the head's */
    /* Called after each window; what it returns other than ENTRO_OK ends the work. May be NULL. */
    enum entro_error (*progress)(void *context, size_t n_done, size_t n_windows,
                                 struct entro_message *message);
    void *progress_context;
};

struct entro_imatrix_collection {
    size_t n_entries;
    struct entro_imatrix_sums *entries; /* of the layers in order, then of the head; GGUF's names */
    size_t n_windows;
    void *memory; /* what they point into */
};

/*
 * Windows lie side by side in the tokens; what is left at the end is not run. The result depends on the
 * model, the tokens and the CPU's kernels, not on the number of threads. On success the caller frees with
 * entro_imatrix_collection_free. ENTRO_ERROR_ARGUMENT (a backend that cannot be observed, fewer tokens than
 * two windows, a token outside the vocabulary), _UNSUPPORTED (a tensor that GGUF has no name for), _FORMAT
 * (results that are no numbers), _NO_MEMORY.
 */
enum entro_error entro_imatrix_collect(struct entro_imatrix_collection *out,
                                       const struct entro_imatrix_run *run, const uint32_t *tokens,
                                       size_t n_tokens, struct entro_message *message);
void entro_imatrix_collection_free(struct entro_imatrix_collection *collection);

#endif
