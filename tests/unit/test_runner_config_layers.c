/* Configs of the architectures beside Llama: windows, kinds of layers, rotations, defaults, and what must be
 * refused by name. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/bytes.h"
#include "gguf_builder.h"
#include "runner/config.h"

#define SIZES                                                                                                \
    "\"hidden_size\": 64, \"intermediate_size\": 96, \"num_hidden_layers\": 8, \"num_attention_heads\": 8, " \
    "\"vocab_size\": 100"
#define GROUPED SIZES ", \"num_key_value_heads\": 2"

static enum entro_error parse_config(struct entro_config *config, const char *model_type, const char *rest,
                                     struct entro_message *message)
{
    char text[4096];
    snprintf(text, sizeof text, "{\"model_type\": \"%s\", %s}", model_type, rest);
    message->text[0] = '\0';
    return entro_config_from_json(config, text, strlen(text), "config.json", message);
}

static struct entro_config read_config(const char *model_type, const char *rest)
{
    struct entro_config config;
    struct entro_message message;
    if (parse_config(&config, model_type, rest, &message) != ENTRO_OK)
        fail_msg("%s, %s: %s", model_type, rest, message.text);
    return config;
}

static void assert_refused(const char *model_type, const char *rest, enum entro_error expected,
                           const char *what)
{
    struct entro_config config;
    struct entro_message message;
    enum entro_error error = parse_config(&config, model_type, rest, &message);
    if (error != expected || strstr(message.text, what) == NULL)
        fail_msg("%s: error %d, \"%s\" does not name %s", rest, (int)error, message.text, what);
    assert_non_null(strstr(message.text, "config.json"));
    assert_null(strchr(message.text, '\n'));
}

/* A letter a layer: s for a window, f for none. */
static void assert_layers(const struct entro_config *config, const char *expected)
{
    assert_int_equal(config->n_layers, strlen(expected));
    for (size_t i = 0; i < config->n_layers; i++)
        assert_int_equal(entro_config_window(config, i), expected[i] == 's' ? config->window : 0);
}

static void windows_are_where_the_architecture_has_them(void **state)
{
    (void)state;
    struct entro_config config = read_config("mistral", GROUPED ", \"sliding_window\": 32");
    assert_layers(&config, "ssssssss");
    assert_int_equal(config.window, 32);
    config = read_config("mistral", GROUPED ", \"sliding_window\": null");
    assert_int_equal(entro_config_n_windows(&config), 0);
    config = read_config("phi3", SIZES ", \"sliding_window\": 2047");
    assert_layers(&config, "ssssssss");
    assert_int_equal(config.window, 2047);
    config = read_config("llama", SIZES ", \"sliding_window\": 32");
    assert_layers(&config, "ffffffff");
    config = read_config("qwen2", GROUPED ", \"sliding_window\": 32, \"max_window_layers\": 5");
    assert_layers(&config, "ffffffff");
    config = read_config("qwen2", GROUPED ", \"sliding_window\": 32, \"max_window_layers\": 5, "
                                          "\"use_sliding_window\": true");
    assert_layers(&config, "fffffsss");
    config = read_config("qwen3", GROUPED ", \"sliding_window\": 32, \"max_window_layers\": 2000000000, "
                                          "\"use_sliding_window\": true");
    assert_layers(&config, "ffffffff");
    config = read_config("gemma3_text", GROUPED ", \"sliding_window\": 32");
    assert_layers(&config, "sssssfss");
    config = read_config("gemma3_text", GROUPED ", \"sliding_window\": 32, \"sliding_window_pattern\": 2");
    assert_layers(&config, "sfsfsfsf");
    config =
        read_config("gemma3_text", GROUPED ", \"layer_types\": [\"full_attention\", \"sliding_attention\", "
                                           "\"full_attention\", \"full_attention\", \"full_attention\", "
                                           "\"full_attention\", \"full_attention\", \"sliding_attention\"]");
    assert_layers(&config, "fsfffffs");
}

static void what_is_missing_is_what_transformers_takes(void **state)
{
    (void)state;
    struct entro_config config = read_config("mistral", SIZES);
    assert_int_equal(config.n_kv_heads, 8);
    assert_int_equal(config.window, 4096);
    assert_int_equal(config.n_context, 131072);
    config = read_config("qwen3", GROUPED);
    assert_int_equal(config.head_dim, 128);
    config = read_config("qwen3", GROUPED ", \"head_dim\": null");
    assert_int_equal(config.head_dim, 8);
    config = read_config("phi3", SIZES);
    assert_int_equal(config.n_kv_heads, 8);
    assert_true(config.norm_epsilon == 1e-5F);
    config = read_config("gemma3_text", SIZES);
    assert_int_equal(config.n_kv_heads, 4);
    assert_int_equal(config.head_dim, 256);
    assert_true(config.tied_embeddings);
    assert_true(config.rope.theta == 1e6F && config.sliding_rope.theta == 1e4F);
    assert_true(config.attention_scale == 1.0F / 16.0F);
    assert_refused("qwen2", SIZES, ENTRO_ERROR_FORMAT, "32 key-value heads");
}

static void both_spellings_of_two_rotations_are_read(void **state)
{
    (void)state;
    static const char *const spellings[] = {
        GROUPED ", \"rope_theta\": 500000, \"rope_local_base_freq\": 20000, "
                "\"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}",
        GROUPED ", \"rope_parameters\": {\"full_attention\": {\"factor\": 8.0, \"rope_type\": \"linear\", "
                "\"rope_theta\": 500000}, \"sliding_attention\": {\"rope_type\": \"default\", "
                "\"rope_theta\": 20000}}"};
    for (size_t i = 0; i < 2; i++) {
        struct entro_config config = read_config("gemma3_text", spellings[i]);
        assert_true(config.rope.theta == 500000.0F && config.sliding_rope.theta == 20000.0F);
        assert_int_equal(config.rope.scaling, ENTRO_ROPE_LINEAR);
        assert_true(config.rope.factor == 8.0F);
        assert_int_equal(config.sliding_rope.scaling, ENTRO_ROPE_UNSCALED);
    }
}

static void llama3_scaling_is_read_and_checked(void **state)
{
    (void)state;
#define LLAMA3 "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 32.0"
    struct entro_config config =
        read_config("llama", SIZES ", " LLAMA3 ", \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
                                   "\"original_max_position_embeddings\": 8192}");
    assert_int_equal(config.rope.scaling, ENTRO_ROPE_LLAMA3);
    assert_true(config.rope.factor == 32.0F && config.rope.low_factor == 1.0F &&
                config.rope.high_factor == 4.0F && config.rope.original_context == 8192.0F);
    assert_refused("llama", SIZES ", " LLAMA3 "}", ENTRO_ERROR_FORMAT, "llama3");
    assert_refused("llama",
                   SIZES ", " LLAMA3 ", \"low_freq_factor\": 4.0, \"high_freq_factor\": 4.0, "
                         "\"original_max_position_embeddings\": 8192}",
                   ENTRO_ERROR_FORMAT, "llama3");
    assert_refused("llama", SIZES ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}",
                   ENTRO_ERROR_FORMAT, "factor");
    assert_refused("llama", SIZES ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": -2}",
                   ENTRO_ERROR_FORMAT, "factor");
}

static void parts_that_are_not_there_are_refused_by_name(void **state)
{
    (void)state;
    const enum entro_error unsupported = ENTRO_ERROR_UNSUPPORTED;
    assert_refused("mixtral", SIZES, unsupported, "mixtral");
    assert_refused("qwen3_moe", SIZES, unsupported, "qwen3_moe");
    assert_refused("gemma3", SIZES ", \"architectures\": [\"Gemma3ForConditionalGeneration\"]", unsupported,
                   "Gemma3ForConditionalGeneration");
    assert_refused("phi3", SIZES ", \"rope_scaling\": {\"type\": \"su\"}", unsupported, "su");
    assert_refused("phi3", SIZES ", \"rope_scaling\": {\"type\": \"longrope\"}", unsupported, "longrope");
    assert_refused("phi3", SIZES ", \"partial_rotary_factor\": 0.75", unsupported, "partial_rotary_factor");
    assert_refused("qwen2", GROUPED ", \"rope_scaling\": {\"type\": \"mrope\"}", unsupported, "mrope");
    assert_refused("qwen2", GROUPED ", \"num_experts\": 4", unsupported, "num_experts");
    assert_refused("qwen2", GROUPED ", \"vision_config\": {}", unsupported, "vision_config");
    assert_refused("qwen3", GROUPED ", \"attention_bias\": true", unsupported, "attention_bias");
    assert_refused("gemma3_text", GROUPED ", \"final_logit_softcapping\": 30.0", unsupported,
                   "final_logit_softcapping");
    assert_refused("gemma3_text", GROUPED ", \"attn_logit_softcapping\": 50.0", unsupported,
                   "attn_logit_softcapping");
    assert_refused("gemma3_text", GROUPED ", \"use_bidirectional_attention\": true", unsupported,
                   "use_bidirectional_attention");
    assert_refused("gemma3_text", GROUPED ", \"hidden_activation\": \"gelu\"", unsupported, "gelu");
    assert_refused("gemma3_text", GROUPED ", \"rope_parameters\": {\"rope_theta\": 5}", unsupported,
                   "full_attention");
    assert_refused("llama", SIZES ", \"rope_parameters\": {\"full_attention\": {}}", unsupported,
                   "rope_parameters");
    assert_refused("llama",
                   SIZES ", \"rope_parameters\": {\"rope_theta\": 5}, \"rope_scaling\": {\"rope_theta\": 6}",
                   unsupported, "rope_scaling");
    assert_refused("mistral",
                   GROUPED ", \"layer_types\": [\"full_attention\", "
                           "\"sliding_attention\", \"full_attention\", \"full_attention\", "
                           "\"full_attention\", \"full_attention\", \"full_attention\", "
                           "\"full_attention\"]",
                   unsupported, "layer_types");
}

static void absurd_windows_and_layers_are_refused(void **state)
{
    (void)state;
    const enum entro_error format = ENTRO_ERROR_FORMAT;
    assert_refused("mistral", GROUPED ", \"sliding_window\": 0", format, "sliding_window");
    assert_refused("mistral", GROUPED ", \"sliding_window\": -1", format, "sliding_window");
    assert_refused("mistral", GROUPED ", \"sliding_window\": \"wide\"", format, "sliding_window");
    assert_refused("gemma3_text", GROUPED ", \"sliding_window_pattern\": 0", format,
                   "sliding_window_pattern");
    assert_refused("qwen2", GROUPED ", \"use_sliding_window\": true, \"max_window_layers\": -1", format,
                   "max_window_layers");
    assert_refused("gemma3_text", GROUPED ", \"layer_types\": [\"full_attention\"]", format, "layer_types");
    assert_refused("gemma3_text", GROUPED ", \"layer_types\": \"full_attention\"", format, "layer_types");
#define SEVEN                                                                                                \
    "\"full_attention\", \"full_attention\", \"full_attention\", \"full_attention\", \"full_attention\", "   \
    "\"full_attention\", \"full_attention\""
    assert_refused("gemma3_text", GROUPED ", \"layer_types\": [" SEVEN ", \"chunked_attention\"]",
                   ENTRO_ERROR_UNSUPPORTED, "chunked_attention");
    assert_refused("gemma3_text", GROUPED ", \"layer_types\": [" SEVEN ", 1]", ENTRO_ERROR_UNSUPPORTED,
                   "layer_types");
    assert_refused("gemma3_text",
                   GROUPED ", \"sliding_window\": null, \"layer_types\": [" SEVEN ", \"sliding_attention\"]",
                   format, "window");
    assert_refused("gemma3_text", GROUPED ", \"query_pre_attn_scalar\": 0", format, "attention scale");
    assert_refused("gemma3_text", GROUPED ", \"query_pre_attn_scalar\": -4", format, "attention scale");
    assert_refused("mistral", SIZES ", \"num_key_value_heads\": 3", format, "key-value");
}

/* A GGUF's metadata, key by key. */
static struct file metadata;
static uint64_t n_pairs;

static void start_metadata(const char *architecture)
{
    static const struct {
        const char *suffix;
        uint32_t value;
    } counts[] = {{"block_count", 8},           {"embedding_length", 64},       {"feed_forward_length", 96},
                  {"attention.head_count", 8},  {"attention.head_count_kv", 2}, {"context_length", 512},
                  {"attention.key_length", 16}, {"attention.value_length", 16}};
    start_file(&metadata, 0, 0);
    put_key(&metadata, "general.architecture", ENTRO_GGUF_STRING);
    put_string(&metadata, architecture);
    n_pairs = 1;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char key[128];
        snprintf(key, sizeof key, "%s.%s", architecture, counts[i].suffix);
        put_key(&metadata, key, ENTRO_GGUF_U32);
        put_u32(&metadata, counts[i].value);
        n_pairs++;
    }
}

static void add_count(const char *key, uint32_t value)
{
    put_key(&metadata, key, ENTRO_GGUF_U32);
    put_u32(&metadata, value);
    n_pairs++;
}

static void add_number(const char *key, float value)
{
    put_key(&metadata, key, ENTRO_GGUF_F32);
    put(&metadata, &value, sizeof value);
    n_pairs++;
}

static enum entro_error read_metadata(struct entro_config *config, struct entro_message *message)
{
    struct entro_gguf gguf;
    entro_store_u64(metadata.bytes + 16, n_pairs);
    pad(&metadata, 32);
    assert_int_equal(parse(&gguf, &metadata, message), ENTRO_OK);
    enum entro_error error = entro_config_from_gguf(config, &gguf, "m.gguf", message);
    entro_gguf_free(&gguf);
    return error;
}

static void a_gguf_of_gemma3_has_what_its_metadata_do_not_say(void **state)
{
    (void)state;
    struct entro_config config;
    struct entro_message message;
    start_metadata("gemma3");
    add_count("gemma3.attention.sliding_window", 32);
    assert_int_equal(read_metadata(&config, &message), ENTRO_OK);
    assert_layers(&config, "sssssfss");
    assert_true(config.rope.theta == 1e6F && config.sliding_rope.theta == 1e4F);
    assert_true(config.attention_scale == 0.25F);
    assert_false(config.rope_interleaved);
    start_metadata("gemma3");
    add_count("gemma3.attention.sliding_window", 32);
    add_count("gemma3.attention.sliding_window_pattern", 4);
    add_number("gemma3.rope.freq_base_swa", 7.0F);
    assert_int_equal(read_metadata(&config, &message), ENTRO_OK);
    assert_layers(&config, "sssfsssf");
    assert_true(config.sliding_rope.theta == 7.0F);
}

static void a_window_of_0_in_a_gguf_is_none(void **state)
{
    (void)state;
    struct entro_config config;
    struct entro_message message;
    start_metadata("phi3");
    add_count("phi3.attention.sliding_window", 0);
    assert_int_equal(read_metadata(&config, &message), ENTRO_OK);
    assert_layers(&config, "ffffffff");
    start_metadata("phi3");
    add_count("phi3.attention.sliding_window", 2047);
    assert_int_equal(read_metadata(&config, &message), ENTRO_OK);
    assert_layers(&config, "ssssssss");
}

static void a_gguf_with_other_parts_is_refused_by_name(void **state)
{
    (void)state;
    struct entro_config config;
    struct entro_message message;
    start_metadata("gemma3");
    add_number("gemma3.final_logit_softcapping", 30.0F);
    assert_int_equal(read_metadata(&config, &message), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "final_logit_softcapping"));
    start_metadata("qwen3moe");
    assert_int_equal(read_metadata(&config, &message), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "qwen3moe"));
    start_metadata("phi3");
    add_number("phi3.attention.sliding_window", 8.0F);
    assert_int_equal(read_metadata(&config, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "sliding_window"));
    start_metadata("phi3");
    add_count("phi3.attention.sliding_window", 32);
    put_array(&metadata, "phi3.attention.sliding_window_pattern", ENTRO_GGUF_BOOL, 3);
    put(&metadata, "\1\0\1", 3);
    n_pairs++;
    assert_int_equal(read_metadata(&config, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "sliding_window_pattern"));
    start_metadata("qwen2");
    add_number("qwen2.attention.scale", -1.0F);
    assert_int_equal(read_metadata(&config, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "attention scale"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_where_the_architecture_has_them),
        cmocka_unit_test(what_is_missing_is_what_transformers_takes),
        cmocka_unit_test(both_spellings_of_two_rotations_are_read),
        cmocka_unit_test(llama3_scaling_is_read_and_checked),
        cmocka_unit_test(parts_that_are_not_there_are_refused_by_name),
        cmocka_unit_test(absurd_windows_and_layers_are_refused),
        cmocka_unit_test(a_gguf_of_gemma3_has_what_its_metadata_do_not_say),
        cmocka_unit_test(a_window_of_0_in_a_gguf_is_none),
        cmocka_unit_test(a_gguf_with_other_parts_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
