/* Every way in which a GGUF header is refused, and what is next to it and is not. */
#include "tests/unit/gguf_builder.h"

#include "codec/bytes.h"

static struct entro_message message;

static void assert_refused(enum entro_error error, const char *text, const struct file *file)
{
    struct entro_gguf gguf;
    enum entro_error got = parse(&gguf, file, &message);
    if (got != error || strstr(message.text, text) == NULL || strstr(message.text, "m.gguf") == NULL)
        fail_msg("%s, \"%s\" instead of \"%s\"", entro_error_name(got), message.text, text);
    assert_null(gguf.header);
    assert_null(gguf.pairs);
    assert_null(gguf.tensors);
}

static void assert_malformed(const char *text, const struct file *file)
{
    assert_refused(ENTRO_ERROR_FORMAT, text, file);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct file file;
    make_sample(&file);
    size_t whole = file.size;
    struct entro_gguf gguf;
    for (file.size = 0; file.size < whole - 20; file.size++)
        assert_int_equal(parse(&gguf, &file, &message), ENTRO_ERROR_FORMAT);
    /* The padding after the last tensor may be missing, in part too. */
    for (; file.size <= whole; file.size++) {
        assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
        entro_gguf_free(&gguf);
    }
    put_data(&file, 1);
    assert_malformed("bytes after the last tensor", &file);
}

static void a_header_that_is_not_all_at_hand_is_an_argument_error(void **state)
{
    (void)state;
    struct file file;
    make_sample(&file);
    struct entro_gguf gguf;
    size_t data_offset = file.size - 288;
    for (size_t n = 0; n < data_offset; n++)
        assert_int_equal(entro_gguf_parse(&gguf, file.bytes, n, file.size, "m.gguf", &message),
                         ENTRO_ERROR_ARGUMENT);
    assert_int_equal(entro_gguf_parse(&gguf, file.bytes, data_offset, file.size, "m.gguf", &message),
                     ENTRO_OK);
    entro_gguf_free(&gguf);
}

static void other_versions_are_refused_by_name(void **state)
{
    (void)state;
    struct file file;
    struct entro_gguf gguf;
    make_sample(&file);
    entro_store_u32(file.bytes + 4, 2);
    assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
    assert_int_equal(gguf.version, 2);
    entro_gguf_free(&gguf);
    entro_store_u32(file.bytes + 4, 1);
    assert_refused(ENTRO_ERROR_UNSUPPORTED, "GGUF version 1", &file);
    entro_store_u32(file.bytes + 4, 4);
    assert_refused(ENTRO_ERROR_UNSUPPORTED, "GGUF version 4", &file);
    entro_store_u32(file.bytes + 4, 0);
    assert_refused(ENTRO_ERROR_UNSUPPORTED, "GGUF version 0", &file);
    entro_store_u32(file.bytes + 4, 0x03000000);
    assert_refused(ENTRO_ERROR_UNSUPPORTED, "big-endian", &file);
    memcpy(file.bytes, "GGML", 4);
    assert_malformed("no GGUF file", &file);
}

static void absurd_counts_are_refused(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1000, (uint64_t)1 << 32, INT64_MAX, UINT64_MAX};
    struct file file;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        start_file(&file, counts[i], 0);
        put_data(&file, 100);
        assert_malformed("room", &file);
        start_file(&file, 0, counts[i]);
        put_data(&file, 100);
        assert_malformed("room", &file);
        for (enum entro_gguf_type type = ENTRO_GGUF_U8; type <= ENTRO_GGUF_F64; type++) {
            if (type == ENTRO_GGUF_ARRAY)
                continue;
            start_file(&file, 0, 1);
            put_array(&file, "a", type, counts[i]);
            put_data(&file, 100);
            assert_malformed("m.gguf", &file);
        }
    }
    /* Counts for which a very large file would have room. */
    struct entro_gguf gguf;
    start_file(&file, ENTRO_GGUF_MAX_TENSORS + 1, 0);
    assert_int_equal(entro_gguf_parse(&gguf, file.bytes, file.size, INT64_MAX, "m", &message),
                     ENTRO_ERROR_UNSUPPORTED);
    start_file(&file, 0, ENTRO_GGUF_MAX_PAIRS + 1);
    assert_int_equal(entro_gguf_parse(&gguf, file.bytes, file.size, INT64_MAX, "m", &message),
                     ENTRO_ERROR_UNSUPPORTED);
    start_file(&file, 0, 1);
    put_array(&file, "a", ENTRO_GGUF_U8, ENTRO_GGUF_HEADER_MAX_BYTES);
    assert_int_equal(entro_gguf_parse(&gguf, file.bytes, file.size, INT64_MAX, "m", &message),
                     ENTRO_ERROR_UNSUPPORTED);
}

static void strings_longer_than_the_file_are_refused(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {200, INT64_MAX, UINT64_MAX - 7, UINT64_MAX};
    struct file file;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        start_file(&file, 0, 1);
        put_u64(&file, lengths[i]);
        put_data(&file, 100);
        assert_malformed("past the end", &file);
        start_file(&file, 0, 1);
        put_key(&file, "s", ENTRO_GGUF_STRING);
        put_u64(&file, lengths[i]);
        put_data(&file, 100);
        assert_malformed("past the end", &file);
        start_file(&file, 1, 0);
        put_u64(&file, lengths[i]);
        put_data(&file, 100);
        assert_malformed("past the end", &file);
    }
}

static void malformed_metadata_is_refused(void **state)
{
    (void)state;
    struct file file;
    start_file(&file, 0, 1);
    put_array(&file, "nested", ENTRO_GGUF_ARRAY, 1);
    put_data(&file, 100);
    assert_malformed("array of arrays", &file);
    start_file(&file, 0, 1);
    put_key(&file, "type", (enum entro_gguf_type)13);
    put_data(&file, 100);
    assert_malformed("unknown metadata type 13", &file);
    start_file(&file, 0, 1);
    put_array(&file, "type", (enum entro_gguf_type)99, 1);
    put_data(&file, 100);
    assert_malformed("unknown metadata type 99", &file);
    start_file(&file, 0, 1);
    put_key(&file, "bool", ENTRO_GGUF_BOOL);
    put(&file, "\x02", 1);
    assert_malformed("bool", &file);
    start_file(&file, 0, 1);
    put_array(&file, "bools", ENTRO_GGUF_BOOL, 3);
    put(&file, "\x01\x00\xff", 3);
    assert_malformed("bool", &file);
    start_file(&file, 0, 1);
    put_key(&file, "", ENTRO_GGUF_U8);
    put_data(&file, 100);
    assert_malformed("key is empty", &file);
}

static void duplicate_keys_and_names_are_refused(void **state)
{
    (void)state;
    struct file file;
    start_file(&file, 0, 3);
    for (int i = 0; i < 3; i++) {
        put_key(&file, i == 1 ? "other" : "same", ENTRO_GGUF_U8);
        put_data(&file, 1);
    }
    assert_malformed("two metadata keys \"same\"", &file);
    start_file(&file, 3, 0);
    for (uint64_t i = 0; i < 3; i++)
        put_vector(&file, i == 1 ? "other" : "same", 8, i * 32);
    pad(&file, 32);
    put_data(&file, 96);
    assert_malformed("two tensors \"same\"", &file);
}

static void bad_tensor_names_are_refused(void **state)
{
    (void)state;
    struct file file;
    char name[ENTRO_GGUF_NAME_MAX_BYTES + 2];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    start_file(&file, 1, 0);
    put_vector(&file, name, 8, 0);
    assert_malformed("name is empty or too long", &file);
    start_file(&file, 1, 0);
    put_vector(&file, "", 8, 0);
    put_data(&file, 8);
    assert_malformed("name is empty or too long", &file);
    start_file(&file, 1, 0);
    put_vector(&file, "n\xff", 8, 0);
    assert_malformed("not UTF-8", &file);
    start_file(&file, 1, 0);
    put_vector(&file, "nul", 8, 0);
    file.bytes[24 + 8 + 1] = '\0';
    assert_malformed("not UTF-8", &file);
}

/* One tensor of these facts, followed by data_bytes bytes. */
static void make_tensor(struct file *file, uint32_t rank, const uint64_t *dimensions, uint32_t type,
                        uint64_t offset, size_t data_bytes)
{
    start_file(file, 1, 0);
    put_tensor(file, "t", rank, dimensions, type, offset);
    pad(file, 32);
    put_data(file, data_bytes);
}

static void bad_tensor_descriptions_are_refused(void **state)
{
    (void)state;
    struct file file;
    make_tensor(&file, 5, (const uint64_t[]){1, 1, 1, 1, 1}, 0, 0, 32);
    assert_malformed("5 dimensions", &file);
    make_tensor(&file, 1, (const uint64_t[]){(uint64_t)1 << 63}, 0, 0, 32);
    assert_malformed("no size", &file);
    make_tensor(&file, 2, (const uint64_t[]){(uint64_t)1 << 32, (uint64_t)1 << 32}, 0, 0, 32);
    assert_malformed("64 bits", &file);
    make_tensor(&file, 4, (const uint64_t[]){INT64_MAX, INT64_MAX, INT64_MAX, 0}, 0, 0, 32);
    assert_malformed("64 bits", &file);
    make_tensor(&file, 1, (const uint64_t[]){INT64_MAX}, 0, 0, 32);
    assert_malformed("64 bits", &file);
    make_tensor(&file, 1, (const uint64_t[]){INT64_MAX}, 24, 0, 32);
    assert_malformed("does not lie in the file", &file);
    make_tensor(&file, 2, (const uint64_t[]){16, 2}, 8, 0, 64);
    assert_malformed("blocks of Q8_0", &file);
    make_tensor(&file, 1, (const uint64_t[]){128}, 12, 0, 96);
    assert_malformed("blocks of Q4_K", &file);
    make_tensor(&file, 0, NULL, 8, 0, 64);
    assert_malformed("blocks of Q8_0", &file);
    make_tensor(&file, 1, (const uint64_t[]){32}, 4, 0, 64);
    assert_refused(ENTRO_ERROR_UNSUPPORTED, "unknown tensor type 4", &file);
    make_tensor(&file, 1, (const uint64_t[]){32}, UINT32_MAX, 0, 64);
    assert_refused(ENTRO_ERROR_UNSUPPORTED, "unknown tensor type 4294967295", &file);
}

static void offsets_other_than_the_padded_sum_are_refused(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {0, 8, 20, 31, 33, 64, UINT64_MAX - 31, UINT64_MAX};
    struct file file;
    struct entro_gguf gguf;
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        start_file(&file, 2, 0);
        put_vector(&file, "a", 5, 0);
        put_vector(&file, "b", 5, offsets[i]);
        pad(&file, 32);
        put_data(&file, 96);
        assert_malformed("tensor \"b\" does not start right after", &file);
    }
    start_file(&file, 2, 0);
    put_vector(&file, "a", 5, 32);
    put_vector(&file, "b", 5, 0);
    pad(&file, 32);
    put_data(&file, 64);
    assert_malformed("tensor \"a\" does not start right after", &file);
    start_file(&file, 2, 0);
    put_vector(&file, "a", 5, 0);
    put_vector(&file, "b", 5, 32);
    pad(&file, 32);
    put_data(&file, 52);
    assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
    entro_gguf_free(&gguf);
    file.size--;
    assert_malformed("tensor \"b\" does not lie in the file", &file);
}

static void the_alignment_is_a_power_of_two(void **state)
{
    (void)state;
    struct file file;
    struct entro_gguf gguf;
    static const uint32_t bad[] = {0, 3, 48, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        start_file(&file, 0, 1);
        put_key(&file, "general.alignment", ENTRO_GGUF_U32);
        put_u32(&file, bad[i]);
        assert_malformed("power of two", &file);
    }
    start_file(&file, 0, 1);
    put_key(&file, "general.alignment", ENTRO_GGUF_U64);
    put_u64(&file, 32);
    assert_malformed("no U32", &file);
    static const uint32_t good[] = {1, 8, 64, 1024};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        start_file(&file, 2, 1);
        put_key(&file, "general.alignment", ENTRO_GGUF_U32);
        put_u32(&file, good[i]);
        uint64_t second = (uint64_t)(20 + good[i] - 1) / good[i] * good[i];
        put_vector(&file, "a", 5, 0);
        put_vector(&file, "b", 5, second);
        pad(&file, good[i]);
        uint64_t data_offset = file.size;
        put_data(&file, second + 20);
        assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
        assert_int_equal(gguf.alignment, good[i]);
        assert_int_equal(gguf.data_offset, data_offset);
        assert_int_equal(gguf.tensors[1].offset, data_offset + second);
        entro_gguf_free(&gguf);
    }
    /* One that would move the data past the largest header. */
    start_file(&file, 1, 1);
    put_key(&file, "general.alignment", ENTRO_GGUF_U32);
    put_u32(&file, (uint32_t)1 << 31);
    put_vector(&file, "a", 1, 0);
    assert_malformed("past the end", &file);
    assert_int_equal(entro_gguf_parse(&gguf, file.bytes, file.size, INT64_MAX, "m", &message),
                     ENTRO_ERROR_UNSUPPORTED);
}

static void a_file_without_tensors_ends_in_its_padding(void **state)
{
    (void)state;
    struct file file;
    struct entro_gguf gguf;
    start_file(&file, 0, 0);
    for (size_t end = 32; file.size <= end; put_data(&file, 1)) {
        assert_int_equal(parse(&gguf, &file, &message), ENTRO_OK);
        assert_int_equal(gguf.data_offset, file.size);
        assert_int_equal(gguf.header_size_bytes, 24);
        entro_gguf_free(&gguf);
    }
    assert_malformed("bytes after", &file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(a_header_that_is_not_all_at_hand_is_an_argument_error),
        cmocka_unit_test(other_versions_are_refused_by_name),
        cmocka_unit_test(absurd_counts_are_refused),
        cmocka_unit_test(strings_longer_than_the_file_are_refused),
        cmocka_unit_test(malformed_metadata_is_refused),
        cmocka_unit_test(duplicate_keys_and_names_are_refused),
        cmocka_unit_test(bad_tensor_names_are_refused),
        cmocka_unit_test(bad_tensor_descriptions_are_refused),
        cmocka_unit_test(offsets_other_than_the_padded_sum_are_refused),
        cmocka_unit_test(the_alignment_is_a_power_of_two),
        cmocka_unit_test(a_file_without_tensors_ends_in_its_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
