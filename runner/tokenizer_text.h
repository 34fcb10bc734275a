/*
 * Two growable arrays that the tokenizer and its callers pass around: bytes and token ids. Both start as {0},
 * grow by appending, never beyond a fixed limit (so that hostile input cannot ask for unbounded memory), and
 * are freed by their owner.
 */
#ifndef ENTRO_TOKENIZER_TEXT_H
#define ENTRO_TOKENIZER_TEXT_H

#include "codec/error.h"

#include <stddef.h>
#include <stdint.h>

/* No token. */
#define ENTRO_TOKEN_NONE UINT32_MAX

/* No text buffer grows beyond this many bytes, and no id buffer beyond this many ids. */
#define ENTRO_TEXT_LIMIT ((size_t)256 << 20)

/* Bytes, not NUL-terminated; `data` may be NULL while `size` is 0. */
struct entro_text {
    char *data;
    size_t size;
    size_t capacity;
};

struct entro_tokens {
    uint32_t *ids;
    size_t n;
    size_t capacity;
};

/* Room for `n_extra` more bytes. ENTRO_ERROR_NO_MEMORY, or ENTRO_ERROR_UNSUPPORTED beyond the limit; the
 * contents stay as they were. */
enum entro_error entro_text_reserve(struct entro_text *text, size_t n_extra, struct entro_message *message);
/* Appends `size` bytes. `bytes` must not point into `text`. Errors as above. */
enum entro_error entro_text_append(struct entro_text *text, const char *bytes, size_t size,
                                   struct entro_message *message);
/* Frees the bytes and makes `text` empty. */
void entro_text_free(struct entro_text *text);

/* Appends one id. Errors as above. */
enum entro_error entro_tokens_append(struct entro_tokens *tokens, uint32_t id, struct entro_message *message);
/* Frees the ids and makes `tokens` empty. */
void entro_tokens_free(struct entro_tokens *tokens);

/*
 * For any array: grows *array (of elements of `element_size` bytes) so that it holds `n_needed` of them,
 * doubling. ENTRO_ERROR_NO_MEMORY leaves array and capacity as they were. *array is owned by the caller and
 * freed with free().
 */
enum entro_error entro_grow(void **array, size_t *capacity, size_t n_needed, size_t element_size,
                            struct entro_message *message);

#endif
