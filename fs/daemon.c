/* Fork, pipe and log; see daemon.h. */
#include "fs/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

static atomic_bool is_detached;

void entro_log(int priority, const char *format, ...)
{
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (atomic_load(&is_detached))
        syslog(priority, "%s", line);
    else
        fprintf(stderr, "entrofs: %s\n", line);
}

pid_t entro_daemon_fork(int *ready)
{
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC) != 0)
        return -1;
    pid_t child = fork();
    if (child < 0) {
        close(pipe_ends[0]);
        close(pipe_ends[1]);
        return -1;
    }
    if (child > 0) {
        close(pipe_ends[1]);
        *ready = pipe_ends[0];
        return child;
    }
    close(pipe_ends[0]);
    *ready = pipe_ends[1];
    setsid();
    return 0;
}

bool entro_daemon_wait(pid_t child, int ready, int *status)
{
    char byte;
    ssize_t n;
    do {
        n = read(ready, &byte, 1);
    } while (n < 0 && errno == EINTR);
    close(ready);
    if (n == 1)
        return true;
    *status = 0;
    while (waitpid(child, status, 0) < 0 && errno == EINTR)
        continue;
    return false;
}

void entro_daemon_detach(int ready)
{
    openlog("entrofs", LOG_PID, LOG_DAEMON);
    atomic_store(&is_detached, true);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) { /* no descriptor is left: standard input's is free to be used */
        close(STDIN_FILENO);
        null = open("/dev/null", O_RDWR);
    }
    if (null >= 0) {
        for (int file = 0; file <= 2; file++)
            dup2(null, file);
        if (null > 2)
            close(null);
    }
    ssize_t n;
    do {
        n = write(ready, "r", 1);
    } while (n < 0 && errno == EINTR);
    close(ready);
}
