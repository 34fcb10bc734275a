/*
 * Turning into a daemon that its parent waits for, and the log that goes to stderr before and to syslog after
 * that. For entrofs alone.
 */
#ifndef ENTRO_FS_DAEMON_H
#define ENTRO_FS_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

/* One line to stderr, or to syslog after entro_daemon_detach. Thread-safe. */
void entro_log(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Forks. In the child (returns 0) *ready is a pipe for entro_daemon_detach. In the parent (returns the
 * child's id) *ready is where entro_daemon_wait listens. -1 on failure. To be called while there is one
 * thread.
 */
pid_t entro_daemon_fork(int *ready);

/* In the parent: true when the child serves; false when it ended before, with *status as waitpid gives it. */
bool entro_daemon_wait(pid_t child, int ready, int *status);

/* In the child, when it serves: lets go of terminal and stdio, tells the parent. `ready` is closed. */
void entro_daemon_detach(int ready);

#endif
