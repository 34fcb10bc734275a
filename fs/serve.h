/*
 * A mounted session from its first request to its end: threads, signals, readiness, read-ahead. For entrofs
 * alone.
 */
#ifndef ENTRO_FS_SERVE_H
#define ENTRO_FS_SERVE_H

#include <signal.h>
#include <stdbool.h>

#include "fs/fuse_ops.h"

struct entro_serve {
    struct fuse_session *session; /* mounted */
    struct entro_mount *mount;    /* the session's user data; on_init is set here */
    const char *mountpoint;       /* absolute, or /dev/fd/N */
    unsigned readahead_kib;
    size_t prefetch_bytes; /* where the read-ahead is not raised */
    unsigned max_threads;  /* 0: the default */
    int ready;             /* for entro_daemon_detach, or -1 in the foreground */
};

/* How long open files are served after SIGTERM or SIGINT has taken the mount out of the tree. A second signal
 * ends that. */
#define ENTRO_GRACE_MS 2000

/* The signals that end a session. To be blocked before the session is mounted: one that comes between the
 * mount and entro_serve would leave a dead mount behind; entro_serve finds it pending. */
void entro_serve_signals(sigset_t *set);

/*
 * Serves until the mount is gone or SIGTERM, SIGINT or SIGHUP comes; unmounts. False where it ended by an
 * error of the session. Must be called by the process that will serve, while it has one thread.
 */
bool entro_serve(const struct entro_serve *serve);

#endif
