/* tokenizer_config.json beside a tokenizer.model: the tokens that a model adds to the vocabulary, and what
 * goes around a text. The other members are for other readers. */
#include "runner/sentencepiece_internal.h"

#include <jansson.h>
#include <stdlib.h>

#define MAX_ADDED ((size_t)64 << 10)

static enum entro_error damaged(const char *what, struct entro_message *message)
{
    return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer_config.json: %s", what);
}

/* Absent and null are unsaid. */
static enum entro_error read_choice(const json_t *object, const char *name, enum entro_vocab_choice *choice,
                                    struct entro_message *message)
{
    const json_t *member = json_object_get(object, name);
    *choice = ENTRO_VOCAB_UNSAID;
    if (member == NULL || json_is_null(member))
        return ENTRO_OK;
    if (!json_is_boolean(member))
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "tokenizer_config.json: \"%s\" is neither true nor false", name);
    *choice = json_is_true(member) ? ENTRO_VOCAB_YES : ENTRO_VOCAB_NO;
    return ENTRO_OK;
}

static enum entro_error read_flag(const json_t *object, const char *name, bool otherwise, bool *flag,
                                  struct entro_message *message)
{
    enum entro_vocab_choice choice;
    enum entro_error error = read_choice(object, name, &choice, message);
    *flag = choice == ENTRO_VOCAB_UNSAID ? otherwise : choice == ENTRO_VOCAB_YES;
    return error;
}

static bool read_id(const char *text, uint32_t *id)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end != '\0' || value >= ENTRO_TOKENIZER_MAX_TOKENS)
        return false;
    *id = (uint32_t)value;
    return true;
}

static enum entro_error read_added(const char *key, const json_t *json, struct entro_vocab_added *added,
                                   struct entro_message *message)
{
    const json_t *content = json_object_get(json, "content");
    if (!read_id(key, &added->id) || !json_is_string(content))
        return damaged("an added token has no id or no content", message);
    added->text = (struct entro_vocab_string){json_string_value(content), json_string_length(content)};
    enum entro_error error = read_flag(json, "special", false, &added->special, message);
    if (error == ENTRO_OK)
        error = read_flag(json, "lstrip", false, &added->lstrip, message);
    if (error == ENTRO_OK)
        error = read_flag(json, "rstrip", false, &added->rstrip, message);
    if (error == ENTRO_OK)
        error = read_flag(json, "single_word", false, &added->single_word, message);
    if (error == ENTRO_OK)
        error = read_flag(json, "normalized", !added->special, &added->normalized, message);
    return error;
}

static enum entro_error read_all_added(struct entro_sentencepiece_config *config, json_t *decoder,
                                       struct entro_message *message)
{
    if (decoder == NULL || json_is_null(decoder))
        return ENTRO_OK;
    size_t n = json_object_size(decoder);
    if (!json_is_object(decoder) || n > MAX_ADDED)
        return damaged("\"added_tokens_decoder\" is no object, or too large", message);
    config->added = calloc(n > 0 ? n : 1, sizeof *config->added);
    if (config->added == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory: %zu added tokens", n);
    const char *key;
    json_t *json;
    json_object_foreach(decoder, key, json)
    {
        enum entro_error error = read_added(key, json, &config->added[config->n_added], message);
        if (error != ENTRO_OK)
            return error;
        config->n_added++;
    }
    return ENTRO_OK;
}

enum entro_error entro_sentencepiece_read_config(struct entro_sentencepiece_config *config, const char *text,
                                                 size_t size, struct entro_message *message)
{
    json_error_t reason;
    config->json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &reason);
    if (config->json == NULL)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer_config.json:%d: %s", reason.line,
                          reason.text);
    if (!json_is_object(config->json))
        return damaged("not an object", message);
    enum entro_vocab_choice legacy;
    enum entro_error error = read_choice(config->json, "legacy", &legacy, message);
    config->not_legacy = legacy == ENTRO_VOCAB_NO;
    if (error == ENTRO_OK)
        error = read_choice(config->json, "add_bos_token", &config->add_bos, message);
    if (error == ENTRO_OK)
        error = read_choice(config->json, "add_eos_token", &config->add_eos, message);
    return error == ENTRO_OK
               ? read_all_added(config, json_object_get(config->json, "added_tokens_decoder"), message)
               : error;
}

void entro_sentencepiece_free_config(struct entro_sentencepiece_config *config)
{
    free(config->added);
    json_decref(config->json);
}
