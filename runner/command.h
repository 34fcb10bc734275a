/* What all subcommands have in common: options, help, the work, one line for an error, an exit code. */
#ifndef ENTRO_RUNNER_COMMAND_H
#define ENTRO_RUNNER_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/error.h"
#include "runner/options.h"

struct entro_command {
    const char *usage; /* help before the options */
    const char *notes; /* help behind them; NULL: none */
    const struct entro_option *options;
    size_t n_options;
    const bool *help; /* set by an option: print the help and do nothing else */
    /* Everything behind the options; `choices` is where these wrote. */
    enum entro_error (*run)(const void *choices, struct entro_message *message);
    const void *choices;
};

/* Returns an exit code (commands.h). Not for a library: prints. */
int entro_command_execute(const struct entro_command *command, int argc, char **argv);

struct entro_engine;

/* To standard error: why it is the CPU where a GPU was looked for, if that is so; what a GPU's memory holds. */
void entro_command_print_device(const struct entro_engine *engine);

#endif
