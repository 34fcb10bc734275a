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

static void a_language_model_is_found_inside_a_larger_one(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum entro_tensor_role role;
        size_t layer;
    } cases[] = {
        {"language_model.model.embed_tokens.weight", ENTRO_TENSOR_EMBEDDING, 0},
        {"language_model.lm_head.weight", ENTRO_TENSOR_OUTPUT, 0},
        {"language_model.model.layers.12.mlp.down_proj.weight", ENTRO_TENSOR_DOWN, 12},
        {"model.language_model.embed_tokens.weight", ENTRO_TENSOR_EMBEDDING, 0},
        {"model.language_model.norm.weight", ENTRO_TENSOR_FINAL_NORM, 0},
        {"model.language_model.layers.3.self_attn.q_proj.weight", ENTRO_TENSOR_QUERY, 3},
        {"model.text_model.layers.3.self_attn.q_proj.weight", ENTRO_TENSOR_QUERY, 3},
        {"thinker.model.norm.weight", ENTRO_TENSOR_FINAL_NORM, 0},
        {"embed_tokens.weight", ENTRO_TENSOR_EMBEDDING, 0},
        {"layers.7.mlp.up_proj.weight", ENTRO_TENSOR_UP, 7},
        {"transformer.wte.weight", ENTRO_TENSOR_EMBEDDING, 0},
        {"gpt_neox.final_layer_norm.weight", ENTRO_TENSOR_FINAL_NORM, 0},
        {"embed_out.weight", ENTRO_TENSOR_OUTPUT, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct entro_tensor_place place;
        if (!entro_tensor_place(cases[i].name, &place))
            fail_msg("%s is not found", cases[i].name);
        assert_int_equal(place.role, cases[i].role);
        assert_int_equal(place.layer, cases[i].layer);
        assert_false(place.gguf);
    }
}

static void an_image_tower_is_no_language_model(void **state)
{
    (void)state;
    static const char *const names[] = {
        "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight",
        "model.vision_tower.vision_model.embeddings.position_embedding.weight",
        "visual.blocks.0.attn.qkv.weight",
        "model.visual.merger.norm.weight",
        "talker.model.norm.weight",
        "language_model.",
        "language_model.model.layers.0.language_model.model.norm.weight",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct entro_tensor_place place;
        if (entro_tensor_place(names[i], &place))
            fail_msg("%s is role %d", names[i], place.role);
    }
}

static void a_name_of_any_length_is_read(void **state)
{
    (void)state;
    char name[4096] = "language_model.model.layers.";
    struct entro_tensor_place place;
    memset(name + strlen(name), '1', sizeof name - strlen(name) - 1);
    assert_false(entro_tensor_place(name, &place));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_leads_back_to_itself),
        cmocka_unit_test(names_that_mean_nothing_are_refused),
        cmocka_unit_test(both_conventions_name_the_same_tensors),
        cmocka_unit_test(a_language_model_is_found_inside_a_larger_one),
        cmocka_unit_test(an_image_tower_is_no_language_model),
        cmocka_unit_test(a_name_of_any_length_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
