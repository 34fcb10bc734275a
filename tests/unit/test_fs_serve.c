/* How the end of a mount is told from a failure, on a device that answers reads as the kernel's does. */
#include "tests/unit/test_fs_image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

#include "fs/namespace.h"
#include "fs/reader.h"
#include "fs/serve.h"

static int device_errno;

static ssize_t fail_to_read(int device, void *buffer, size_t size, void *user_data)
{
    (void)device, (void)buffer, (void)size, (void)user_data;
    errno = device_errno;
    return -1;
}

static ssize_t refuse_to_write(int device, struct iovec *parts, int n_parts, void *user_data)
{
    (void)device, (void)parts, (void)n_parts, (void)user_data;
    errno = EIO;
    return -1;
}

static void ignore_report(void *context, const char *line)
{
    (void)context, (void)line;
}

static bool serve_until(int error)
{
    struct test_image made;
    test_image_make(&made, ENTRO_BLOCK_LOG2_MIN);
    struct entro_image *image;
    struct entro_message message;
    struct entro_mount mount = {0};
    struct entro_namespace *names;
    assert_int_equal(entro_image_open(&image, made.path, &message), ENTRO_OK);
    assert_int_equal(entro_namespace_create(&names, image, &message), ENTRO_OK);
    assert_int_equal(
        entro_reader_create(&mount.reader, names, 0, (struct entro_report){.line = ignore_report}), ENTRO_OK);
    mount.names = names;
    atomic_store(&mount.attributes.notes, "");

    const struct fuse_custom_io device = {.read = fail_to_read, .writev = refuse_to_write};
    struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
    assert_int_equal(fuse_opt_add_arg(&arguments, "test"), 0);
    struct fuse_session *session =
        fuse_session_new(&arguments, &entro_fuse_ops, sizeof entro_fuse_ops, &mount);
    assert_non_null(session);
    assert_int_equal(fuse_session_custom_io(session, &device, open("/dev/null", O_RDWR | O_CLOEXEC)), 0);

    device_errno = error;
    bool is_ordinary_end = entro_serve(&(struct entro_serve){
        .session = session, .mount = &mount, .mountpoint = "/nowhere", .max_threads = 2, .ready = -1});

    fuse_session_destroy(session);
    fuse_opt_free_args(&arguments);
    entro_reader_free(mount.reader);
    entro_namespace_free(names);
    entro_image_close(image);
    test_image_free(&made);
    return is_ordinary_end;
}

static void an_unmount_is_an_ordinary_end(void **state)
{
    (void)state;
    assert_true(serve_until(ENODEV));
}

/* The mount is taken away while a thread takes a request from the kernel. */
static void an_unmount_in_mid_request_is_an_ordinary_end(void **state)
{
    (void)state;
    assert_true(serve_until(ECONNABORTED));
}

static void a_device_that_fails_is_an_error(void **state)
{
    (void)state;
    assert_false(serve_until(EIO));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unmount_is_an_ordinary_end),
        cmocka_unit_test(an_unmount_in_mid_request_is_an_ordinary_end),
        cmocka_unit_test(a_device_that_fails_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
