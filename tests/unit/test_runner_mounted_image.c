/* Lines of the list of mounts, and directories that are no mounts. */
#include "runner/mounted_image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LINE "36 35 0:42 / /mnt/a\\040b ro,nosuid - fuse.entrofs /models/my\\040model.entrofs ro,user_id=0\n"

static void the_name_is_found_by_the_device_and_unescaped(void **state)
{
    (void)state;
    char name[64];
    assert_true(entro_mounted_image_of_line(LINE, 0, 42, name, sizeof name));
    assert_string_equal(name, "/models/my model.entrofs");
}

static void other_devices_and_other_file_systems_are_passed_over(void **state)
{
    (void)state;
    char name[64];
    assert_false(entro_mounted_image_of_line(LINE, 0, 43, name, sizeof name));
    assert_false(entro_mounted_image_of_line(LINE, 1, 42, name, sizeof name));
    assert_false(
        entro_mounted_image_of_line("36 35 0:42 / / rw - ext4 /dev/sda rw\n", 0, 42, name, sizeof name));
    assert_false(entro_mounted_image_of_line("", 0, 42, name, sizeof name));
    assert_false(entro_mounted_image_of_line("36 35 0:42\n", 0, 42, name, sizeof name));
}

static void a_name_that_does_not_fit_is_none(void **state)
{
    (void)state;
    char name[64];
    size_t needed = strlen("/models/my model.entrofs") + 1;
    assert_true(entro_mounted_image_of_line(LINE, 0, 42, name, needed));
    assert_false(entro_mounted_image_of_line(LINE, 0, 42, name, needed - 1));
}

static void a_directory_that_is_no_mount_is_said(void **state)
{
    (void)state;
    char name[64];
    struct entro_message message;
    assert_int_equal(entro_mounted_image("/proc", name, sizeof name, &message), ENTRO_ERROR_NOT_FOUND);
    assert_non_null(strstr(message.text, "no mount of entrofs"));
    assert_int_equal(entro_mounted_image("/nowhere", name, sizeof name, &message), ENTRO_ERROR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_name_is_found_by_the_device_and_unescaped),
        cmocka_unit_test(other_devices_and_other_file_systems_are_passed_over),
        cmocka_unit_test(a_name_that_does_not_fit_is_none),
        cmocka_unit_test(a_directory_that_is_no_mount_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
