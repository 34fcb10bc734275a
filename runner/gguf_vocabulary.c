/* The keys tokenizer.ggml.* of a GGUF; see gguf_vocabulary.h. Source: ggml-org/ggml docs/gguf.md,
 * "Tokenizer". */
#include "runner/gguf_vocabulary.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the vocabulary points to while the tokenizer is made. */
struct arrays {
    struct entro_vocab_string *tokens;
    struct entro_vocab_string *merges;
    float *scores;
    int32_t *types;
};

struct reader {
    const struct entro_gguf *gguf;
    const char *path;
    struct entro_message *message;
};

static const struct entro_gguf_pair *find(const struct reader *reader, const char *suffix)
{
    char key[64];
    snprintf(key, sizeof key, "tokenizer.ggml.%s", suffix);
    return entro_gguf_find(reader->gguf, key);
}

static enum entro_error bad(const struct reader *reader, const char *suffix)
{
    return entro_fail(reader->message, ENTRO_ERROR_FORMAT,
                      "%s: metadata \"tokenizer.ggml.%s\" is missing or not what it should be", reader->path,
                      suffix);
}

static enum entro_error no_memory(const struct reader *reader)
{
    return entro_fail(reader->message, ENTRO_ERROR_NO_MEMORY, "%s: no memory for the vocabulary",
                      reader->path);
}

static bool is_array(const struct entro_gguf_pair *pair)
{
    return pair != NULL && pair->type == ENTRO_GGUF_ARRAY && pair->n_elements <= ENTRO_TOKENIZER_MAX_TOKENS;
}

static enum entro_error read_strings(const struct reader *reader, const char *suffix,
                                     struct entro_vocab_string **out, size_t *n)
{
    const struct entro_gguf_pair *pair = find(reader, suffix);
    if (!is_array(pair))
        return bad(reader, suffix);
    *n = (size_t)pair->n_elements;
    enum entro_error error = ENTRO_OK;
    struct entro_gguf_string *strings = calloc(*n + 1, sizeof *strings);
    *out = calloc(*n + 1, sizeof **out);
    if (strings == NULL || *out == NULL)
        error = no_memory(reader);
    else if (!entro_gguf_strings(pair, strings))
        error = bad(reader, suffix);
    for (size_t i = 0; error == ENTRO_OK && i < *n; i++)
        (*out)[i] = (struct entro_vocab_string){.data = strings[i].text, .size = strings[i].size_bytes};
    free(strings);
    return error;
}

static enum entro_error read_scores(const struct reader *reader, size_t n, float **out)
{
    const struct entro_gguf_pair *pair = find(reader, "scores");
    if (pair == NULL)
        return ENTRO_OK;
    if (!is_array(pair) || pair->n_elements != n)
        return bad(reader, "scores");
    enum entro_error error = ENTRO_OK;
    double *numbers = calloc(n + 1, sizeof *numbers);
    *out = calloc(n + 1, sizeof **out);
    if (numbers == NULL || *out == NULL)
        error = no_memory(reader);
    else if (!entro_gguf_numbers(pair, numbers))
        error = bad(reader, "scores");
    for (size_t i = 0; error == ENTRO_OK && i < n; i++)
        (*out)[i] = (float)numbers[i];
    free(numbers);
    return error;
}

static enum entro_error read_types(const struct reader *reader, size_t n, int32_t **out)
{
    const struct entro_gguf_pair *pair = find(reader, "token_type");
    if (pair == NULL)
        return ENTRO_OK;
    if (!is_array(pair) || pair->n_elements != n)
        return bad(reader, "token_type");
    enum entro_error error = ENTRO_OK;
    int64_t *numbers = calloc(n + 1, sizeof *numbers);
    *out = calloc(n + 1, sizeof **out);
    if (numbers == NULL || *out == NULL)
        error = no_memory(reader);
    else if (!entro_gguf_integers(pair, numbers))
        error = bad(reader, "token_type");
    for (size_t i = 0; error == ENTRO_OK && i < n; i++)
        if (numbers[i] < INT32_MIN || numbers[i] > INT32_MAX)
            error = bad(reader, "token_type");
        else
            (*out)[i] = (int32_t)numbers[i];
    free(numbers);
    return error;
}

static struct entro_vocab_string read_text(const struct reader *reader, const char *suffix)
{
    const struct entro_gguf_pair *pair = find(reader, suffix);
    struct entro_gguf_string text;
    if (pair == NULL || !entro_gguf_text(pair, &text))
        return (struct entro_vocab_string){0};
    return (struct entro_vocab_string){.data = text.text, .size = text.size_bytes};
}

static uint32_t read_id(const struct reader *reader, const char *suffix)
{
    const struct entro_gguf_pair *pair = find(reader, suffix);
    int64_t id;
    return pair == NULL || !entro_gguf_integer(pair, &id) || id < 0 || id >= UINT32_MAX ? ENTRO_TOKEN_NONE
                                                                                        : (uint32_t)id;
}

static enum entro_vocab_choice read_choice(const struct reader *reader, const char *suffix)
{
    const struct entro_gguf_pair *pair = find(reader, suffix);
    int64_t value;
    if (pair == NULL || !entro_gguf_integer(pair, &value))
        return ENTRO_VOCAB_UNSAID;
    return value != 0 ? ENTRO_VOCAB_YES : ENTRO_VOCAB_NO;
}

static enum entro_error read_arrays(const struct reader *reader, struct arrays *arrays,
                                    struct entro_tokenizer_vocab *vocabulary)
{
    enum entro_error error;
    if ((error = read_strings(reader, "tokens", &arrays->tokens, &vocabulary->n_tokens)) != ENTRO_OK ||
        (error = read_scores(reader, vocabulary->n_tokens, &arrays->scores)) != ENTRO_OK ||
        (error = read_types(reader, vocabulary->n_tokens, &arrays->types)) != ENTRO_OK)
        return error;
    if (find(reader, "merges") != NULL &&
        (error = read_strings(reader, "merges", &arrays->merges, &vocabulary->n_merges)) != ENTRO_OK)
        return error;
    vocabulary->tokens = arrays->tokens;
    vocabulary->scores = arrays->scores;
    vocabulary->types = arrays->types;
    vocabulary->merges = arrays->merges;
    return ENTRO_OK;
}

/* Phi-3, of those models whose tokenizer comes from SentencePiece. */
static bool is_phi3(const struct reader *reader, struct entro_vocab_string model)
{
    struct entro_gguf_string architecture;
    const struct entro_gguf_pair *pair = entro_gguf_find(reader->gguf, "general.architecture");
    return pair != NULL && entro_gguf_text(pair, &architecture) && architecture.size_bytes == 4 &&
           memcmp(architecture.text, "phi3", 4) == 0 && model.size == 5 &&
           memcmp(model.data, "llama", 5) == 0;
}

enum entro_error entro_tokenizer_from_gguf(struct entro_tokenizer **out, const struct entro_gguf *gguf,
                                           const char *path, struct entro_message *message)
{
    const struct reader reader = {.gguf = gguf, .path = path, .message = message};
    struct arrays arrays = {0};
    struct entro_tokenizer_vocab vocabulary = {
        .model = read_text(&reader, "model"),
        .pre = read_text(&reader, "pre"),
        .bos_id = read_id(&reader, "bos_token_id"),
        .eos_id = read_id(&reader, "eos_token_id"),
        .unknown_id = read_id(&reader, "unknown_token_id"),
        .add_bos = read_choice(&reader, "add_bos_token"),
        .add_eos = read_choice(&reader, "add_eos_token"),
        .add_space_prefix = read_choice(&reader, "add_space_prefix"),
    };
    vocabulary.markers_take_space = is_phi3(&reader, vocabulary.model);
    struct entro_message inner = {.text = ""};
    *out = NULL;
    enum entro_error error = read_arrays(&reader, &arrays, &vocabulary);
    if (error == ENTRO_OK)
        error = entro_tokenizer_from_vocab(out, &vocabulary, &inner);
    if (error != ENTRO_OK && inner.text[0] != '\0')
        entro_fail(message, error, "%.200s: %.700s", path, inner.text);
    free(arrays.tokens);
    free(arrays.merges);
    free(arrays.scores);
    free(arrays.types);
    return error;
}
