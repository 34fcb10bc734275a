/* A tokenizer.json that is damaged, contradictory or asks for what is not known is refused with a message
 * that says so. */
#include "test_tokenizer_fixture.h"

#define MODEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"

struct refusal {
    const char *json;
    enum entro_error error;
    const char *says;
};

static void check(const struct refusal *refusals, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct entro_tokenizer *tokenizer = NULL;
        struct entro_message message = {""};
        enum entro_error error =
            entro_tokenizer_from_json(&tokenizer, refusals[i].json, strlen(refusals[i].json), &message);
        if (error != refusals[i].error || strstr(message.text, refusals[i].says) == NULL)
            fail_msg("%s\ngives %s, \"%s\"", refusals[i].json, entro_error_name(error), message.text);
        assert_null(tokenizer);
    }
}

#define CHECK(refusals) check(refusals, sizeof(refusals) / sizeof(refusals)[0])

static void the_smallest_good_file_is_taken(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = fixture_from_text("{" MODEL "}");
    struct entro_tokens tokens = fixture_encode(tokenizer, "abba", 4, 0);
    const uint32_t expected[] = {2, 1, 0};
    assert_int_equal(tokens.n, 3);
    assert_memory_equal(tokens.ids, expected, sizeof expected);
    entro_tokens_free(&tokens);
    entro_tokenizer_destroy(tokenizer);
}

static void a_file_that_is_no_tokenizer_is_refused(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"", ENTRO_ERROR_FORMAT, "line"},
        {"\xFF", ENTRO_ERROR_FORMAT, "line"},
        {"[]", ENTRO_ERROR_FORMAT, "not an object"},
        {"{}", ENTRO_ERROR_FORMAT, "\"model\" is missing"},
        {"{" MODEL "} x", ENTRO_ERROR_FORMAT, "line"},
        {"{\"model\":{},\"model\":{}}", ENTRO_ERROR_FORMAT, "duplicate"},
        {"{\"model\":[]}", ENTRO_ERROR_FORMAT, "\"model\" is missing"},
        {"{\"model\":{\"type\":\"BPE\"}}", ENTRO_ERROR_FORMAT, "\"vocab\" is missing"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", ENTRO_ERROR_FORMAT, "\"vocab\" is missing, empty"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", ENTRO_ERROR_FORMAT, "\"merges\" is missing"},
        {"{\"model\":{\"type\":7,\"vocab\":{\"a\":0},\"merges\":[]}}", ENTRO_ERROR_FORMAT,
         "\"type\" is not a string"},
    };
    CHECK(refusals);
}

static void a_vocabulary_with_bad_ids_is_refused(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", ENTRO_ERROR_FORMAT,
         "two tokens with id 0"},
        {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", ENTRO_ERROR_FORMAT, "is no token id"},
        {"{\"model\":{\"vocab\":{\"a\":0.5},\"merges\":[]}}", ENTRO_ERROR_FORMAT, "is no token id"},
        {"{\"model\":{\"vocab\":{\"a\":\"0\"},\"merges\":[]}}", ENTRO_ERROR_FORMAT, "is no token id"},
        {"{\"model\":{\"vocab\":{\"a\":65600},\"merges\":[]}}", ENTRO_ERROR_FORMAT, "65600 is out of range"},
        {"{\"model\":{\"vocab\":{\"a\":4294967296},\"merges\":[]}}", ENTRO_ERROR_FORMAT, "out of range"},
        {"{\"model\":{\"vocab\":{\"a\":9223372036854775807},\"merges\":[]}}", ENTRO_ERROR_FORMAT,
         "out of range"},
        {"{\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}", ENTRO_ERROR_FORMAT, "duplicate"},
    };
    CHECK(refusals);
}

static void bad_merges_and_options_are_refused(void **state)
{
    (void)state;
#define WITH(members) "{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}," members "}}"
    static const struct refusal refusals[] = {
        {WITH("\"merges\":[\"a c\"]"), ENTRO_ERROR_FORMAT, "merge 0 names \"c\""},
        {WITH("\"merges\":[\"a b\",\"b a\"]"), ENTRO_ERROR_FORMAT, "merge 1 gives \"ba\""},
        {WITH("\"merges\":[\"ab\"]"), ENTRO_ERROR_FORMAT, "not a pair"},
        {WITH("\"merges\":[\"a b \"]"), ENTRO_ERROR_FORMAT, "not a pair"},
        {WITH("\"merges\":[[\"a\"]]"), ENTRO_ERROR_FORMAT, "not a pair"},
        {WITH("\"merges\":[[\"a\",1]]"), ENTRO_ERROR_FORMAT, "not a pair"},
        {WITH("\"merges\":[1]"), ENTRO_ERROR_FORMAT, "not a pair"},
        {WITH("\"merges\":{}"), ENTRO_ERROR_FORMAT, "no list"},
        {WITH("\"merges\":[],\"unk_token\":\"<unk>\""), ENTRO_ERROR_FORMAT, "unknown token \"<unk>\""},
        {WITH("\"merges\":[],\"fuse_unk\":1"), ENTRO_ERROR_FORMAT, "\"fuse_unk\" is neither"},
        {WITH("\"merges\":[],\"dropout\":0.1"), ENTRO_ERROR_UNSUPPORTED, "\"dropout\""},
        {WITH("\"merges\":[],\"end_of_word_suffix\":\"</w>\""), ENTRO_ERROR_UNSUPPORTED,
         "\"end_of_word_suffix\""},
        {WITH("\"merges\":[],\"type\":\"Unigram\""), ENTRO_ERROR_UNSUPPORTED, "\"Unigram\""},
    };
    CHECK(refusals);
}

static void bad_added_tokens_are_refused(void **state)
{
    (void)state;
#define ADDED(tokens) "{" MODEL ",\"added_tokens\":[" tokens "]}"
    static const struct refusal refusals[] = {
        {"{" MODEL ",\"added_tokens\":{}}", ENTRO_ERROR_FORMAT, "not a list"},
        {ADDED("1"), ENTRO_ERROR_FORMAT, "added token 0 is not an object"},
        {ADDED("{\"content\":\"x\"}"), ENTRO_ERROR_FORMAT, "\"id\" is missing"},
        {ADDED("{\"id\":3}"), ENTRO_ERROR_FORMAT, "\"content\" is missing"},
        {ADDED("{\"id\":3,\"content\":\"\"}"), ENTRO_ERROR_FORMAT, "0 bytes"},
        {ADDED("{\"id\":-3,\"content\":\"x\"}"), ENTRO_ERROR_FORMAT, "out of range"},
        {ADDED("{\"id\":99999999,\"content\":\"x\"}"), ENTRO_ERROR_FORMAT, "out of range"},
        {ADDED("{\"id\":3,\"content\":\"a\"}"), ENTRO_ERROR_FORMAT, "contradicts the vocabulary"},
        {ADDED("{\"id\":2,\"content\":\"x\"}"), ENTRO_ERROR_FORMAT, "contradicts the vocabulary"},
        {ADDED("{\"id\":3,\"content\":\"x\"},{\"id\":3,\"content\":\"y\"}"), ENTRO_ERROR_FORMAT, "have id 3"},
        {ADDED("{\"id\":3,\"content\":\"x\"},{\"id\":4,\"content\":\"x\"}"), ENTRO_ERROR_FORMAT, "same text"},
        {ADDED("{\"id\":3,\"content\":\"x\",\"lstrip\":null,\"rstrip\":\"\"}"), ENTRO_ERROR_FORMAT,
         "\"rstrip\""},
    };
    CHECK(refusals);
}

static void components_that_are_not_known_are_refused_by_name(void **state)
{
    (void)state;
#define PART(name, part) "{" MODEL ",\"" name "\":" part "}"
#define SPLIT(pattern, behavior)                                                                             \
    PART("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":" pattern ",\"behavior\":\"" behavior "\"}")
#define NORMALIZERS(list) PART("normalizer", "{\"type\":\"Sequence\",\"normalizers\":[" list "]}")
#define DECODERS(list)    PART("decoder", "{\"type\":\"Sequence\",\"decoders\":[" list "]}")
    static const struct refusal refusals[] = {
        {PART("normalizer", "7"), ENTRO_ERROR_FORMAT, "\"type\" is missing"},
        {PART("normalizer", "{\"type\":\"BertNormalizer\"}"), ENTRO_ERROR_UNSUPPORTED, "\"BertNormalizer\""},
        {NORMALIZERS("{\"type\":\"Lowercase\"}"), ENTRO_ERROR_UNSUPPORTED, "\"Lowercase\""},
        {NORMALIZERS("{\"type\":\"Prepend\"}"), ENTRO_ERROR_FORMAT, "\"prepend\" is missing"},
        {NORMALIZERS("{\"type\":\"Replace\",\"content\":\"\"}"), ENTRO_ERROR_FORMAT,
         "\"pattern\" has neither"},
        {PART("pre_tokenizer", "{\"type\":\"Sequence\"}"), ENTRO_ERROR_FORMAT,
         "\"pretokenizers\" is missing"},
        {PART("pre_tokenizer", "{\"type\":\"WhitespaceSplit\"}"), ENTRO_ERROR_UNSUPPORTED,
         "\"WhitespaceSplit\""},
        {PART("pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"xy\"}"), ENTRO_ERROR_FORMAT,
         "one character"},
        {PART("pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"x\",\"prepend_scheme\":\"last\"}"),
         ENTRO_ERROR_UNSUPPORTED, "\"last\""},
        {PART("pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"x\",\"prepend_scheme\":\"first\","
                               "\"add_prefix_space\":false}"),
         ENTRO_ERROR_FORMAT, "contradict"},
        {SPLIT("{\"String\":\"x\"}", "Sideways"), ENTRO_ERROR_UNSUPPORTED, "\"Sideways\""},
        {SPLIT("\"x\"", "Isolated"), ENTRO_ERROR_FORMAT, "neither a String nor a Regex"},
        {PART("post_processor", "{\"type\":\"BertProcessing\"}"), ENTRO_ERROR_UNSUPPORTED,
         "\"BertProcessing\""},
        {PART("decoder", "{\"type\":\"WordPiece\"}"), ENTRO_ERROR_UNSUPPORTED, "\"WordPiece\""},
        {DECODERS("{\"type\":\"Fuse\"},{\"type\":\"ByteFallback\"}"), ENTRO_ERROR_UNSUPPORTED,
         "ByteFallback in this place"},
        {DECODERS("{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}"), ENTRO_ERROR_UNSUPPORTED,
         "after Fuse"},
        {DECODERS("{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":1}"),
         ENTRO_ERROR_UNSUPPORTED, "at the end"},
        {DECODERS("{\"type\":\"ByteLevel\"},{\"type\":\"ByteFallback\"}"), ENTRO_ERROR_UNSUPPORTED,
         "combination"},
    };
    CHECK(refusals);
}

static void bad_templates_are_refused(void **state)
{
    (void)state;
#define TEMPLATE(single, specials)                                                                           \
    PART("post_processor",                                                                                   \
         "{\"type\":\"TemplateProcessing\",\"single\":[" single "],\"special_tokens\":{" specials "}}")
#define TEXT      "{\"Sequence\":{\"id\":\"A\"}}"
#define TOKEN     "{\"SpecialToken\":{\"id\":\"x\"}}"
#define X(number) "\"x\":{\"ids\":[" number "]}"
    static const struct refusal refusals[] = {
        {PART("post_processor", "{\"type\":\"TemplateProcessing\"}"), ENTRO_ERROR_FORMAT,
         "\"single\" is missing"},
        {TEMPLATE(TOKEN, X("0")), ENTRO_ERROR_FORMAT, "the text 0 times"},
        {TEMPLATE(TEXT "," TEXT, ""), ENTRO_ERROR_FORMAT, "the text 2 times"},
        {TEMPLATE(TEXT "," TOKEN, ""), ENTRO_ERROR_FORMAT, "has no ids"},
        {TEMPLATE(TEXT "," TOKEN, X("3")), ENTRO_ERROR_FORMAT, "an id that is no token"},
        {TEMPLATE(TEXT "," TOKEN, X("-1")), ENTRO_ERROR_FORMAT, "an id that is no token"},
        {TEMPLATE(TEXT "," TOKEN, X("\"a\"")), ENTRO_ERROR_FORMAT, "an id that is no token"},
        {TEMPLATE(TEXT ",7", ""), ENTRO_ERROR_FORMAT, "neither a Sequence nor a SpecialToken"},
    };
    CHECK(refusals);
}

static void expressions_that_mean_something_else_here_are_refused(void **state)
{
    (void)state;
#define REGEX(pattern) SPLIT("{\"Regex\":\"" pattern "\"}", "Isolated")
    static const struct refusal refusals[] = {
        {REGEX("(a"), ENTRO_ERROR_FORMAT, "is not one: missing closing parenthesis"},
        {REGEX("[a"), ENTRO_ERROR_FORMAT, "is not one"},
        {REGEX("a\\\\"), ENTRO_ERROR_UNSUPPORTED, "a backslash at its end"},
        {REGEX("\\\\p{L"), ENTRO_ERROR_UNSUPPORTED, "a brace that nothing closes"},
        {REGEX("[a&&b]"), ENTRO_ERROR_UNSUPPORTED, "an intersection of classes"},
        {REGEX("[a[b]]"), ENTRO_ERROR_UNSUPPORTED, "a class within a class"},
        {REGEX("[a\\\\W]"), ENTRO_ERROR_UNSUPPORTED, "a negated class within a class"},
        {REGEX("a{1,3}+"), ENTRO_ERROR_UNSUPPORTED, "a repeated interval"},
        {REGEX("\\\\p{Nonsense}"), ENTRO_ERROR_FORMAT, "is not one"},
        {REGEX("(a{60000}){60000}"), ENTRO_ERROR_FORMAT, "is not one"},
    };
    CHECK(refusals);
}

static void sequences_nested_without_end_are_refused(void **state)
{
    (void)state;
    static const char open[] = "{\"type\":\"Sequence\",\"pretokenizers\":[";
    for (size_t depth = 6; depth <= 1000; depth += 994) {
        struct entro_text json = {0};
        const char *head = "{" MODEL ",\"pre_tokenizer\":";
        assert_int_equal(entro_text_append(&json, head, strlen(head), NULL), ENTRO_OK);
        for (size_t i = 0; i < depth; i++)
            assert_int_equal(entro_text_append(&json, open, strlen(open), NULL), ENTRO_OK);
        for (size_t i = 0; i < depth; i++)
            assert_int_equal(entro_text_append(&json, "]}", 2, NULL), ENTRO_OK);
        assert_int_equal(entro_text_append(&json, "}", 1, NULL), ENTRO_OK);
        struct entro_tokenizer *tokenizer = NULL;
        struct entro_message message = {""};
        enum entro_error error = entro_tokenizer_from_json(&tokenizer, json.data, json.size, &message);
        assert_int_equal(error, depth == 6 ? ENTRO_OK : ENTRO_ERROR_FORMAT);
        if (depth > 6)
            assert_non_null(strstr(message.text, "nested too deeply"));
        entro_tokenizer_destroy(tokenizer);
        entro_text_free(&json);
    }
}

static void a_truncated_file_is_refused(void **state)
{
    (void)state;
    struct entro_text text = fixture_read("spm/tokenizer.json");
    /* White space at the end may be missing. */
    while (text.size > 0 && text.data[text.size - 1] != '}')
        text.size--;
    for (size_t i = 0; i < 20; i++) {
        struct entro_tokenizer *tokenizer = NULL;
        struct entro_message message = {""};
        size_t size = text.size * i / 20 + (i == 19 ? text.size / 20 - 1 : 0);
        assert_int_equal(entro_tokenizer_from_json(&tokenizer, text.data, size, &message),
                         ENTRO_ERROR_FORMAT);
        assert_true(strlen(message.text) > 0);
        assert_null(tokenizer);
    }
    entro_text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_good_file_is_taken),
        cmocka_unit_test(a_file_that_is_no_tokenizer_is_refused),
        cmocka_unit_test(a_vocabulary_with_bad_ids_is_refused),
        cmocka_unit_test(bad_merges_and_options_are_refused),
        cmocka_unit_test(bad_added_tokens_are_refused),
        cmocka_unit_test(components_that_are_not_known_are_refused_by_name),
        cmocka_unit_test(bad_templates_are_refused),
        cmocka_unit_test(expressions_that_mean_something_else_here_are_refused),
        cmocka_unit_test(sequences_nested_without_end_are_refused),
        cmocka_unit_test(a_truncated_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
