/*
 * Every id and every decoded text against what the reference implementations give: for the two tokenizers of
 * the tests as they are and with other components put in (tests/data/tokenizer/vectors.json), and for one of
 * each family of models (tests/data/families/vectors.json). The scripts beside the vectors make them. Other
 * files of vectors may be given as arguments.
 */
#include "runner/sentencepiece.h"
#include "test_tokenizer_fixture.h"

#include <jansson.h>
#include <sys/stat.h>

/* The members of `patch` put into `object`. */
static void put_members(json_t *object, json_t *patch)
{
    assert_int_equal(json_object_update(object, patch), 0);
}

static struct entro_tokenizer *make_from_json(const json_t *variant, const char *path)
{
    json_error_t reason;
    json_t *file = json_load_file(path, 0, &reason);
    assert_non_null(file);
    put_members(file, json_object_get(variant, "patch"));
    put_members(json_object_get(file, "model"), json_object_get(variant, "model_patch"));
    char *text = json_dumps(file, JSON_COMPACT);
    assert_non_null(text);
    struct entro_tokenizer *tokenizer = NULL;
    struct entro_message message = {""};
    if (entro_tokenizer_from_json(&tokenizer, text, strlen(text), &message) != ENTRO_OK)
        fail_msg("%s: %s", json_string_value(json_object_get(variant, "name")), message.text);
    free(text);
    json_decref(file);
    return tokenizer;
}

static struct entro_tokenizer *make_from_sentencepiece(const json_t *variant)
{
    struct entro_text bytes = fixture_read(json_string_value(json_object_get(variant, "base")));
    const json_t *config = json_object_get(variant, "config");
    char *config_text = config != NULL ? json_dumps(config, JSON_COMPACT) : NULL;
    struct entro_tokenizer *tokenizer = NULL;
    struct entro_message message = {""};
    if (entro_tokenizer_from_sentencepiece(&tokenizer, bytes.data, bytes.size, config_text,
                                           config_text != NULL ? strlen(config_text) : 0,
                                           &message) != ENTRO_OK)
        fail_msg("%s: %s", json_string_value(json_object_get(variant, "name")), message.text);
    free(config_text);
    entro_text_free(&bytes);
    return tokenizer;
}

static struct entro_tokenizer *make_tokenizer(const json_t *variant)
{
    char path[1024];
    const char *base = json_string_value(json_object_get(variant, "base"));
    snprintf(path, sizeof path, "%s/%s", ENTRO_TEST_DATA, base);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    if (status.st_size != json_integer_value(json_object_get(variant, "base_size")))
        fail_msg("%s has changed since the vectors were made: run the script beside them", path);
    return strstr(base, ".model") != NULL ? make_from_sentencepiece(variant) : make_from_json(variant, path);
}

static void append(struct entro_text *text, const char *bytes, size_t size)
{
    assert_int_equal(entro_text_append(text, bytes, size, NULL), ENTRO_OK);
}

/* A string, {"hex": ...} or {"repeat": [text, n]}. */
static struct entro_text read_text(const json_t *json)
{
    struct entro_text text = {0};
    const json_t *hex = json_object_get(json, "hex");
    const json_t *repeat = json_object_get(json, "repeat");
    if (json_is_string(json)) {
        append(&text, json_string_value(json), json_string_length(json));
    } else if (hex != NULL) {
        const char *digits = json_string_value(hex);
        for (size_t i = 0; digits[i] != '\0'; i += 2) {
            char pair[3] = {digits[i], digits[i + 1], '\0'};
            char byte = (char)strtol(pair, NULL, 16);
            append(&text, &byte, 1);
        }
    } else {
        const json_t *part = json_array_get(repeat, 0);
        for (json_int_t i = 0; i < json_integer_value(json_array_get(repeat, 1)); i++)
            append(&text, json_string_value(part), json_string_length(part));
    }
    return text;
}

struct place {
    const char *variant;
    json_int_t text;
    const char *what;
};

static void check_ids(const struct place *place, const struct entro_tokenizer *tokenizer,
                      const struct entro_text *text, unsigned flags, const json_t *expected)
{
    struct entro_tokens tokens = {0};
    struct entro_message message = {""};
    if (entro_tokenizer_encode(tokenizer, text->data, text->size, flags, &tokens, &message) != ENTRO_OK)
        fail_msg("%s, text %lld, %s: %s", place->variant, (long long)place->text, place->what, message.text);
    for (size_t i = 0; i < tokens.n || i < json_array_size(expected); i++) {
        long long mine = i < tokens.n ? (long long)tokens.ids[i] : -1;
        long long theirs =
            i < json_array_size(expected) ? (long long)json_integer_value(json_array_get(expected, i)) : -1;
        if (mine != theirs)
            fail_msg("%s, text %lld, %s: token %zu is %lld, not %lld", place->variant, (long long)place->text,
                     place->what, i, mine, theirs);
    }
    entro_tokens_free(&tokens);
}

static void check_decoded(const struct place *place, const struct entro_tokenizer *tokenizer,
                          const json_t *ids, unsigned flags, const char *expected, size_t size)
{
    struct entro_text text = {0};
    struct entro_token_decoder decoder;
    entro_token_decoder_start(&decoder, tokenizer, flags);
    size_t index;
    const json_t *id;
    json_array_foreach(ids, index, id) assert_int_equal(
        entro_token_decoder_next(&decoder, (uint32_t)json_integer_value(id), &text, NULL), ENTRO_OK);
    assert_int_equal(entro_token_decoder_finish(&decoder, &text, NULL), ENTRO_OK);
    if (text.size != size || (size > 0 && memcmp(text.data, expected, size) != 0))
        fail_msg("%s, text %lld, %s: \"%.*s\", not \"%.*s\"", place->variant, (long long)place->text,
                 place->what, (int)text.size, text.size > 0 ? text.data : "", (int)size, expected);
    entro_text_free(&text);
}

static void check_result(const char *variant, const struct entro_tokenizer *tokenizer, const json_t *texts,
                         const json_t *result)
{
    struct place place = {.variant = variant, .text = json_integer_value(json_object_get(result, "text"))};
    struct entro_text text = read_text(json_array_get(texts, (size_t)place.text));
    const json_t *ids = json_object_get(result, "ids");
    const json_t *around = json_object_get(result, "template");
    const json_t *plain = json_object_get(result, "plain");
    const json_t *decoded = json_object_get(result, "decoded");
    const json_t *with_special = json_object_get(result, "decoded_special");
    assert_true(json_is_array(ids));

    place.what = "ids";
    check_ids(&place, tokenizer, &text, ENTRO_ENCODE_SPECIAL, ids);
    place.what = "ids with the template";
    check_ids(&place, tokenizer, &text, ENTRO_ENCODE_SPECIAL | ENTRO_ENCODE_TEMPLATE,
              around != NULL ? around : ids);
    place.what = "ids without special tokens";
    check_ids(&place, tokenizer, &text, 0, plain != NULL ? plain : ids);

    const char *expected = decoded != NULL ? json_string_value(decoded) : text.size > 0 ? text.data : "";
    size_t size = decoded != NULL ? json_string_length(decoded) : text.size;
    place.what = "decoded";
    check_decoded(&place, tokenizer, ids, 0, expected, size);
    if (with_special != NULL) {
        expected = json_string_value(with_special);
        size = json_string_length(with_special);
    }
    place.what = "decoded with special tokens";
    check_decoded(&place, tokenizer, ids, ENTRO_DECODE_SPECIAL, expected, size);
    entro_text_free(&text);
}

static void check_file(const char *path)
{
    json_error_t reason;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &reason);
    if (root == NULL)
        fail_msg("%s: %s", path, reason.text);
    const json_t *texts = json_object_get(root, "texts");
    size_t n_checked = 0;
    size_t index;
    const json_t *variant;
    json_array_foreach(json_object_get(root, "variants"), index, variant)
    {
        struct entro_tokenizer *tokenizer = make_tokenizer(variant);
        size_t at;
        const json_t *result;
        json_array_foreach(json_object_get(variant, "results"), at, result)
        {
            check_result(json_string_value(json_object_get(variant, "name")), tokenizer, texts, result);
            n_checked++;
        }
        entro_tokenizer_destroy(tokenizer);
    }
    assert_true(n_checked > 500);
    json_decref(root);
}

static void ids_and_texts_equal_the_reference(void **state)
{
    check_file(*state);
}

int main(int argc, char **argv)
{
    static char *const ours[] = {ENTRO_TEST_DATA "/tokenizer/vectors.json",
                                 ENTRO_TEST_DATA "/families/vectors.json"};
    char *const *files = argc > 1 ? argv + 1 : ours;
    size_t n_files = argc > 1 ? (size_t)argc - 1 : 2;
    int n_failed = 0;
    for (size_t i = 0; i < n_files; i++) {
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(ids_and_texts_equal_the_reference, files[i]),
        };
        n_failed += cmocka_run_group_tests_name(files[i], tests, NULL, NULL);
    }
    return n_failed != 0;
}
