/* The frame of a subcommand; see command.h. */
#include "runner/command.h"

#include <stdio.h>

#include "runner/commands.h"
#include "runner/engine.h"

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

void entro_command_print_device(const struct entro_engine *engine)
{
    const struct entro_cuda_loaded *loaded = &engine->loaded;
    if (engine->fallback.text[0] != '\0')
        fprintf(stderr, "device:     the CPU: %s\n", engine->fallback.text);
    if (engine->gpu == NULL)
        return;
    fprintf(stderr, "GPU memory: weights %.1f MB", (double)loaded->weight_bytes / 1e6);
    if (loaded->weight_bytes != loaded->decoded_bytes)
        fprintf(stderr,
                " (layers as the image has them, and a ring of two that are decoded ahead of their use: "
                "tokens take longer; raw it would be %.1f MB)",
                (double)loaded->decoded_bytes / 1e6);
    fprintf(stderr, ", keys and values %.1f MB, the rest %.1f MB\n", (double)loaded->cache_bytes / 1e6,
            (double)loaded->work_bytes / 1e6);
}
