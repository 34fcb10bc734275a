/* The frame of a subcommand; see command.h. */
#include "runner/command.h"

#include <stdio.h>

#include "runner/commands.h"

static void print_help(const struct entro_command *command)
{
    fputs(command->usage, stdout);
    entro_options_help(command->options, command->n_options, stdout);
    if (command->notes != NULL)
        fputs(command->notes, stdout);
}

int entro_command_execute(const struct entro_command *command, int argc, char **argv)
{
    struct entro_message message;
    enum entro_error error = entro_options_parse(command->options, command->n_options, argc, argv, &message);
    if (error == ENTRO_OK && *command->help) {
        print_help(command);
        return ENTRO_EXIT_OK;
    }
    if (error == ENTRO_OK)
        error = command->run(command->choices, &message);
    if (error != ENTRO_OK)
        fprintf(stderr, "entrorun: %s\n", message.text);
    return entro_exit_code(error);
}
