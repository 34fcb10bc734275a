/* entrofs: mounts an image. Validates everything before the mount, and exits with 0 only when the mount
 * serves. See entrofs(1). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "codec/bus_guard.h"
#include "codec/pivot.h"
#include "codec/standard_files.h"
#include "fs/daemon.h"
#include "fs/exit_codes.h"
#include "fs/fuse_ops.h"
#include "fs/mount_options.h"
#include "fs/mountpoint.h"
#include "fs/serve.h"

static void report_line(void *context, const char *line)
{
    (void)context;
    entro_log(LOG_ERR, "%s", line);
}

/* What libfuse last complained of while it mounts, for the one line that says why there is no mount. */
static struct {
    bool is_mounting; /* written while there is one thread */
    char text[512];
} libfuse_fault;

__attribute__((format(printf, 2, 0))) static void log_of_libfuse(enum fuse_log_level level,
                                                                 const char *format, va_list arguments)
{
    char line[sizeof libfuse_fault.text];
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    if (libfuse_fault.is_mounting)
        memcpy(libfuse_fault.text, line, sizeof line);
    else
        entro_log(level <= FUSE_LOG_ERR ? LOG_ERR : LOG_INFO, "%s", line);
}

static int complain(int code, const char *text)
{
    entro_log(LOG_ERR, "%s", text);
    return code;
}

static int image_exit_code(enum entro_error error)
{
    switch (error) {
    case ENTRO_ERROR_IO:
    case ENTRO_ERROR_NOT_FOUND:
        return ENTRO_EXIT_IMAGE_UNREADABLE;
    case ENTRO_ERROR_FORMAT:
    case ENTRO_ERROR_CHECKSUM:
        return ENTRO_EXIT_IMAGE_BAD;
    case ENTRO_ERROR_UNSUPPORTED:
        return ENTRO_EXIT_IMAGE_UNSUPPORTED;
    default:
        return ENTRO_EXIT_FAILURE;
    }
}

/* Everything that a mount stands on. */
struct served_image {
    struct entro_image *image;
    struct entro_namespace *names;
    struct entro_reader *reader;
};

static int open_image(struct served_image *served, const char *path,
                      const struct entro_mount_options *options)
{
    struct entro_message message;
    enum entro_error error = entro_image_open(&served->image, path, &message);
    if (error == ENTRO_OK)
        error = entro_namespace_create(&served->names, served->image, &message);
    if (error != ENTRO_OK)
        return complain(image_exit_code(error), message.text);
    if (entro_bus_guard_install())
        entro_image_map(served->image); /* else its blocks are read with pread */
    if (options->lock_image && entro_image_lock(served->image, &message) != ENTRO_OK)
        return complain(ENTRO_EXIT_FAILURE, message.text);
    error = entro_reader_create(&served->reader, served->names, options->cache_bytes,
                                (struct entro_report){.line = report_line});
    if (error != ENTRO_OK)
        return complain(ENTRO_EXIT_FAILURE, entro_error_name(error));
    return ENTRO_EXIT_OK;
}

static void close_image(struct served_image *served)
{
    entro_reader_free(served->reader);
    entro_namespace_free(served->names);
    entro_image_close(served->image);
}

static int check_mountpoint(const char *path)
{
    struct entro_message message;
    switch (entro_mountpoint_check(path, &message)) {
    case ENTRO_MOUNTPOINT_FREE:
        return ENTRO_EXIT_OK;
    case ENTRO_MOUNTPOINT_UNUSABLE:
        return complain(ENTRO_EXIT_MOUNTPOINT, message.text);
    case ENTRO_MOUNTPOINT_BUSY:
        return complain(ENTRO_EXIT_MOUNTPOINT_BUSY, message.text);
    case ENTRO_MOUNTPOINT_STALE:
        return complain(ENTRO_EXIT_MOUNTPOINT_STALE, message.text);
    }
    return ENTRO_EXIT_FAILURE;
}

/* The session, mounted at `mountpoint`. */
static int mount_session(struct fuse_session **out, const struct entro_mount_options *options,
                         const char *image, const char *mountpoint, struct entro_mount *mount)
{
    if (access("/dev/fuse", F_OK) != 0) {
        entro_log(LOG_ERR, "FUSE is not available: /dev/fuse: %s", strerror(errno));
        return ENTRO_EXIT_FUSE;
    }
    char name[PATH_MAX + 16];
    snprintf(name, sizeof name, "fsname=%s", options->fsname != NULL ? options->fsname : image);
    char max_read[32];
    snprintf(max_read, sizeof max_read, "max_read=%d", ENTRO_MAX_READ);
    char *list = NULL;
    struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
    int code = ENTRO_EXIT_FAILURE;
    if (fuse_opt_add_opt(&list, "ro,default_permissions,subtype=entrofs") != 0 ||
        fuse_opt_add_opt(&list, max_read) != 0 || fuse_opt_add_opt_escaped(&list, name) != 0 ||
        (options->kernel[0] != '\0' && fuse_opt_add_opt(&list, options->kernel) != 0) ||
        fuse_opt_add_arg(&arguments, "entrofs") != 0 || fuse_opt_add_arg(&arguments, "-o") != 0 ||
        fuse_opt_add_arg(&arguments, list) != 0) {
        complain(code, "out of memory");
        goto out;
    }
    libfuse_fault.is_mounting = true;
    *out = fuse_session_new(&arguments, &entro_fuse_ops, sizeof entro_fuse_ops, mount);
    if (*out == NULL) {
        entro_log(LOG_ERR, "FUSE does not take the mount options: %s", libfuse_fault.text);
        code = ENTRO_EXIT_FUSE;
        goto out;
    }
    if (fuse_session_mount(*out, mountpoint) != 0) {
        const char *fault = libfuse_fault.text; /* empty where fusermount3 has said it itself */
        entro_log(LOG_ERR, "cannot mount at %s%s%s", mountpoint, *fault == '\0' ? "" : ": ", fault);
        fuse_session_destroy(*out);
        *out = NULL;
        code = ENTRO_EXIT_FUSE;
        goto out;
    }
    code = ENTRO_EXIT_OK;
out:
    libfuse_fault.is_mounting = false;
    fuse_opt_free_args(&arguments);
    free(list);
    return code;
}

/* In the parent: waits for the child, and cleans up behind one that died. */
static int wait_for_daemon(struct fuse_session *session, pid_t child, int ready)
{
    int status;
    if (entro_daemon_wait(child, ready, &status))
        return ENTRO_EXIT_OK;
    if (WIFSIGNALED(status))
        entro_log(LOG_ERR, "the daemon was killed before it served: %s", strsignal(WTERMSIG(status)));
    else
        entro_log(LOG_ERR, "the daemon ended before it served");
    fuse_session_unmount(session);
    return ENTRO_EXIT_DIED;
}

static int serve_image(const struct entro_mount_options *options, struct served_image *served,
                       const char *image, const char *mountpoint)
{
    struct entro_mount mount = {
        .names = served->names, .reader = served->reader, .owner = getuid(), .group = getgid()};
    mount.attributes.names = served->names;
    mount.attributes.stats = entro_reader_stats(served->reader);
    atomic_store(&mount.attributes.notes, "");
    /* Lives as long as the process: the parent must leave it to the child, and libfuse frees the mount
     * point's name only together with an unmount, which may have been done already (see serve.c). */
    static struct fuse_session *session;
    sigset_t ending, before;
    entro_serve_signals(&ending);
    sigprocmask(SIG_BLOCK, &ending, &before);
    int code = mount_session(&session, options, image, mountpoint, &mount);
    if (code != ENTRO_EXIT_OK)
        return code;
    int ready = -1;
    if (!options->foreground) {
        pid_t child = entro_daemon_fork(&ready);
        if (child < 0) {
            entro_log(LOG_ERR, "cannot fork: %s", strerror(errno));
            fuse_session_unmount(session);
            return ENTRO_EXIT_FAILURE;
        }
        if (child > 0) {
            sigprocmask(SIG_SETMASK, &before, NULL);
            return wait_for_daemon(session, child, ready);
        }
    }
    struct entro_message message;
    if (!options->foreground && options->lock_image &&
        entro_image_lock(served->image, &message) != ENTRO_OK) { /* locks do not survive the fork */
        entro_log(LOG_ERR, "%s", message.text);
        return ENTRO_EXIT_FAILURE;
    }
    if (chdir("/") != 0)
        entro_log(LOG_WARNING, "cannot change to /: %s", strerror(errno));
    struct entro_serve serve = {.session = session,
                                .mount = &mount,
                                .mountpoint = mountpoint,
                                .readahead_kib = options->readahead_kib,
                                .prefetch_bytes = options->prefetch_bytes,
                                .max_threads = options->max_threads,
                                .ready = ready};
    return entro_serve(&serve) ? ENTRO_EXIT_OK : ENTRO_EXIT_FAILURE;
}

/* Paths are made absolute: the daemon leaves the current folder. */
static int run(const struct entro_mount_options *options)
{
    struct served_image served = {0};
    char *image = realpath(options->image, NULL), *mountpoint = NULL;
    int code;
    if (image == NULL) {
        entro_log(LOG_ERR, "%s: %s", options->image, strerror(errno));
        return ENTRO_EXIT_IMAGE_UNREADABLE;
    }
    code = open_image(&served, image, options);
    if (code == ENTRO_EXIT_OK)
        code = check_mountpoint(options->mountpoint);
    if (code == ENTRO_EXIT_OK) {
        mountpoint = entro_mountpoint_is_descriptor(options->mountpoint)
                         ? strdup(options->mountpoint)
                         : realpath(options->mountpoint, NULL);
        if (mountpoint == NULL) {
            entro_log(LOG_ERR, "mount point %s: %s", options->mountpoint, strerror(errno));
            code = ENTRO_EXIT_MOUNTPOINT;
        }
    }
    if (code == ENTRO_EXIT_OK)
        code = serve_image(options, &served, image, mountpoint);
    close_image(&served);
    free(mountpoint);
    free(image);
    return code;
}

int main(int argc, char *argv[])
{
    if (!entro_keep_standard_files())
        return ENTRO_EXIT_FAILURE;
    fuse_set_log_func(log_of_libfuse);
    struct entro_mount_options options;
    struct entro_message message;
    int code = ENTRO_EXIT_OK;
    enum entro_error error = entro_mount_options_parse(&options, argc, argv, &message);
    if (error != ENTRO_OK) {
        code = complain(error == ENTRO_ERROR_ARGUMENT ? ENTRO_EXIT_USAGE : ENTRO_EXIT_FAILURE, message.text);
        if (code == ENTRO_EXIT_USAGE)
            fprintf(stderr, "Usage: entrofs IMAGE MOUNTPOINT [-f] [-o OPTION,...]; entrofs -h explains\n");
    } else if (options.show_help) {
        printf("Usage: entrofs IMAGE MOUNTPOINT [-f] [-o OPTION,...]\nMounts an entrofs image.\n\n%s",
               entro_mount_help);
    } else if (options.show_version) {
        printf("entrofs %s (libfuse %s)\n", ENTRO_VERSION, fuse_pkgversion());
    } else if (entro_pivot_check_kernel(&message) != ENTRO_OK) {
        code = complain(ENTRO_EXIT_USAGE, message.text);
    } else {
        code = run(&options);
    }
    entro_mount_options_free(&options);
    return code;
}
