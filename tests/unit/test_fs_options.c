/* The command line and mount options of entrofs, and the checks of a mount point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/mount_options.h"
#include "fs/mountpoint.h"
#include "fs/reader.h"

#define MAX_ARGUMENTS 8

/* Parses the words after the program's name; the caller frees the options. */
static enum entro_error parse(struct entro_mount_options *options, struct entro_message *message,
                              const char *const words[])
{
    char *argv[MAX_ARGUMENTS + 2] = {(char *)"entrofs"};
    int argc = 1;
    for (; *words != NULL; words++)
        argv[argc++] = (char *)*words;
    message->text[0] = '\0';
    return entro_mount_options_parse(options, argc, argv, message);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void image_and_mount_point_are_taken(void **state)
{
    (void)state;
    struct entro_mount_options options;
    struct entro_message message;
    assert_int_equal(parse(&options, &message, WORDS("a.entrofs", "-f", "/mnt")), ENTRO_OK);
    assert_string_equal(options.image, "a.entrofs");
    assert_string_equal(options.mountpoint, "/mnt");
    assert_true(options.foreground);
    assert_int_equal(options.cache_bytes, 32 << 20);
    assert_int_equal(options.readahead_kib, 1024);
    assert_true(options.prefetch_bytes == ENTRO_PREFETCH_AUTOMATIC);
    assert_false(options.lock_image);
    assert_string_equal(options.kernel, "");
    entro_mount_options_free(&options);
}

static void what_mount_and_fstab_pass_is_accepted(void **state)
{
    (void)state;
    struct entro_mount_options options;
    struct entro_message message;
    const char *list = "rw,ro,allow_other,dev,suid,noexec,nofail,user=me,users,_netdev,noauto,auto,default_"
                       "permissions,subtype=x,"
                       "x-systemd.requires-mounts-for=/srv,X-mount.mkdir,noatime,relatime,comment=a b";
    assert_int_equal(parse(&options, &message, WORDS("a", "b", "-o", list)), ENTRO_OK);
    assert_string_equal(options.kernel, "allow_other,dev,suid,noexec,noatime");
    entro_mount_options_free(&options);
}

static void values_are_parsed(void **state)
{
    (void)state;
    struct entro_mount_options options;
    struct entro_message message;
    assert_int_equal(parse(&options, &message,
                           WORDS("a", "b", "-o", "cache=3M,readahead=0,prefetch=64K,lock_image",
                                 "-omax_threads=5,fsname=x\\,y\\\\z")),
                     ENTRO_OK);
    assert_int_equal(options.cache_bytes, 3 << 20);
    assert_int_equal(options.readahead_kib, 0);
    assert_int_equal(options.prefetch_bytes, 64 << 10);
    assert_true(options.lock_image);
    assert_int_equal(options.max_threads, 5);
    assert_string_equal(options.fsname, "x,y\\z");
    entro_mount_options_free(&options);
}

static void unknown_and_bad_options_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const bad[] = {"cachesize=3M",       "cache=",     "cache=3X",     "cache=-1",
                                      "cache=99999999999G", "cache",      "readahead=1M", "max_threads=0",
                                      "max_threads=12345",  "fsname=",    "allow_othe",   "remount",
                                      "nonempty",           "y-thing",    "dev2",         "ro,unheard_of",
                                      "prefetch=",          "prefetch=x", "lock_image=1", "lock_images"};
    struct entro_mount_options options;
    struct entro_message message;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse(&options, &message, WORDS("a", "b", "-o", bad[i])), ENTRO_ERROR_ARGUMENT);
        const char *name = strchr(bad[i], ',') != NULL ? strchr(bad[i], ',') + 1 : bad[i];
        assert_non_null(strstr(message.text, name));
        entro_mount_options_free(&options);
    }
}

static void wrong_numbers_of_arguments_are_refused(void **state)
{
    (void)state;
    struct entro_mount_options options;
    struct entro_message message;
    assert_int_equal(parse(&options, &message, (const char *const[]){NULL}), ENTRO_ERROR_ARGUMENT);
    entro_mount_options_free(&options);
    assert_int_equal(parse(&options, &message, WORDS("a")), ENTRO_ERROR_ARGUMENT);
    entro_mount_options_free(&options);
    assert_int_equal(parse(&options, &message, WORDS("a", "b", "c")), ENTRO_ERROR_ARGUMENT);
    entro_mount_options_free(&options);
    assert_int_equal(parse(&options, &message, WORDS("a", "b", "-x")), ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(message.text, "-x"));
    entro_mount_options_free(&options);
    assert_int_equal(parse(&options, &message, WORDS("a", "b", "-o")), ENTRO_ERROR_ARGUMENT);
    entro_mount_options_free(&options);
    assert_int_equal(parse(&options, &message, WORDS("-h")), ENTRO_OK);
    assert_true(options.show_help);
    entro_mount_options_free(&options);
}

static void a_mount_point_must_be_a_free_directory(void **state)
{
    (void)state;
    struct entro_message message;
    char folder[] = "/tmp/test_fs_XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(entro_mountpoint_check(folder, &message), ENTRO_MOUNTPOINT_FREE);
    snprintf(path, sizeof path, "%s/nothing", folder);
    assert_int_equal(entro_mountpoint_check(path, &message), ENTRO_MOUNTPOINT_UNUSABLE);
    assert_non_null(strstr(message.text, path));
    assert_int_equal(entro_mountpoint_check("/proc/version", &message), ENTRO_MOUNTPOINT_UNUSABLE);
    assert_int_equal(entro_mountpoint_check("/proc", &message), ENTRO_MOUNTPOINT_BUSY);
    assert_int_equal(entro_mountpoint_check("/", &message), ENTRO_MOUNTPOINT_BUSY);
    assert_int_equal(entro_mountpoint_check("/dev/fd/77", &message), ENTRO_MOUNTPOINT_FREE);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_and_mount_point_are_taken),
        cmocka_unit_test(what_mount_and_fstab_pass_is_accepted),
        cmocka_unit_test(values_are_parsed),
        cmocka_unit_test(unknown_and_bad_options_are_refused_by_name),
        cmocka_unit_test(wrong_numbers_of_arguments_are_refused),
        cmocka_unit_test(a_mount_point_must_be_a_free_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
