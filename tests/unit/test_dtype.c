/* Element types: the table is consistent, and sizes are refused where they do not exist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/dtype.h"

#define LAST_DTYPE 127

static void every_dtype_is_found_by_its_name_and_number(void **state)
{
    (void)state;
    unsigned n_safetensors = 0, n_gguf = 0;
    for (int i = -1; i <= LAST_DTYPE; i++) {
        const struct entro_dtype_info *info = entro_dtype_info((enum entro_dtype)i);
        if (info == NULL)
            continue;
        assert_int_equal(info->dtype, i);
        assert_true(info->block_elements > 0 && info->block_bytes > 0);
        assert_true(info->in_safetensors || info->gguf_type >= 0);
        if (info->in_safetensors)
            assert_ptr_equal(entro_dtype_from_safetensors(info->name), info);
        else
            assert_null(entro_dtype_from_safetensors(info->name));
        if (info->gguf_type >= 0)
            assert_ptr_equal(entro_dtype_from_gguf((uint32_t)info->gguf_type), info);
        n_safetensors += info->in_safetensors;
        n_gguf += info->gguf_type >= 0;
    }
    assert_int_equal(n_safetensors, 22);
    assert_int_equal(n_gguf, 32);
}

static void block_types_are_numbered_after_gguf(void **state)
{
    (void)state;
    for (int i = 64; i <= LAST_DTYPE; i++) {
        const struct entro_dtype_info *info = entro_dtype_info((enum entro_dtype)i);
        if (info != NULL)
            assert_int_equal(info->gguf_type, i - 64);
    }
}

static void unknown_dtypes_are_not_found(void **state)
{
    (void)state;
    assert_null(entro_dtype_info(ENTRO_DTYPE_NONE));
    assert_null(entro_dtype_info((enum entro_dtype)23));
    assert_null(entro_dtype_from_safetensors("I4"));
    assert_null(entro_dtype_from_safetensors("f32"));
    assert_null(entro_dtype_from_safetensors(""));
    assert_null(entro_dtype_from_safetensors("Q4_0"));
    assert_null(entro_dtype_from_gguf(4)); /* Q4_2, withdrawn */
    assert_null(entro_dtype_from_gguf(UINT32_MAX));
}

static void shapes_are_multiplied(void **state)
{
    (void)state;
    uint64_t n = 99;
    assert_true(entro_shape_elements(NULL, 0, &n));
    assert_int_equal(n, 1);
    assert_true(entro_shape_elements((const uint64_t[]){3, 4, 5}, 3, &n));
    assert_int_equal(n, 60);
    assert_true(entro_shape_elements((const uint64_t[]){3, 0, 5}, 3, &n));
    assert_int_equal(n, 0);
    assert_true(entro_shape_elements((const uint64_t[]){UINT64_MAX, 1}, 2, &n));
    assert_true(n == UINT64_MAX);
}

static void shapes_whose_product_overflows_are_refused(void **state)
{
    (void)state;
    uint64_t n;
    const uint64_t large = (uint64_t)1 << 32;
    assert_false(entro_shape_elements((const uint64_t[]){large, large}, 2, &n));
    assert_false(entro_shape_elements((const uint64_t[]){large, large, 0}, 3, &n));
    assert_false(entro_shape_elements((const uint64_t[]){0, large, large}, 3, &n));
    assert_false(entro_shape_elements((const uint64_t[]){UINT64_MAX, 2}, 2, &n));
}

static void sizes_follow_from_blocks(void **state)
{
    (void)state;
    uint64_t size_bytes;
    assert_true(entro_dtype_size_bytes(ENTRO_DTYPE_BF16, (const uint64_t[]){3, 5}, 2, &size_bytes));
    assert_int_equal(size_bytes, 30);
    assert_true(entro_dtype_size_bytes(ENTRO_DTYPE_F64, NULL, 0, &size_bytes));
    assert_int_equal(size_bytes, 8);
    assert_true(entro_dtype_size_bytes(ENTRO_DTYPE_Q4_K, (const uint64_t[]){3, 512}, 2, &size_bytes));
    assert_int_equal(size_bytes, 3 * 2 * 144);
    assert_true(entro_dtype_size_bytes(ENTRO_DTYPE_Q8_0, (const uint64_t[]){32}, 1, &size_bytes));
    assert_int_equal(size_bytes, 34);
    assert_true(entro_dtype_size_bytes(ENTRO_DTYPE_F6_E2M3, (const uint64_t[]){2, 6}, 2, &size_bytes));
    assert_int_equal(size_bytes, 9);
}

static void broken_blocks_have_no_size(void **state)
{
    (void)state;
    uint64_t size_bytes;
    /* The whole count is a multiple of 32 but a row is not. */
    assert_false(entro_dtype_size_bytes(ENTRO_DTYPE_Q8_0, (const uint64_t[]){32, 16}, 2, &size_bytes));
    assert_false(entro_dtype_size_bytes(ENTRO_DTYPE_Q4_K, (const uint64_t[]){224}, 1, &size_bytes));
    assert_false(entro_dtype_size_bytes(ENTRO_DTYPE_Q4_0, NULL, 0, &size_bytes));
    /* Of sub-byte safetensors types only the whole count matters. */
    assert_true(entro_dtype_size_bytes(ENTRO_DTYPE_F4, (const uint64_t[]){4, 3}, 2, &size_bytes));
    assert_int_equal(size_bytes, 6);
    assert_false(entro_dtype_size_bytes(ENTRO_DTYPE_F4, (const uint64_t[]){3, 3}, 2, &size_bytes));
    assert_false(entro_dtype_size_bytes(ENTRO_DTYPE_F6_E3M2, (const uint64_t[]){2, 3}, 2, &size_bytes));
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    uint64_t size_bytes;
    assert_false(
        entro_dtype_size_bytes(ENTRO_DTYPE_F32, (const uint64_t[]){(uint64_t)1 << 62}, 1, &size_bytes));
    assert_false(entro_dtype_size_bytes(ENTRO_DTYPE_U8, (const uint64_t[]){UINT64_MAX, 2}, 2, &size_bytes));
    assert_true(entro_dtype_size_bytes(ENTRO_DTYPE_U8, (const uint64_t[]){UINT64_MAX}, 1, &size_bytes));
    assert_false(entro_dtype_size_bytes(ENTRO_DTYPE_NONE, (const uint64_t[]){1}, 1, &size_bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_is_found_by_its_name_and_number),
        cmocka_unit_test(block_types_are_numbered_after_gguf),
        cmocka_unit_test(unknown_dtypes_are_not_found),
        cmocka_unit_test(shapes_are_multiplied),
        cmocka_unit_test(shapes_whose_product_overflows_are_refused),
        cmocka_unit_test(sizes_follow_from_blocks),
        cmocka_unit_test(broken_blocks_have_no_size),
        cmocka_unit_test(sizes_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
