/*
 * A tokenizer from a Hugging Face tokenizer.json: the file as a whole, its model and its added tokens. The
 * components around the model are read in tokenizer_json_steps.c and tokenizer_json_output.c.
 */
#include "runner/tokenizer_json_internal.h"
#include "runner/tokenizer_utf8.h"

#include <string.h>

/* Ids may have holes, but not so that a small file asks for large tables. */
#define MAX_ID_GAP ((uint64_t)1 << 16)

enum entro_error entro_json_bool(const json_t *object, const char *what, const char *name, bool *value,
                                 struct entro_message *message)
{
    const json_t *member = json_object_get(object, name);
    if (member == NULL || json_is_null(member))
        return ENTRO_OK;
    if (!json_is_boolean(member))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"%s\" is neither true nor false",
                          what, name);
    *value = json_is_true(member);
    return ENTRO_OK;
}

enum entro_error entro_json_string(const json_t *object, const char *what, const char *name,
                                   const char **text, size_t *size, struct entro_message *message)
{
    *text = NULL;
    *size = 0;
    const json_t *member = json_object_get(object, name);
    if (member == NULL || json_is_null(member))
        return ENTRO_OK;
    if (!json_is_string(member))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"%s\" is not a string", what,
                          name);
    *text = json_string_value(member);
    *size = json_string_length(member);
    return ENTRO_OK;
}

enum entro_error entro_json_need_string(const json_t *object, const char *what, const char *name,
                                        const char **text, size_t *size, struct entro_message *message)
{
    enum entro_error error = entro_json_string(object, what, name, text, size, message);
    if (error == ENTRO_OK && *text == NULL)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"%s\" is missing", what, name);
    return error;
}

enum entro_error entro_json_need_character(const json_t *object, const char *what, const char *name,
                                           const char **text, size_t *size, struct entro_message *message)
{
    enum entro_error error = entro_json_need_string(object, what, name, text, size, message);
    if (error == ENTRO_OK && (*size == 0 || entro_utf8_length((*text)[0]) != *size))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"%s\" is not one character",
                          what, name);
    return error;
}

enum entro_error entro_json_need_integer(const json_t *object, const char *what, const char *name,
                                         uint64_t limit, uint64_t *value, struct entro_message *message)
{
    const json_t *member = json_object_get(object, name);
    if (!json_is_integer(member))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"%s\" is missing or no integer",
                          what, name);
    json_int_t number = json_integer_value(member);
    if (number < 0 || (uint64_t)number > limit)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"%s\" is %lld, out of range",
                          what, name, (long long)number);
    *value = (uint64_t)number;
    return ENTRO_OK;
}

/* Those of the model's options that change what it gives and are not known here. */
static enum entro_error check_model(const json_t *model, struct entro_message *message)
{
    const char *type;
    size_t size;
    enum entro_error error = entro_json_string(model, "model", "type", &type, &size, message);
    if (error != ENTRO_OK)
        return error;
    /* Old files leave the type out. */
    if (type != NULL && strcmp(type, "BPE") != 0)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "tokenizer.json: a model of type \"%.100s\" is not supported (BPE is)", type);
    const json_t *dropout = json_object_get(model, "dropout");
    if (dropout != NULL && !json_is_null(dropout) &&
        !(json_is_number(dropout) && json_number_value(dropout) == 0.0))
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "tokenizer.json: model: \"dropout\" is not supported");
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++) {
        const char *affix;
        error = entro_json_string(model, "model", affixes[i], &affix, &size, message);
        if (error != ENTRO_OK)
            return error;
        if (size > 0)
            return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                              "tokenizer.json: model: \"%s\" is not supported", affixes[i]);
    }
    return ENTRO_OK;
}

/* Raises *highest to the highest of the ids; all are integers in range afterwards. */
static enum entro_error check_ids(json_t *vocabulary, const json_t *added, uint64_t *highest,
                                  struct entro_message *message)
{
    const char *text;
    json_t *id;
    json_object_foreach(vocabulary, text, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "tokenizer.json: model: the id of \"%.100s\" is no token id", text);
        if ((uint64_t)json_integer_value(id) > *highest)
            *highest = (uint64_t)json_integer_value(id);
    }
    size_t index;
    const json_t *token;
    json_array_foreach(added, index, token)
    {
        uint64_t value = 0;
        if (!json_is_object(token))
            return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: added token %zu is not an object",
                              index);
        enum entro_error error =
            entro_json_need_integer(token, "added token", "id", INT64_MAX, &value, message);
        if (error != ENTRO_OK)
            return error;
        if (value > *highest)
            *highest = value;
    }
    uint64_t n = json_object_size(vocabulary) + json_array_size(added);
    if (*highest >= ENTRO_TOKENIZER_MAX_TOKENS || *highest > n + MAX_ID_GAP)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: token id %llu is out of range",
                          (unsigned long long)*highest);
    return ENTRO_OK;
}

static enum entro_error read_vocabulary(struct entro_bpe *bpe, json_t *vocabulary,
                                        struct entro_message *message)
{
    const char *text;
    json_t *id;
    uint64_t n_ids = 0;
    json_object_foreach(vocabulary, text, id)
    {
        if ((uint64_t)json_integer_value(id) >= n_ids)
            n_ids = (uint64_t)json_integer_value(id) + 1;
    }
    enum entro_error error = entro_bpe_init(bpe, (size_t)n_ids, message);
    if (error != ENTRO_OK)
        return error;
    json_object_foreach(vocabulary, text, id)
    {
        error = entro_bpe_set_token(bpe, (uint64_t)json_integer_value(id), text, strlen(text), message);
        if (error != ENTRO_OK)
            return error;
    }
    return ENTRO_OK;
}

/* "left right" in old files, ["left", "right"] in new ones. */
static enum entro_error read_merge(struct entro_bpe *bpe, size_t rank, const json_t *merge,
                                   struct entro_message *message)
{
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        const json_t *left = json_array_get(merge, 0);
        const json_t *right = json_array_get(merge, 1);
        if (json_is_string(left) && json_is_string(right))
            return entro_bpe_set_merge(bpe, (uint32_t)rank, json_string_value(left), json_string_length(left),
                                       json_string_value(right), json_string_length(right), message);
    } else if (json_is_string(merge)) {
        const char *text = json_string_value(merge);
        size_t size = json_string_length(merge);
        const char *space = memchr(text, ' ', size);
        if (space != NULL && memchr(space + 1, ' ', size - (size_t)(space + 1 - text)) == NULL)
            return entro_bpe_set_merge(bpe, (uint32_t)rank, text, (size_t)(space - text), space + 1,
                                       size - (size_t)(space + 1 - text), message);
    }
    return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: model: merge %zu is not a pair of texts",
                      rank);
}

static enum entro_error read_model(struct entro_bpe *bpe, const json_t *model, struct entro_message *message)
{
    json_t *vocabulary = json_object_get(model, "vocab");
    const json_t *merges = json_object_get(model, "merges");
    enum entro_error error = read_vocabulary(bpe, vocabulary, message);
    if (error != ENTRO_OK)
        return error;
    if (!json_is_array(merges))
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "tokenizer.json: model: \"merges\" is missing or no list");
    error = entro_bpe_index(bpe, json_array_size(merges), message);
    size_t rank;
    const json_t *merge;
    json_array_foreach(merges, rank, merge)
    {
        if (error != ENTRO_OK)
            break;
        error = read_merge(bpe, rank, merge, message);
    }
    if (error == ENTRO_OK)
        error = entro_json_bool(model, "model", "fuse_unk", &bpe->fuse_unknown, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(model, "model", "byte_fallback", &bpe->byte_fallback, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(model, "model", "ignore_merges", &bpe->ignore_merges, message);
    return error;
}

static enum entro_error read_added_token(struct entro_tokenizer *tokenizer, const json_t *json,
                                         struct entro_message *message)
{
    static const char what[] = "added token";
    struct entro_added_token token = {.normalized = true};
    uint64_t id = 0;
    const char *text = NULL;
    size_t size = 0;
    enum entro_error error =
        entro_json_need_integer(json, what, "id", ENTRO_TOKENIZER_MAX_TOKENS - 1, &id, message);
    if (error == ENTRO_OK)
        error = entro_json_need_string(json, what, "content", &text, &size, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(json, what, "special", &token.special, message);
    token.normalized = !token.special;
    if (error == ENTRO_OK)
        error = entro_json_bool(json, what, "normalized", &token.normalized, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(json, what, "lstrip", &token.lstrip, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(json, what, "rstrip", &token.rstrip, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(json, what, "single_word", &token.single_word, message);
    if (error != ENTRO_OK)
        return error;

    uint32_t in_vocabulary = entro_bpe_find(&tokenizer->bpe, text, size);
    size_t other_size;
    const char *other = entro_bpe_token_text(&tokenizer->bpe, (uint32_t)id, &other_size);
    bool text_agrees = in_vocabulary == ENTRO_TOKEN_NONE || in_vocabulary == id;
    bool id_agrees = other == NULL || in_vocabulary == id;
    if (!text_agrees || !id_agrees)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "tokenizer.json: added token \"%.100s\" with id %llu contradicts the vocabulary",
                          text, (unsigned long long)id);
    token.id = (uint32_t)id;
    return entro_added_add(&tokenizer->added, token, text, size, message);
}

static enum entro_error read_unknown(struct entro_tokenizer *tokenizer, const json_t *model,
                                     struct entro_message *message)
{
    const char *text;
    size_t size;
    enum entro_error error = entro_json_string(model, "model", "unk_token", &text, &size, message);
    if (error != ENTRO_OK || text == NULL)
        return error;
    tokenizer->bpe.unknown_id = entro_tokenizer_find(tokenizer, text, size);
    if (tokenizer->bpe.unknown_id == ENTRO_TOKEN_NONE)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "tokenizer.json: the unknown token \"%.100s\" is not in the vocabulary", text);
    return ENTRO_OK;
}

static enum entro_error read_tokenizer(struct entro_tokenizer *tokenizer, const json_t *root,
                                       struct entro_message *message)
{
    const json_t *model = json_object_get(root, "model");
    const json_t *added = json_object_get(root, "added_tokens");
    if (!json_is_object(model))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: \"model\" is missing or no object");
    if (added != NULL && !json_is_null(added) && !json_is_array(added))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: \"added_tokens\" is not a list");
    enum entro_error error = check_model(model, message);
    if (error != ENTRO_OK)
        return error;
    json_t *vocabulary = json_object_get(model, "vocab");
    if (!json_is_object(vocabulary) || json_object_size(vocabulary) == 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "tokenizer.json: model: \"vocab\" is missing, empty or no object");
    uint64_t highest = 0;
    error = check_ids(vocabulary, added, &highest, message);
    tokenizer->n_ids = (size_t)highest + 1;
    if (error == ENTRO_OK)
        error = read_model(&tokenizer->bpe, model, message);

    size_t index;
    const json_t *token;
    json_array_foreach(added, index, token)
    {
        if (error != ENTRO_OK)
            return error;
        error = read_added_token(tokenizer, token, message);
    }
    if (error == ENTRO_OK)
        error = entro_added_sort(&tokenizer->added, message);
    if (error == ENTRO_OK)
        error = read_unknown(tokenizer, model, message);
    if (error == ENTRO_OK)
        error =
            entro_json_read_normalizer(&tokenizer->normalizer, json_object_get(root, "normalizer"), message);
    if (error == ENTRO_OK)
        error = entro_json_read_pre_tokenizer(&tokenizer->pre_tokenizer,
                                              json_object_get(root, "pre_tokenizer"), message);
    if (error == ENTRO_OK)
        error = entro_json_read_post_processor(tokenizer, json_object_get(root, "post_processor"), message);
    if (error == ENTRO_OK)
        error = entro_json_read_decoder(&tokenizer->decoding, json_object_get(root, "decoder"), message);
    if (error == ENTRO_OK)
        error = entro_tokenizer_finish(tokenizer, message);
    return error;
}

enum entro_error entro_tokenizer_from_json(struct entro_tokenizer **out, const char *text, size_t size,
                                           struct entro_message *message)
{
    *out = NULL;
    if (size > ENTRO_TOKENIZER_JSON_LIMIT)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json has %zu bytes; at most %zu are read",
                          size, ENTRO_TOKENIZER_JSON_LIMIT);
    json_error_t reason;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &reason);
    if (root == NULL)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: line %d: %s", reason.line,
                          reason.text);
    enum entro_error error = ENTRO_OK;
    struct entro_tokenizer *tokenizer = NULL;
    if (!json_is_object(root)) {
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json is not an object");
        goto out;
    }
    tokenizer = entro_tokenizer_new(message);
    if (tokenizer == NULL) {
        error = ENTRO_ERROR_NO_MEMORY;
        goto out;
    }
    error = read_tokenizer(tokenizer, root, message);
    if (error == ENTRO_OK) {
        *out = tokenizer;
        tokenizer = NULL;
    }
out:
    entro_tokenizer_destroy(tokenizer);
    json_decref(root);
    return error;
}
