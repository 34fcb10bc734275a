/* Normalizers and pre-tokenizers of tokenizer.json, turned into steps; what is not known is refused by its
 * name. */
#include "runner/tokenizer_json_internal.h"

#include <string.h>

#define MAX_DEPTH 8

enum entro_error entro_json_read_sequence(const json_t *json, const char *what, const char *name,
                                          entro_json_reader read, void *context, unsigned depth,
                                          struct entro_message *message)
{
    const json_t *members = json_object_get(json, name);
    if (!json_is_array(members))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: \"%s\" is missing or no list",
                          what, name);
    if (depth >= MAX_DEPTH)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.json: %s: sequences are nested too deeply",
                          what);
    enum entro_error error = ENTRO_OK;
    size_t index;
    const json_t *member;
    json_array_foreach(members, index, member)
    {
        if (error != ENTRO_OK)
            break;
        error = read(context, member, depth + 1, message);
    }
    return error;
}

enum entro_error entro_json_pattern(const json_t *json, const char *what, const char **text, size_t *size,
                                    bool *literal, struct entro_message *message)
{
    const json_t *pattern = json_object_get(json, "pattern");
    const json_t *string = json_object_get(pattern, "String");
    const json_t *regex = json_object_get(pattern, "Regex");
    const json_t *chosen = string != NULL ? string : regex;
    if (!json_is_string(chosen) || json_object_size(pattern) != 1)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "tokenizer.json: %s: \"pattern\" has neither a String nor a Regex", what);
    *literal = string != NULL;
    *text = json_string_value(chosen);
    *size = json_string_length(chosen);
    return ENTRO_OK;
}

static enum entro_error add_form(struct entro_steps *steps, enum entro_normalization form,
                                 struct entro_message *message)
{
    return entro_steps_add(steps, (struct entro_step){.kind = ENTRO_STEP_NORMALIZE, .form = form}, message);
}

static enum entro_error read_normalizer(void *context, const json_t *json, unsigned depth,
                                        struct entro_message *message)
{
    static const char what[] = "normalizer";
    struct entro_steps *steps = context;
    const char *type = NULL;
    const char *text = NULL;
    const char *content = NULL;
    size_t size = 0;
    size_t content_size = 0;
    bool literal = false;
    enum entro_error error = entro_json_need_string(json, what, "type", &type, &size, message);
    if (error != ENTRO_OK)
        return error;
    if (strcmp(type, "Sequence") == 0)
        return entro_json_read_sequence(json, what, "normalizers", read_normalizer, steps, depth, message);
    if (strcmp(type, "Prepend") == 0) {
        error = entro_json_need_string(json, what, "prepend", &text, &size, message);
        return error != ENTRO_OK ? error
                                 : entro_steps_add_prefix(steps, text, size, ENTRO_PREFIX_ALWAYS, message);
    }
    if (strcmp(type, "Replace") == 0) {
        error = entro_json_pattern(json, what, &text, &size, &literal, message);
        if (error == ENTRO_OK)
            error = entro_json_need_string(json, what, "content", &content, &content_size, message);
        return error != ENTRO_OK
                   ? error
                   : entro_steps_add_replace(steps, text, size, literal, content, content_size, message);
    }
    if (strcmp(type, "NFC") == 0)
        return add_form(steps, ENTRO_NFC, message);
    if (strcmp(type, "NFD") == 0)
        return add_form(steps, ENTRO_NFD, message);
    if (strcmp(type, "NFKC") == 0)
        return add_form(steps, ENTRO_NFKC, message);
    if (strcmp(type, "NFKD") == 0)
        return add_form(steps, ENTRO_NFKD, message);
    return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                      "tokenizer.json: a normalizer of type \"%.100s\" is not supported", type);
}

enum entro_error entro_json_read_normalizer(struct entro_steps *steps, const json_t *json,
                                            struct entro_message *message)
{
    return json == NULL || json_is_null(json) ? ENTRO_OK : read_normalizer(steps, json, 0, message);
}

static enum entro_error read_split(struct entro_steps *steps, const json_t *json,
                                   struct entro_message *message)
{
    static const char what[] = "pre_tokenizer Split";
    static const struct {
        const char *name;
        enum entro_split_behavior behavior;
    } behaviors[] = {{"Removed", ENTRO_SPLIT_REMOVED},
                     {"Isolated", ENTRO_SPLIT_ISOLATED},
                     {"Contiguous", ENTRO_SPLIT_CONTIGUOUS},
                     {"MergedWithPrevious", ENTRO_SPLIT_MERGED_WITH_PREVIOUS},
                     {"MergedWithNext", ENTRO_SPLIT_MERGED_WITH_NEXT}};
    const char *pattern = NULL;
    const char *name = NULL;
    size_t size = 0;
    size_t name_size = 0;
    bool literal = false;
    bool invert = false;
    enum entro_error error = entro_json_pattern(json, what, &pattern, &size, &literal, message);
    if (error == ENTRO_OK)
        error = entro_json_need_string(json, what, "behavior", &name, &name_size, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(json, what, "invert", &invert, message);
    if (error != ENTRO_OK)
        return error;
    for (size_t i = 0; i < sizeof behaviors / sizeof behaviors[0]; i++) {
        if (strcmp(behaviors[i].name, name) == 0)
            return entro_steps_add_split(steps, pattern, size, literal, behaviors[i].behavior, invert,
                                         message);
    }
    return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                      "tokenizer.json: a split behavior \"%.100s\" is not supported", name);
}

static enum entro_error read_byte_level(struct entro_steps *steps, const json_t *json,
                                        struct entro_message *message)
{
    bool add_prefix_space = true;
    bool use_regex = true;
    enum entro_error error =
        entro_json_bool(json, "pre_tokenizer ByteLevel", "add_prefix_space", &add_prefix_space, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(json, "pre_tokenizer ByteLevel", "use_regex", &use_regex, message);
    if (error == ENTRO_OK && add_prefix_space)
        error = entro_steps_add_prefix(steps, " ", 1, ENTRO_PREFIX_UNLESS_THERE, message);
    if (error == ENTRO_OK && use_regex)
        error = entro_steps_add_split(steps, ENTRO_GPT2_PATTERN, strlen(ENTRO_GPT2_PATTERN), false,
                                      ENTRO_SPLIT_ISOLATED, false, message);
    if (error == ENTRO_OK)
        error = entro_steps_add(steps, (struct entro_step){.kind = ENTRO_STEP_BYTES}, message);
    return error;
}

/* "always", "first" or "never"; old files say add_prefix_space instead. */
static enum entro_error read_metaspace(struct entro_steps *steps, const json_t *json,
                                       struct entro_message *message)
{
    static const char what[] = "pre_tokenizer Metaspace";
    const char *replacement = NULL;
    const char *scheme = NULL;
    size_t size = 0;
    size_t scheme_size = 0;
    bool add_prefix_space = true;
    bool split = true;
    enum entro_error error =
        entro_json_need_character(json, what, "replacement", &replacement, &size, message);
    if (error == ENTRO_OK)
        error = entro_json_string(json, what, "prepend_scheme", &scheme, &scheme_size, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(json, what, "add_prefix_space", &add_prefix_space, message);
    if (error == ENTRO_OK)
        error = entro_json_bool(json, what, "split", &split, message);
    if (error != ENTRO_OK)
        return error;
    if (scheme == NULL)
        scheme = add_prefix_space ? "always" : "never";
    bool never = strcmp(scheme, "never") == 0;
    bool first = strcmp(scheme, "first") == 0;
    if (!never && !first && strcmp(scheme, "always") != 0)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                          "tokenizer.json: a prepend_scheme \"%.100s\" is not supported", scheme);
    if (!never && !add_prefix_space)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "tokenizer.json: %s: add_prefix_space and prepend_scheme contradict each other",
                          what);

    error = entro_steps_add_replace(steps, " ", 1, true, replacement, size, message);
    if (error == ENTRO_OK && !never)
        error = entro_steps_add_prefix(steps, replacement, size,
                                       first ? ENTRO_PREFIX_AT_ORIGIN : ENTRO_PREFIX_UNLESS_THERE, message);
    if (error == ENTRO_OK && split)
        error = entro_steps_add_split(steps, replacement, size, true, ENTRO_SPLIT_MERGED_WITH_NEXT, false,
                                      message);
    return error;
}

static enum entro_error read_pre_tokenizer(void *context, const json_t *json, unsigned depth,
                                           struct entro_message *message)
{
    static const char what[] = "pre_tokenizer";
    struct entro_steps *steps = context;
    const char *type = NULL;
    size_t size = 0;
    enum entro_error error = entro_json_need_string(json, what, "type", &type, &size, message);
    if (error != ENTRO_OK)
        return error;
    if (strcmp(type, "Sequence") == 0)
        return entro_json_read_sequence(json, what, "pretokenizers", read_pre_tokenizer, steps, depth,
                                        message);
    if (strcmp(type, "Split") == 0)
        return read_split(steps, json, message);
    if (strcmp(type, "ByteLevel") == 0)
        return read_byte_level(steps, json, message);
    if (strcmp(type, "Metaspace") == 0)
        return read_metaspace(steps, json, message);
    if (strcmp(type, "Digits") == 0) {
        bool individual = false;
        error = entro_json_bool(json, "pre_tokenizer Digits", "individual_digits", &individual, message);
        return error != ENTRO_OK
                   ? error
                   : entro_steps_add_split(steps, "\\p{N}", 5, false,
                                           individual ? ENTRO_SPLIT_ISOLATED : ENTRO_SPLIT_CONTIGUOUS, false,
                                           message);
    }
    return entro_fail(message, ENTRO_ERROR_UNSUPPORTED,
                      "tokenizer.json: a pre-tokenizer of type \"%.100s\" is not supported", type);
}

enum entro_error entro_json_read_pre_tokenizer(struct entro_steps *steps, const json_t *json,
                                               struct entro_message *message)
{
    return json == NULL || json_is_null(json) ? ENTRO_OK : read_pre_tokenizer(steps, json, 0, message);
}
