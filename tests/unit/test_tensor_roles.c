/* Names of tensors, both ways. */
#include "codec/models/tensor_roles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void every_name_leads_back_to_itself(void **state)
{
    (void)state;
    for (int role = 0; role <= ENTRO_TENSOR_DOWN; role++)
        for (int gguf = 0; gguf < 2; gguf++) {
            char name[ENTRO_TENSOR_NAME_BYTES], again[ENTRO_TENSOR_NAME_BYTES];
            struct entro_tensor_place place;
            entro_tensor_name(name, (enum entro_tensor_role)role, gguf, 17);
            if (*name == '\0')
                continue;
            assert_true(entro_tensor_place(name, &place));
            assert_int_equal(place.gguf, gguf);
            entro_tensor_name(again, place.role, place.gguf, place.layer);
            assert_string_equal(name, again);
        }
}

static void names_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "model.layers.",
        "model.layers.x.mlp.up_proj.weight",
        "model.layers.-1.mlp.up_proj.weight",
        "model.layers.01.mlp.up_proj.weight",
        "model.layers.1.mlp.up_proj.weight.more",
        "model.layers.99999999999999999999999.mlp.up_proj.weight",
        "blk..ffn_up.weight",
        "encoder.layer.0.attention.self.query.weight",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct entro_tensor_place place;
        assert_false(entro_tensor_place(names[i], &place));
    }
}

static void both_conventions_name_the_same_tensors(void **state)
{
    (void)state;
    struct entro_tensor_place hf, gguf;
    assert_true(entro_tensor_place("model.layers.3.self_attn.q_proj.weight", &hf));
    assert_true(entro_tensor_place("blk.3.attn_q.weight", &gguf));
    assert_int_equal(hf.role, ENTRO_TENSOR_QUERY);
    assert_int_equal(gguf.role, ENTRO_TENSOR_QUERY);
    assert_int_equal(hf.layer, 3);
    assert_int_equal(gguf.layer, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_leads_back_to_itself),
        cmocka_unit_test(names_that_mean_nothing_are_refused),
        cmocka_unit_test(both_conventions_name_the_same_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
