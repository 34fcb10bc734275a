/* The tiny models of each architecture with a tensor missing, of another shape, or with numbers that are
 * none: refused by name. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "codec/bytes.h"
#include "runner/weights.h"
#include "runner_fixture.h"
#include "tiny_opened.h"

static json_t *references;

static int set_up(void **state)
{
    (void)state;
    references = tiny_references();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(references);
    return 0;
}

/* tensors.json of the directory, to be changed; the caller's. */
static json_t *read_manifest(const char *directory)
{
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof path, "%s/tensors.json", directory);
    json_t *root = json_load_file(path, 0, &error);
    assert_non_null(root);
    return root;
}

static enum entro_error map(const char *directory, const json_t *manifest_json, struct entro_config *config,
                            struct entro_message *message)
{
    struct entro_manifest manifest;
    struct entro_weights weights;
    char *text = json_dumps(manifest_json, 0);
    assert_non_null(text);
    assert_int_equal(entro_manifest_parse(&manifest, text, strlen(text), "tensors.json", message), ENTRO_OK);
    free(text);
    int fd = open(directory, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    message->text[0] = '\0';
    enum entro_error error = entro_weights_map(&weights, config, &manifest, fd, directory, message);
    close(fd);
    if (error == ENTRO_OK)
        error = entro_weights_check_finite(&weights, message);
    entro_weights_free(&weights);
    entro_manifest_free(&manifest);
    return error;
}

static void assert_named(enum entro_error error, enum entro_error expected, const char *name,
                         const struct entro_message *message)
{
    if (error != expected || strstr(message->text, name) == NULL || strchr(message->text, '\n') != NULL)
        fail_msg("error %d, \"%s\" does not name %s", (int)error, message->text, name);
}

static void check_all_tensors(const json_t *reference, bool gguf)
{
    struct entro_config config;
    struct entro_message message;
    char *directory = fixture_create();
    tiny_read_config(reference, gguf ? NULL : "config", &config);
    if (gguf)
        tiny_write_gguf(directory, reference);
    else
        tiny_write(directory, reference, TINY_BF16);
    json_t *manifest = read_manifest(directory);
    if (map(directory, manifest, &config, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    json_t *tensors = json_object_get(manifest, "tensors");
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        json_t *entry = json_incref(json_array_get(tensors, i));
        const char *name = json_string_value(json_object_get(entry, "name"));
        json_array_remove(tensors, i);
        enum entro_error error = map(directory, manifest, &config, &message);
        if (gguf && (strcmp(name, "output.weight") == 0 || strcmp(name, "rope_freqs.weight") == 0))
            assert_int_equal(error, ENTRO_OK); /* what GGUF models may go without */
        else
            assert_named(error, ENTRO_ERROR_NOT_FOUND, name, &message);
        json_array_insert(tensors, i, entry);
        /* One row more, or one element of a vector. */
        json_t *size = json_array_get(json_object_get(entry, "shape"), 0);
        json_integer_set(size, json_integer_value(size) + 1);
        assert_named(map(directory, manifest, &config, &message), ENTRO_ERROR_FORMAT, name, &message);
        json_integer_set(size, json_integer_value(size) - 1);
        json_decref(entry);
    }
    json_decref(manifest);
    fixture_remove(directory);
}

static void a_tensor_that_is_missing_or_misshapen_is_named(void **state)
{
    (void)state;
    size_t i;
    const json_t *reference;
    json_array_foreach(references, i, reference)
    {
        check_all_tensors(reference, false);
        check_all_tensors(reference, true);
    }
}

static const json_t *find_reference(const char *name)
{
    size_t i;
    const json_t *reference;
    json_array_foreach(references, i, reference)
    {
        if (strcmp(json_string_value(json_object_get(reference, "name")), name) == 0)
            return reference;
    }
    fail_msg("no reference \"%s\"", name);
    return NULL;
}

/* Writes `value` over a file of the directory. */
static void overwrite(const char *directory, const char *tensor, size_t offset, const void *value,
                      size_t size_bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tensors/%s", directory, tensor);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, value, size_bytes, (off_t)offset), size_bytes);
    close(fd);
}

static void numbers_that_are_none_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *reference, *tensor;
        bool gguf;
    } cases[] = {
        {"gemma3", "model.layers.3.post_feedforward_layernorm.weight", false},
        {"gemma3", "blk.2.attn_k_norm.weight", true},
        {"gemma3", "token_embd.weight", true},
        {"qwen2, tied", "model.layers.1.self_attn.v_proj.bias", false},
        {"phi3", "model.layers.0.self_attn.qkv_proj.weight", false},
        {"phi3", "model.layers.1.mlp.gate_up_proj.weight", false},
        {"phi3", "blk.1.ffn_down.weight", true},
        {"mistral", "model.layers.1.self_attn.o_proj.weight", false},
        {"mistral", "lm_head.weight", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct entro_config config;
        struct entro_message message;
        char *directory = fixture_create();
        const json_t *reference = find_reference(cases[i].reference);
        tiny_read_config(reference, cases[i].gguf ? NULL : "config", &config);
        if (cases[i].gguf)
            tiny_write_gguf(directory, reference);
        else
            tiny_write(directory, reference, TINY_BF16);
        json_t *manifest = read_manifest(directory);
        overwrite(directory, cases[i].tensor, 6, i % 2 == 0 ? "\xc0\x7f" : "\x80\xff",
                  2); /* NaN, -infinity */
        assert_named(map(directory, manifest, &config, &message), ENTRO_ERROR_FORMAT, cases[i].tensor,
                     &message);
        json_decref(manifest);
        fixture_remove(directory);
    }
}

static void rope_factors_that_are_none_are_refused(void **state)
{
    (void)state;
    struct entro_config config;
    struct entro_message message;
    const json_t *reference = find_reference("llama, llama3 scaling");
    const float bad[] = {0.0F, -1.0F};
    for (size_t i = 0; i < 2; i++) {
        uint8_t bytes[4];
        char *directory = fixture_create();
        tiny_read_config(reference, NULL, &config);
        tiny_write_gguf(directory, reference);
        json_t *manifest = read_manifest(directory);
        entro_store_f32(bytes, bad[i]);
        overwrite(directory, "rope_freqs.weight", 8, bytes, 4);
        assert_named(map(directory, manifest, &config, &message), ENTRO_ERROR_FORMAT, "rope_freqs.weight",
                     &message);
        json_decref(manifest);
        fixture_remove(directory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tensor_that_is_missing_or_misshapen_is_named),
        cmocka_unit_test(numbers_that_are_none_are_named),
        cmocka_unit_test(rope_factors_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
