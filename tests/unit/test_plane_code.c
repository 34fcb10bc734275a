/* The code of a plane: codebooks where they pay, and their plans. */
#include "codec/plane_code.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "codec/histogram.h"
#include "random.h"

#define SIZE 20000

/* Symbol 7 with this many chances in 256, else one of 32. */
static void choose(struct entro_plane_code *code, uint8_t *bytes, size_t size, unsigned chances,
                   bool has_sample)
{
    struct random random = random_from(chances);
    uint64_t counts[ENTRO_N_SYMBOLS] = {0};
    uint8_t lengths[ENTRO_N_SYMBOLS];
    for (size_t i = 0; i < size; i++)
        bytes[i] = random_below(&random, 256) < chances ? 7 : (uint8_t)random_below(&random, 32);
    entro_histogram(bytes, size, counts);
    assert_true(entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, lengths));
    entro_plane_code_choose(code, lengths, counts, has_sample ? bytes : NULL, size);
}

static void assert_round_trip(const struct entro_plane_code *code, const uint8_t *bytes)
{
    static uint8_t coded[2 * SIZE + ENTRO_READ_SLOP_BYTES], decoded[SIZE];
    struct entro_pivot *pivot;
    struct entro_pivot_scratch *scratch = entro_pivot_scratch_create(NULL);
    assert_int_equal(entro_plane_code_plan(&pivot, code), ENTRO_OK);
    size_t n = entro_pivot_encode(pivot, bytes, SIZE, coded, 2 * SIZE, scratch);
    assert_in_range(n, 1, SIZE - 1);
    assert_int_equal(entro_pivot_decode(pivot, coded, n, decoded, SIZE, scratch), ENTRO_OK);
    assert_memory_equal(decoded, bytes, SIZE);
    entro_pivot_free(pivot);
    entro_pivot_scratch_free(scratch);
}

static void a_plane_gets_the_codebooks_that_pay(void **state)
{
    (void)state;
    static uint8_t bytes[SIZE];
    struct entro_plane_code code;
    struct entro_pivot *pivot;
    choose(&code, bytes, SIZE, 240, true);
    assert_int_equal(code.n_codebooks, 2);
    assert_round_trip(&code, bytes);
    choose(&code, bytes, SIZE, 128, true);
    assert_int_equal(code.n_codebooks, 1);
    assert_round_trip(&code, bytes);
    choose(&code, bytes, 150, 128, true); /* saves less than a codebook takes */
    assert_int_equal(code.n_codebooks, 0);
    assert_int_equal(entro_plane_code_plan(&pivot, &code), ENTRO_OK);
    assert_null(pivot);
}

static void counts_of_other_bytes_give_a_codebook_and_none_for_the_root(void **state)
{
    (void)state;
    static uint8_t bytes[SIZE];
    struct entro_plane_code code;
    choose(&code, bytes, SIZE, 240, false);
    assert_int_equal(code.n_codebooks, 1);
    assert_round_trip(&code, bytes);
    choose(&code, bytes, 150, 128, false);
    assert_int_equal(code.n_codebooks, 1);
}

static void codebooks_that_are_no_codes_have_no_plan(void **state)
{
    (void)state;
    struct entro_pivot *pivot;
    uint8_t good[ENTRO_CODEBOOK_BYTES] = {0x21, 0x02}, flat[ENTRO_CODEBOOK_BYTES] = {0x11},
            bad[ENTRO_CODEBOOK_BYTES] = {0x21};
    assert_int_equal(entro_codebook_plan(&pivot, good, good), ENTRO_OK);
    entro_pivot_free(pivot);
    assert_int_equal(entro_codebook_plan(&pivot, bad, NULL), ENTRO_ERROR_FORMAT);
    assert_null(pivot);
    assert_int_equal(entro_codebook_plan(&pivot, good, bad), ENTRO_ERROR_FORMAT);
    assert_null(pivot);
    assert_int_equal(entro_codebook_plan(&pivot, flat, good), ENTRO_ERROR_FORMAT);
    assert_null(pivot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plane_gets_the_codebooks_that_pay),
        cmocka_unit_test(counts_of_other_bytes_give_a_codebook_and_none_for_the_root),
        cmocka_unit_test(codebooks_that_are_no_codes_have_no_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
