/* tokenizer.model: what is read, what is refused and why. That ids equal SentencePiece's is checked in
 * test_tokenizer_vectors.c. */
#include "runner/protobuf.h"
#include "runner/sentencepiece.h"
#include "test_tokenizer_fixture.h"

/* Field numbers of sentencepiece_model.proto. */
enum { PIECES = 1, TRAINER = 2, NORMALIZER = 3, DENORMALIZER = 5 };
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

static void put_varint(struct entro_text *out, uint64_t value)
{
    do {
        char byte = (char)((value & 127) | (value > 127 ? 128 : 0));
        assert_int_equal(entro_text_append(out, &byte, 1, NULL), ENTRO_OK);
        value >>= 7;
    } while (value > 0);
}

static void put_number(struct entro_text *out, unsigned field, uint64_t value)
{
    put_varint(out, (uint64_t)field << 3);
    put_varint(out, value);
}

static void put_bytes(struct entro_text *out, unsigned field, const char *bytes, size_t size)
{
    put_varint(out, (uint64_t)field << 3 | 2);
    put_varint(out, size);
    assert_int_equal(entro_text_append(out, bytes, size, NULL), ENTRO_OK);
}

static void put_piece(struct entro_text *out, const char *text, float score, uint64_t type)
{
    struct entro_text piece = {0};
    char bits[4];
    memcpy(bits, &score, 4);
    put_bytes(&piece, 1, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    assert_int_equal(entro_text_append(&piece, bits, 4, NULL), ENTRO_OK);
    put_number(&piece, 3, type);
    put_bytes(out, PIECES, piece.data, piece.size);
    entro_text_free(&piece);
}

/* A message within the file with one number in it. */
static void put_setting(struct entro_text *out, unsigned part, unsigned field, uint64_t value)
{
    struct entro_text message = {0};
    put_number(&message, field, value);
    put_bytes(out, part, message.data, message.size);
    entro_text_free(&message);
}

/* Of pieces merged by score, with the settings of Llama 2, and no bytes to fall back to. */
static struct entro_text small_model(void)
{
    struct entro_text out = {0};
    put_piece(&out, "<unk>", 0, UNKNOWN);
    put_piece(&out, "<s>", 0, CONTROL);
    put_piece(&out, "</s>", 0, CONTROL);
    put_piece(&out, "\u2581", -1, NORMAL);
    put_piece(&out, "a", -2, NORMAL);
    put_piece(&out, "b", -3, NORMAL);
    put_piece(&out, "ab", -4, NORMAL);
    put_piece(&out, "\u2581ab", -5, NORMAL);
    put_piece(&out, "<", -6, NORMAL);
    put_piece(&out, "s>", -7, NORMAL);
    put_piece(&out, "s", -8, NORMAL);
    put_piece(&out, ">", -9, NORMAL);
    put_setting(&out, TRAINER, 3, 2);
    put_setting(&out, NORMALIZER, 4, 0);
    return out;
}

static enum entro_error make(struct entro_tokenizer **out, const struct entro_text *model, const char *config,
                             struct entro_message *message)
{
    return entro_tokenizer_from_sentencepiece(out, model->data, model->size, config,
                                              config != NULL ? strlen(config) : 0, message);
}

static void check_encoded(const struct entro_tokenizer *tokenizer, const char *text, unsigned flags,
                          const uint32_t *expected, size_t n)
{
    struct entro_tokens tokens = fixture_encode(tokenizer, text, strlen(text), flags);
    assert_int_equal(tokens.n, n);
    assert_memory_equal(tokens.ids, expected, n * sizeof *expected);
    entro_tokens_free(&tokens);
}

static void pieces_merge_by_score(void **state)
{
    (void)state;
    struct entro_text model = small_model();
    struct entro_tokenizer *tokenizer;
    assert_int_equal(make(&tokenizer, &model, NULL, NULL), ENTRO_OK);
    assert_int_equal(entro_tokenizer_n_tokens(tokenizer), 12);
    assert_int_equal(entro_tokenizer_bos(tokenizer), 1);
    assert_int_equal(entro_tokenizer_eos(tokenizer), 2);
    assert_true(entro_tokenizer_adds_bos(tokenizer));
    check_encoded(tokenizer, "ab ab", ENTRO_ENCODE_TEMPLATE, (const uint32_t[]){1, 7, 7}, 3);
    /* A control piece is a token where it is asked for; no merge makes it. */
    check_encoded(tokenizer, "ab<s>", ENTRO_ENCODE_SPECIAL, (const uint32_t[]){7, 1}, 2);
    check_encoded(tokenizer, "ab<s>", 0, (const uint32_t[]){7, 8, 9}, 3);
    fixture_check_decoded(tokenizer, (const uint32_t[]){1, 7, 7}, 3, 0, "ab ab");
    entro_tokenizer_destroy(tokenizer);
    entro_text_free(&model);
}

static void characters_that_are_no_piece_become_one_unknown_token(void **state)
{
    (void)state;
    struct entro_text model = small_model();
    struct entro_tokenizer *tokenizer;
    assert_int_equal(make(&tokenizer, &model, NULL, NULL), ENTRO_OK);
    check_encoded(tokenizer, "abxyz\u00e9ab", 0, (const uint32_t[]){7, 0, 6}, 3);
    entro_tokenizer_destroy(tokenizer);
    /* With all bytes of a character there, it falls back to them. */
    put_piece(&model, "<0xC3>", 0, BYTE);
    put_piece(&model, "<0xA9>", 0, BYTE);
    assert_int_equal(make(&tokenizer, &model, NULL, NULL), ENTRO_OK);
    check_encoded(tokenizer, "x\u00e9y", 0, (const uint32_t[]){3, 0, 12, 13, 0}, 5);
    fixture_check_decoded(tokenizer, (const uint32_t[]){3, 12, 13}, 3, 0, "\u00e9");
    entro_tokenizer_destroy(tokenizer);
    entro_text_free(&model);
}

static void the_configuration_adds_tokens(void **state)
{
    (void)state;
    struct entro_text model = small_model();
    struct entro_tokenizer *tokenizer;
    static const char config[] =
        "{\"add_bos_token\": false, \"add_eos_token\": true, \"legacy\": false, \"added_tokens_decoder\": {"
        "\"2\": {\"content\": \"</s>\", \"special\": true},"
        "\"14\": {\"content\": \"<|end|>\", \"special\": true, \"rstrip\": true}}}";
    assert_int_equal(make(&tokenizer, &model, config, NULL), ENTRO_OK);
    assert_int_equal(entro_tokenizer_n_tokens(tokenizer), 15);
    assert_false(entro_tokenizer_adds_bos(tokenizer));
    check_encoded(tokenizer, "ab<|end|>  \n ab", ENTRO_ENCODE_SPECIAL | ENTRO_ENCODE_TEMPLATE,
                  (const uint32_t[]){7, 14, 6, 2}, 4);
    entro_tokenizer_destroy(tokenizer);
    entro_text_free(&model);
}

static void check_refused(struct entro_text *model, const char *config, enum entro_error expected,
                          const char *says)
{
    struct entro_tokenizer *tokenizer = NULL;
    struct entro_message message = {""};
    assert_int_equal(make(&tokenizer, model, config, &message), expected);
    assert_null(tokenizer);
    if (strstr(message.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", message.text, says);
    entro_text_free(model);
}

static void other_kinds_of_models_are_refused_by_name(void **state)
{
    (void)state;
    struct entro_text model = small_model();
    put_setting(&model, TRAINER, 3, 1);
    check_refused(&model, NULL, ENTRO_ERROR_UNSUPPORTED, "type UNIGRAM");
    model = small_model();
    put_setting(&model, TRAINER, 3, 4);
    check_refused(&model, NULL, ENTRO_ERROR_UNSUPPORTED, "type CHAR");
    model = small_model();
    put_setting(&model, TRAINER, 3, UINT64_MAX);
    check_refused(&model, NULL, ENTRO_ERROR_UNSUPPORTED, "an unknown type");
    model = small_model();
    put_setting(&model, TRAINER, 24, 1);
    check_refused(&model, NULL, ENTRO_ERROR_UNSUPPORTED, "suffix");
    model = small_model();
    put_setting(&model, NORMALIZER, 4, 1);
    check_refused(&model, NULL, ENTRO_ERROR_UNSUPPORTED, "removes spaces");
    model = small_model();
    put_setting(&model, NORMALIZER, 5, 0);
    check_refused(&model, NULL, ENTRO_ERROR_UNSUPPORTED, "leaves spaces");
    model = small_model();
    put_bytes(&model, NORMALIZER, "\x12\x01x", 3);
    check_refused(&model, NULL, ENTRO_ERROR_UNSUPPORTED, "maps characters");
    model = small_model();
    put_bytes(&model, DENORMALIZER, "\x12\x01x", 3);
    check_refused(&model, NULL, ENTRO_ERROR_UNSUPPORTED, "maps characters");
    model = small_model();
    put_piece(&model, "x", 0, UNUSED);
    check_refused(&model, NULL, ENTRO_ERROR_UNSUPPORTED, "UNUSED");
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    struct entro_text model = {0};
    check_refused(&model, NULL, ENTRO_ERROR_FORMAT, "not a SentencePiece model");
    model = small_model();
    put_piece(&model, "<unk2>", 0, UNKNOWN);
    check_refused(&model, NULL, ENTRO_ERROR_FORMAT, "exactly one unknown");
    model = small_model();
    put_piece(&model, "", 0, NORMAL);
    check_refused(&model, NULL, ENTRO_ERROR_FORMAT, "a piece is empty");
    model = small_model();
    put_piece(&model, "x", 0, 7);
    check_refused(&model, NULL, ENTRO_ERROR_FORMAT, "a piece is damaged");
    model = small_model();
    put_piece(&model, "\xC3(", 0, NORMAL);
    check_refused(&model, NULL, ENTRO_ERROR_FORMAT, "UTF-8");
    model = small_model();
    put_bytes(&model, PIECES, "\x0a\x7f", 2);
    check_refused(&model, NULL, ENTRO_ERROR_FORMAT, "a piece is damaged");
    model = small_model();
    put_bytes(&model, TRAINER, "\x18", 1);
    check_refused(&model, NULL, ENTRO_ERROR_FORMAT, "trainer's part");
    model = small_model();
    put_bytes(&model, NORMALIZER, "\x18", 1);
    check_refused(&model, NULL, ENTRO_ERROR_FORMAT, "normalizer's part");
}

static void bad_configurations_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        const char *says;
    } refusals[] = {
        {"{", "tokenizer_config.json:1"},
        {"[]", "not an object"},
        {"{\"legacy\": 1}", "\"legacy\" is neither"},
        {"{\"added_tokens_decoder\": []}", "no object"},
        {"{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}", "no id"},
        {"{\"added_tokens_decoder\": {\"-1\": {\"content\": \"y\"}}}", "no id"},
        {"{\"added_tokens_decoder\": {\"99999999999999999999\": {\"content\": \"y\"}}}", "no id"},
        {"{\"added_tokens_decoder\": {\"20\": {}}}", "no content"},
        {"{\"added_tokens_decoder\": {\"20\": {\"content\": \"\"}}}", "has 0 bytes"},
        {"{\"added_tokens_decoder\": {\"1\": {\"content\": \"<t>\"}}}", "contradicts"},
        {"{\"added_tokens_decoder\": {\"4000000\": {\"content\": \"<t>\"}}}", "out of range"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct entro_text model = small_model();
        check_refused(&model, refusals[i].config, ENTRO_ERROR_FORMAT, refusals[i].says);
    }
}

static void a_truncated_file_is_refused_or_has_fewer_pieces(void **state)
{
    (void)state;
    struct entro_text model = small_model();
    size_t n_taken = 0;
    for (size_t size = 0; size < model.size; size++) {
        char *exact = test_malloc(size > 0 ? size : 1);
        memcpy(exact, model.data, size);
        struct entro_tokenizer *tokenizer = NULL;
        struct entro_message message = {""};
        enum entro_error error =
            entro_tokenizer_from_sentencepiece(&tokenizer, exact, size, NULL, 0, &message);
        assert_true((error == ENTRO_OK) == (tokenizer != NULL));
        assert_true(error == ENTRO_OK || message.text[0] != '\0');
        n_taken += error == ENTRO_OK;
        entro_tokenizer_destroy(tokenizer);
        test_free(exact);
    }
    /* The last setting is what makes it a model that is taken. */
    assert_int_equal(n_taken, 0);
    entro_text_free(&model);
}

static void a_field_that_is_none_ends_a_message(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } damaged[] = {
        {"\x80", 1},     /* a tag without an end */
        {"\x07", 1},     /* no such kind */
        {"\x0b", 1},     /* a group */
        {"\x00\x01", 2}, /* field 0 */
        {"\x08", 1},     /* no value */
        {"\x0a\x05"
         "abcd",
         6}, /* too few bytes */
        {"\x0d"
         "abc",
         4},
        {"\x09"
         "abcdefg",
         8},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11}, /* more than 64 bits */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 12},
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
    };
    struct entro_protobuf_field field;
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        struct entro_protobuf message = {.data = damaged[i].bytes, .size = damaged[i].size};
        assert_false(entro_protobuf_next(&message, &field));
        assert_true(message.damaged);
        assert_false(entro_protobuf_next(&message, &field));
    }
    struct entro_protobuf message = {.data = "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x12\x01z",
                                     .size = 14};
    assert_true(entro_protobuf_next(&message, &field));
    assert_true(field.number == 1 && field.kind == ENTRO_PROTOBUF_VARINT && field.value == UINT64_MAX);
    assert_true(entro_protobuf_next(&message, &field));
    assert_true(field.number == 2 && field.size == 1 && field.data[0] == 'z');
    assert_false(entro_protobuf_next(&message, &field));
    assert_false(message.damaged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_merge_by_score),
        cmocka_unit_test(characters_that_are_no_piece_become_one_unknown_token),
        cmocka_unit_test(the_configuration_adds_tokens),
        cmocka_unit_test(other_kinds_of_models_are_refused_by_name),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(bad_configurations_are_refused),
        cmocka_unit_test(a_truncated_file_is_refused_or_has_fewer_pieces),
        cmocka_unit_test(a_field_that_is_none_ends_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
