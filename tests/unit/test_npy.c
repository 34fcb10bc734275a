/* .npy headers: written as NumPy writes them (the expected texts are NumPy's), read back, and refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/models/npy.h"

static struct entro_message message;

/* The bytes before the dictionary, for a header of version 1.0 with this many bytes in all. */
static void make_prefix(uint8_t *bytes, size_t total)
{
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    entro_store_u16(bytes + 8, (uint16_t)(total - 10));
}

static enum entro_error parse_bytes(struct entro_npy *out, const uint8_t *bytes, size_t size_bytes,
                                    uint64_t file_size_bytes)
{
    uint8_t *copy = malloc(size_bytes > 0 ? size_bytes : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size_bytes);
    message.text[0] = '\0';
    enum entro_error error = entro_npy_parse(out, copy, size_bytes, file_size_bytes, "a.npy", &message);
    free(copy);
    return error;
}

/* A file with this dictionary and data_bytes bytes of data. */
static enum entro_error parse(struct entro_npy *out, const char *dictionary, uint64_t data_bytes)
{
    uint8_t bytes[1024];
    size_t total = 10 + strlen(dictionary);
    assert_true(total <= sizeof bytes);
    make_prefix(bytes, total);
    memcpy(bytes + 10, dictionary, total - 10);
    return parse_bytes(out, bytes, total, total + data_bytes);
}

static void assert_refused(enum entro_error error, const char *text, const char *dictionary,
                           uint64_t data_bytes)
{
    struct entro_npy npy;
    if (parse(&npy, dictionary, data_bytes) != error || strstr(message.text, text) == NULL)
        fail_msg("%s: \"%s\" instead of \"%s\"", dictionary, message.text, text);
}

static void headers_are_those_that_numpy_writes(void **state)
{
    (void)state;
    static const struct {
        const char *descr;
        unsigned rank;
        uint64_t shape[ENTRO_MAX_RANK];
        size_t total;
        const char *text; /* without the spaces and the newline at the end */
    } cases[] = {
        {"<f4", 2, {3, 4}, 128, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }"},
        {"|u1", 1, {1000000}, 128, "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000,), }"},
        {"<f2", 0, {0}, 128, "{'descr': '<f2', 'fortran_order': False, 'shape': (), }"},
        {"<u2",
         3,
         {0, 7, 18446744073709551615U},
         128,
         "{'descr': '<u2', 'fortran_order': False, 'shape': (0, 7, 18446744073709551615), }"},
        /* Text, room to grow and newline are 127 bytes, then 128, for which NumPy adds 64 more. */
        {"|u1",
         4,
         {1, 1111111111, 1111111111, 11111111111111},
         128,
         "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1111111111, 1111111111, 11111111111111), }"},
        {"|u1",
         4,
         {1, 1111111111, 1111111111, 111111111111111},
         192,
         "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1111111111, 1111111111, 111111111111111), }"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t expected[ENTRO_NPY_HEADER_MAX_BYTES], header[ENTRO_NPY_HEADER_MAX_BYTES];
        make_prefix(expected, cases[i].total);
        size_t length = strlen(cases[i].text);
        memcpy(expected + 10, cases[i].text, length);
        memset(expected + 10 + length, ' ', cases[i].total - 10 - length);
        expected[cases[i].total - 1] = '\n';
        assert_int_equal(entro_npy_header(header, cases[i].descr, cases[i].shape, cases[i].rank),
                         cases[i].total);
        assert_memory_equal(header, expected, cases[i].total);
    }
}

static void the_largest_header_fits_its_room(void **state)
{
    (void)state;
    uint8_t *header = malloc(ENTRO_NPY_HEADER_MAX_BYTES);
    assert_non_null(header);
    uint64_t shape[ENTRO_MAX_RANK + 1];
    for (unsigned i = 0; i <= ENTRO_MAX_RANK; i++)
        shape[i] = UINT64_MAX;
    size_t length = entro_npy_header(header, "0123456789abcdef", shape, ENTRO_MAX_RANK);
    assert_true(length > 0 && length <= ENTRO_NPY_HEADER_MAX_BYTES && length % 64 == 0);
    assert_int_equal(entro_npy_header(header, "0123456789abcdefg", shape, 1), 0);
    assert_int_equal(entro_npy_header(header, "|u1", shape, ENTRO_MAX_RANK + 1), 0);
    free(header);
}

static void every_dtype_has_a_descr_of_its_size(void **state)
{
    (void)state;
    assert_string_equal(entro_npy_descr(ENTRO_DTYPE_F32), "<f4");
    assert_string_equal(entro_npy_descr(ENTRO_DTYPE_BF16), "<u2");
    assert_string_equal(entro_npy_descr(ENTRO_DTYPE_F8_E4M3), "|u1");
    assert_string_equal(entro_npy_descr(ENTRO_DTYPE_Q4_K), "|u1");
    for (int i = 0; i < 128; i++) {
        const struct entro_dtype_info *info = entro_dtype_info((enum entro_dtype)i);
        if (info == NULL)
            continue;
        const char *descr = entro_npy_descr(info->dtype);
        int size_bytes = descr[2] - '0';
        assert_int_equal(strlen(descr), 3);
        assert_int_equal(size_bytes, info->block_elements == 1 ? info->block_bytes : 1);
        assert_int_equal(descr[0], size_bytes == 1 ? '|' : '<');
    }
}

static void a_written_header_reads_back(void **state)
{
    (void)state;
    static const enum entro_dtype dtypes[] = {
        ENTRO_DTYPE_F32, ENTRO_DTYPE_F16, ENTRO_DTYPE_F64, ENTRO_DTYPE_BOOL, ENTRO_DTYPE_U8,
        ENTRO_DTYPE_I8,  ENTRO_DTYPE_U16, ENTRO_DTYPE_I16, ENTRO_DTYPE_U32,  ENTRO_DTYPE_I32,
        ENTRO_DTYPE_U64, ENTRO_DTYPE_I64, ENTRO_DTYPE_C64};
    static const uint64_t shape[ENTRO_MAX_RANK] = {3, 1, 4, 1, 5, 9, 2, 6};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        for (unsigned rank = 0; rank <= ENTRO_MAX_RANK; rank++) {
            uint8_t header[ENTRO_NPY_HEADER_MAX_BYTES];
            uint64_t size_bytes;
            size_t length = entro_npy_header(header, entro_npy_descr(dtypes[i]), shape, rank);
            assert_true(entro_dtype_size_bytes(dtypes[i], shape, rank, &size_bytes));
            struct entro_npy npy;
            assert_int_equal(parse_bytes(&npy, header, length, length + size_bytes), ENTRO_OK);
            assert_int_equal(npy.dtype, dtypes[i]);
            assert_int_equal(npy.rank, rank);
            assert_memory_equal(npy.shape, shape, rank * sizeof shape[0]);
            assert_int_equal(npy.data_offset, length);
            assert_int_equal(npy.size_bytes, size_bytes);
        }
    }
}

static void other_spellings_of_the_dictionary_are_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}\n",
        "{\"shape\":(2,3,),\"descr\":\"f4\",\"fortran_order\":False}",
        "{ 'shape' : ( 2L , 3L ) ,\n\t'fortran_order' : False , 'descr' : '=f4' , }  \n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct entro_npy npy;
        assert_int_equal(parse(&npy, texts[i], 24), ENTRO_OK);
        assert_int_equal(npy.dtype, ENTRO_DTYPE_F32);
        assert_int_equal(npy.rank, 2);
        assert_int_equal(npy.shape[0], 2);
        assert_int_equal(npy.shape[1], 3);
    }
    struct entro_npy npy;
    /* One dimension is the same in both orders. */
    assert_int_equal(parse(&npy, "{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", 8), ENTRO_OK);
}

static void versions_two_and_three_have_a_longer_length(void **state)
{
    (void)state;
    static const char text[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }\n";
    for (uint8_t version = 2; version <= 3; version++) {
        uint8_t bytes[12 + sizeof text - 1];
        memcpy(bytes, "\x93NUMPY\x00\x00", 8);
        bytes[6] = version;
        entro_store_u32(bytes + 8, sizeof text - 1);
        memcpy(bytes + 12, text, sizeof text - 1);
        struct entro_npy npy;
        assert_int_equal(parse_bytes(&npy, bytes, sizeof bytes, sizeof bytes + 5), ENTRO_OK);
        assert_int_equal(npy.data_offset, sizeof bytes);
        entro_store_u32(bytes + 8, UINT32_MAX);
        assert_int_equal(parse_bytes(&npy, bytes, sizeof bytes, UINT64_MAX), ENTRO_ERROR_FORMAT);
    }
}

static void unsupported_arrays_are_refused(void **state)
{
    (void)state;
    const enum entro_error unsupported = ENTRO_ERROR_UNSUPPORTED;
    assert_refused(unsupported, "Fortran", "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 24);
    assert_refused(unsupported, "big-endian", "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8);
    assert_refused(unsupported, "records",
                   "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8);
    assert_refused(unsupported, "\"|O\"", "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 16);
    assert_refused(unsupported, "\"<U5\"", "{'descr': '<U5', 'fortran_order': False, 'shape': (2,), }", 40);
    assert_refused(unsupported, "\"|f4\"", "{'descr': '|f4', 'fortran_order': False, 'shape': (2,), }", 8);
    assert_refused(unsupported, "\"\"", "{'descr': '', 'fortran_order': False, 'shape': (2,), }", 8);
    assert_refused(unsupported, "dimensions",
                   "{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", 1);
    struct entro_npy npy;
    assert_int_equal(parse_bytes(&npy, (const uint8_t *)"\x93NUMPY\x04\x00\x00\x00\x00\x00", 12, 12),
                     unsupported);
    assert_int_equal(parse_bytes(&npy, (const uint8_t *)"\x93NUMPY\x01\x01\x00\x00\x00\x00", 12, 12),
                     unsupported);
}

static void malformed_dictionaries_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}x",
        "{'descr': '|u1', 'fortran_order': False}",
        "{'descr': '|u1', 'shape': (1,)}",
        "{'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '|u1' 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': 1, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|u1, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|\\x75', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': 1}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1 1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1.0,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775808,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (18446744073709551617,)}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_refused(ENTRO_ERROR_FORMAT, "a.npy", texts[i], 1);
}

static void sizes_that_do_not_match_the_file_are_refused(void **state)
{
    (void)state;
    static const char text[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    assert_refused(ENTRO_ERROR_FORMAT, "shorter or longer", text, 23);
    assert_refused(ENTRO_ERROR_FORMAT, "shorter or longer", text, 25);
    assert_refused(ENTRO_ERROR_FORMAT, "64 bits",
                   "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 0);
    assert_refused(ENTRO_ERROR_FORMAT, "64 bits",
                   "{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952,), }", 0);
}

static void a_truncated_header_is_refused(void **state)
{
    (void)state;
    uint8_t header[ENTRO_NPY_HEADER_MAX_BYTES];
    struct entro_npy npy;
    size_t length = entro_npy_header(header, "|u1", (const uint64_t[]){7}, 1);
    for (size_t size = 0; size < length; size++)
        assert_int_equal(parse_bytes(&npy, header, size, size), ENTRO_ERROR_FORMAT);
    header[0] = 'x';
    assert_int_equal(parse_bytes(&npy, header, length, length + 7), ENTRO_ERROR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_those_that_numpy_writes),
        cmocka_unit_test(the_largest_header_fits_its_room),
        cmocka_unit_test(every_dtype_has_a_descr_of_its_size),
        cmocka_unit_test(a_written_header_reads_back),
        cmocka_unit_test(other_spellings_of_the_dictionary_are_read),
        cmocka_unit_test(versions_two_and_three_have_a_longer_length),
        cmocka_unit_test(unsupported_arrays_are_refused),
        cmocka_unit_test(malformed_dictionaries_are_refused),
        cmocka_unit_test(sizes_that_do_not_match_the_file_are_refused),
        cmocka_unit_test(a_truncated_header_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
