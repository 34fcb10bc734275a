/* Post-processors and decoders of tokenizer.json; what is not known is refused by its name. */
#include "runner/tokenizer_json_internal.h"
#include "runner/tokenizer_utf8.h"

#include <string.h>

/* Appends the ids of a template's special token. */
static enum entro_error read_template_token(const struct entro_tokenizer *tokenizer, const json_t *specials,
                                            const json_t *piece, struct entro_tokens *out,
                                            struct entro_message *message)
{
    static const char what[] = "post_processor TemplateProcessing";
    const char *name = NULL;
    size_t size = 0;
    enum entro_error error = entro_json_need_string(piece, what, "id", &name, &size, message);
    if (error != ENTRO_OK)
        return error;
    const json_t *ids = json_object_get(json_object_get(specials, name), "ids");
    if (!json_is_array(ids))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"%.100s\" has no ids", what,
                          name);
    size_t index;
    const json_t *id;
    json_array_foreach(ids, index, id)
    {
        json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || (uint64_t)value >= tokenizer->n_ids ||
            entro_tokenizer_token_text(tokenizer, (uint32_t)value, &size) == NULL)
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "tokenizer.json: %s: \"%.100s\" has an id that is no token", what, name);
        error = entro_tokens_append(out, (uint32_t)value, message);
        if (error != ENTRO_OK)
            return error;
    }
    return ENTRO_OK;
}

/* What `single` puts before and after the text. */
static enum entro_error read_template(struct entro_tokenizer *tokenizer, const json_t *json,
                                      struct entro_message *message)
{
    static const char what[] = "post_processor TemplateProcessing";
    const json_t *single = json_object_get(json, "single");
    const json_t *specials = json_object_get(json, "special_tokens");
    if (tokenizer->prefix.n > 0 || tokenizer->suffix.n > 0)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "tokenizer.json: two TemplateProcessing are not supported");
    if (!json_is_array(single))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"single\" is missing or no list",
                          what);
    if (json_array_size(single) > 64)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"single\" has too many members",
                          what);
    unsigned n_texts = 0;
    size_t index;
    const json_t *piece;
    json_array_foreach(single, index, piece)
    {
        const json_t *special = json_object_get(piece, "SpecialToken");
        const json_t *sequence = json_object_get(piece, "Sequence");
        if (json_is_object(sequence)) {
            n_texts++;
        } else if (json_is_object(special)) {
            enum entro_error error =
                read_template_token(tokenizer, specials, special,
                                    n_texts == 0 ? &tokenizer->prefix : &tokenizer->suffix, message);
            if (error != ENTRO_OK)
                return error;
        } else {
            return entro_fail(
                message, ENTRO_ERROR_FORMAT,
                "tokenizer.json: %s: \"single\" has a member that is neither a Sequence nor a SpecialToken",
                what);
        }
    }
    if (n_texts != 1)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"single\" has the text %u times",
                          what, n_texts);
    return ENTRO_OK;
}

static enum entro_error read_post_processor(void *context, const json_t *json, unsigned depth,
                                            struct entro_message *message)
{
    static const char what[] = "post_processor";
    struct entro_tokenizer *tokenizer = context;
    const char *type = NULL;
    size_t size = 0;
    enum entro_error error = entro_json_need_string(json, what, "type", &type, &size, message);
    if (error != ENTRO_OK)
        return error;
    if (strcmp(type, "Sequence") == 0)
        return entro_json_read_sequence(json, what, "processors", read_post_processor, tokenizer, depth,
                                        message);
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(tokenizer, json, message);
    if (strcmp(type, "ByteLevel") == 0)
        return ENTRO_OK; /* it corrects offsets, of which there are none here */
    return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                      "tokenizer.json: a post-processor of type \"%.100s\" is not supported", type);
}

enum entro_error entro_json_read_post_processor(struct entro_tokenizer *tokenizer, const json_t *json,
                                                struct entro_message *message)
{
    if (json == NULL || json_is_null(json))
        return ENTRO_OK;
    enum entro_error error = read_post_processor(tokenizer, json, 0, message);
    if (tokenizer->prefix.n > 0)
        tokenizer->bos_id = tokenizer->prefix.ids[0];
    if (tokenizer->suffix.n > 0)
        tokenizer->eos_id = tokenizer->suffix.ids[tokenizer->suffix.n - 1];
    return error;
}

/* A decoder works on the list of tokens; to give text out token by token, the members of a sequence must come
 * in this order. */
enum stage { STAGE_REPLACE, STAGE_BYTES, STAGE_FUSED, STAGE_STRIPPED };

struct decoder_reading {
    struct entro_decoding *decoding;
    enum stage stage;
};

static enum entro_error advance(struct decoder_reading *reading, enum stage stage, const char *type,
                                struct entro_message *message)
{
    if (reading->stage > stage)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "tokenizer.json: a decoder %s in this place of a sequence is not supported", type);
    reading->stage = stage;
    return ENTRO_OK;
}

static enum entro_error read_strip(struct entro_decoding *decoding, const json_t *json,
                                   struct entro_message *message)
{
    static const char what[] = "decoder Strip";
    const char *text = NULL;
    size_t size = 0;
    uint64_t start = 0;
    uint64_t stop = 0;
    enum entro_error error = entro_json_need_character(json, what, "content", &text, &size, message);
    if (error == ENTRO_OK)
        error = entro_json_need_integer(json, what, "start", UINT32_MAX, &start, message);
    if (error == ENTRO_OK)
        error = entro_json_need_integer(json, what, "stop", UINT32_MAX, &stop, message);
    if (error != ENTRO_OK)
        return error;
    if (stop > 0)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "tokenizer.json: %s: stripping at the end is not supported", what);
    decoding->strip_code_point = entro_utf8_code_point(text);
    decoding->n_strip = (size_t)start;
    return ENTRO_OK;
}

static enum entro_error read_metaspace(struct entro_decoding *decoding, const json_t *json,
                                       struct entro_message *message)
{
    static const char what[] = "decoder Metaspace";
    const char *text = NULL;
    const char *scheme = NULL;
    size_t size = 0;
    size_t scheme_size = 0;
    bool add_prefix_space = true;
    enum entro_error error = entro_json_need_character(json, what, "replacement", &text, &size, message);
    if (error == ENTRO_OK)
        error = entro_json_string(json, what, "prepend_scheme", &scheme, &scheme_size, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(json, what, "add_prefix_space", &add_prefix_space, message);
    if (error != ENTRO_OK)
        return error;
    decoding->drops_first_metaspace = scheme != NULL ? strcmp(scheme, "never") != 0 : add_prefix_space;
    decoding->metaspace.size = 0;
    return entro_text_append(&decoding->metaspace, text, size, message);
}

static enum entro_error read_decoder(void *context, const json_t *json, unsigned depth,
                                     struct entro_message *message)
{
    static const char what[] = "decoder";
    struct decoder_reading *reading = context;
    struct entro_decoding *decoding = reading->decoding;
    const char *type = NULL;
    size_t size = 0;
    enum entro_error error = entro_json_need_string(json, what, "type", &type, &size, message);
    if (error != ENTRO_OK)
        return error;
    if (strcmp(type, "Sequence") == 0)
        return entro_json_read_sequence(json, what, "decoders", read_decoder, reading, depth, message);
    if (strcmp(type, "Replace") == 0) {
        const char *text = NULL;
        const char *content = NULL;
        size_t content_size = 0;
        bool literal = false;
        error = advance(reading, STAGE_REPLACE, type, message);
        if (error == ENTRO_OK)
            error = entro_json_pattern(json, "decoder Replace", &text, &size, &literal, message);
        if (error == ENTRO_OK)
            error =
                entro_json_need_string(json, "decoder Replace", "content", &content, &content_size, message);
        return error != ENTRO_OK ? error
                                 : entro_steps_add_replace(&decoding->replace, text, size, literal, content,
                                                           content_size, message);
    }
    if (strcmp(type, "ByteFallback") == 0) {
        decoding->byte_fallback = true;
        return advance(reading, STAGE_BYTES, type, message);
    }
    if (strcmp(type, "Fuse") == 0)
        return advance(reading, STAGE_FUSED, type, message);
    if (strcmp(type, "Strip") == 0) {
        /* Before Fuse it would strip every token. */
        if (reading->stage != STAGE_FUSED)
            return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                              "tokenizer.json: a decoder Strip is supported after Fuse only");
        reading->stage = STAGE_STRIPPED;
        return read_strip(decoding, json, message);
    }
    if (strcmp(type, "ByteLevel") == 0) {
        decoding->byte_level = true;
        return advance(reading, STAGE_BYTES, type, message);
    }
    if (strcmp(type, "Metaspace") == 0) {
        error = advance(reading, STAGE_BYTES, type, message);
        return error != ENTRO_OK ? error : read_metaspace(decoding, json, message);
    }
    return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                      "tokenizer.json: a decoder of type \"%.100s\" is not supported", type);
}

enum entro_error entro_json_read_decoder(struct entro_decoding *decoding, const json_t *json,
                                         struct entro_message *message)
{
    if (json == NULL || json_is_null(json)) {
        decoding->joined_by_spaces = true;
        return ENTRO_OK;
    }
    struct decoder_reading reading = {.decoding = decoding, .stage = STAGE_REPLACE};
    enum entro_error error = read_decoder(&reading, json, 0, message);
    if (error != ENTRO_OK)
        return error;
    /* Each of these rewrites whole tokens; two of them would see each other's output. */
    if (decoding->byte_level + decoding->byte_fallback + (decoding->metaspace.size > 0) > 1)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "tokenizer.json: this combination of decoders is not supported");
    if (decoding->replace.n > 0 && decoding->metaspace.size > 0)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "tokenizer.json: decoders Replace and Metaspace together are not supported");
    return ENTRO_OK;
}
