/* Mapping of raw tensor files: what is found, and what each kind of damage gives. */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/bytes.h"
#include "codec/half.h"
#include "runner/bus_error.h"
#include "runner/file.h"
#include "runner/weights.h"
#include "runner_fixture.h"

/* A model of one layer: 4 wide, 2 heads of 2 that share one key-value head, 6 in the MLP, 5 tokens. All codes
 * are 3, and weights 0.5 * (3 - 1). */
static const struct {
    const char *name;
    unsigned rows, columns; /* rows 0: a vector */
} tensors[] = {
    {"model.embed_tokens.weight", 5, 4},
    {"model.norm.weight", 0, 4},
    {"model.layers.0.input_layernorm.weight", 0, 4},
    {"model.layers.0.self_attn.q_proj.weight", 4, 4},
    {"model.layers.0.self_attn.k_proj.weight", 2, 4},
    {"model.layers.0.self_attn.v_proj.weight", 2, 4},
    {"model.layers.0.self_attn.o_proj.weight", 4, 4},
    {"model.layers.0.post_attention_layernorm.weight", 0, 4},
    {"model.layers.0.mlp.gate_proj.weight", 6, 4},
    {"model.layers.0.mlp.up_proj.weight", 6, 4},
    {"model.layers.0.mlp.down_proj.weight", 4, 6},
};

#define N_TENSORS (sizeof tensors / sizeof tensors[0])

static const char config_text[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 4, \"intermediate_size\": 6, \"num_hidden_layers\": 1, "
    "\"num_attention_heads\": 2, "
    "\"num_key_value_heads\": 1, \"vocab_size\": 5, \"tie_word_embeddings\": true}";

/* tensors.json, with `extra` in the entry of the tensor called `special` and without the one called
 * `missing`. */
static void write_manifest(const char *directory, const char *special, const char *extra, const char *missing)
{
    char text[8192] = "{\"format\": 1, \"source\": \"safetensors\", \"tensors\": [";
    bool first = true;
    for (size_t i = 0; i < N_TENSORS; i++) {
        char shape[32], scheme[400];
        if (missing != NULL && strcmp(tensors[i].name, missing) == 0)
            continue;
        if (tensors[i].rows == 0)
            snprintf(shape, sizeof shape, "[%u]", tensors[i].columns);
        else
            snprintf(shape, sizeof shape, "[%u, %u]", tensors[i].rows, tensors[i].columns);
        if (tensors[i].rows == 0)
            snprintf(scheme, sizeof scheme, "\"scheme\": \"lossless\"");
        else
            snprintf(scheme, sizeof scheme,
                     "\"scheme\": \"asymmetric\", \"bits\": 8, \"scale\": 0.5, \"zero_point\": 1%s",
                     special != NULL && strcmp(tensors[i].name, special) == 0 ? extra : "");
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "%s{\"name\": \"%s\", \"file\": \"tensors/%s\", \"dtype\": \"F32\", \"shape\": %s, %s}",
                 first ? "" : ", ", tensors[i].name, tensors[i].name, shape, scheme);
        first = false;
    }
    strcat(text, "]}");
    fixture_write(directory, "tensors.json", text, strlen(text));
}

static char *create_model(void)
{
    char *directory = fixture_create();
    for (size_t i = 0; i < N_TENSORS; i++) {
        uint8_t bytes[64];
        char file[128];
        size_t n = tensors[i].rows == 0 ? tensors[i].columns * 4 : tensors[i].rows * tensors[i].columns;
        memset(bytes, 3, sizeof bytes);
        for (unsigned j = 0; tensors[i].rows == 0 && j < tensors[i].columns; j++)
            entro_store_f32(bytes + 4 * j, 1.25F);
        snprintf(file, sizeof file, "tensors/%s", tensors[i].name);
        fixture_write(directory, file, bytes, n);
    }
    write_manifest(directory, NULL, NULL, NULL);
    return directory;
}

struct opened {
    struct entro_config config;
    struct entro_manifest manifest;
    struct entro_weights weights;
    struct entro_message message;
};

static enum entro_error open_model(const char *directory, struct opened *out)
{
    char path[4096], text[8192];
    snprintf(path, sizeof path, "%s/tensors.json", directory);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    assert_int_equal(
        entro_config_from_json(&out->config, config_text, strlen(config_text), "config.json", &out->message),
        ENTRO_OK);
    assert_int_equal(entro_manifest_parse(&out->manifest, text, (size_t)n, "tensors.json", &out->message),
                     ENTRO_OK);
    fd = open(directory, O_RDONLY | O_DIRECTORY);
    enum entro_error error =
        entro_weights_map(&out->weights, &out->config, &out->manifest, fd, directory, &out->message);
    close(fd);
    return error;
}

static void close_model(struct opened *opened)
{
    entro_weights_free(&opened->weights);
    entro_manifest_free(&opened->manifest);
}

static void assert_refused(char *directory, enum entro_error expected, const char *what)
{
    struct opened opened;
    enum entro_error error = open_model(directory, &opened);
    if (error != expected || strstr(opened.message.text, what) == NULL)
        fail_msg("error %d, \"%s\" does not name %s", (int)error, opened.message.text, what);
    assert_null(opened.weights.mappings);
    close_model(&opened);
    fixture_remove(directory);
}

static void a_model_is_mapped(void **state)
{
    (void)state;
    char *directory = create_model();
    struct opened opened;
    float row[6];
    assert_int_equal(open_model(directory, &opened), ENTRO_OK);
    assert_int_equal(opened.weights.n_mappings, N_TENSORS);
    assert_int_equal(opened.weights.n_parameters, 5 * 4 + 4 * 3 + 16 * 2 + 8 * 2 + 24 * 3);
    assert_true(opened.weights.final_norm[3] == 1.25F);
    entro_matrix_row(&opened.weights.layers[0].down, 3, row);
    assert_true(row[5] == 1.0F);
    assert_ptr_equal(opened.weights.output.data, opened.weights.embedding.data);
    close_model(&opened);
    fixture_remove(directory);
}

static void factors_and_outliers_are_read(void **state)
{
    (void)state;
    char *directory = create_model();
    struct opened opened;
    uint8_t factors[8], outlier[ENTRO_OUTLIER_BYTES];
    float row[4];
    for (size_t i = 0; i < 4; i++)
        entro_store_u16(factors + 2 * i, entro_f32_to_f16((float)(i + 1)));
    entro_store_u64(outlier, 6);
    entro_store_f32(outlier + 8, -77);
    fixture_write(directory, "tensors/f", factors, sizeof factors);
    fixture_write(directory, "tensors/o", outlier, sizeof outlier);
    write_manifest(
        directory, "model.layers.0.self_attn.q_proj.weight",
        ", \"row_scale\": \"tensors/f\", \"column_scale\": \"tensors/f\", \"outliers\": \"tensors/o\"", NULL);
    assert_int_equal(open_model(directory, &opened), ENTRO_OK);
    entro_matrix_row(&opened.weights.layers[0].qkv[0], 1, row);
    assert_true(row[0] == 2.0F && row[1] == 4.0F && row[2] == -77.0F && row[3] == 8.0F);
    close_model(&opened);
    fixture_remove(directory);
}

static void a_missing_tensor_is_named(void **state)
{
    (void)state;
    char *directory = create_model();
    write_manifest(directory, NULL, NULL, "model.layers.0.mlp.up_proj.weight");
    assert_refused(directory, ENTRO_ERROR_NOT_FOUND, "model.layers.0.mlp.up_proj.weight");
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    char *directory = create_model(), path[4096];
    snprintf(path, sizeof path, "%s/tensors/model.norm.weight", directory);
    assert_int_equal(unlink(path), 0);
    assert_refused(directory, ENTRO_ERROR_NOT_FOUND, "tensors/model.norm.weight");
}

static void a_file_of_the_wrong_size_is_named(void **state)
{
    (void)state;
    char *directory = create_model();
    fixture_write(directory, "tensors/model.embed_tokens.weight", "1234567890123456789", 19);
    assert_refused(directory, ENTRO_ERROR_FORMAT, "model.embed_tokens.weight");
}

static void bad_factors_and_outliers_are_refused(void **state)
{
    (void)state;
    const char *special = "model.layers.0.mlp.gate_proj.weight";
    uint8_t bytes[3 * ENTRO_OUTLIER_BYTES] = {0};
    char *directory = create_model();
    fixture_write(directory, "tensors/f", bytes, 7);
    write_manifest(directory, special, ", \"column_scale\": \"tensors/f\"", NULL);
    assert_refused(directory, ENTRO_ERROR_FORMAT, "tensors/f");

    directory = create_model();
    entro_store_u16(bytes + 4, 0x7c00); /* infinity */
    fixture_write(directory, "tensors/f", bytes, 8);
    write_manifest(directory, special, ", \"column_scale\": \"tensors/f\"", NULL);
    assert_refused(directory, ENTRO_ERROR_FORMAT, "tensors/f");

    /* Outliers: not whole records, outside the tensor, one twice. */
    const struct {
        uint64_t first, second;
        size_t size_bytes;
    } cases[] = {{1, 2, 23}, {1, 24, 24}, {2, 2, 24}, {2, 1, 24}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        directory = create_model();
        entro_store_u64(bytes, cases[i].first);
        entro_store_u64(bytes + ENTRO_OUTLIER_BYTES, cases[i].second);
        fixture_write(directory, "tensors/o", bytes, cases[i].size_bytes);
        write_manifest(directory, special, ", \"outliers\": \"tensors/o\"", NULL);
        assert_refused(directory, ENTRO_ERROR_FORMAT, "tensors/o");
    }
}

static void a_norm_that_is_no_number_is_named(void **state)
{
    (void)state;
    uint8_t bytes[16];
    for (size_t i = 0; i < 4; i++)
        entro_store_f32(bytes + 4 * i, i == 2 ? NAN : 1.0F);
    char *directory = create_model();
    fixture_write(directory, "tensors/model.layers.0.input_layernorm.weight", bytes, sizeof bytes);
    assert_refused(directory, ENTRO_ERROR_FORMAT, "model.layers.0.input_layernorm.weight");
}

static void a_fifo_does_not_hang(void **state)
{
    (void)state;
    char *directory = create_model(), path[4096];
    snprintf(path, sizeof path, "%s/tensors/model.norm.weight", directory);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(directory, ENTRO_ERROR_IO, "model.norm.weight");
}

static void a_weight_that_cannot_be_read_ends_with_one_line(void **state)
{
    (void)state;
    static struct opened opened;
    char *directory = create_model(), path[4096], line[4096] = "";
    int ends[2], status;
    assert_int_equal(open_model(directory, &opened), ENTRO_OK);
    /* A page of a file that was cut short after it was mapped faults as a bad block on a mount does. */
    snprintf(path, sizeof path, "%s/tensors/model.layers.0.mlp.down_proj.weight", directory);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        float row[6];
        dup2(ends[1], STDERR_FILENO);
        entro_bus_error_explain(&opened.weights, "entrorun", 4);
        entro_matrix_row(&opened.weights.layers[0].down, 2, row);
        _exit(0);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], line, sizeof line - 1);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(n > 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 4);
    assert_non_null(strstr(line, "entrorun: "));
    assert_non_null(strstr(line, "tensors/model.layers.0.mlp.down_proj.weight"));
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
    close_model(&opened);
    fixture_remove(directory);
}

struct fault {
    const struct entro_weights *weights;
    pthread_barrier_t *both;
};

static void *fault(void *argument)
{
    const struct fault *fault = argument;
    float row[6];
    pthread_barrier_wait(fault->both);
    entro_matrix_row(&fault->weights->layers[0].down, 2, row);
    return NULL;
}

static _Noreturn void fault_in_two_threads(const struct entro_weights *weights)
{
    pthread_barrier_t both;
    pthread_t threads[2];
    struct fault what = {.weights = weights, .both = &both};
    pthread_barrier_init(&both, NULL, 2);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, fault, &what);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    _exit(0);
}

static void threads_that_fault_at_once_write_one_line_together(void **state)
{
    (void)state;
    static struct opened opened;
    char *directory = create_model(), path[4096], lines[8192] = "";
    int status;
    assert_int_equal(open_model(directory, &opened), ENTRO_OK);
    snprintf(path, sizeof path, "%s/tensors/model.layers.0.mlp.down_proj.weight", directory);
    assert_int_equal(truncate(path, 0), 0);
    /* Often enough that the two meet. */
    for (int i = 0; i < 100; i++) {
        int ends[2];
        size_t size = 0;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            dup2(ends[1], STDERR_FILENO);
            entro_bus_error_explain(&opened.weights, "entrorun", 4);
            fault_in_two_threads(&opened.weights);
        }
        close(ends[1]);
        for (ssize_t n; (n = read(ends[0], lines + size, sizeof lines - 1 - size)) > 0;)
            size += (size_t)n;
        close(ends[0]);
        lines[size] = '\0';
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 4);
        assert_ptr_equal(strchr(lines, '\n'), lines + size - 1);
    }
    close_model(&opened);
    fixture_remove(directory);
}

/* The model's tensors under the names of a GGUF, and one more unless `extra` is NULL. */
static void write_gguf_manifest(const char *directory, const char *extra)
{
    static const char *const names[N_TENSORS] = {
        "token_embd.weight",     "output_norm.weight",  "blk.0.attn_norm.weight",   "blk.0.attn_q.weight",
        "blk.0.attn_k.weight",   "blk.0.attn_v.weight", "blk.0.attn_output.weight", "blk.0.ffn_norm.weight",
        "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"};
    char text[8192] = "{\"format\": 1, \"source\": \"gguf\", \"tensors\": [";
    for (size_t i = 0; i < N_TENSORS; i++) {
        char shape[32];
        bool vector = tensors[i].rows == 0;
        if (vector)
            snprintf(shape, sizeof shape, "[%u]", tensors[i].columns);
        else
            snprintf(shape, sizeof shape, "[%u, %u]", tensors[i].rows, tensors[i].columns);
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "%s{\"name\": \"%s\", \"file\": \"tensors/%s\", \"dtype\": \"F32\", \"shape\": %s, %s}",
                 i == 0 ? "" : ", ", names[i], tensors[i].name, shape,
                 vector ? "\"scheme\": \"lossless\""
                        : "\"scheme\": \"asymmetric\", \"bits\": 8, \"scale\": 0.5, \"zero_point\": 1");
    }
    if (extra != NULL)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 ", {\"name\": \"%s\", \"file\": \"tensors/x\", \"dtype\": \"F32\", \"shape\": [4], "
                 "\"scheme\": \"lossless\"}",
                 extra);
    strcat(text, "]}");
    fixture_write(directory, "tensors.json", text, strlen(text));
}

static enum entro_error map_gguf(const char *directory, struct opened *out)
{
    char path[4096];
    char *text;
    size_t size_bytes;
    snprintf(path, sizeof path, "%s/tensors.json", directory);
    assert_int_equal(entro_read_text_file(AT_FDCWD, NULL, path, &text, &size_bytes, &out->message), ENTRO_OK);
    assert_int_equal(
        entro_config_from_json(&out->config, config_text, strlen(config_text), "config.json", &out->message),
        ENTRO_OK);
    out->config.gguf = true;
    assert_int_equal(entro_manifest_parse(&out->manifest, text, size_bytes, "tensors.json", &out->message),
                     ENTRO_OK);
    free(text);
    int fd = open(directory, O_RDONLY | O_DIRECTORY);
    enum entro_error error =
        entro_weights_map(&out->weights, &out->config, &out->manifest, fd, directory, &out->message);
    close(fd);
    return error;
}

static void a_tensor_of_a_gguf_that_the_forward_pass_lacks_is_refused_by_name(void **state)
{
    (void)state;
    struct opened opened;
    char *directory = create_model();
    write_gguf_manifest(directory, NULL);
    assert_int_equal(map_gguf(directory, &opened), ENTRO_OK);
    close_model(&opened);
    write_gguf_manifest(directory, "blk.0.attn_q.bias");
    assert_int_equal(map_gguf(directory, &opened), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(opened.message.text, "\"blk.0.attn_q.bias\""));
    entro_manifest_free(&opened.manifest);
    fixture_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_mapped),
        cmocka_unit_test(factors_and_outliers_are_read),
        cmocka_unit_test(a_missing_tensor_is_named),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_file_of_the_wrong_size_is_named),
        cmocka_unit_test(bad_factors_and_outliers_are_refused),
        cmocka_unit_test(a_norm_that_is_no_number_is_named),
        cmocka_unit_test(a_fifo_does_not_hang),
        cmocka_unit_test(a_weight_that_cannot_be_read_ends_with_one_line),
        cmocka_unit_test(threads_that_fault_at_once_write_one_line_together),
        cmocka_unit_test(a_tensor_of_a_gguf_that_the_forward_pass_lacks_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
