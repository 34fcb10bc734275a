/* entrorun: generates text from a model directory. This file finds the subcommand; each has a file of its
 * own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/commands.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"run", entro_command_run, "generate text from a prompt, or hold a conversation"},
    {"bench", entro_command_bench, "measure a model's speed"},
    {"ppl", entro_command_ppl, "measure how well a model predicts a text"},
    {"imatrix", entro_command_imatrix, "learn from a text which weights matter"},
    {"tokenize", entro_command_tokenize, "show a text's tokens"},
    {"info", entro_command_info, "say what model a directory holds"},
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(FILE *out)
{
    fprintf(
        out,
        "usage: entrorun COMMAND [options]\n\n"
        "Runs a language model from a directory: a mounted entrofs image, or the same files extracted.\n\n"
        "  entrofs model.entrofs /mnt/model\n"
        "  entrorun run -m /mnt/model -p \"What is the capital of France?\"\n\n"
        "commands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\n\"entrorun COMMAND --help\" lists a command's options. --version prints the version.\n");
}

int entro_exit_code(enum entro_error error)
{
    switch (error) {
    case ENTRO_OK:
        return ENTRO_EXIT_OK;
    case ENTRO_ERROR_ARGUMENT:
        return ENTRO_EXIT_USAGE;
    case ENTRO_ERROR_FORMAT:
    case ENTRO_ERROR_CHECKSUM:
    case ENTRO_ERROR_UNSUPPORTED:
    case ENTRO_ERROR_NOT_FOUND:
        return ENTRO_EXIT_MODEL;
    case ENTRO_ERROR_IO:
        return ENTRO_EXIT_IO;
    case ENTRO_ERROR_CANCELLED:
        return ENTRO_EXIT_INTERRUPTED;
    default:
        return ENTRO_EXIT_FAILURE;
    }
}

static int run_command(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return ENTRO_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return ENTRO_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("entrorun %s\n", ENTRO_VERSION);
        return ENTRO_EXIT_OK;
    }
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "entrorun: there is no command \"%s\"; entrorun --help lists them\n", argv[1]);
    return ENTRO_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    int code = run_command(argc, argv);
    if (code == ENTRO_EXIT_OK && (fflush(stdout) != 0 || ferror(stdout))) {
        fprintf(stderr, "entrorun: standard output: %s\n", strerror(errno));
        return ENTRO_EXIT_IO;
    }
    return code;
}
