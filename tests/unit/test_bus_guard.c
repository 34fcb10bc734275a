/* What would be a SIGBUS is a return value under the guard, and a SIGBUS elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codec/bus_guard.h"

#define N_BYTES ((size_t)64 << 10)

/* A mapping of which only the first page lies in the file. */
static volatile uint8_t *map_short_file(void)
{
    char path[] = "/tmp/entro_guard_XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    unlink(path);
    assert_int_equal(ftruncate(file, 4096), 0);
    assert_int_equal(pwrite(file, "x", 1, 0), 1);
    void *bytes = mmap(NULL, N_BYTES, PROT_READ, MAP_SHARED, file, 0);
    assert_true(bytes != MAP_FAILED);
    close(file);
    return bytes;
}

struct reading {
    volatile uint8_t *bytes;
    size_t offset;
    uint8_t found;
};

static void read_byte(void *context)
{
    struct reading *reading = context;
    reading->found = reading->bytes[reading->offset];
}

static void a_page_beyond_the_file_is_a_return_value(void **state)
{
    (void)state;
    struct reading reading = {.bytes = map_short_file()};
    assert_true(entro_bus_guard_install()); /* in each test: cmocka has handlers of its own around it */
    assert_true(entro_bus_guard_is_installed());
    for (int i = 0; i < 3; i++) { /* again after a jump: the signal is not left blocked */
        reading.offset = 0;
        assert_true(entro_bus_guard_run((void *)(uintptr_t)reading.bytes, N_BYTES, read_byte, &reading));
        assert_int_equal(reading.found, 'x');
        reading.offset = 5000;
        assert_false(entro_bus_guard_run((void *)(uintptr_t)reading.bytes, N_BYTES, read_byte, &reading));
    }
    munmap((void *)(uintptr_t)reading.bytes, N_BYTES);
}

static void *fault_often(void *context)
{
    struct reading reading = *(struct reading *)context;
    for (int i = 0; i < 300; i++) {
        reading.offset = i % 2 == 0 ? 0 : N_BYTES - 1;
        if (entro_bus_guard_run((void *)(uintptr_t)reading.bytes, N_BYTES, read_byte, &reading) !=
            (i % 2 == 0))
            return (void *)1;
    }
    return NULL;
}

static void each_thread_has_its_own_guard(void **state)
{
    (void)state;
    struct reading reading = {.bytes = map_short_file()};
    pthread_t threads[6];
    assert_true(entro_bus_guard_install());
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fault_often, &reading), 0);
    for (size_t i = 0; i < 6; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    munmap((void *)(uintptr_t)reading.bytes, N_BYTES);
}

static void read_elsewhere(void *context)
{
    struct reading *reading = context;
    volatile uint8_t *other = map_short_file();
    reading->found = other[N_BYTES - 1];
}

/* The status of a child that faults with or without a guard for something else. */
static int fault_in_a_child(bool is_guarded)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit none = {0};
        struct reading reading = {.bytes = map_short_file()};
        setrlimit(RLIMIT_CORE, &none);
        if (is_guarded)
            entro_bus_guard_run((void *)(uintptr_t)reading.bytes, N_BYTES, read_elsewhere, &reading);
        else
            read_elsewhere(&reading);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static bool has_sanitizer(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

static void a_fault_that_is_not_guarded_ends_the_process(void **state)
{
    (void)state;
    if (has_sanitizer()) /* it has a way of its own to end */
        skip();
    assert_true(entro_bus_guard_install());
    for (int is_guarded = 0; is_guarded < 2; is_guarded++) {
        int status = fault_in_a_child(is_guarded);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGBUS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_beyond_the_file_is_a_return_value),
        cmocka_unit_test(each_thread_has_its_own_guard),
        cmocka_unit_test(a_fault_that_is_not_guarded_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
