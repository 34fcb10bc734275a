/* entrorun info: what a model directory holds, without running it. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/bus_error.h"
#include "runner/chat.h"
#include "runner/command.h"
#include "runner/commands.h"
#include "runner/model.h"
#include "runner/options.h"

struct choices {
    const char *directory;
    bool help;
};

/* How many tensors, parameters and bytes are stored in one way. */
struct group {
    char label[48];
    size_t n_tensors;
    uint64_t n_elements;
    uint64_t size_bytes;
    bool expands; /* a GGUF block type */
};

#define MAX_GROUPS 64

static struct group *group_of(struct group *groups, size_t *n_groups,
                              const struct entro_manifest_tensor *tensor)
{
    char label[sizeof groups->label];
    if (tensor->bits == 0)
        snprintf(label, sizeof label, "%.20s, lossless", tensor->dtype_name);
    else
        snprintf(label, sizeof label, "u%u codes of %.20s", tensor->bits, tensor->dtype_name);
    for (size_t i = 0; i < *n_groups; i++)
        if (strcmp(groups[i].label, label) == 0)
            return &groups[i];
    if (*n_groups == MAX_GROUPS)
        return &groups[MAX_GROUPS - 1];
    struct group *group = &groups[(*n_groups)++];
    *group = (struct group){0};
    snprintf(group->label, sizeof group->label, "%s", label);
    group->expands = tensor->bits == 0 && tensor->dtype != ENTRO_DTYPE_NONE &&
                     entro_dtype_info(tensor->dtype)->block_elements > 1;
    return group;
}

static void print_tensors(const struct entro_manifest *manifest)
{
    struct group groups[MAX_GROUPS];
    size_t n_groups = 0;
    for (size_t i = 0; i < manifest->n_tensors; i++) {
        const struct entro_manifest_tensor *tensor = &manifest->tensors[i];
        uint64_t n_elements = 0;
        if (!entro_shape_elements(tensor->shape, tensor->rank, &n_elements))
            n_elements = 0;
        struct group *group = group_of(groups, &n_groups, tensor);
        group->n_tensors++;
        group->n_elements += n_elements;
        group->size_bytes += tensor->size_bytes;
    }
    for (size_t i = 0; i < n_groups; i++)
        printf("%-16s %zu tensors, %" PRIu64 " parameters, %" PRIu64 " bytes%s\n", groups[i].label,
               groups[i].n_tensors, groups[i].n_elements, groups[i].size_bytes,
               groups[i].expands ? " (on a GPU: F16)" : "");
}

static const char *template_name(const struct entro_model *model)
{
    struct entro_chat chat;
    struct entro_message message;
    if (model->chat_template == NULL)
        return "none";
    if (entro_chat_detect(&chat, model->chat_template, strlen(model->chat_template), &message) != ENTRO_OK)
        return "of a kind that is not supported";
    const char *name = entro_chat_name(&chat);
    entro_chat_free(&chat);
    return name;
}

static void print_model(const struct entro_model *model)
{
    const struct entro_config *config = &model->config;
    printf("architecture     %s (%s)\n", config->architecture->name, config->gguf ? "GGUF" : "safetensors");
    printf("parameters       %" PRIu64 "\n", model->weights.n_parameters);
    printf("layers           %zu\n", config->n_layers);
    printf("hidden           %zu\n", config->n_hidden);
    printf("intermediate     %zu\n", config->n_intermediate);
    printf("heads            %zu of %zu, %zu key-value heads\n", config->n_heads, config->head_dim,
           config->n_kv_heads);
    printf("vocabulary       %zu (tokenizer: %zu)\n", config->n_vocabulary,
           entro_tokenizer_n_tokens(model->tokenizer));
    printf("context          %zu\n", config->n_context);
    printf("rope theta       %g\n", (double)config->rope.theta);
    printf("output head      %s\n",
           model->weights.output.data == model->weights.embedding.data ? "the embedding" : "its own");
    printf("ends at tokens  ");
    for (size_t i = 0; i < config->n_eos_ids; i++)
        printf(" %" PRIu32, config->eos_ids[i]);
    printf("%s\n", config->n_eos_ids == 0 ? " none" : "");
    printf("chat template    %s\n", template_name(model));
    print_tensors(&model->manifest);
}

static enum entro_error run(const void *context, struct entro_message *message)
{
    const struct choices *choices = context;
    struct entro_model model = {0};
    if (choices->directory == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "no model: -m DIR names its directory");
    entro_bus_error_explain(&model.weights, "entrorun", ENTRO_EXIT_IO);
    enum entro_error error = entro_model_open(&model, choices->directory, message);
    if (error != ENTRO_OK)
        return error;
    print_model(&model);
    entro_model_close(&model);
    return ENTRO_OK;
}

int entro_command_info(int argc, char **argv)
{
    struct choices choices = {0};
    const struct entro_option options[] = {
        {ENTRO_OPTION_TEXT, "-m, --model", "DIR", "the model directory: a mounted image, or one extracted",
         &choices.directory, 0, 0},
        {ENTRO_OPTION_SET, "-h, --help", NULL, "this text", &choices.help, 0, 0},
    };
    const struct entro_command command = {
        .usage = "usage: entrorun info -m DIR\n\nSays what model a directory holds and how its tensors are "
                 "stored.\n\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .help = &choices.help,
        .run = run,
        .choices = &choices,
    };
    return entro_command_execute(&command, argc, argv);
}
