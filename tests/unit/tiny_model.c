/* Making the tiny models; see tiny_model.h, and tests/data/architectures/make_references.py for the weights.
 */
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "gguf_builder.h"
#include "runner_fixture.h"

json_t *tiny_references(void)
{
    json_error_t error;
    json_t *references = json_load_file(ENTRO_TEST_DATA "/architectures/references.json", 0, &error);
    assert_true(json_is_array(references));
    return references;
}

static uint64_t hash_name(const char *name)
{
    uint64_t value = 0xcbf29ce484222325U;
    for (; *name != '\0'; name++)
        value = (value ^ (uint8_t)*name) * 0x100000001b3U;
    return value;
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9U;
    value = (value ^ value >> 27) * 0x94d049bb133111ebU;
    return value ^ value >> 31;
}

/* A whole number from -128 to 127. */
static int whole(const char *name, size_t i)
{
    return (int)(mix((uint64_t)(i + 1) * 0x9e3779b97f4a7c15U + hash_name(name)) >> 56) - 128;
}

static const json_t *config_of(const json_t *reference, const char *key)
{
    return json_object_get(json_object_get(reference, "config"), key);
}

static size_t size_of(const json_t *reference, const char *key)
{
    return (size_t)json_integer_value(config_of(reference, key));
}

static size_t head_dim_of(const json_t *reference)
{
    size_t head_dim = size_of(reference, "head_dim");
    return head_dim != 0 ? head_dim
                         : size_of(reference, "hidden_size") / size_of(reference, "num_attention_heads");
}

static bool is_type(const json_t *reference, const char *model_type)
{
    return strcmp(json_string_value(config_of(reference, "model_type")), model_type) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

struct tensor {
    const char *name;
    size_t n_rows, n_columns; /* n_rows 0: a vector */
    size_t n;
    float *values;
};

static struct tensor make_tensor(const json_t *reference, const json_t *entry)
{
    const json_t *shape = json_object_get(entry, "shape");
    size_t n_last = (size_t)json_integer_value(json_array_get(shape, json_array_size(shape) - 1));
    struct tensor tensor = {.name = json_string_value(json_object_get(entry, "name")), .n_columns = n_last};
    if (json_array_size(shape) == 2)
        tensor.n_rows = (size_t)json_integer_value(json_array_get(shape, 0));
    tensor.n = tensor.n_rows == 0 ? n_last : tensor.n_rows * n_last;
    tensor.values = calloc(tensor.n, sizeof *tensor.values);
    assert_non_null(tensor.values);
    bool norm = ends_with(tensor.name, "norm.weight");
    for (size_t i = 0; i < tensor.n; i++) {
        int number = whole(tensor.name, i);
        if (norm)
            tensor.values[i] =
                (float)floor(number / 2.0) / 128.0F + (is_type(reference, "gemma3_text") ? 0.0F : 1.0F);
        else
            tensor.values[i] = (float)number / 512.0F;
    }
    return tensor;
}

/* Writes the raw file of a tensor and its entry of tensors.json. */
static void write_tensor(const char *directory, const char *name, const struct tensor *tensor,
                         enum tiny_encoding encoding, json_t *entries)
{
    char file[256];
    bool four = encoding == TINY_U4 || encoding == TINY_U4_WIDENED;
    float scale = four ? 1.0F / 32.0F : 1.0F / 256.0F, zero_point = four ? 8.0F : 64.0F;
    bool codes = encoding == TINY_U8 || encoding == TINY_U4;
    if (tensor->n_rows == 0 || encoding == TINY_BF16) {
        encoding = TINY_BF16;
        codes = false;
    }
    uint8_t *bytes = calloc(tensor->n, 4);
    assert_non_null(bytes);
    size_t n_bytes = encoding == TINY_BF16 ? 2 * tensor->n
                     : encoding == TINY_U8 ? tensor->n
                     : encoding == TINY_U4 ? (tensor->n + 1) / 2
                                           : 4 * tensor->n;
    for (size_t i = 0; i < tensor->n; i++) {
        unsigned code =
            (unsigned)fminf(roundf(tensor->values[i] / scale + zero_point), four ? 15.0F : 255.0F);
        if (encoding == TINY_BF16)
            entro_store_u16(bytes + 2 * i, entro_f32_to_bf16(tensor->values[i]));
        else if (encoding == TINY_U8)
            bytes[i] = (uint8_t)code;
        else if (encoding == TINY_U4)
            bytes[i / 2] = (uint8_t)(bytes[i / 2] | code << i % 2 * 4);
        else
            entro_store_f32(bytes + 4 * i, scale * ((float)code - zero_point));
    }
    snprintf(file, sizeof file, "tensors/%s", name);
    fixture_write(directory, file, bytes, n_bytes);
    free(bytes);
    json_t *shape = tensor->n_rows == 0
                        ? json_pack("[I]", (json_int_t)tensor->n_columns)
                        : json_pack("[I, I]", (json_int_t)tensor->n_rows, (json_int_t)tensor->n_columns);
    json_t *entry = json_pack("{s:s, s:s, s:s, s:o, s:s}", "name", name, "file", file, "dtype",
                              codes || encoding == TINY_BF16 ? "BF16" : "F32", "shape", shape, "scheme",
                              codes ? "asymmetric" : "lossless");
    if (codes) {
        json_object_set_new(entry, "bits", json_integer(four ? 4 : 8));
        json_object_set_new(entry, "scale", json_real((double)scale));
        json_object_set_new(entry, "zero_point", json_real((double)zero_point));
    }
    json_array_append_new(entries, entry);
}

static void write_manifest(const char *directory, const char *source, json_t *entries)
{
    json_t *root = json_pack("{s:i, s:s, s:o}", "format", 1, "source", source, "tensors", entries);
    char *text = json_dumps(root, 0);
    assert_non_null(text);
    fixture_write(directory, "tensors.json", text, strlen(text));
    free(text);
    json_decref(root);
}

void tiny_write(const char *directory, const json_t *reference, enum tiny_encoding encoding)
{
    size_t i;
    const json_t *entry;
    json_t *entries = json_array();
    json_array_foreach(json_object_get(reference, "tensors"), i, entry)
    {
        struct tensor tensor = make_tensor(reference, entry);
        write_tensor(directory, tensor.name, &tensor, encoding, entries);
        free(tensor.values);
    }
    write_manifest(directory, "safetensors", entries);
}

/* Within a head, row i and row i + half become rows 2i and 2i + 1. */
static void permute_rows(struct tensor *tensor, size_t head_dim)
{
    float *permuted = calloc(tensor->n, sizeof *permuted);
    assert_non_null(permuted);
    for (size_t row = 0; row < tensor->n_rows; row++) {
        size_t head = row / head_dim, i = row % head_dim;
        size_t place = i < head_dim / 2 ? 2 * i : 2 * (i - head_dim / 2) + 1;
        memcpy(permuted + (head * head_dim + place) * tensor->n_columns,
               tensor->values + row * tensor->n_columns, tensor->n_columns * sizeof *permuted);
    }
    free(tensor->values);
    tensor->values = permuted;
}

/* GGUF's name (ggml-org/llama.cpp, gguf-py/gguf/constants.py). */
static void name_as_gguf(const json_t *reference, const char *name, char out[128])
{
    static const char *const whole_model[][2] = {{"model.embed_tokens.weight", "token_embd.weight"},
                                                 {"model.norm.weight", "output_norm.weight"},
                                                 {"lm_head.weight", "output.weight"}};
    static const char *const parts[][2] = {
        {"input_layernorm.weight", "attn_norm.weight"},
        {"self_attn.qkv_proj.weight", "attn_qkv.weight"},
        {"self_attn.q_proj.weight", "attn_q.weight"},
        {"self_attn.k_proj.weight", "attn_k.weight"},
        {"self_attn.v_proj.weight", "attn_v.weight"},
        {"self_attn.q_proj.bias", "attn_q.bias"},
        {"self_attn.k_proj.bias", "attn_k.bias"},
        {"self_attn.v_proj.bias", "attn_v.bias"},
        {"self_attn.q_norm.weight", "attn_q_norm.weight"},
        {"self_attn.k_norm.weight", "attn_k_norm.weight"},
        {"self_attn.o_proj.weight", "attn_output.weight"},
        {"pre_feedforward_layernorm.weight", "ffn_norm.weight"},
        {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"},
        {"mlp.gate_up_proj.weight", "ffn_up.weight"},
        {"mlp.gate_proj.weight", "ffn_gate.weight"},
        {"mlp.up_proj.weight", "ffn_up.weight"},
        {"mlp.down_proj.weight", "ffn_down.weight"},
    };
    unsigned layer;
    int n_prefix = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof whole_model / sizeof whole_model[0]; i++)
        if (strcmp(name, whole_model[i][0]) == 0)
            snprintf(out, 128, "%s", whole_model[i][1]);
    if (sscanf(name, "model.layers.%u.%n", &layer, &n_prefix) != 1)
        return;
    const char *part = name + n_prefix;
    if (strcmp(part, "post_attention_layernorm.weight") == 0)
        snprintf(out, 128, "blk.%u.%s", layer,
                 is_type(reference, "gemma3_text") ? "post_attention_norm.weight" : "ffn_norm.weight");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strcmp(part, parts[i][0]) == 0)
            snprintf(out, 128, "blk.%u.%s", layer, parts[i][1]);
}

static const json_t *rope_of(const json_t *reference)
{
    const json_t *rope = config_of(reference, "rope_parameters");
    const json_t *full = json_object_get(rope, "full_attention");
    return full != NULL ? full : rope;
}

static bool rope_is(const json_t *reference, const char *type)
{
    return strcmp(json_string_value(json_object_get(rope_of(reference), "rope_type")), type) == 0;
}

/* By wavelengths, as a converter does it (ggml-org/llama.cpp, conversion/llama.py). */
static void write_rope_factors(const char *directory, const json_t *reference, json_t *entries)
{
    const json_t *rope = rope_of(reference);
    size_t n = head_dim_of(reference) / 2;
    double theta = json_number_value(json_object_get(rope, "rope_theta"));
    double factor = json_number_value(json_object_get(rope, "factor"));
    double low = json_number_value(json_object_get(rope, "low_freq_factor"));
    double high = json_number_value(json_object_get(rope, "high_freq_factor"));
    double old = json_number_value(json_object_get(rope, "original_max_position_embeddings"));
    uint8_t *bytes = calloc(n, 4);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        double wavelength = 2 * acos(-1.0) * pow(theta, (double)i / (double)n), by = 1;
        if (wavelength > old / low)
            by = factor;
        else if (wavelength >= old / high) {
            double smooth = (old / wavelength - low) / (high - low);
            by = 1 / ((1 - smooth) / factor + smooth);
        }
        entro_store_f32(bytes + 4 * i, (float)by);
    }
    fixture_write(directory, "tensors/rope_freqs.weight", bytes, 4 * n);
    free(bytes);
    json_array_append_new(entries, json_pack("{s:s, s:s, s:s, s:[I], s:s}", "name", "rope_freqs.weight",
                                             "file", "tensors/rope_freqs.weight", "dtype", "F32", "shape",
                                             (json_int_t)n, "scheme", "lossless"));
}

static const char *gguf_architecture(const json_t *reference)
{
    const char *type = json_string_value(config_of(reference, "model_type"));
    if (strcmp(type, "mistral") == 0)
        return "llama";
    return strcmp(type, "gemma3_text") == 0 ? "gemma3" : type;
}

void tiny_write_gguf(const char *directory, const json_t *reference)
{
    size_t i;
    const json_t *entry;
    json_t *entries = json_array();
    bool permuted = strcmp(gguf_architecture(reference), "llama") == 0;
    json_array_foreach(json_object_get(reference, "tensors"), i, entry)
    {
        char name[128];
        struct tensor tensor = make_tensor(reference, entry);
        name_as_gguf(reference, tensor.name, name);
        assert_true(name[0] != '\0');
        if (permuted && (ends_with(name, "attn_q.weight") || ends_with(name, "attn_k.weight")))
            permute_rows(&tensor, head_dim_of(reference));
        for (size_t j = 0;
             is_type(reference, "gemma3_text") && ends_with(name, "norm.weight") && j < tensor.n; j++)
            tensor.values[j] += 1.0F;
        write_tensor(directory, name, &tensor, TINY_BF16, entries);
        free(tensor.values);
    }
    if (rope_is(reference, "llama3"))
        write_rope_factors(directory, reference, entries);
    write_manifest(directory, "gguf", entries);
}

/* The file under construction and how many pairs it has. */
struct metadata {
    struct file file;
    const char *prefix;
    uint64_t n_pairs;
};

static void start_pair(struct metadata *metadata, const char *suffix, enum entro_gguf_type type)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", metadata->prefix, suffix);
    put_key(&metadata->file, key, type);
    metadata->n_pairs++;
}

static void put_count(struct metadata *metadata, const char *suffix, size_t value)
{
    start_pair(metadata, suffix, ENTRO_GGUF_U32);
    put_u32(&metadata->file, (uint32_t)value);
}

static void put_number(struct metadata *metadata, const char *suffix, double value)
{
    start_pair(metadata, suffix, ENTRO_GGUF_F32);
    put(&metadata->file, &(float){(float)value}, 4);
}

static void put_windows(struct metadata *metadata, const json_t *reference)
{
    const json_t *types = config_of(reference, "layer_types");
    if (json_is_null(config_of(reference, "sliding_window")) ||
        config_of(reference, "sliding_window") == NULL)
        return;
    put_count(metadata, "attention.sliding_window", size_of(reference, "sliding_window"));
    if (!is_type(reference, "qwen2"))
        return; /* all layers, or Gemma's pattern, which its files do not give */
    start_pair(metadata, "attention.sliding_window_pattern", ENTRO_GGUF_ARRAY);
    put_u32(&metadata->file, ENTRO_GGUF_BOOL);
    put_u64(&metadata->file, json_array_size(types));
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        put(&metadata->file, strcmp(type, "sliding_attention") == 0 ? "\1" : "\0", 1);
    }
}

void tiny_gguf_metadata(const json_t *reference, struct entro_gguf *out)
{
    static struct metadata metadata;
    struct entro_message message;
    metadata = (struct metadata){.prefix = gguf_architecture(reference), .n_pairs = 1};
    start_file(&metadata.file, 0, 0);
    put_key(&metadata.file, "general.architecture", ENTRO_GGUF_STRING);
    put_string(&metadata.file, metadata.prefix);
    put_count(&metadata, "block_count", size_of(reference, "num_hidden_layers"));
    put_count(&metadata, "embedding_length", size_of(reference, "hidden_size"));
    put_count(&metadata, "feed_forward_length", size_of(reference, "intermediate_size"));
    put_count(&metadata, "attention.head_count", size_of(reference, "num_attention_heads"));
    put_count(&metadata, "attention.head_count_kv", size_of(reference, "num_key_value_heads"));
    put_count(&metadata, "attention.key_length", head_dim_of(reference));
    put_count(&metadata, "attention.value_length", head_dim_of(reference));
    put_count(&metadata, "context_length", size_of(reference, "max_position_embeddings"));
    put_number(&metadata, "attention.layer_norm_rms_epsilon",
               json_number_value(config_of(reference, "rms_norm_eps")));
    put_number(&metadata, "rope.freq_base",
               json_number_value(json_object_get(rope_of(reference), "rope_theta")));
    if (is_type(reference, "gemma3_text"))
        put_number(&metadata, "attention.scale",
                   1 / sqrt((double)size_of(reference, "query_pre_attn_scalar")));
    if (rope_is(reference, "linear")) {
        start_pair(&metadata, "rope.scaling.type", ENTRO_GGUF_STRING);
        put_string(&metadata.file, "linear");
        put_number(&metadata, "rope.scaling.factor",
                   json_number_value(json_object_get(rope_of(reference), "factor")));
    }
    put_windows(&metadata, reference);
    entro_store_u64(metadata.file.bytes + 16, metadata.n_pairs);
    pad(&metadata.file, 32);
    if (parse(out, &metadata.file, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
}
