/*
 * A file of a model's predictions for the scored tokens of a text, so that another model can be compared with
 * it without running it again. What is scored is perplexity.h's business.
 *
 * Little-endian. Header of 64 bytes:
 *   0 "ENTROLGT", 8 version (u32, 1), 12 tokens of the vocabulary (u32), 16 tokens of a window (u64), 24
 * scored rows of a window (u64), 32 windows (u64), 40 zeros, 56 XXH3-64 of what is before it then for each
 * window the XXH3-64 of its tokens (u32 each), the XXH3-64 of that table, then the rows: for each token of
 * the vocabulary how far its logit is under the row's largest, in 1/2048 nat, rounded, at most 65535 (u16; 0
 * for the first of the largest alone), and the XXH3-64 of these.
 */
#ifndef ENTRO_RUNNER_SAVED_LOGITS_H
#define ENTRO_RUNNER_SAVED_LOGITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/output_file.h"

/* What a file is of. */
struct entro_saved_shape {
    size_t n_vocabulary;
    size_t n_window; /* tokens */
    size_t n_scored; /* rows of a window */
    size_t n_windows;
};

/* Bytes of a row. */
size_t entro_saved_row_bytes(size_t n_vocabulary);

/* A row from logits, of which the one at `top` is the first of the largest. Thread-safe. */
void entro_saved_row_pack(const float *logits, size_t n_vocabulary, size_t top, uint8_t *row);

/* Logits from a row, of which the largest is 0. False where its checksum is wrong. Thread-safe. */
bool entro_saved_row_unpack(const uint8_t *row, size_t n_vocabulary, float *logits);

/*
 * Begins a file at `path`, which appears (and replaces an older one) when output is committed; rows are
 * appended to it. window_hashes: entro_saved_window_hash of each window. Afterwards, whatever is returned,
 * entro_output_free. ENTRO_ERROR_ARGUMENT, _IO, _NO_MEMORY.
 */
enum entro_error entro_saved_create(struct entro_output *output, const char *path,
                                    const struct entro_saved_shape *shape, const uint64_t *window_hashes,
                                    struct entro_message *message);

uint64_t entro_saved_window_hash(const uint32_t *tokens, size_t n_tokens);

struct entro_saved_logits {
    int fd; /* -1: none */
    const char *path;
    size_t row_bytes;
    uint64_t offset; /* of the next row */
};

/*
 * Opens a file of the same windows, or of more behind them, into *saved; afterwards, whatever is returned,
 * entro_saved_close. `path` is kept. ENTRO_ERROR_ARGUMENT (of another vocabulary, window, convention or text,
 * or of fewer windows), _FORMAT (no such file format, damaged, not of the size that its header says),
 * _NOT_FOUND, _IO, _NO_MEMORY.
 */
enum entro_error entro_saved_open(struct entro_saved_logits *saved, const char *path,
                                  const struct entro_saved_shape *shape, const uint64_t *window_hashes,
                                  struct entro_message *message);

/* The next n rows as they are stored. ENTRO_ERROR_FORMAT (the file has shrunk), _IO. */
enum entro_error entro_saved_read(struct entro_saved_logits *saved, size_t n, uint8_t *rows,
                                  struct entro_message *message);

void entro_saved_close(struct entro_saved_logits *saved);

#endif
