/* The subcommands of entrorun, and the exit codes that scripts may rely on. */
#ifndef ENTRO_RUNNER_COMMANDS_H
#define ENTRO_RUNNER_COMMANDS_H

#include "codec/error.h"

enum entro_exit {
    ENTRO_EXIT_OK = 0,
    ENTRO_EXIT_FAILURE = 1,       /* out of memory, or whatever has no code of its own */
    ENTRO_EXIT_USAGE = 2,         /* options that make no sense, a prompt that does not fit */
    ENTRO_EXIT_MODEL = 3,         /* the directory holds no model that can be run */
    ENTRO_EXIT_IO = 4,            /* a file of the model cannot be read, or the text cannot be written */
    ENTRO_EXIT_INTERRUPTED = 130, /* SIGINT */
};

/* The exit code that goes with an error. */
int entro_exit_code(enum entro_error error);

/* Each takes its name as argv[0] and returns an exit code. */
int entro_command_run(int argc, char **argv);
int entro_command_bench(int argc, char **argv);
int entro_command_ppl(int argc, char **argv);
int entro_command_imatrix(int argc, char **argv);
int entro_command_tokenize(int argc, char **argv);
int entro_command_info(int argc, char **argv);

#endif
