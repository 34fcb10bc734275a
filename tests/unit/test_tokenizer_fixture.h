/* What the tests of the tokenizer share: reading the tokenizers of tests/data, encoding and decoding with no
 * error expected. */
#ifndef ENTRO_TEST_TOKENIZER_FIXTURE_H
#define ENTRO_TEST_TOKENIZER_FIXTURE_H

#include "runner/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A file below tests/data, whole; freed with entro_text_free. */
static inline struct entro_text fixture_read(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", ENTRO_TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    struct entro_text text = {0};
    char part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof part, file)) > 0)
        assert_int_equal(entro_text_append(&text, part, n, NULL), ENTRO_OK);
    fclose(file);
    return text;
}

static inline struct entro_tokenizer *fixture_from_text(const char *json)
{
    struct entro_tokenizer *tokenizer = NULL;
    struct entro_message message = {""};
    if (entro_tokenizer_from_json(&tokenizer, json, strlen(json), &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    return tokenizer;
}

static inline struct entro_tokenizer *fixture_load(const char *name)
{
    struct entro_text text = fixture_read(name);
    struct entro_tokenizer *tokenizer = NULL;
    assert_int_equal(entro_tokenizer_from_json(&tokenizer, text.data, text.size, NULL), ENTRO_OK);
    entro_text_free(&text);
    return tokenizer;
}

static inline struct entro_tokens fixture_encode(const struct entro_tokenizer *tokenizer, const char *text,
                                                 size_t size, unsigned flags)
{
    struct entro_tokens tokens = {0};
    struct entro_message message = {""};
    if (entro_tokenizer_encode(tokenizer, text, size, flags, &tokens, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    return tokens;
}

/* The decoded text is `expected`. */
static inline void fixture_check_decoded(const struct entro_tokenizer *tokenizer, const uint32_t *ids,
                                         size_t n, unsigned flags, const char *expected)
{
    struct entro_text text = {0};
    struct entro_token_decoder decoder;
    entro_token_decoder_start(&decoder, tokenizer, flags);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(entro_token_decoder_next(&decoder, ids[i], &text, NULL), ENTRO_OK);
    assert_int_equal(entro_token_decoder_finish(&decoder, &text, NULL), ENTRO_OK);
    assert_int_equal(entro_text_append(&text, "", 1, NULL), ENTRO_OK);
    assert_string_equal(text.data, expected);
    entro_text_free(&text);
}

#endif
