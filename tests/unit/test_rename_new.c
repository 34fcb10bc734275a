/* The rename that replaces nothing, with and without a file system that can do it in one step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/rename_new.h"

/* The linker leads the calls of the code under test here. */
static bool knows_flags, knows_links;
int __real_renameat2(int, const char *, int, const char *, unsigned);
int __wrap_renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags);
int __real_linkat(int, const char *, int, const char *, int);
int __wrap_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags);

int __wrap_renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    if (knows_flags)
        return __real_renameat2(from_folder, from, to_folder, to, flags);
    errno = EINVAL;
    return -1;
}

int __wrap_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    if (knows_links)
        return __real_linkat(from_folder, from, to_folder, to, flags);
    errno = EPERM;
    return -1;
}

static void write_file(int folder, const char *name, const char *text)
{
    int file = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    close(file);
}

static void assert_holds(int folder, const char *name, const char *text)
{
    char bytes[16] = "";
    int file = openat(folder, name, O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(read(file, bytes, sizeof bytes - 1), strlen(text));
    assert_string_equal(bytes, text);
    close(file);
}

static void names_are_given_and_none_is_taken_away(bool flags, bool links)
{
    char path[] = "/tmp/entro-rename-XXXXXX";
    assert_non_null(mkdtemp(path));
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(folder >= 0);
    knows_flags = flags;
    knows_links = links;
    write_file(folder, "a", "first");
    assert_int_equal(entro_rename_new(folder, "a", "b"), 0);
    assert_holds(folder, "b", "first");
    assert_int_equal(faccessat(folder, "a", F_OK, 0), -1);
    write_file(folder, "a", "second");
    assert_int_equal(entro_rename_new(folder, "a", "b"), -1);
    assert_int_equal(errno, EEXIST);
    assert_holds(folder, "b", "first");
    assert_holds(folder, "a", "second");
    unlinkat(folder, "a", 0);
    unlinkat(folder, "b", 0);
    close(folder);
    rmdir(path);
}

static void a_name_in_use_is_kept(void **state)
{
    (void)state;
    names_are_given_and_none_is_taken_away(true, true);
}

static void a_file_system_without_the_flag_is_served_by_links(void **state)
{
    (void)state;
    names_are_given_and_none_is_taken_away(false, true);
}

static void a_file_system_with_neither_is_looked_at_first(void **state)
{
    (void)state;
    names_are_given_and_none_is_taken_away(false, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_in_use_is_kept),
        cmocka_unit_test(a_file_system_without_the_flag_is_served_by_links),
        cmocka_unit_test(a_file_system_with_neither_is_looked_at_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
