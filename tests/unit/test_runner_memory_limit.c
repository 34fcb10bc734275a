/* Limits of memory that control groups set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runner/memory_limit.h"
#include "runner_fixture.h"

static void the_smallest_limit_on_the_way_up_counts(void **state)
{
    (void)state;
    /* The fixture's folder "tensors" is a group below the root. */
    char *root = fixture_create();
    assert_true(entro_memory_limit_of_group(root, "/tensors") == UINT64_MAX);
    fixture_write(root, "tensors/memory.max", "max\n", 4);
    assert_true(entro_memory_limit_of_group(root, "/tensors") == UINT64_MAX);
    fixture_write(root, "memory.max", "5000\n", 5);
    assert_true(entro_memory_limit_of_group(root, "/tensors") == 5000);
    assert_true(entro_memory_limit_of_group(root, "/") == 5000);
    fixture_write(root, "tensors/memory.max", "4096\n", 5);
    assert_true(entro_memory_limit_of_group(root, "/tensors") == 4096);
    assert_true(entro_memory_limit_of_group(root, "/none/deeper") == 5000);
    fixture_remove(root);
}

static void there_is_a_limit(void **state)
{
    (void)state;
    uint64_t limit = entro_memory_limit_bytes();
    assert_true(limit > (uint64_t)16 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_limit_on_the_way_up_counts),
        cmocka_unit_test(there_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
