/* Samples of planes: the same whatever the parts they come in, all of a small plane, spread over a large one.
 */
#include "codec/writer_sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct entro_sample *sample_of(const uint8_t *bytes, size_t size, size_t part_bytes)
{
    struct entro_sample *sample = calloc(1, sizeof *sample);
    assert_non_null(sample);
    /* The last part first: the order does not matter. */
    for (size_t i = (size + part_bytes - 1) / part_bytes; i-- > 0;) {
        size_t offset = i * part_bytes, left = size - offset;
        entro_sample_take(sample, size, offset, bytes + offset, left < part_bytes ? left : part_bytes);
    }
    return sample;
}

static void a_small_plane_is_its_own_sample(void **state)
{
    (void)state;
    uint8_t bytes[5000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 >> 3);
    for (size_t size = 0; size <= sizeof bytes; size = size < 40 ? size + 1 : size + 991) {
        struct entro_sample *sample = sample_of(bytes, size, sizeof bytes);
        assert_int_equal(entro_sample_join(sample), size);
        assert_memory_equal(sample->bytes, bytes, size);
        free(sample);
    }
}

static void runs_of_a_large_plane_are_spread_over_it(void **state)
{
    (void)state;
    const size_t size = (size_t)10 << 20, part_bytes = (size_t)1 << 20;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i >> 12);
    struct entro_sample *sample = sample_of(bytes, size, part_bytes);
    size_t n = entro_sample_join(sample);
    assert_int_equal(n, ENTRO_SAMPLE_RUNS * ENTRO_SAMPLE_RUN_BYTES);
    for (size_t i = 0; i < n; i++) {
        size_t place = size / ENTRO_SAMPLE_RUNS * (i / ENTRO_SAMPLE_RUN_BYTES) + i % ENTRO_SAMPLE_RUN_BYTES;
        assert_int_equal(sample->bytes[i], bytes[place]);
    }
    free(sample);
    free(bytes);
}

static void a_run_ends_with_the_part_that_it_begins_in(void **state)
{
    (void)state;
    const size_t size = (size_t)1 << 20, part_bytes = 10000;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 31 >> 5);
    struct entro_sample *sample = sample_of(bytes, size, part_bytes);
    size_t n = 0;
    for (size_t run = 0; run < ENTRO_SAMPLE_RUNS; run++) {
        size_t start = size / ENTRO_SAMPLE_RUNS * run;
        size_t expected = part_bytes - start % part_bytes;
        expected = expected < ENTRO_SAMPLE_MIN_RUN_BYTES ? expected : ENTRO_SAMPLE_MIN_RUN_BYTES;
        assert_int_equal(sample->run_bytes[run], expected);
        assert_memory_equal(sample->bytes + run * ENTRO_SAMPLE_RUN_BYTES, bytes + start, expected);
        n += expected;
    }
    assert_int_equal(entro_sample_join(sample), n);
    free(sample);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_plane_is_its_own_sample),
        cmocka_unit_test(runs_of_a_large_plane_are_spread_over_it),
        cmocka_unit_test(a_run_ends_with_the_part_that_it_begins_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
