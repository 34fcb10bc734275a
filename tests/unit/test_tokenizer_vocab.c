/* A tokenizer from a GGUF file's metadata: the same ids as from the tokenizer.json that the metadata were
 * made of, and what is refused. */
#include "test_tokenizer_fixture.h"

#include <jansson.h>
#include <math.h>

#define MAX_TOKENS 4096

/* The arrays that a GGUF file would have. They point into `file`. */
struct arrays {
    json_t *file;
    struct entro_vocab_string tokens[MAX_TOKENS];
    struct entro_vocab_string merges[MAX_TOKENS];
    float scores[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    struct entro_tokenizer_vocab vocab;
    struct entro_text joined; /* of the merges */
};

static struct entro_vocab_string string(const char *text)
{
    return (struct entro_vocab_string){.data = text, .size = strlen(text)};
}

/* A score by the rank of the merge that makes a token, as the converters to GGUF do. */
static void set_scores(struct arrays *arrays, const json_t *vocabulary, const json_t *merges)
{
    for (size_t i = 0; i < arrays->vocab.n_tokens; i++)
        arrays->scores[i] = arrays->types[i] == 1 ? -10000.0f : 0.0f;
    for (size_t i = json_array_size(merges); i-- > 0;) {
        const json_t *pair = json_array_get(merges, i);
        char text[256];
        snprintf(text, sizeof text, "%s%s", json_string_value(json_array_get(pair, 0)),
                 json_string_value(json_array_get(pair, 1)));
        const json_t *id = json_object_get(vocabulary, text);
        assert_non_null(id);
        arrays->scores[json_integer_value(id)] = -(float)i;
    }
}

static struct arrays *read_arrays(const char *name, const char *model, const char *pre)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", ENTRO_TEST_DATA, name);
    struct arrays *arrays = calloc(1, sizeof *arrays);
    assert_non_null(arrays);
    arrays->file = json_load_file(path, 0, NULL);
    assert_non_null(arrays->file);
    json_t *json_model = json_object_get(arrays->file, "model");
    json_t *vocabulary = json_object_get(json_model, "vocab");
    const json_t *merges = json_object_get(json_model, "merges");
    struct entro_tokenizer_vocab *vocab = &arrays->vocab;
    vocab->n_tokens = json_object_size(vocabulary);
    vocab->n_merges = json_array_size(merges);
    assert_true(vocab->n_tokens <= MAX_TOKENS && vocab->n_merges <= MAX_TOKENS);

    const char *text;
    const json_t *id;
    json_object_foreach(vocabulary, text, id)
    {
        arrays->tokens[json_integer_value(id)] = string(text);
        arrays->types[json_integer_value(id)] = strncmp(text, "<0x", 3) == 0 && strlen(text) == 6 ? 6 : 1;
    }
    size_t index;
    const json_t *added;
    json_array_foreach(json_object_get(arrays->file, "added_tokens"), index, added)
    {
        size_t at = (size_t)json_integer_value(json_object_get(added, "id"));
        assert_true(at < MAX_TOKENS);
        arrays->tokens[at] = string(json_string_value(json_object_get(added, "content")));
        arrays->types[at] = json_is_true(json_object_get(added, "special")) ? 3 : 4;
        vocab->n_tokens = at >= vocab->n_tokens ? at + 1 : vocab->n_tokens;
    }
    /* One buffer for all pairs, its size known before anything points into it. */
    const json_t *pair;
    assert_int_equal(entro_text_reserve(&arrays->joined, (size_t)1 << 20, NULL), ENTRO_OK);
    json_array_foreach(merges, index, pair)
    {
        size_t start = arrays->joined.size;
        const json_t *left = json_array_get(pair, 0);
        const json_t *right = json_array_get(pair, 1);
        entro_text_append(&arrays->joined, json_string_value(left), json_string_length(left), NULL);
        entro_text_append(&arrays->joined, " ", 1, NULL);
        entro_text_append(&arrays->joined, json_string_value(right), json_string_length(right), NULL);
        arrays->merges[index] =
            (struct entro_vocab_string){arrays->joined.data + start, arrays->joined.size - start};
    }
    assert_true(arrays->joined.size < (size_t)1 << 20);
    set_scores(arrays, vocabulary, merges);

    vocab->model = string(model);
    vocab->pre = string(pre);
    vocab->tokens = arrays->tokens;
    vocab->merges = arrays->merges;
    vocab->types = arrays->types;
    vocab->scores = arrays->scores;
    vocab->bos_id = 1;
    vocab->eos_id = 2;
    vocab->unknown_id = 0;
    return arrays;
}

static void free_arrays(struct arrays *arrays)
{
    json_decref(arrays->file);
    entro_text_free(&arrays->joined);
    free(arrays);
}

static struct entro_tokenizer *make(const struct arrays *arrays)
{
    struct entro_tokenizer *tokenizer = NULL;
    struct entro_message message = {""};
    if (entro_tokenizer_from_vocab(&tokenizer, &arrays->vocab, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    return tokenizer;
}

static void check_equal(const struct entro_tokenizer *a, const struct entro_tokenizer *b)
{
    static const char *const texts[] = {
        "",
        " ",
        "Once upon a time, there was a girl of 12 years.",
        "  two  spaces\n\nand 345 lines \t",
        "caf\u00e9 \u65e5\u672c \U0001F600 it's WE'LL",
        "<|im_start|>user\nHi<|im_end|>\n<s> x </s>y<unk>",
        "\u2581\u2581x \u2581",
        "HelloWORLD helloWorld XMLHttp \u01c5x 12345 a/b/\n//\r\n",
        "e\u0301 \u212b q\u0323\u0307",
        "<|user|>\n Hi<|end|> \n<|assistant|>\n  x</s>  y<s>  z",
        "<think>\n\n</think>\n\n\n    x<|eot_id|> [INST] y",
    };
    struct entro_text stories = fixture_read("training/stories.txt");
    for (size_t i = 0; i <= sizeof texts / sizeof texts[0]; i++) {
        bool is_last = i == sizeof texts / sizeof texts[0];
        const char *text = is_last ? stories.data : texts[i];
        size_t size = is_last ? stories.size : strlen(texts[i]);
        for (unsigned flags = is_last ? 3 : 0; flags < 4; flags++) {
            struct entro_tokens from_a = fixture_encode(a, text, size, flags);
            struct entro_tokens from_b = fixture_encode(b, text, size, flags);
            assert_int_equal(from_a.n, from_b.n);
            if (from_a.n > 0)
                assert_memory_equal(from_a.ids, from_b.ids, from_a.n * sizeof *from_a.ids);
            struct entro_text decoded = {0};
            struct entro_token_decoder decoder;
            entro_token_decoder_start(&decoder, a, ENTRO_DECODE_SPECIAL);
            for (size_t at = 0; at < from_a.n; at++)
                entro_token_decoder_next(&decoder, from_a.ids[at], &decoded, NULL);
            assert_int_equal(entro_text_append(&decoded, "", 1, NULL), ENTRO_OK);
            fixture_check_decoded(b, from_b.ids, from_b.n, ENTRO_DECODE_SPECIAL, decoded.data);
            entro_text_free(&decoded);
            entro_tokens_free(&from_a);
            entro_tokens_free(&from_b);
        }
    }
    entro_text_free(&stories);
}

static void a_byte_level_vocabulary_gives_the_ids_of_its_json(void **state)
{
    (void)state;
    struct arrays *arrays = read_arrays("tiny/tokenizer.json", "gpt2", "smollm");
    struct entro_tokenizer *from_vocab = make(arrays);
    struct entro_tokenizer *from_json = fixture_load("tiny/tokenizer.json");
    check_equal(from_json, from_vocab);
    assert_int_equal(entro_tokenizer_bos(from_vocab), 1);
    assert_int_equal(entro_tokenizer_eos(from_vocab), 2);
    assert_false(entro_tokenizer_adds_bos(from_vocab));
    entro_tokenizer_destroy(from_json);
    entro_tokenizer_destroy(from_vocab);
    free_arrays(arrays);
}

static void a_sentencepiece_vocabulary_gives_the_ids_of_its_json(void **state)
{
    (void)state;
    struct arrays *arrays = read_arrays("spm/tokenizer.json", "llama", "default");
    struct entro_tokenizer *from_vocab = make(arrays);
    struct entro_tokenizer *from_json = fixture_load("spm/tokenizer.json");
    check_equal(from_json, from_vocab);
    assert_true(entro_tokenizer_adds_bos(from_vocab));
    entro_tokenizer_destroy(from_json);
    entro_tokenizer_destroy(from_vocab);
    free_arrays(arrays);
}

/* What the name of a pre-tokenizer means is what the family's own file says. */
static void every_family_gives_the_ids_of_its_json(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        const char *model;
        const char *pre;
        const char *bos;
        enum entro_vocab_choice add_space_prefix;
    } families[] = {
        {"families/llama3.json", "gpt2", "llama-bpe", "<|begin_of_text|>", ENTRO_VOCAB_UNSAID},
        {"families/qwen2.json", "gpt2", "qwen2", NULL, ENTRO_VOCAB_UNSAID},
        {"families/qwen3.json", "gpt2", "qwen2", NULL, ENTRO_VOCAB_UNSAID},
        {"families/tekken.json", "gpt2", "tekken", "<s>", ENTRO_VOCAB_UNSAID},
        {"families/tinyllama.json", "llama", "default", "<s>", ENTRO_VOCAB_UNSAID},
        {"families/phi3.json", "llama", "default", "<s>", ENTRO_VOCAB_UNSAID},
        {"families/gemma.json", "llama", "default", "<bos>", ENTRO_VOCAB_NO},
    };
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        struct arrays *arrays = read_arrays(families[i].file, families[i].model, families[i].pre);
        struct entro_tokenizer *from_json = fixture_load(families[i].file);
        const char *bos = families[i].bos;
        arrays->vocab.bos_id =
            bos != NULL ? entro_tokenizer_find(from_json, bos, strlen(bos)) : ENTRO_TOKEN_NONE;
        arrays->vocab.eos_id = ENTRO_TOKEN_NONE;
        arrays->vocab.unknown_id = entro_tokenizer_find(from_json, "<unk>", 5);
        arrays->vocab.add_space_prefix = families[i].add_space_prefix;
        arrays->vocab.markers_take_space = strcmp(families[i].file, "families/phi3.json") == 0;
        struct entro_tokenizer *from_vocab = make(arrays);
        assert_true(entro_tokenizer_adds_bos(from_vocab) == (bos != NULL));
        check_equal(from_json, from_vocab);
        entro_tokenizer_destroy(from_json);
        entro_tokenizer_destroy(from_vocab);
        free_arrays(arrays);
    }
}

static void of_equal_scores_the_leftmost_pair_merges_first(void **state)
{
    (void)state;
    const struct entro_vocab_string tokens[] = {string("a"), string("aa"), string("aaa"), string("<0x62>")};
    const float scores[] = {0.0f, -1.0f, -1.0f, 0.0f};
    struct entro_tokenizer_vocab vocab = {.model = string("llama"),
                                          .tokens = tokens,
                                          .n_tokens = 4,
                                          .scores = scores,
                                          .bos_id = ENTRO_TOKEN_NONE,
                                          .eos_id = ENTRO_TOKEN_NONE,
                                          .unknown_id = ENTRO_TOKEN_NONE,
                                          .add_space_prefix = ENTRO_VOCAB_NO};
    struct entro_tokenizer *tokenizer = NULL;
    assert_int_equal(entro_tokenizer_from_vocab(&tokenizer, &vocab, NULL), ENTRO_OK);
    /* aa at 0 comes before aa at 1 and at 2, and then aaa before the other aa. */
    struct entro_tokens tokens_of = fixture_encode(tokenizer, "aaaabcaa", 8, 0);
    const uint32_t expected[] = {2, 0, 3, 1};
    assert_int_equal(tokens_of.n, 4);
    assert_memory_equal(tokens_of.ids, expected, sizeof expected);
    entro_tokens_free(&tokens_of);
    entro_tokenizer_destroy(tokenizer);
}

static void what_is_to_be_added_follows_the_file(void **state)
{
    (void)state;
    struct arrays *arrays = read_arrays("tiny/tokenizer.json", "gpt2", "llama-bpe");
    struct entro_tokenizer *tokenizer = make(arrays);
    assert_true(entro_tokenizer_adds_bos(tokenizer));
    entro_tokenizer_destroy(tokenizer);

    arrays->vocab.add_bos = ENTRO_VOCAB_NO;
    arrays->vocab.add_eos = ENTRO_VOCAB_YES;
    tokenizer = make(arrays);
    assert_false(entro_tokenizer_adds_bos(tokenizer));
    struct entro_tokens tokens = fixture_encode(tokenizer, "", 0, ENTRO_ENCODE_TEMPLATE);
    assert_int_equal(tokens.n, 1);
    assert_int_equal(tokens.ids[0], 2);
    entro_tokens_free(&tokens);
    entro_tokenizer_destroy(tokenizer);
    free_arrays(arrays);
}

static void check_refused(const struct arrays *arrays, enum entro_error expected, const char *says)
{
    struct entro_tokenizer *tokenizer = NULL;
    struct entro_message message = {""};
    assert_int_equal(entro_tokenizer_from_vocab(&tokenizer, &arrays->vocab, &message), expected);
    if (strstr(message.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", message.text, says);
    assert_null(tokenizer);
}

static void a_damaged_vocabulary_is_refused(void **state)
{
    (void)state;
    struct arrays *good = read_arrays("tiny/tokenizer.json", "gpt2", "smollm");
    struct arrays *bad = malloc(sizeof *bad);
    assert_non_null(bad);
#define BREAK(change, error, says)                                                                           \
    do {                                                                                                     \
        *bad = *good;                                                                                        \
        bad->vocab.tokens = bad->tokens;                                                                     \
        bad->vocab.merges = bad->merges;                                                                     \
        bad->vocab.scores = bad->scores;                                                                     \
        bad->vocab.types = bad->types;                                                                       \
        change;                                                                                              \
        check_refused(bad, error, says);                                                                     \
    } while (0)
    BREAK(bad->vocab.model = string("bert"), ENTRO_ERROR_UNSUPPORTED, "\"bert\"");
    BREAK(bad->vocab.model = (struct entro_vocab_string){0}, ENTRO_ERROR_UNSUPPORTED, "model \"\"");
    BREAK(bad->vocab.pre = string("viking"), ENTRO_ERROR_UNSUPPORTED, "\"viking\"");
    BREAK(bad->vocab.n_tokens = 0, ENTRO_ERROR_FORMAT, "a vocabulary of 0 tokens");
    BREAK(bad->vocab.n_tokens = SIZE_MAX, ENTRO_ERROR_FORMAT, "a vocabulary of");
    BREAK(bad->vocab.bos_id = 2048, ENTRO_ERROR_FORMAT, "BOS");
    BREAK(bad->vocab.eos_id = 0xFFFFFFFE, ENTRO_ERROR_FORMAT, "EOS");
    BREAK(bad->vocab.bos_id = ENTRO_TOKEN_NONE;
          bad->vocab.add_bos = ENTRO_VOCAB_YES, ENTRO_ERROR_FORMAT, "there is none");
    BREAK(bad->tokens[100] = string("\xC3("), ENTRO_ERROR_FORMAT, "token 100 is not UTF-8");
    BREAK(bad->merges[7] = string("ab"), ENTRO_ERROR_FORMAT, "merge 7 is not a pair");
    BREAK(bad->merges[7] = string(""), ENTRO_ERROR_FORMAT, "merge 7 is not a pair");
    BREAK(bad->merges[7] = string("a \xE2\x82\xAC"), ENTRO_ERROR_FORMAT, "merge 7 names");
    BREAK(bad->vocab.model = string("llama"); bad->vocab.scores = NULL, ENTRO_ERROR_FORMAT, "without scores");
    BREAK(bad->vocab.model = string("llama");
          bad->scores[5] = NAN, ENTRO_ERROR_FORMAT, "token 5 is not a number");
    BREAK(bad->tokens[0] = bad->tokens[1], ENTRO_ERROR_FORMAT, "same text");
    free(bad);
    free_arrays(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_byte_level_vocabulary_gives_the_ids_of_its_json),
        cmocka_unit_test(a_sentencepiece_vocabulary_gives_the_ids_of_its_json),
        cmocka_unit_test(every_family_gives_the_ids_of_its_json),
        cmocka_unit_test(of_equal_scores_the_leftmost_pair_merges_first),
        cmocka_unit_test(what_is_to_be_added_follows_the_file),
        cmocka_unit_test(a_damaged_vocabulary_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
