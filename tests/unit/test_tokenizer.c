/* What the vectors do not show: decoding token by token, look-ups, long texts, many threads, limits. */
#include "runner/bpe.h"
#include "test_tokenizer_fixture.h"

#include "runner/tokenizer_utf8.h"

#include <pthread.h>

/* Bytes as tokens and nothing else: <0x00> is 0, and so on, then "\u2581a", "a", "\u2581" and the special
 * <s>. */
static struct entro_tokenizer *byte_tokens(void)
{
    struct entro_text json = {0};
    char part[64];
    const char *head =
        "{\"added_tokens\":[{\"id\":259,\"content\":\"<s>\",\"special\":true}],"
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
        "{\"String\":\"\\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
        "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
        "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"merges\":[],\"vocab\":{";
    const char *tail = "\"\\u2581a\":256,\"a\":257,\"\\u2581\":258}}}";
    assert_int_equal(entro_text_append(&json, head, strlen(head), NULL), ENTRO_OK);
    for (unsigned byte = 0; byte < 256; byte++) {
        int n = snprintf(part, sizeof part, "\"<0x%02X>\":%u,", byte, byte);
        assert_int_equal(entro_text_append(&json, part, (size_t)n, NULL), ENTRO_OK);
    }
    assert_int_equal(entro_text_append(&json, tail, strlen(tail) + 1, NULL), ENTRO_OK);
    struct entro_tokenizer *tokenizer = fixture_from_text(json.data);
    entro_text_free(&json);
    return tokenizer;
}

static void every_piece_that_is_given_out_is_whole_characters(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = fixture_load("tiny/tokenizer.json");
    const char *text =
        "caf\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E \xF0\x9F\x98\x80\xF0\x9F\x91\xA8\xE2\x80\x8D end";
    struct entro_tokens tokens = fixture_encode(tokenizer, text, strlen(text), 0);
    struct entro_text whole = {0};
    struct entro_token_decoder decoder;
    size_t n_held_back = 0;
    entro_token_decoder_start(&decoder, tokenizer, 0);
    for (size_t i = 0; i < tokens.n; i++) {
        size_t before = whole.size;
        assert_int_equal(entro_token_decoder_next(&decoder, tokens.ids[i], &whole, NULL), ENTRO_OK);
        assert_true(entro_utf8_is_valid(whole.data + before, whole.size - before));
        n_held_back += whole.size == before;
    }
    /* The vocabulary has no token for these characters, so that bytes had to be held back. */
    assert_true(n_held_back > 5);
    assert_int_equal(entro_token_decoder_finish(&decoder, &whole, NULL), ENTRO_OK);
    assert_int_equal(whole.size, strlen(text));
    assert_memory_equal(whole.data, text, whole.size);
    entro_text_free(&whole);
    entro_tokens_free(&tokens);
    entro_tokenizer_destroy(tokenizer);
}

static void bytes_that_are_no_character_become_replacements(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = byte_tokens();
    const uint32_t cut_off[] = {0xE6, 0x97};
    fixture_check_decoded(tokenizer, cut_off, 2, 0, "\uFFFD\uFFFD");
    const uint32_t interrupted[] = {0xE6, 0x97, 257, 0xA5};
    fixture_check_decoded(tokenizer, interrupted, 4, 0, "\uFFFD\uFFFDa\uFFFD");
    const uint32_t broken[] = {0xF0, 0x9F, 0xE6, 0x97, 0xA5, 0xFF, 'x', 0xC3};
    fixture_check_decoded(tokenizer, broken, 8, 0, "\uFFFD\uFFFD\u65E5\uFFFDx\uFFFD");
    entro_tokenizer_destroy(tokenizer);
}

static void a_leading_space_is_stripped_once_and_kept_where_a_text_goes_on(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = byte_tokens();
    const uint32_t ids[] = {259, 258, 256, 256};
    fixture_check_decoded(tokenizer, ids, 4, 0, " a a");
    fixture_check_decoded(tokenizer, ids, 4, ENTRO_DECODE_CONTINUES, "  a a");
    fixture_check_decoded(tokenizer, ids, 4, ENTRO_DECODE_SPECIAL, "<s>  a a");
    entro_tokenizer_destroy(tokenizer);
}

static void an_id_that_is_no_token_adds_nothing(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = byte_tokens();
    const uint32_t ids[] = {'a', 260, ENTRO_TOKEN_NONE, 4000000, 'b'};
    fixture_check_decoded(tokenizer, ids, 5, ENTRO_DECODE_SPECIAL, "ab");
    size_t size;
    assert_null(entro_tokenizer_token_text(tokenizer, 260, &size));
    assert_false(entro_tokenizer_is_special(tokenizer, 260));
    entro_tokenizer_destroy(tokenizer);
}

static void tokens_are_found_by_their_text(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = byte_tokens();
    assert_int_equal(entro_tokenizer_n_tokens(tokenizer), 260);
    assert_int_equal(entro_tokenizer_find(tokenizer, "<s>", 3), 259);
    assert_int_equal(entro_tokenizer_find(tokenizer, "a", 1), 257);
    assert_int_equal(entro_tokenizer_find(tokenizer, "<s", 2), ENTRO_TOKEN_NONE);
    assert_true(entro_tokenizer_is_special(tokenizer, 259));
    assert_false(entro_tokenizer_is_special(tokenizer, 257));
    size_t size;
    const char *text = entro_tokenizer_token_text(tokenizer, 259, &size);
    assert_int_equal(size, 3);
    assert_memory_equal(text, "<s>", 3);
    entro_tokenizer_destroy(tokenizer);
}

static void the_template_tells_bos_and_eos(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = fixture_load("spm/tokenizer.json");
    assert_true(entro_tokenizer_adds_bos(tokenizer));
    assert_int_equal(entro_tokenizer_bos(tokenizer), 1);
    assert_int_equal(entro_tokenizer_eos(tokenizer), ENTRO_TOKEN_NONE);
    entro_tokenizer_destroy(tokenizer);
    tokenizer = fixture_load("tiny/tokenizer.json");
    assert_false(entro_tokenizer_adds_bos(tokenizer));
    assert_int_equal(entro_tokenizer_bos(tokenizer), ENTRO_TOKEN_NONE);
    entro_tokenizer_destroy(tokenizer);
}

/* Half a megabyte without a space is one pre-token: with a merge that looked at all of it for each pair this
 * test would not end. */
static void a_long_run_without_a_space_is_encoded(void **state)
{
    (void)state;
    static const char *const files[] = {"tiny/tokenizer.json", "spm/tokenizer.json"};
    size_t size = (size_t)1 << 19;
    char *text = malloc(size + 1);
    assert_non_null(text);
    text[size] = '\0';
    for (size_t kind = 0; kind < 4; kind++) {
        struct entro_tokenizer *tokenizer = fixture_load(files[kind % 2]);
        uint32_t random = 1;
        for (size_t i = 0; i < size; i++) {
            random = random * 1664525u + 1013904223u;
            text[i] = kind < 2 ? 'e' : (char)('a' + (random >> 24) % 26);
        }
        struct entro_tokens tokens = fixture_encode(tokenizer, text, size, 0);
        assert_true(tokens.n > 0 && tokens.n <= size + 1);
        fixture_check_decoded(tokenizer, tokens.ids, tokens.n, 0, text);
        entro_tokens_free(&tokens);
        entro_tokenizer_destroy(tokenizer);
    }
    free(text);
}

/* A text long enough to be cut where nothing merges gives the ids of its lines, which are not. */
static void a_text_without_splits_is_encoded_as_its_lines_are(void **state)
{
    (void)state;
    static const char *const files[] = {"families/tinyllama.json", "families/phi3.json",
                                        "families/gemma.json", "families/mistral.json"};
    static const char *const lines[] = {
        "Once upon a time, there was a little girl named Lily.  She had   3 dogs!\n",
        "x\u4f60\u597d\u4e16\u754c \u0e44\u0e17\u0e22\U0001F600 caf\u00e9 e\u0301\u0323\u2581\u2581 q\n",
        "\u0939\u093f\u0928\u094d\u0926\u0940\u0ba4\u0bae\u0bbf\u0bb4\u0bcd\u05e9\u05dc\u05d5\u05dd",
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0] * 3; i++) {
        struct entro_tokenizer *tokenizer = fixture_load(files[i / 3]);
        struct entro_text text = {0};
        size_t n_lines = 0;
        const char *line = lines[i % 3];
        for (; text.size < 100000; n_lines++)
            assert_int_equal(entro_text_append(&text, line, strlen(line), NULL), ENTRO_OK);
        struct entro_tokens one = fixture_encode(tokenizer, line, strlen(line), 0);
        struct entro_tokens two = fixture_encode(tokenizer, text.data, 2 * strlen(line), 0);
        struct entro_tokens all = fixture_encode(tokenizer, text.data, text.size, 0);
        size_t n_more = two.n - one.n;
        assert_int_equal(all.n, one.n + (n_lines - 1) * n_more);
        for (size_t at = 0; at < all.n; at++)
            assert_int_equal(all.ids[at], at < one.n ? one.ids[at] : two.ids[one.n + (at - one.n) % n_more]);
        entro_tokens_free(&one);
        entro_tokens_free(&two);
        entro_tokens_free(&all);
        entro_text_free(&text);
        entro_tokenizer_destroy(tokenizer);
    }
}

static void unknown_characters_become_one_token_however_many_they_are(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer =
        fixture_from_text("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"<unk>\":0,\"a\":1},\"merges\":[],"
                          "\"unk_token\":\"<unk>\",\"fuse_unk\":true}}");
    size_t size = 100001;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'x', size);
    text[size - 1] = 'a';
    struct entro_tokens tokens = fixture_encode(tokenizer, text, size, 0);
    assert_int_equal(tokens.n, 2);
    assert_int_equal(tokens.ids[0], 0);
    assert_int_equal(tokens.ids[1], 1);
    free(text);
    entro_tokens_free(&tokens);
    entro_tokenizer_destroy(tokenizer);
}

static void a_stretch_that_nothing_splits_has_a_limit(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = fixture_load("families/gemma.json");
    size_t size = ENTRO_BPE_MAX_STRETCH + 1;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'q', size);
    struct entro_tokens tokens = {0};
    struct entro_message message = {""};
    assert_int_equal(entro_tokenizer_encode(tokenizer, text, size, 0, &tokens, &message),
                     ENTRO_OK); /* no token has "qq" */
    tokens.n = 0;
    for (size_t i = 0; i < size; i++)
        text[i] = ' ';
    assert_int_equal(entro_tokenizer_encode(tokenizer, text, size, 0, &tokens, &message),
                     ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "no place to split"));
    assert_int_equal(tokens.n, 0);
    free(text);
    entro_tokens_free(&tokens);
    entro_tokenizer_destroy(tokenizer);
}

static void ids_are_appended_and_a_text_too_long_leaves_them(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = fixture_load("tiny/tokenizer.json");
    struct entro_tokens tokens = fixture_encode(tokenizer, "a", 1, 0);
    assert_int_equal(tokens.n, 1);
    struct entro_message message = {""};
    assert_int_equal(
        entro_tokenizer_encode(tokenizer, "", ENTRO_TOKENIZER_TEXT_LIMIT + 1, 0, &tokens, &message),
        ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "at most"));
    assert_int_equal(tokens.n, 1);
    assert_int_equal(entro_tokenizer_encode(tokenizer, "a", 1, 0, &tokens, NULL), ENTRO_OK);
    assert_int_equal(tokens.n, 2);
    assert_int_equal(tokens.ids[0], tokens.ids[1]);
    entro_tokens_free(&tokens);
    entro_tokenizer_destroy(tokenizer);
}

static void an_expression_that_backtracks_for_ever_is_an_error(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = fixture_from_text(
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]},\"pre_tokenizer\":"
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?:a+)+c\"},\"behavior\":\"Isolated\"}}");
    struct entro_tokens tokens = fixture_encode(tokenizer, "aab", 3, 0);
    assert_int_equal(tokens.n, 3);
    const char *text = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabc";
    struct entro_message message = {""};
    assert_int_equal(entro_tokenizer_encode(tokenizer, text, strlen(text), 0, &tokens, &message),
                     ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "cannot be matched"));
    assert_int_equal(tokens.n, 3);
    entro_tokens_free(&tokens);
    entro_tokenizer_destroy(tokenizer);
}

static void a_long_run_of_combining_marks_is_not_normalized(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer =
        fixture_from_text("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\\u0301\":0},\"merges\":[]},"
                          "\"normalizer\":{\"type\":\"NFC\"}}");
    char text[2 * 1025];
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\u0301", 2);
    struct entro_tokens tokens = fixture_encode(tokenizer, text, sizeof text - 2, 0);
    assert_int_equal(tokens.n, 1024);
    struct entro_message message = {""};
    assert_int_equal(entro_tokenizer_encode(tokenizer, text, sizeof text, 0, &tokens, &message),
                     ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "combining marks"));
    entro_tokens_free(&tokens);
    entro_tokenizer_destroy(tokenizer);
}

static void an_empty_prefix_prepends_nothing(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer =
        fixture_from_text("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]},"
                          "\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"\"}}");
    struct entro_tokens tokens = fixture_encode(tokenizer, "ab", 2, 0);
    assert_int_equal(tokens.n, 2);
    assert_int_equal(tokens.ids[0], 0);
    assert_int_equal(tokens.ids[1], 1);
    entro_tokens_free(&tokens);
    entro_tokenizer_destroy(tokenizer);
}

struct job {
    const struct entro_tokenizer *tokenizer;
    const struct entro_text *text;
    struct entro_tokens tokens;
    enum entro_error error;
};

static void *run_job(void *context)
{
    struct job *job = context;
    job->error = entro_tokenizer_encode(job->tokenizer, job->text->data, job->text->size,
                                        ENTRO_ENCODE_SPECIAL, &job->tokens, NULL);
    return NULL;
}

static void threads_share_a_tokenizer(void **state)
{
    (void)state;
    struct entro_tokenizer *tokenizer = fixture_load("tiny/tokenizer.json");
    struct entro_text text = fixture_read("training/stories.txt");
    struct job jobs[4];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        jobs[i] = (struct job){.tokenizer = tokenizer, .text = &text};
        assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(jobs[i].error, ENTRO_OK);
        assert_true(jobs[i].tokens.n > 1000);
        assert_int_equal(jobs[i].tokens.n, jobs[0].tokens.n);
        assert_memory_equal(jobs[i].tokens.ids, jobs[0].tokens.ids,
                            jobs[0].tokens.n * sizeof *jobs[0].tokens.ids);
    }
    for (size_t i = 0; i < 4; i++)
        entro_tokens_free(&jobs[i].tokens);
    entro_text_free(&text);
    entro_tokenizer_destroy(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_piece_that_is_given_out_is_whole_characters),
        cmocka_unit_test(bytes_that_are_no_character_become_replacements),
        cmocka_unit_test(a_leading_space_is_stripped_once_and_kept_where_a_text_goes_on),
        cmocka_unit_test(an_id_that_is_no_token_adds_nothing),
        cmocka_unit_test(tokens_are_found_by_their_text),
        cmocka_unit_test(the_template_tells_bos_and_eos),
        cmocka_unit_test(a_long_run_without_a_space_is_encoded),
        cmocka_unit_test(a_text_without_splits_is_encoded_as_its_lines_are),
        cmocka_unit_test(unknown_characters_become_one_token_however_many_they_are),
        cmocka_unit_test(a_stretch_that_nothing_splits_has_a_limit),
        cmocka_unit_test(ids_are_appended_and_a_text_too_long_leaves_them),
        cmocka_unit_test(an_expression_that_backtracks_for_ever_is_an_error),
        cmocka_unit_test(a_long_run_of_combining_marks_is_not_normalized),
        cmocka_unit_test(an_empty_prefix_prepends_nothing),
        cmocka_unit_test(threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
