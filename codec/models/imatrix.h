/*
 * Importance matrices as llama.cpp has them: for each tensor of a model, how large the inputs of its columns
 * are on some text; and beside that, which llama.cpp passes over, in which directions these inputs mostly
 * lie. Read in both forms of file, written in the newer one. What is made of them is the caller's. Source:
 * ggml-org/llama.cpp, tools/imatrix/imatrix.cpp and common/imatrix-loader.cpp.
 */
#ifndef ENTRO_MODELS_IMATRIX_H
#define ENTRO_MODELS_IMATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"

/* More entries are refused. A model has some ten a layer. */
#define ENTRO_IMATRIX_MAX_ENTRIES 65536

/* Longest name of a tensor, and of a text that the matrix was made from. */
#define ENTRO_IMATRIX_MAX_NAME    256
#define ENTRO_IMATRIX_MAX_DATASET 4096

/* More directions of one input are refused. */
#define ENTRO_IMATRIX_MAX_DIRECTIONS 256

struct entro_imatrix_source;

struct entro_imatrix_entry {
    char *name;          /* of the tensor as the file has it (GGUF's); owned by the matrix, as the others */
    size_t n_matrices;   /* that have counts of their own: experts; 1 for most tensors */
    size_t n_columns;    /* of each of them */
    float *mean_squares; /* [n_matrices][n_columns] of the inputs; finite, not negative; 1 where the count is
                            0, as in llama.cpp */
    float *counts;       /* [n_matrices] tokens that were seen (of the older form: chunks); 0: none */
    /* 0: the file has none; else n_matrices is 1, and entro_imatrix_read_directions reads them. */
    size_t n_directions;
    const struct entro_imatrix_source *source; /* where they are; internal, as the offset is */
    uint64_t directions_offset;
};

struct entro_imatrix {
    size_t n_entries;
    struct entro_imatrix_entry *entries; /* by name, each once */
    char *dataset;                       /* the first text's name, control characters and all; may be "" */
    uint64_t n_chunks;                   /* windows of text, 0: the file does not say */
    uint64_t chunk_size;                 /* tokens of each, 0: the file does not say */
    struct entro_imatrix_source *source; /* the open file, where it has directions; else NULL. Owned */
};

/*
 * Reads a file of either form: a GGUF with the tensors NAME.in_sum2 (F32, [n_matrices][n_columns]) and
 * NAME.counts (F32, [n_matrices]) and perhaps NAME.in_directions (BF16, [n_directions][n_columns]), or the
 * older binary list (.dat), which holds means times calls. Directions are checked, and stay in
 * the file, which is kept open. Memory: at most as much as the file has bytes without them, and for a moment
 * twice one tensor's directions. On success the caller frees with entro_imatrix_free; on failure nothing is
 * left. ENTRO_ERROR_FORMAT (neither form, truncated, sizes that do not go together, a name twice, importances
 * or counts that are negative or no numbers, directions that are no numbers or of no importances: the tensor
 * is named), _UNSUPPORTED (too many entries), _NOT_FOUND (no such file), _IO, _NO_MEMORY.
 */
enum entro_error entro_imatrix_open(struct entro_imatrix *out, const char *path,
                                    struct entro_message *message);
void entro_imatrix_free(struct entro_imatrix *imatrix);

/* The entry of a tensor by its name as GGUF or Hugging Face has it; NULL where there is none. Thread-safe. */
const struct entro_imatrix_entry *entro_imatrix_find(const struct entro_imatrix *imatrix,
                                                     const char *tensor_name);

/*
 * Reads the directions of an entry that has some, directions[n_directions][n_columns], all finite: the
 * inputs' second moments E[x x^T] are about the sum of their outer products, and a diagonal. ENTRO_ERROR_IO,
 * _FORMAT (the file has changed). Thread-safe.
 */
enum entro_error entro_imatrix_read_directions(const struct entro_imatrix_entry *entry, float *directions,
                                               struct entro_message *message);

/* The entry whose directions are those of a tensor's input: its own, if it has some, else that of the layer's
 * first matrix with the same input (the query's for key and value, the gate's for up), if it has as many
 * columns as the tensor's own entry. NULL where there is none. Thread-safe. */
const struct entro_imatrix_entry *entro_imatrix_find_directions(const struct entro_imatrix *imatrix,
                                                                const char *tensor_name);

/* What is to be written of one tensor. */
struct entro_imatrix_sums {
    const char *name;        /* as GGUF has it */
    size_t n_columns;        /* at least 1 */
    const double *sums;      /* [n_columns] of the squares of the inputs */
    uint64_t n_tokens;       /* that were summed */
    size_t n_directions;     /* at most ENTRO_IMATRIX_MAX_DIRECTIONS; 0: none are written */
    const float *directions; /* [n_directions][n_columns]; of the mean, not of the sum */
};

struct entro_imatrix_origin {
    const char *dataset; /* the text's name */
    uint32_t n_chunks;
    uint32_t chunk_size;
};

/*
 * Writes the GGUF form, which appears at `path` whole or not at all; `replace`: a file that is there gives
 * way. The same input gives the same bytes. ENTRO_ERROR_EXISTS, _ARGUMENT (no entry, a name that is too long,
 * a sum that is no number for a float, or negative, a direction that is no number for BF16, or too many of
 * them), _IO, _NO_MEMORY.
 */
enum entro_error entro_imatrix_write(const char *path, bool replace, const struct entro_imatrix_sums *entries,
                                     size_t n_entries, const struct entro_imatrix_origin *origin,
                                     struct entro_message *message);

#endif
