/*
 * Two kinds of threads: libfuse's, which answer requests, and one of our own, which waits for signals and for
 * the session's first and last moment. All signals that end the program are blocked and read from a
 * descriptor, so that no handler has to be careful.
 */
#include "fs/serve.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "codec/pool.h"
#include "fs/daemon.h"
#include "fs/mountpoint.h"

#define MIN_MAX_THREADS 16
/* How often the main thread is woken until it has seen that the session ends: libfuse offers no way to wait
 * without a race. */
#define WAKE_INTERVAL_MS 10

struct control {
    const struct entro_serve *serve;
    pthread_t main_thread;
    int signals;      /* signalfd */
    int initialized;  /* eventfd: the session's INIT has been handled */
    int finished;     /* eventfd: the loop has ended */
    bool is_detached; /* the mount is out of the tree already; read after the thread has been joined */
    bool has_device;  /* the device of the mount is known; of the control thread alone, as it is */
    dev_t device;
    char notes[128];
};

static void signal_event(int event)
{
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(event, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
}

static void on_init(void *context)
{
    struct control *control = context;
    signal_event(control->initialized);
}

static void do_nothing(int signal_number)
{
    (void)signal_number; /* its arrival interrupts a wait: that is all */
}

static bool is_readable(int file, int timeout_ms)
{
    struct pollfd wanted = {.fd = file, .events = POLLIN};
    return poll(&wanted, 1, timeout_ms) == 1;
}

/* Waits until `a` or `b` is readable or the time is over; true where `a` is. */
static bool wait_for(int a, int b, int timeout_ms)
{
    struct pollfd wanted[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    int n;
    do {
        n = poll(wanted, 2, timeout_ms);
    } while (n < 0 && errno == EINTR);
    return wanted[0].revents != 0;
}

static void take_signal(struct control *control)
{
    struct signalfd_siginfo info;
    if (read(control->signals, &info, sizeof info) == sizeof info)
        entro_log(LOG_INFO, "%s: unmounting", strsignal((int)info.ssi_signo));
}

/* The session serves now: raises the read-ahead, says what is active, lets the parent go. */
static void announce(struct control *control)
{
    const struct entro_serve *serve = control->serve;
    struct stat root;
    if (!entro_mountpoint_is_descriptor(serve->mountpoint) && stat(serve->mountpoint, &root) == 0 &&
        root.st_ino == ENTRO_INODE_ROOT) {
        control->has_device = true;
        control->device = root.st_dev;
    }
    bool is_set = serve->readahead_kib > 0 && control->has_device &&
                  entro_set_readahead(control->device, serve->readahead_kib);
    char how[96];
    size_t prefetch_bytes = is_set ? 0 : entro_reader_prefetch(serve->mount->reader, serve->prefetch_bytes);
    int length = 0;
    if (is_set)
        length = snprintf(control->notes, sizeof control->notes, "readahead_kib %u\n", serve->readahead_kib);
    else
        length = snprintf(control->notes, sizeof control->notes, "readahead_kib default\n");
    snprintf(control->notes + length, sizeof control->notes - (size_t)length, "prefetch_bytes %zu\n",
             prefetch_bytes);
    if (is_set)
        snprintf(how, sizeof how, "read-ahead %u KiB", serve->readahead_kib);
    else if (prefetch_bytes > 0)
        snprintf(how, sizeof how, "the kernel's own read-ahead, decoding up to %zu KiB ahead of readers",
                 prefetch_bytes >> 10);
    else
        snprintf(how, sizeof how, "the kernel's own read-ahead");
    atomic_store(&serve->mount->attributes.notes, control->notes);
    if (serve->ready >= 0)
        entro_daemon_detach(serve->ready);
    entro_log(LOG_INFO, "serving at %s, %s", serve->mountpoint, how);
}

/* False where somebody has taken the mount away (umount -l) or put another one there since: what lies at the
 * mount point now is not ours to unmount. */
static bool is_in_place(const struct control *control)
{
    struct stat root;
    return !control->has_device ||
           (stat(control->serve->mountpoint, &root) == 0 && root.st_dev == control->device);
}

/* Out of the tree at once, so that nobody new comes; those who have files open get the grace time. Without
 * the right to do so ourselves the session ends at once and libfuse's helper unmounts. */
static void end_session(struct control *control)
{
    const char *mountpoint = control->serve->mountpoint;
    control->is_detached = !is_in_place(control);
    if (!control->is_detached && !entro_mountpoint_is_descriptor(mountpoint))
        control->is_detached = umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) == 0;
    if (control->is_detached)
        wait_for(control->finished, control->signals, ENTRO_GRACE_MS);
    fuse_session_exit(control->serve->session);
    while (!is_readable(control->finished, WAKE_INTERVAL_MS))
        pthread_kill(control->main_thread, SIGUSR1);
}

static void *control_main(void *argument)
{
    struct control *control = argument;
    struct pollfd wanted[3] = {{.fd = control->finished, .events = POLLIN},
                               {.fd = control->signals, .events = POLLIN},
                               {.fd = control->initialized, .events = POLLIN}};
    for (;;) {
        if (poll(wanted, 3, -1) < 0)
            continue;
        if (wanted[0].revents != 0)
            return NULL;
        if (wanted[1].revents != 0) {
            take_signal(control);
            end_session(control);
            return NULL;
        }
        if (wanted[2].revents != 0) {
            wanted[2].fd = -1; /* once */
            announce(control);
        }
    }
}

static bool run_loop(const struct entro_serve *serve)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (config == NULL)
        return false;
    unsigned max_threads = serve->max_threads;
    if (max_threads == 0) {
        max_threads = 2 * entro_pool_default_threads();
        if (max_threads < MIN_MAX_THREADS)
            max_threads = MIN_MAX_THREADS;
    }
    fuse_loop_cfg_set_max_threads(config, max_threads);
    fuse_loop_cfg_set_clone_fd(config, 0);
    int result = fuse_session_loop_mt(serve->session, config);
    fuse_loop_cfg_destroy(config);
    /* libfuse knows that ENODEV is the end of the mount. A thread that was taking a request at that moment
     * gets ECONNABORTED from the kernel instead (fuse_dev_do_read), and means the same. */
    return result == 0 || result == -ECONNABORTED;
}

void entro_serve_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

static bool prepare_signals(struct control *control)
{
    sigset_t ending, waking;
    entro_serve_signals(&ending);
    sigemptyset(&waking);
    sigaddset(&waking, SIGUSR1);
    struct sigaction action = {.sa_handler = do_nothing}; /* no SA_RESTART: it is to interrupt */
    signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &ending, NULL) != 0 || pthread_sigmask(SIG_UNBLOCK, &waking, NULL) != 0 ||
        sigaction(SIGUSR1, &action, NULL) != 0)
        return false;
    control->signals = signalfd(-1, &ending, SFD_CLOEXEC);
    return control->signals >= 0;
}

bool entro_serve(const struct entro_serve *serve)
{
    struct control control = {
        .serve = serve, .main_thread = pthread_self(), .signals = -1, .initialized = -1, .finished = -1};
    pthread_t thread;
    bool ok = false, is_set_up = false;
    if (!prepare_signals(&control))
        goto out;
    control.initialized = eventfd(0, EFD_CLOEXEC);
    control.finished = eventfd(0, EFD_CLOEXEC);
    if (control.initialized < 0 || control.finished < 0)
        goto out;
    serve->mount->on_init = on_init;
    serve->mount->context = &control;
    /* Before the thread that asks the reader to work ahead, and until after it. */
    errno = entro_reader_start(serve->mount->reader) == ENTRO_OK ? 0 : EAGAIN;
    if (errno == 0)
        errno = pthread_create(&thread, NULL, control_main, &control);
    if (errno != 0)
        goto out;
    is_set_up = true;
    ok = run_loop(serve);
    signal_event(control.finished);
    pthread_join(thread, NULL);
    atomic_store(&serve->mount->attributes.notes, "");
out:
    if (!is_set_up)
        entro_log(LOG_ERR, "cannot set up the session: %s", strerror(errno));
    else if (!ok)
        entro_log(LOG_ERR, "the session ended by an error");
    entro_reader_stop(serve->mount->reader);
    if (!control.is_detached)
        fuse_session_unmount(serve->session);
    if (control.signals >= 0)
        close(control.signals);
    if (control.initialized >= 0)
        close(control.initialized);
    if (control.finished >= 0)
        close(control.finished);
    return ok;
}
