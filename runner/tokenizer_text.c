/* Growable bytes and token ids; see tokenizer_text.h. */
#include "runner/tokenizer_text.h"

#include <stdlib.h>
#include <string.h>

enum entro_error entro_grow(void **array, size_t *capacity, size_t n_needed, size_t element_size,
                            struct entro_message *message)
{
    if (n_needed <= *capacity)
        return ENTRO_OK;
    size_t larger = *capacity < 16 ? 16 : *capacity;
    while (larger < n_needed) {
        if (__builtin_mul_overflow(larger, (size_t)2, &larger))
            return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: an array of %zu elements",
                              n_needed);
    }
    void *moved = reallocarray(*array, larger, element_size);
    if (moved == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: an array of %zu elements",
                          n_needed);
    *array = moved;
    *capacity = larger;
    return ENTRO_OK;
}

enum entro_error entro_text_reserve(struct entro_text *text, size_t n_extra, struct entro_message *message)
{
    if (n_extra > ENTRO_TEXT_LIMIT - text->size)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "a text grows beyond %zu bytes",
                          ENTRO_TEXT_LIMIT);
    void *data = text->data;
    enum entro_error error = entro_grow(&data, &text->capacity, text->size + n_extra, 1, message);
    text->data = data;
    return error;
}

enum entro_error entro_text_append(struct entro_text *text, const char *bytes, size_t size,
                                   struct entro_message *message)
{
    if (size == 0)
        return ENTRO_OK;
    enum entro_error error = entro_text_reserve(text, size, message);
    if (error != ENTRO_OK)
        return error;
    memcpy(text->data + text->size, bytes, size);
    text->size += size;
    return ENTRO_OK;
}

void entro_text_free(struct entro_text *text)
{
    free(text->data);
    *text = (struct entro_text){0};
}

enum entro_error entro_tokens_append(struct entro_tokens *tokens, uint32_t id, struct entro_message *message)
{
    if (tokens->n == ENTRO_TEXT_LIMIT)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "a text has more than %zu tokens",
                          ENTRO_TEXT_LIMIT);
    void *ids = tokens->ids;
    enum entro_error error = entro_grow(&ids, &tokens->capacity, tokens->n + 1, sizeof *tokens->ids, message);
    tokens->ids = ids;
    if (error == ENTRO_OK)
        tokens->ids[tokens->n++] = id;
    return error;
}

void entro_tokens_free(struct entro_tokens *tokens)
{
    free(tokens->ids);
    *tokens = (struct entro_tokens){0};
}
