/*
 * For the tests that compare with other programs: tokenize_texts FILE reads texts from the standard input, a
 * JSON string a line, and prints for each a line of JSON: the ids with special tokens read as such, also with
 * the template around them, also with special tokens read as text, and what the first decode to token by
 * token. FILE is a tokenizer.json, a tokenizer.model or a GGUF file, known by the ends of their names.
 */
#include "codec/models/gguf.h"
#include "runner/file.h"
#include "runner/gguf_vocabulary.h"
#include "runner/sentencepiece.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);
    return size >= strlen(end) && strcmp(text + size - strlen(end), end) == 0;
}

static enum entro_error open_gguf(struct entro_tokenizer **out, const char *path,
                                  struct entro_message *message)
{
    struct entro_gguf gguf;
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0)
        return entro_fail(message, ENTRO_ERROR_IO, "%s: cannot be read", path);
    enum entro_error error = entro_gguf_open(&gguf, fd, (uint64_t)status.st_size, path, message);
    close(fd);
    if (error != ENTRO_OK)
        return error;
    error = entro_tokenizer_from_gguf(out, &gguf, path, message);
    entro_gguf_free(&gguf);
    return error;
}

static enum entro_error open_tokenizer(struct entro_tokenizer **out, const char *path,
                                       struct entro_message *message)
{
    char *bytes;
    size_t size_bytes;
    if (ends_with(path, ".gguf"))
        return open_gguf(out, path, message);
    enum entro_error error = entro_read_text_file(AT_FDCWD, NULL, path, &bytes, &size_bytes, message);
    if (error != ENTRO_OK)
        return error;
    error = ends_with(path, ".model")
                ? entro_tokenizer_from_sentencepiece(out, bytes, size_bytes, NULL, 0, message)
                : entro_tokenizer_from_json(out, bytes, size_bytes, message);
    free(bytes);
    return error;
}

/* The ids, with what they decode to in *decoded unless NULL. */
static json_t *encode(const struct entro_tokenizer *tokenizer, const json_t *text, unsigned flags,
                      json_t **decoded)
{
    struct entro_tokens tokens = {0};
    struct entro_message message = {""};
    if (entro_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), flags, &tokens,
                               &message) != ENTRO_OK)
        return json_string(message.text);
    json_t *ids = json_array();
    for (size_t i = 0; i < tokens.n; i++)
        json_array_append_new(ids, json_integer(tokens.ids[i]));
    if (decoded != NULL) {
        struct entro_text out = {0};
        struct entro_token_decoder decoder;
        entro_token_decoder_start(&decoder, tokenizer, 0);
        for (size_t i = 0; i < tokens.n; i++)
            entro_token_decoder_next(&decoder, tokens.ids[i], &out, NULL);
        entro_token_decoder_finish(&decoder, &out, NULL);
        *decoded = json_stringn(out.size > 0 ? out.data : "", out.size);
        entro_text_free(&out);
    }
    entro_tokens_free(&tokens);
    return ids;
}

static int print_one(const struct entro_tokenizer *tokenizer, const char *line)
{
    json_error_t reason;
    json_t *decoded = NULL;
    json_t *text = json_loads(line, JSON_DECODE_ANY | JSON_ALLOW_NUL, &reason);
    if (!json_is_string(text)) {
        fprintf(stderr, "not a JSON string: %s\n", line);
        json_decref(text);
        return 1;
    }
    json_t *ids = encode(tokenizer, text, ENTRO_ENCODE_SPECIAL, &decoded);
    json_t *all = json_pack("{s:o, s:o, s:o, s:o*}", "ids", ids, "template",
                            encode(tokenizer, text, ENTRO_ENCODE_SPECIAL | ENTRO_ENCODE_TEMPLATE, NULL),
                            "plain", encode(tokenizer, text, 0, NULL), "decoded", decoded);
    int status = json_dumpf(all, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    putchar('\n');
    json_decref(all);
    json_decref(text);
    return status;
}

int main(int argc, char **argv)
{
    struct entro_tokenizer *tokenizer = NULL;
    struct entro_message message = {""};
    if (argc != 2) {
        fprintf(stderr, "usage: tokenize_texts FILE <TEXTS\n");
        return 2;
    }
    if (open_tokenizer(&tokenizer, argv[1], &message) != ENTRO_OK) {
        fprintf(stderr, "%s\n", message.text);
        return 1;
    }
    char *line = NULL;
    size_t capacity = 0;
    int status = 0;
    while (status == 0 && getline(&line, &capacity, stdin) > 0)
        status = print_one(tokenizer, line);
    free(line);
    entro_tokenizer_destroy(tokenizer);
    return status != 0;
}
