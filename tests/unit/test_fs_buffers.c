/* Memory for decoded blocks: distinct, aligned, reused. */
#include "fs/buffers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_BUFFERS 200

static const size_t sizes[] = {1,     63,    64,    4096,   24575,  24576,      32768,  32769,      49152,
                               65535, 65536, 98304, 131072, 200000, 262144 - 1, 262144, 262144 + 1, 1000000};
#define N_SIZES (sizeof sizes / sizeof *sizes)

static void buffers_in_use_do_not_share_a_byte(void **state)
{
    (void)state;
    struct entro_buffers *buffers = entro_buffers_create();
    assert_non_null(buffers);
    uint8_t *taken[N_BUFFERS];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < N_BUFFERS; i++) {
            size_t size = sizes[i % N_SIZES];
            taken[i] = entro_buffer_take(buffers, size);
            assert_non_null(taken[i]);
            assert_int_equal((uintptr_t)taken[i] % 64, 0);
            memset(taken[i], (int)i, size);
        }
        for (size_t i = 0; i < N_BUFFERS; i++) {
            size_t size = sizes[i % N_SIZES];
            for (size_t k = 0; k < size; k++)
                if (taken[i][k] != (uint8_t)i)
                    fail_msg("byte %zu of buffer %zu is another's", k, i);
        }
        for (size_t i = 0; i < N_BUFFERS; i++)
            entro_buffer_give(taken[(i * 7) % N_BUFFERS]);
    }
    entro_buffers_free(buffers);
}

static void the_block_given_back_last_is_taken_first(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* there every buffer is malloc's */
#endif
    struct entro_buffers *buffers = entro_buffers_create();
    uint8_t *first = entro_buffer_take(buffers, 65536), *second = entro_buffer_take(buffers, 65536);
    entro_buffer_give(first);
    entro_buffer_give(second);
    assert_ptr_equal(entro_buffer_take(buffers, 60000), second);
    assert_ptr_equal(entro_buffer_take(buffers, 65536), first);
    entro_buffer_give(first);
    entro_buffer_give(second);
    entro_buffers_free(buffers);
}

static void more_than_there_is_is_refused(void **state)
{
    (void)state;
    struct entro_buffers *buffers = entro_buffers_create();
    assert_null(entro_buffer_take(buffers, SIZE_MAX));
    assert_null(entro_buffer_take(buffers, SIZE_MAX - 64));
    entro_buffers_free(buffers);
    entro_buffers_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_in_use_do_not_share_a_byte),
        cmocka_unit_test(the_block_given_back_last_is_taken_first),
        cmocka_unit_test(more_than_there_is_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
