/* The SIGBUS handler; see bus_error.h. Nothing but async-signal-safe calls inside it. */
#include "runner/bus_error.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* Set by the first thread that faults: the others wait for the end that it makes. */
static atomic_flag explaining = ATOMIC_FLAG_INIT;

/* Written before the handler is installed and n_weights counts them, read by the handler in whichever thread
 * faults. */
static struct {
    const struct entro_weights *weights[ENTRO_BUS_ERROR_MAX_WEIGHTS];
    atomic_size_t n_weights;
    const char *program;
    int exit_code;
} watched;

static void append(char *line, size_t room, size_t *length, const char *text)
{
    size_t n = strlen(text);
    if (n > room - *length)
        n = room - *length;
    memcpy(line + *length, text, n); /* NOLINT(bugprone-not-null-terminated-result): written by length */
    *length += n;
}

static void append_number(char *line, size_t room, size_t *length, size_t number)
{
    char digits[24];
    size_t i = sizeof digits - 1;
    digits[i] = '\0';
    do {
        digits[--i] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    append(line, room, length, digits + i);
}

static _Noreturn void explain(const struct entro_mapping *mapping, size_t offset)
{
    char line[4608];
    size_t length = 0;
    while (atomic_flag_test_and_set(&explaining))
        pause();
    append(line, sizeof line, &length, watched.program);
    append(line, sizeof line, &length, ": ");
    append(line, sizeof line, &length, mapping->path);
    append(line, sizeof line, &length, ": cannot be read at byte ");
    append_number(line, sizeof line, &length, offset);
    append(
        line, sizeof line, &length,
        ": the block is damaged, the file was cut short or the mount is gone; entrofsck IMAGE tells which\n");
    ssize_t ignored = write(STDERR_FILENO, line, length);
    (void)ignored;
    _exit(watched.exit_code);
}

/* Explains if the address lies within the weights, and returns if it does not. */
static void find(const struct entro_weights *weights, const char *address)
{
    for (size_t i = 0; i < weights->n_mappings; i++) {
        const struct entro_mapping *mapping = &weights->mappings[i];
        size_t offset = (size_t)(address - (const char *)mapping->address);
        if (address >= (const char *)mapping->address && offset < mapping->size_bytes)
            explain(mapping, offset);
    }
}

static void handle(int number, siginfo_t *info, void *context)
{
    (void)context;
    for (size_t i = 0; i < watched.n_weights; i++)
        find(watched.weights[i], info->si_addr);
    /* Not ours: back to the default, and the instruction faults again. */
    signal(number, SIG_DFL);
}

void entro_bus_error_explain(const struct entro_weights *weights, const char *program, int exit_code)
{
    size_t n = watched.n_weights;
    if (n < ENTRO_BUS_ERROR_MAX_WEIGHTS) {
        watched.weights[n] = weights;
        watched.n_weights = n + 1;
    }
    watched.program = program;
    watched.exit_code = exit_code;
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
