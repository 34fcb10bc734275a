/* Model configurations: config.json in both spellings, GGUF metadata, and what must be refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/bytes.h"
#include "codec/models/tensor_roles.h"
#include "runner/config.h"

#define SIZES                                                                                                \
    "\"hidden_size\": 576, \"intermediate_size\": 1536, \"num_hidden_layers\": 30, "                         \
    "\"num_attention_heads\": 9, "                                                                           \
    "\"num_key_value_heads\": 3, \"vocab_size\": 49152, \"max_position_embeddings\": 8192"
#define LLAMA "\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\""

static enum entro_error parse(struct entro_config *config, const char *text, struct entro_message *message)
{
    message->text[0] = '\0';
    return entro_config_from_json(config, text, strlen(text), "config.json", message);
}

/* Refused with this error, and a message that names `what`. */
static void assert_refused(const char *text, enum entro_error expected, const char *what)
{
    struct entro_config config;
    struct entro_message message;
    enum entro_error error = parse(&config, text, &message);
    if (error != expected || strstr(message.text, what) == NULL)
        fail_msg("%s: error %d, \"%s\" does not name %s", text, (int)error, message.text, what);
    assert_non_null(strstr(message.text, "config.json"));
}

static void a_llama_config_is_read(void **state)
{
    (void)state;
    struct entro_config config;
    struct entro_message message;
    const char *text =
        "{" LLAMA ", " SIZES ", \"rms_norm_eps\": 1e-05, \"rope_theta\": 100000.0, \"rope_scaling\": null, "
        "\"tie_word_embeddings\": true, \"bos_token_id\": 1, \"eos_token_id\": 2, \"hidden_act\": \"silu\", "
        "\"attention_bias\": false, \"torch_dtype\": \"bfloat16\"}";
    assert_int_equal(parse(&config, text, &message), ENTRO_OK);
    assert_string_equal(config.architecture->name, "llama");
    assert_false(config.gguf);
    assert_false(config.rope_interleaved);
    assert_int_equal(config.n_layers, 30);
    assert_int_equal(config.n_hidden, 576);
    assert_int_equal(config.n_intermediate, 1536);
    assert_int_equal(config.n_heads, 9);
    assert_int_equal(config.n_kv_heads, 3);
    assert_int_equal(config.head_dim, 64);
    assert_int_equal(config.n_vocabulary, 49152);
    assert_int_equal(config.n_context, 8192);
    assert_true(config.norm_epsilon == 1e-5F);
    assert_true(config.rope.theta == 100000.0F);
    assert_true(config.tied_embeddings);
    assert_int_equal(config.bos_id, 1);
    assert_int_equal(config.n_eos_ids, 1);
    assert_true(entro_config_is_eos(&config, 2));
    assert_false(entro_config_is_eos(&config, 1));
}

static void the_spelling_of_transformers_5_is_read(void **state)
{
    (void)state;
    struct entro_config config;
    struct entro_message message;
    const char *text = "{" LLAMA ", " SIZES ", \"dtype\": \"bfloat16\", "
                       "\"rope_parameters\": {\"rope_theta\": 500000.0, \"rope_type\": \"default\"}}";
    assert_int_equal(parse(&config, text, &message), ENTRO_OK);
    assert_true(config.rope.theta == 500000.0F);
    assert_false(config.tied_embeddings);
    assert_int_equal(config.bos_id, -1);
}

static void missing_optional_numbers_have_the_defaults_of_transformers(void **state)
{
    (void)state;
    struct entro_config config;
    struct entro_message message;
    const char *text =
        "{\"model_type\": \"llama\", \"hidden_size\": 64, \"intermediate_size\": 128, \"num_hidden_layers\": "
        "2, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": null, \"head_dim\": 32, \"vocab_size\": 100}";
    assert_int_equal(parse(&config, text, &message), ENTRO_OK);
    assert_int_equal(config.n_kv_heads, 4);
    assert_int_equal(config.head_dim, 32);
    assert_true(config.rope.theta == 10000.0F);
    assert_true(config.norm_epsilon == 1e-6F);
    assert_int_equal(config.n_context, 2048);
}

static void end_of_text_ids_are_the_union_of_both_files(void **state)
{
    (void)state;
    struct entro_config config;
    struct entro_message message;
    assert_int_equal(parse(&config, "{" LLAMA ", " SIZES ", \"eos_token_id\": [2, 7]}", &message), ENTRO_OK);
    const char *generation = "{\"eos_token_id\": [7, 9], \"do_sample\": true}";
    assert_int_equal(entro_config_add_generation(&config, generation, strlen(generation),
                                                 "generation_config.json", &message),
                     ENTRO_OK);
    assert_int_equal(config.n_eos_ids, 3);
    assert_true(entro_config_is_eos(&config, 2) && entro_config_is_eos(&config, 7) &&
                entro_config_is_eos(&config, 9));
    generation = "{\"eos_token_id\": \"</s>\"}";
    assert_int_equal(entro_config_add_generation(&config, generation, strlen(generation),
                                                 "generation_config.json", &message),
                     ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "generation_config.json"));
}

static void what_is_not_supported_is_refused_by_name(void **state)
{
    (void)state;
    const enum entro_error unsupported = ENTRO_ERROR_UNSUPPORTED;
    assert_refused("{\"model_type\": \"mamba\", " SIZES "}", unsupported, "mamba");
    assert_refused(
        "{\"architectures\": [\"LlamaForSequenceClassification\"], \"model_type\": \"llama\", " SIZES "}",
        unsupported, "LlamaForSequenceClassification");
    assert_refused("{" LLAMA ", " SIZES ", \"rope_scaling\": {\"rope_type\": \"longrope\"}}", unsupported,
                   "longrope");
    assert_refused("{" LLAMA ", " SIZES ", \"rope_scaling\": {\"type\": \"yarn\"}}", unsupported, "yarn");
    assert_refused("{" LLAMA ", " SIZES ", \"rope_parameters\": {\"rope_type\": \"dynamic\"}}", unsupported,
                   "dynamic");
    assert_refused("{" LLAMA ", " SIZES ", \"rope_scaling\": {\"factor\": 2.0}}", unsupported, "no type");
    assert_refused("{" LLAMA ", " SIZES ", \"rope_scaling\": \"linear\"}", unsupported, "rope_scaling");
    assert_refused("{" LLAMA ", " SIZES ", \"rope_parameters\": [1]}", unsupported, "rope_parameters");
    assert_refused("{" LLAMA ", " SIZES ", \"rope_parameters\": {\"rope_theta\": 5.0}, "
                   "\"partial_rotary_factor\": 0.5}",
                   unsupported, "partial_rotary_factor");
    assert_refused("{" LLAMA ", " SIZES ", \"partial_rotary_factor\": 0.5}", unsupported,
                   "partial_rotary_factor");
    assert_refused("{" LLAMA ", " SIZES ", \"hidden_act\": \"gelu\"}", unsupported, "gelu");
    assert_refused("{" LLAMA ", " SIZES ", \"attention_bias\": true}", unsupported, "attention_bias");
    assert_refused("{" LLAMA ", " SIZES ", \"mlp_bias\": true}", unsupported, "mlp_bias");
    assert_refused("{" LLAMA ", " SIZES ", \"quantization_config\": {}}", unsupported, "quantization_config");
}

static void hostile_configs_are_refused(void **state)
{
    (void)state;
    const enum entro_error format = ENTRO_ERROR_FORMAT;
    assert_refused("", format, "config.json");
    assert_refused("[]", format, "object");
    assert_refused("{\"model_type\": 3}", format, "model_type");
    assert_refused("{" LLAMA ", \"hidden_size\": 64, \"hidden_size\": 64}", format, "hidden_size");
    assert_refused("{" LLAMA "}", format, "num_hidden_layers");
    static const char *const bad_sizes[][2] = {
        {"\"hidden_size\": 0", "hidden_size"},
        {"\"hidden_size\": -576", "hidden_size"},
        {"\"hidden_size\": 99999999999999", "hidden_size"},
        {"\"hidden_size\": 1073741824", "hidden size"},
        {"\"hidden_size\": \"576\"", "hidden_size"},
        {"\"hidden_size\": 577", "attention heads"},
        {"\"num_hidden_layers\": 1000000", "layers"},
        {"\"num_key_value_heads\": 4", "key-value"},
        {"\"head_dim\": 63", "odd"},
        {"\"head_dim\": 1000000", "head size"},
        {"\"vocab_size\": 2147483647", "vocabulary"},
        {"\"max_position_embeddings\": 2147483647", "context"},
        {"\"rms_norm_eps\": -1", "epsilon"},
        {"\"rms_norm_eps\": \"small\"", "rms_norm_eps"},
        {"\"rope_theta\": 0", "theta"},
        {"\"rope_theta\": 1e999", "config.json"},
        {"\"eos_token_id\": -1", "eos_token_id"},
        {"\"eos_token_id\": [1, \"a\"]", "eos_token_id"},
        {"\"bos_token_id\": 1.5", "bos_token_id"},
    };
    for (size_t i = 0; i < sizeof bad_sizes / sizeof bad_sizes[0]; i++) {
        /* The first of two equal keys would make a duplicate: leave the good one out. */
        static const char *const good[] = {"\"hidden_size\": 576",
                                           "\"intermediate_size\": 1536",
                                           "\"num_hidden_layers\": 30",
                                           "\"num_attention_heads\": 9",
                                           "\"num_key_value_heads\": 3",
                                           "\"vocab_size\": 49152",
                                           "\"max_position_embeddings\": 8192"};
        char text[2048] = "{" LLAMA;
        size_t key_bytes = (size_t)(strchr(bad_sizes[i][0], ':') - bad_sizes[i][0]) + 1;
        for (size_t j = 0; j < sizeof good / sizeof good[0]; j++) {
            if (strncmp(good[j], bad_sizes[i][0], key_bytes) == 0)
                continue;
            strcat(text, ", ");
            strcat(text, good[j]);
        }
        strcat(text, ", ");
        strcat(text, bad_sizes[i][0]);
        strcat(text, "}");
        assert_refused(text, format, bad_sizes[i][1]);
    }
}

static void too_many_end_of_text_ids_are_refused(void **state)
{
    (void)state;
    char text[4096] = "{" LLAMA ", " SIZES ", \"eos_token_id\": [0";
    for (int i = 1; i <= ENTRO_MAX_EOS_IDS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ", %d", i);
    strcat(text, "]}");
    assert_refused(text, ENTRO_ERROR_FORMAT, "eos_token_id");
}

/* A GGUF header in memory, written pair by pair. */
struct gguf_writer {
    uint8_t bytes[4096];
    size_t size_bytes;
    uint64_t n_pairs;
};

static void put_u32(struct gguf_writer *writer, uint32_t value)
{
    entro_store_u32(writer->bytes + writer->size_bytes, value);
    writer->size_bytes += 4;
}

static void put_text(struct gguf_writer *writer, const char *text)
{
    entro_store_u64(writer->bytes + writer->size_bytes, strlen(text));
    memcpy(writer->bytes + writer->size_bytes + 8, text, strlen(text));
    writer->size_bytes += 8 + strlen(text);
}

static void start(struct gguf_writer *writer)
{
    *writer = (struct gguf_writer){0};
    memcpy(writer->bytes, "GGUF", 4);
    writer->size_bytes = 4;
    put_u32(writer, 3);
    writer->size_bytes = 24; /* no tensors, and the pairs are counted at the end */
}

static void put_count(struct gguf_writer *writer, const char *key, uint32_t value)
{
    put_text(writer, key);
    put_u32(writer, ENTRO_GGUF_U32);
    put_u32(writer, value);
    writer->n_pairs++;
}

static void put_string(struct gguf_writer *writer, const char *key, const char *value)
{
    put_text(writer, key);
    put_u32(writer, ENTRO_GGUF_STRING);
    put_text(writer, value);
    writer->n_pairs++;
}

static void put_float(struct gguf_writer *writer, const char *key, float value)
{
    put_text(writer, key);
    put_u32(writer, ENTRO_GGUF_F32);
    entro_store_f32(writer->bytes + writer->size_bytes, value);
    writer->size_bytes += 4;
    writer->n_pairs++;
}

static enum entro_error read_gguf(struct gguf_writer *writer, struct entro_config *config,
                                  struct entro_message *message)
{
    struct entro_gguf gguf;
    entro_store_u64(writer->bytes + 16, writer->n_pairs);
    /* A file without tensors: padded to the alignment. */
    size_t file_bytes = (writer->size_bytes + 31) / 32 * 32;
    assert_int_equal(entro_gguf_parse(&gguf, writer->bytes, file_bytes, file_bytes, "m.gguf", message),
                     ENTRO_OK);
    enum entro_error error = entro_config_from_gguf(config, &gguf, "m.gguf", message);
    entro_gguf_free(&gguf);
    return error;
}

static void put_llama(struct gguf_writer *writer)
{
    start(writer);
    put_string(writer, "general.architecture", "llama");
    put_count(writer, "llama.block_count", 30);
    put_count(writer, "llama.embedding_length", 576);
    put_count(writer, "llama.feed_forward_length", 1536);
    put_count(writer, "llama.attention.head_count", 9);
    put_count(writer, "llama.attention.head_count_kv", 3);
    put_count(writer, "llama.context_length", 8192);
    put_float(writer, "llama.rope.freq_base", 100000.0F);
    put_float(writer, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    put_count(writer, "tokenizer.ggml.eos_token_id", 2);
    put_count(writer, "tokenizer.ggml.bos_token_id", 1);
}

static void gguf_metadata_are_read(void **state)
{
    (void)state;
    struct gguf_writer writer;
    struct entro_config config;
    struct entro_message message;
    put_llama(&writer);
    assert_int_equal(read_gguf(&writer, &config, &message), ENTRO_OK);
    assert_true(config.gguf && config.rope_interleaved && config.tied_embeddings);
    assert_int_equal(config.head_dim, 64);
    assert_int_equal(config.n_vocabulary, 0);
    assert_true(config.rope.theta == 100000.0F);
    assert_int_equal(config.bos_id, 1);
    assert_true(entro_config_is_eos(&config, 2));
}

static void gguf_parts_that_are_not_supported_are_refused_by_name(void **state)
{
    (void)state;
    struct gguf_writer writer;
    struct entro_config config;
    struct entro_message message;
    start(&writer);
    put_string(&writer, "general.architecture", "mamba");
    assert_int_equal(read_gguf(&writer, &config, &message), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "mamba"));
    put_llama(&writer);
    put_count(&writer, "llama.expert_count", 8);
    assert_int_equal(read_gguf(&writer, &config, &message), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "experts"));
    put_llama(&writer);
    put_string(&writer, "llama.rope.scaling.type", "yarn");
    assert_int_equal(read_gguf(&writer, &config, &message), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "yarn"));
    put_llama(&writer);
    put_count(&writer, "llama.rope.dimension_count", 32);
    assert_int_equal(read_gguf(&writer, &config, &message), ENTRO_ERROR_UNSUPPORTED);
    start(&writer);
    put_string(&writer, "general.architecture", "llama");
    assert_int_equal(read_gguf(&writer, &config, &message), ENTRO_ERROR_FORMAT);
    assert_non_null(strstr(message.text, "block_count"));
}

static void tensors_have_the_names_of_both_conventions(void **state)
{
    (void)state;
    char name[ENTRO_TENSOR_NAME_BYTES];
    entro_tensor_name(name, ENTRO_TENSOR_EMBEDDING, false, 0);
    assert_string_equal(name, "model.embed_tokens.weight");
    entro_tensor_name(name, ENTRO_TENSOR_EMBEDDING, true, 0);
    assert_string_equal(name, "token_embd.weight");
    entro_tensor_name(name, ENTRO_TENSOR_DOWN, false, 4095);
    assert_string_equal(name, "model.layers.4095.mlp.down_proj.weight");
    entro_tensor_name(name, ENTRO_TENSOR_ATTENTION_OUTPUT, true, 12);
    assert_string_equal(name, "blk.12.attn_output.weight");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_llama_config_is_read),
        cmocka_unit_test(the_spelling_of_transformers_5_is_read),
        cmocka_unit_test(missing_optional_numbers_have_the_defaults_of_transformers),
        cmocka_unit_test(end_of_text_ids_are_the_union_of_both_files),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(hostile_configs_are_refused),
        cmocka_unit_test(too_many_end_of_text_ids_are_refused),
        cmocka_unit_test(gguf_metadata_are_read),
        cmocka_unit_test(tensors_have_the_names_of_both_conventions),
        cmocka_unit_test(gguf_parts_that_are_not_supported_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
