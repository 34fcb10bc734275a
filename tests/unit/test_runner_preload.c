/* Weights read before they are used: they are what the files hold, however they were read. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "runner/preload.h"
#include "runner_fixture.h"

/* Several pieces, one, and less than a page. */
static const size_t sizes[] = {((size_t)3 << 20) + 12345, 4096, 100};
#define N_FILES (sizeof sizes / sizeof sizes[0])

struct files {
    char *directory;
    struct entro_mapping mappings[N_FILES];
    struct entro_weights weights;
};

static uint8_t byte_at(size_t file, size_t i)
{
    return (uint8_t)((i * 2654435761U >> 13) + file);
}

/* Maps them, and has the page cache forget them where it can (a file system in memory cannot). */
static void set_up(struct files *self)
{
    *self = (struct files){.directory = fixture_create()};
    for (size_t i = 0; i < N_FILES; i++) {
        char name[32], path[512];
        uint8_t *bytes = malloc(sizes[i]);
        assert_non_null(bytes);
        for (size_t j = 0; j < sizes[i]; j++)
            bytes[j] = byte_at(i, j);
        snprintf(name, sizeof name, "tensors/file%zu", i);
        fixture_write(self->directory, name, bytes, sizes[i]);
        free(bytes);
        snprintf(path, sizeof path, "%s/%s", self->directory, name);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        fsync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        self->mappings[i].size_bytes = sizes[i];
        self->mappings[i].path = strdup(path);
        self->mappings[i].address = mmap(NULL, sizes[i], PROT_READ, MAP_SHARED, fd, 0);
        assert_true(self->mappings[i].address != MAP_FAILED);
        self->weights.size_bytes += sizes[i];
        close(fd);
    }
    self->weights.mappings = self->mappings;
    self->weights.n_mappings = N_FILES;
}

static void tear_down(struct files *self)
{
    for (size_t i = 0; i < N_FILES; i++) {
        munmap(self->mappings[i].address, self->mappings[i].size_bytes);
        free(self->mappings[i].path);
    }
    fixture_remove(self->directory);
}

static void check_contents(const struct files *self)
{
    for (size_t i = 0; i < N_FILES; i++)
        for (size_t j = 0; j < sizes[i]; j++)
            if (((const uint8_t *)self->mappings[i].address)[j] != byte_at(i, j))
                fail_msg("file %zu differs at byte %zu", i, j);
}

static void weights_are_what_the_files_hold(void **state)
{
    static const enum entro_preload_mode modes[] = {ENTRO_PRELOAD_CACHED, ENTRO_PRELOAD_DIRECT};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct files files;
        struct entro_preload_figures figures;
        struct entro_message message;
        set_up(&files);
        assert_int_equal(entro_preload(&files.weights, modes[i], &figures, &message), ENTRO_OK);
        assert_true(figures.read_bytes <= files.weights.size_bytes);
        check_contents(&files);
        tear_down(&files);
    }
}

static void what_is_in_memory_is_not_read(void **state)
{
    (void)state;
    struct files files;
    struct entro_preload_figures figures;
    struct entro_message message;
    set_up(&files);
    check_contents(&files);
    assert_int_equal(entro_preload(&files.weights, ENTRO_PRELOAD_DIRECT, &figures, &message), ENTRO_OK);
    assert_int_equal(figures.read_bytes, 0);
    tear_down(&files);
}

static void a_file_that_was_cut_short_is_named(void **state)
{
    static const enum entro_preload_mode modes[] = {ENTRO_PRELOAD_CACHED, ENTRO_PRELOAD_DIRECT};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct files files;
        struct entro_preload_figures figures;
        struct entro_message message;
        set_up(&files);
        assert_int_equal(truncate(files.mappings[0].path, 5000), 0);
        assert_int_equal(entro_preload(&files.weights, modes[i], &figures, &message), ENTRO_ERROR_IO);
        assert_non_null(strstr(message.text, files.mappings[0].path));
        assert_non_null(strstr(message.text, "cannot be read at byte"));
        tear_down(&files);
    }
}

static void a_model_larger_than_memory_is_left_alone(void **state)
{
    (void)state;
    struct files files;
    struct entro_preload_figures figures;
    struct entro_message message;
    set_up(&files);
    files.weights.size_bytes = (uint64_t)1 << 60;
    assert_int_equal(entro_preload(&files.weights, ENTRO_PRELOAD_CACHED, &figures, &message), ENTRO_OK);
    assert_int_equal(figures.read_bytes, 0);
    tear_down(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_what_the_files_hold),
        cmocka_unit_test(what_is_in_memory_is_not_read),
        cmocka_unit_test(a_file_that_was_cut_short_is_named),
        cmocka_unit_test(a_model_larger_than_memory_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
