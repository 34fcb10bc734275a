/* GGUF headers: what is read from them, and what rewriting makes of them. Refusals are in
 * test_gguf_refusals.c. */
#include "tests/unit/gguf_builder.h"

#include <stdio.h>
#include <unistd.h>

#include "codec/bytes.h"

static struct entro_message message;

static const enum entro_dtype sample_dtypes[] = {ENTRO_DTYPE_Q8_0, ENTRO_DTYPE_F32, ENTRO_DTYPE_F16};

static void tensors_and_their_places_are_read(void **state)
{
    (void)state;
    struct file file;
    struct entro_gguf gguf;
    make_sample(&file);
    assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
    assert_int_equal(gguf.version, 3);
    assert_int_equal(gguf.alignment, 32);
    assert_int_equal(gguf.data_offset, file.size - 288);
    uint64_t padding = gguf.data_offset - gguf.header_size_bytes;
    assert_true(padding > 0 && padding < 32);
    assert_memory_equal(gguf.header, file.bytes, gguf.data_offset);
    assert_int_equal(gguf.n_tensors, 3);
    const struct entro_model_tensor *tensor = gguf.tensors;
    assert_string_equal(tensor[0].name, "token_embd.weight");
    assert_int_equal(tensor[0].dtype, ENTRO_DTYPE_Q8_0);
    assert_int_equal(tensor[0].rank, 2);
    assert_int_equal(tensor[0].shape[0], 3);
    assert_int_equal(tensor[0].shape[1], 64);
    assert_int_equal(tensor[0].offset, gguf.data_offset);
    assert_int_equal(tensor[0].size_bytes, 204);
    assert_int_equal(tensor[1].offset, gguf.data_offset + 224);
    assert_int_equal(tensor[1].size_bytes, 20);
    assert_int_equal(tensor[2].rank, 3);
    assert_int_equal(tensor[2].shape[0], 1);
    assert_int_equal(tensor[2].shape[2], 3);
    assert_int_equal(tensor[2].size_bytes, 12);
    entro_gguf_free(&gguf);
    assert_null(gguf.header);
}

static void scalars_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        bool is_integer;
        int64_t integer;
        bool is_number;
        double number;
    } cases[] = {
        {"u8", true, 255, true, 255},      {"i8", true, -1, true, -1},
        {"u16", true, 65534, true, 65534}, {"i16", true, -2, true, -2},
        {"i32", true, -7, true, -7},       {"general.file_type", true, 15, true, 15},
        {"f32", false, 0, true, 0.5},      {"bool", true, 1, false, 0},
        {"u64", false, 0, true, 0x1p64},   {"i64", true, INT64_MIN, true, -0x1p63},
        {"f64", false, 0, true, -0.25},    {"general.architecture", false, 0, false, 0},
        {"integers", false, 0, false, 0},  {"missing", false, 0, false, 0},
    };
    struct file file;
    struct entro_gguf gguf;
    make_sample(&file);
    assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct entro_gguf_pair *pair = entro_gguf_find(&gguf, cases[i].key);
        int64_t integer;
        double number;
        assert_int_equal(entro_gguf_integer(pair, &integer), cases[i].is_integer);
        if (cases[i].is_integer)
            assert_true(integer == cases[i].integer);
        assert_int_equal(entro_gguf_number(pair, &number), cases[i].is_number);
        if (cases[i].is_number)
            assert_true(number == cases[i].number);
    }
    struct entro_gguf_string text;
    assert_true(entro_gguf_text(entro_gguf_find(&gguf, "general.architecture"), &text));
    assert_int_equal(text.size_bytes, 5);
    assert_memory_equal(text.text, "llama", 5);
    assert_false(entro_gguf_text(entro_gguf_find(&gguf, "u8"), &text));
    assert_false(entro_gguf_text(NULL, &text));
    assert_null(entro_gguf_find(&gguf, "general"));
    entro_gguf_free(&gguf);
}

static void arrays_are_read(void **state)
{
    (void)state;
    struct file file;
    struct entro_gguf gguf;
    make_sample(&file);
    assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
    const struct entro_gguf_pair *strings = entro_gguf_find(&gguf, "strings");
    const struct entro_gguf_pair *integers = entro_gguf_find(&gguf, "integers");
    const struct entro_gguf_pair *numbers = entro_gguf_find(&gguf, "numbers");
    struct entro_gguf_string texts[3];
    int64_t whole[2];
    double values[2];
    assert_int_equal(strings->n_elements, 3);
    assert_true(entro_gguf_strings(strings, texts));
    assert_memory_equal(texts[0].text, "one", 3);
    assert_int_equal(texts[1].size_bytes, 0);
    assert_int_equal(texts[2].size_bytes, 7);
    assert_memory_equal(texts[2].text, "\xff three", 7);
    assert_true(entro_gguf_integers(integers, whole));
    assert_true(whole[0] == 1 && whole[1] == -1);
    assert_true(entro_gguf_numbers(integers, values));
    assert_true(values[0] == 1 && values[1] == -1);
    assert_true(entro_gguf_numbers(numbers, values));
    assert_true(values[0] == 1.5 && values[1] == -2);
    assert_false(entro_gguf_integers(numbers, whole));
    assert_false(entro_gguf_integers(strings, whole));
    assert_false(entro_gguf_numbers(strings, values));
    assert_false(entro_gguf_strings(integers, texts));
    assert_false(entro_gguf_strings(NULL, texts));
    assert_false(entro_gguf_integers(entro_gguf_find(&gguf, "u8"), whole));
    assert_true(entro_gguf_strings(entro_gguf_find(&gguf, "nothing"), texts));
    entro_gguf_free(&gguf);
}

static void empty_tensors_and_scalars_are_legal(void **state)
{
    (void)state;
    struct file file;
    struct entro_gguf gguf;
    start_file(&file, 3, 0);
    put_tensor(&file, "none", 2, (const uint64_t[]){0, 4}, 0, 0);
    put_tensor(&file, "scalar", 0, NULL, 0, 0);
    put_tensor(&file, "last", 1, (const uint64_t[]){0}, 8, 32);
    pad(&file, 32);
    put_data(&file, 32);
    assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
    assert_int_equal(gguf.tensors[0].size_bytes, 0);
    assert_int_equal(gguf.tensors[1].size_bytes, 4);
    assert_int_equal(gguf.tensors[2].size_bytes, 0);
    entro_gguf_free(&gguf);
}

/* Rewrites the sample with these types. The caller frees *header. */
static enum entro_error rewrite(const struct entro_gguf *gguf, const enum entro_dtype *dtypes, int file_type,
                                uint8_t **header, size_t *header_bytes, uint64_t *offsets,
                                uint64_t *file_bytes)
{
    message.text[0] = '\0';
    return entro_gguf_rewrite(gguf, dtypes, file_type, header, header_bytes, offsets, file_bytes, &message);
}

static void rewriting_without_a_change_gives_the_same_bytes(void **state)
{
    (void)state;
    struct file file;
    make_sample(&file);
    file.bytes[file.size - 288 - 1] = 0x5a; /* padding that is not zero */
    size_t whole = file.size;
    for (; file.size >= whole - 20; file.size--) { /* with any part of the last padding */
        struct entro_gguf gguf;
        uint8_t *header;
        size_t header_bytes;
        uint64_t offsets[3], file_bytes;
        assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
        assert_int_equal(rewrite(&gguf, sample_dtypes, -1, &header, &header_bytes, offsets, &file_bytes),
                         ENTRO_OK);
        assert_int_equal(header_bytes, gguf.data_offset);
        assert_memory_equal(header, file.bytes, header_bytes);
        assert_int_equal(file_bytes, file.size);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(offsets[i], gguf.tensors[i].offset);
        free(header);
        entro_gguf_free(&gguf);
    }
}

static void rewriting_changes_types_offsets_and_file_type_only(void **state)
{
    (void)state;
    static const enum entro_dtype dtypes[] = {ENTRO_DTYPE_F16, ENTRO_DTYPE_F32, ENTRO_DTYPE_BF16};
    struct file file, expected;
    struct entro_gguf gguf, again;
    uint8_t *header;
    size_t header_bytes;
    uint64_t offsets[3], file_bytes;
    make_sample(&file);
    assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
    assert_int_equal(rewrite(&gguf, dtypes, 1, &header, &header_bytes, offsets, &file_bytes), ENTRO_OK);
    assert_int_equal(header_bytes, gguf.data_offset);
    assert_int_equal(file_bytes, gguf.data_offset + 384 + 32 + 32);
    expected.size = 0;
    put(&expected, header, header_bytes);
    put_data(&expected, file_bytes - header_bytes);
    free(header);
    assert_int_equal(parse(&again, &expected, &message), ENTRO_OK);
    assert_int_equal(again.n_pairs, gguf.n_pairs);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(again.tensors[i].dtype, dtypes[i]);
        assert_int_equal(again.tensors[i].offset, offsets[i]);
        assert_string_equal(again.tensors[i].name, gguf.tensors[i].name);
        assert_memory_equal(again.tensors[i].shape, gguf.tensors[i].shape, sizeof gguf.tensors[i].shape);
    }
    int64_t file_type;
    assert_true(entro_gguf_integer(entro_gguf_find(&again, "general.file_type"), &file_type));
    assert_true(file_type == 1);
    /* Every other byte is the source's. */
    size_t type_offset = entro_gguf_find(&gguf, "general.file_type")->value_offset;
    for (size_t i = 0; i < gguf.infos_offset; i++)
        if (i < type_offset || i >= type_offset + 4)
            assert_int_equal(again.header[i], gguf.header[i]);
    entro_gguf_free(&again);
    entro_gguf_free(&gguf);
}

static void numbers_that_do_not_fit_are_refused_in_arrays_too(void **state)
{
    (void)state;
    struct file file;
    struct entro_gguf gguf;
    int64_t integers[2];
    double numbers[2];
    start_file(&file, 0, 1);
    put_array(&file, "a", ENTRO_GGUF_U64, 2);
    put_u64(&file, INT64_MAX);
    put_u64(&file, (uint64_t)INT64_MAX + 1);
    assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
    assert_false(entro_gguf_integers(&gguf.pairs[0], integers));
    assert_true(entro_gguf_numbers(&gguf.pairs[0], numbers));
    assert_true(numbers[1] == 0x1p63);
    entro_gguf_free(&gguf);
}

static void rewriting_refuses_a_file_that_would_be_too_large(void **state)
{
    (void)state;
    static const enum entro_dtype wider = ENTRO_DTYPE_F64;
    struct file file;
    struct entro_gguf gguf;
    uint8_t *header;
    size_t header_bytes;
    uint64_t offset, file_bytes;
    start_file(&file, 1, 0);
    put_tensor(&file, "t", 1, (const uint64_t[]){(uint64_t)1 << 60}, 24, 0); /* I8 */
    pad(&file, 32);
    uint64_t size_bytes = file.size + ((uint64_t)1 << 60);
    assert_int_equal(entro_gguf_parse(&gguf, file.bytes, file.size, size_bytes, "m.gguf", &message),
                     ENTRO_OK);
    assert_int_equal(rewrite(&gguf, &wider, -1, &header, &header_bytes, &offset, &file_bytes),
                     ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(message.text, "too large"));
    entro_gguf_free(&gguf);
}

static void rewriting_refuses_types_that_do_not_fit(void **state)
{
    (void)state;
    static const enum entro_dtype bad[][3] = {
        {ENTRO_DTYPE_Q8_0, ENTRO_DTYPE_Q8_0, ENTRO_DTYPE_F16}, /* five elements */
        {ENTRO_DTYPE_Q4_K, ENTRO_DTYPE_F32, ENTRO_DTYPE_F16},  /* rows of 64 */
        {ENTRO_DTYPE_U8, ENTRO_DTYPE_F32, ENTRO_DTYPE_F16},    /* not in GGUF */
        {ENTRO_DTYPE_NONE, ENTRO_DTYPE_F32, ENTRO_DTYPE_F16},
    };
    struct file file;
    struct entro_gguf gguf;
    make_sample(&file);
    assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t *header;
        size_t header_bytes;
        uint64_t offsets[3], file_bytes;
        assert_int_equal(rewrite(&gguf, bad[i], -1, &header, &header_bytes, offsets, &file_bytes),
                         ENTRO_ERROR_ARGUMENT);
        assert_null(header);
    }
    entro_gguf_free(&gguf);
}

/* A temporary file with these bytes, open and already without a name. */
static int temporary_file(const void *bytes, size_t size_bytes)
{
    char name[] = "/tmp/entro_test_XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(pwrite(fd, bytes, size_bytes, 0), size_bytes);
    return fd;
}

/* Larger than the first reads of the header, so that it is read in several. */
static void a_large_vocabulary_is_read_from_a_file(void **state)
{
    (void)state;
    enum { N_TOKENS = 200000, TOKEN_BYTES = 8 + 7 };
    struct file head, tail = {.size = 0};
    start_file(&head, 1, 1);
    put_array(&head, "tokenizer.ggml.tokens", ENTRO_GGUF_STRING, N_TOKENS);
    put_vector(&tail, "t", 8, 0);
    size_t header_bytes = head.size + (size_t)N_TOKENS * TOKEN_BYTES + tail.size;
    size_t data_offset = (header_bytes + 31) / 32 * 32;
    uint8_t *bytes = calloc(1, data_offset + 32);
    assert_non_null(bytes);
    memcpy(bytes, head.bytes, head.size);
    for (size_t i = 0; i < N_TOKENS; i++) {
        char text[16];
        snprintf(text, sizeof text, "t%06zu", i);
        entro_store_u64(bytes + head.size + i * TOKEN_BYTES, 7);
        memcpy(bytes + head.size + i * TOKEN_BYTES + 8, text, 7);
    }
    memcpy(bytes + header_bytes - tail.size, tail.bytes, tail.size);
    int fd = temporary_file(bytes, data_offset + 32);
    struct entro_gguf gguf;
    assert_int_equal(entro_gguf_open(&gguf, fd, data_offset + 32, "m.gguf", &message), ENTRO_OK);
    assert_int_equal(gguf.data_offset, data_offset);
    struct entro_gguf_string *tokens = calloc(N_TOKENS, sizeof *tokens);
    assert_non_null(tokens);
    assert_int_equal(gguf.pairs[0].n_elements, N_TOKENS);
    assert_true(entro_gguf_strings(&gguf.pairs[0], tokens));
    assert_memory_equal(tokens[N_TOKENS - 1].text, "t199999", 7);
    free(tokens);
    entro_gguf_free(&gguf);
    /* The file ends earlier than it is said to. */
    assert_int_equal(ftruncate(fd, (off_t)data_offset / 2), 0);
    assert_int_equal(entro_gguf_open(&gguf, fd, data_offset + 32, "m.gguf", &message), ENTRO_ERROR_IO);
    assert_int_equal(entro_gguf_open(&gguf, fd, data_offset / 2, "m.gguf", &message), ENTRO_ERROR_FORMAT);
    close(fd);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_and_their_places_are_read),
        cmocka_unit_test(scalars_are_read),
        cmocka_unit_test(arrays_are_read),
        cmocka_unit_test(empty_tensors_and_scalars_are_legal),
        cmocka_unit_test(rewriting_without_a_change_gives_the_same_bytes),
        cmocka_unit_test(rewriting_changes_types_offsets_and_file_type_only),
        cmocka_unit_test(numbers_that_do_not_fit_are_refused_in_arrays_too),
        cmocka_unit_test(rewriting_refuses_a_file_that_would_be_too_large),
        cmocka_unit_test(rewriting_refuses_types_that_do_not_fit),
        cmocka_unit_test(a_large_vocabulary_is_read_from_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
