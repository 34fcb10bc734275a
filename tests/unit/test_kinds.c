/* Kinds of tensors: mkentrofs/kinds.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "mkentrofs/kinds.h"

static void names_that_differ_in_numbers_are_of_one_kind(void **state)
{
    (void)state;
    static const char *const names[] = {"out.weight", "layers.1.up", "layers.0.up", "layers.0.experts.17.up",
                                        "layers.0.experts.2.up"};
    struct entro_kinds kinds;
    assert_true(entro_kinds_find(&kinds, names, 5));
    assert_int_equal(kinds.n, 3);
    assert_string_equal(kinds.names[0], "out.weight");
    assert_string_equal(kinds.names[1], "layers.*.up");
    assert_string_equal(kinds.names[2], "layers.*.experts.*.up");
    static const uint32_t expected[] = {0, 1, 1, 2, 2}, layers[] = {ENTRO_NO_LAYER, 1, 0, 0, 0};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(kinds.of[i].kind, expected[i]);
        assert_int_equal(kinds.of[i].layer, layers[i]);
    }
    entro_kinds_free(&kinds);
}

static void numbers_within_words_and_very_long_ones_are_no_layers(void **state)
{
    (void)state;
    static const char *const names[] = {"h0.w1", "x.12345678901234567890.y", "", ".", "7", "a..3."};
    struct entro_kinds kinds;
    assert_true(entro_kinds_find(&kinds, names, 6));
    assert_string_equal(kinds.names[kinds.of[0].kind], "h0.w1");
    assert_string_equal(kinds.names[kinds.of[1].kind], "x.*.y");
    assert_int_equal(kinds.of[1].layer, ENTRO_NO_LAYER);
    assert_string_equal(kinds.names[kinds.of[2].kind], "");
    assert_string_equal(kinds.names[kinds.of[3].kind], ".");
    assert_int_equal(kinds.of[4].layer, 7);
    assert_string_equal(kinds.names[kinds.of[5].kind], "a..*.");
    assert_int_equal(kinds.of[5].layer, 3);
    entro_kinds_free(&kinds);
}

static void no_names_have_no_kinds(void **state)
{
    (void)state;
    struct entro_kinds kinds;
    assert_true(entro_kinds_find(&kinds, NULL, 0));
    assert_int_equal(kinds.n, 0);
    entro_kinds_free(&kinds);
}

/* As many kinds as names: no comparison of each with each. */
static void many_kinds_are_found_in_the_order_of_the_names(void **state)
{
    (void)state;
    enum { N = 100000 };
    static char texts[N][16];
    static const char *names[N];
    for (unsigned i = 0; i < N; i++) {
        snprintf(texts[i], sizeof texts[i], "t%05u.w", (i * 7919U) % N);
        names[i] = texts[i];
    }
    struct entro_kinds kinds;
    assert_true(entro_kinds_find(&kinds, names, N));
    assert_int_equal(kinds.n, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(kinds.of[i].kind, i);
        assert_string_equal(kinds.names[i], names[i]);
    }
    entro_kinds_free(&kinds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_differ_in_numbers_are_of_one_kind),
        cmocka_unit_test(numbers_within_words_and_very_long_ones_are_no_layers),
        cmocka_unit_test(no_names_have_no_kinds),
        cmocka_unit_test(many_kinds_are_found_in_the_order_of_the_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
