/* The walk over a source and the reading of its files: mkentrofs/source.h and mkentrofs/input.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/bytes.h"
#include "mkentrofs/source.h"

/* A folder that every test fills; it is the working directory. */
static char folder[] = "/tmp/entrofs-source-XXXXXX";
static char notes[4096];

static void hear(void *context, bool is_warning, const char *text)
{
    (void)context;
    (void)is_warning;
    strncat(notes, text, sizeof notes - strlen(notes) - 2);
    strcat(notes, "\n");
}

static const struct entro_monitor monitor = {.note = hear};

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    return ftw->level == 0 ? 0 : remove(path);
}

static int empty_folder(void **state)
{
    (void)state;
    notes[0] = '\0';
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const char *path, const void *bytes, size_t size_bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size_bytes, file), size_bytes);
    assert_int_equal(fclose(file), 0);
}

/* A safetensors file of one F32 tensor of two elements. */
static void write_safetensors(const char *path, const char *tensor)
{
    char header[512];
    uint8_t bytes[640] = {0};
    int n = snprintf(header, sizeof header,
                     "{\"%s\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", tensor);
    entro_store_u64(bytes, (uint64_t)n);
    memcpy(bytes + 8, header, (size_t)n);
    write_file(path, bytes, 8 + (size_t)n + 8);
}

static enum entro_error open_source(struct entro_source_tree *tree, const char *path, const char *exclude,
                                    struct entro_message *message)
{
    struct entro_source_options options = {
        .path = path, .image_path = "image", .n_excludes = exclude != NULL, .excludes = &exclude};
    message->text[0] = '\0';
    return entro_source_open(tree, &options, &monitor, message);
}

static void files_are_listed_in_the_order_of_their_paths(void **state)
{
    (void)state;
    struct entro_source_tree tree;
    struct entro_message message;
    write_safetensors("b.safetensors", "w");
    write_file("c", "x", 1);
    write_file("a", "", 0);
    mkdir("b", 0777);
    write_file("b/z", "y", 1);
    assert_int_equal(open_source(&tree, ".", NULL, &message), ENTRO_OK);
    static const char *const expected[] = {"a", "b.safetensors", "b/z", "c"};
    assert_int_equal(tree.n_parts, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(tree.parts[i].path, expected[i]);
    assert_int_equal(tree.kind, ENTRO_SOURCE_SAFETENSORS);
    assert_int_equal(tree.n_tensors, 1);
    assert_string_equal(tree.parts[1].tensors[0].name, "w");
    assert_int_equal(tree.parts[1].tensors[0].n_elements, 2);
    entro_source_free(&tree);
}

static void links_are_followed_but_not_in_circles(void **state)
{
    (void)state;
    struct entro_source_tree tree;
    struct entro_message message;
    mkdir("outside", 0777);
    mkdir("source", 0777);
    write_safetensors("outside/blob", "w");
    write_file("outside/text", "x", 1);
    assert_int_equal(symlink("../outside/blob", "source/model.safetensors"), 0);
    assert_int_equal(symlink("../outside", "source/more"), 0);
    assert_int_equal(symlink("../source", "outside/back"), 0);
    assert_int_equal(symlink(".", "source/self"), 0);
    assert_int_equal(open_source(&tree, "source", NULL, &message), ENTRO_OK);
    assert_int_equal(tree.n_parts, 3); /* model.safetensors, more/blob, more/text */
    assert_non_null(strstr(notes, "skipped more/back"));
    assert_non_null(strstr(notes, "skipped self"));
    entro_source_free(&tree);
}

static void links_that_multiply_folders_end_with_a_message(void **state)
{
    (void)state;
    struct entro_source_tree tree;
    struct entro_message message;
    char from[32], to[32];
    write_safetensors("model.safetensors", "w");
    for (int level = 0; level < 40; level++) { /* 2^40 paths without one circle */
        snprintf(from, sizeof from, "d%d", level);
        mkdir(from, 0777);
        for (int i = 0; i < 2; i++) {
            snprintf(from, sizeof from, "d%d/%c", level, 'a' + i);
            snprintf(to, sizeof to, "../d%d", level + 1);
            assert_int_equal(symlink(to, from), 0);
        }
    }
    mkdir("d40", 0777);
    write_file("d40/x", "x", 1);
    assert_int_equal(open_source(&tree, ".", NULL, &message), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "more than 100000 folders"));
}

static void excluded_files_and_folders_are_not_looked_at(void **state)
{
    (void)state;
    struct entro_source_tree tree;
    struct entro_message message;
    write_safetensors("model.safetensors", "w");
    mkdir("sub", 0777);
    write_safetensors("sub/model.safetensors", "w"); /* the same name twice */
    assert_int_equal(open_source(&tree, ".", NULL, &message), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "sub/model.safetensors"));
    static const char *const patterns[] = {"sub", "sub/*", "su?"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(open_source(&tree, ".", patterns[i], &message), ENTRO_OK);
        assert_int_equal(tree.n_parts, 1);
        entro_source_free(&tree);
    }
    assert_int_equal(open_source(&tree, ".", "*.safetensors", &message), ENTRO_ERROR_NOT_FOUND);
}

static void a_file_that_changes_between_look_and_use_is_refused(void **state)
{
    (void)state;
    struct entro_message message;
    struct entro_input first, second;
    uint8_t bytes[16];
    write_file("x", "0123456789", 10);
    assert_int_equal(entro_input_open(&first, "x", NULL, &monitor, &message), ENTRO_OK);
    assert_int_equal(entro_input_read(&first, 2, 8, bytes, &message), ENTRO_OK);
    assert_memory_equal(bytes, "23456789", 8);
    assert_int_equal(entro_input_read(&first, 2, 9, bytes, &message), ENTRO_ERROR_IO);
    assert_non_null(strstr(message.text, "shorter"));
    assert_int_equal(entro_input_check(&first, &message), ENTRO_OK);
    write_file("y", "0123456789", 10);
    assert_int_equal(rename("y", "x"), 0);
    assert_int_equal(entro_input_check(&first, &message), ENTRO_ERROR_IO);
    assert_int_equal(entro_input_open(&second, "x", &first.identity, &monitor, &message), ENTRO_ERROR_IO);
    assert_non_null(strstr(message.text, "changed"));
    assert_int_equal(unlink("x"), 0);
    assert_int_equal(entro_input_check(&first, &message), ENTRO_ERROR_IO);
    assert_non_null(strstr(message.text, "vanished"));
    assert_int_equal(entro_input_open(&second, "x", &first.identity, &monitor, &message), ENTRO_ERROR_IO);
    assert_non_null(strstr(message.text, "vanished"));
    assert_int_equal(entro_input_open(&second, "x", NULL, &monitor, &message), ENTRO_ERROR_NOT_FOUND);
    assert_int_equal(entro_input_open(&second, ".", NULL, &monitor, &message), ENTRO_ERROR_IO);
    entro_input_close(&first);
}

static void reading_stops_when_the_build_is_cancelled(void **state)
{
    (void)state;
    struct entro_message message;
    struct entro_input input;
    atomic_bool cancelled = false;
    struct entro_monitor cancellable = {.cancelled = &cancelled};
    uint8_t byte;
    write_file("x", "0", 1);
    assert_int_equal(entro_input_open(&input, "x", NULL, &cancellable, &message), ENTRO_OK);
    assert_int_equal(entro_input_read(&input, 0, 1, &byte, &message), ENTRO_OK);
    atomic_store(&cancelled, true);
    assert_int_equal(entro_input_read(&input, 0, 1, &byte, &message), ENTRO_ERROR_CANCELLED);
    entro_input_close(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(files_are_listed_in_the_order_of_their_paths, empty_folder),
        cmocka_unit_test_teardown(links_are_followed_but_not_in_circles, empty_folder),
        cmocka_unit_test_teardown(links_that_multiply_folders_end_with_a_message, empty_folder),
        cmocka_unit_test_teardown(excluded_files_and_folders_are_not_looked_at, empty_folder),
        cmocka_unit_test_teardown(a_file_that_changes_between_look_and_use_is_refused, empty_folder),
        cmocka_unit_test_teardown(reading_stops_when_the_build_is_cancelled, empty_folder),
    };
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    if (chdir("/") != 0 || rmdir(folder) != 0)
        return 1;
    return failures;
}
