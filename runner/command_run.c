/* entrorun run: a prompt in, text out, or a conversation. Options and what is made of them; the work is
 * generate.h's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "runner/clock.h"
#include "runner/command.h"
#include "runner/command_run_internal.h"
#include "runner/commands.h"
#include "runner/input.h"
#include "runner/prompt.h"

static enum entro_error create_sampler(struct run *run, struct entro_message *message)
{
    const struct run_choices *choices = run->choices;
    run->seed = (uint64_t)choices->seed;
    if (choices->seed < 0 && getrandom(&run->seed, sizeof run->seed, 0) != (ssize_t)sizeof run->seed)
        return entro_fail(message, ENTRO_ERROR_IO, "no random numbers: %s", strerror(errno));
    if (choices->seed < 0)
        run->seed &= INT64_MAX >> 11; /* one that -s takes */
    const struct entro_sampling sampling = {
        .temperature = choices->temperature,
        .top_k = (size_t)choices->top_k,
        .top_p = choices->top_p,
        .min_p = choices->min_p,
        .repeat_penalty = choices->repeat_penalty,
        .repeat_last_n = choices->repeat_last_n < 0 ? run->engine.n_context : (size_t)choices->repeat_last_n,
        .seed = run->seed};
    enum entro_error error =
        entro_sampler_create(&run->sampler, &sampling, run->engine.model.config.n_vocabulary);
    if (error != ENTRO_OK)
        entro_fail(message, error, "no memory for the sampler");
    return error;
}

static void print_verbose(const struct run *run, const struct entro_tokens *tokens)
{
    const struct entro_config *config = &run->engine.model.config;
    fprintf(stderr, "model:      %s, %zu layers, %zu hidden, vocabulary of %zu, context of %zu (%zu)\n",
            config->architecture->name, config->n_layers, config->n_hidden, config->n_vocabulary,
            run->engine.n_context, config->n_context);
    fprintf(stderr, "batch:      %zu tokens handed over, %zu computed together\n", run->engine.n_batch,
            run->engine.backend->n_batch);
    fprintf(stderr, "seed:       %llu\n", (unsigned long long)run->seed);
    if (tokens->n > 0)
        fprintf(stderr, "tokens:    ");
    for (size_t i = 0; i < tokens->n; i++)
        fprintf(stderr, " %u%s", tokens->ids[i], i + 1 == tokens->n ? "\n" : "");
}

enum entro_error run_start(struct run *run, const struct entro_tokens *prompt, struct entro_message *message)
{
    enum entro_error error =
        entro_engine_start(&run->engine, &run->choices->engine, run->engine.n_context, NULL, message);
    if (error == ENTRO_OK && run->choices->verbose)
        print_verbose(run, prompt);
    run->start = entro_now_seconds() - run->start;
    return error;
}

/* One prompt, one text. The prompt is made before the weights are read: what is wrong with it is told at
 * once. */
static enum entro_error run_once(struct run *run, const struct entro_text *prompt,
                                 struct entro_message *message)
{
    const struct run_choices *choices = run->choices;
    struct entro_tokens tokens = {0};
    struct entro_generation_figures figures;
    const struct entro_prompt request = {.text = prompt->data,
                                         .size_bytes = prompt->size,
                                         .chat = !choices->no_chat,
                                         .chat_template = choices->chat_template,
                                         .system = choices->system};
    enum entro_error error;
    if ((error = entro_prompt_encode(&run->engine.model, &request, &tokens, message)) != ENTRO_OK ||
        (error = entro_generation_check(tokens.n, run->engine.n_context, message)) != ENTRO_OK ||
        (error = run_start(run, &tokens, message)) != ENTRO_OK)
        goto free_tokens;
    error = run_generate(run, &tokens, NULL, NULL, &figures, message);
    if (choices->figures && error == ENTRO_OK)
        run_print_figures(run, &figures);
    if (error == ENTRO_OK && figures.stop == ENTRO_STOP_INTERRUPTED)
        error = entro_fail(message, ENTRO_ERROR_CANCELLED, "interrupted");
free_tokens:
    entro_tokens_free(&tokens);
    return error;
}

/* Everything behind the options. */
static enum entro_error run_model(const void *context, struct entro_message *message)
{
    const struct run_choices *choices = context;
    /* static: the SIGBUS handler looks at the weights. */
    static struct run run;
    struct entro_text prompt = {0};
    enum entro_error error = ENTRO_OK;
    bool no_prompt = choices->prompt == NULL && choices->prompt_file == NULL;
    bool conversation = choices->conversation || (no_prompt && !choices->no_chat && isatty(STDIN_FILENO));

    run = (struct run){.choices = choices, .start = entro_now_seconds()};
    if (choices->conversation && choices->no_chat)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "-cnv and -no-cnv exclude each other");
    if (conversation && choices->prompt_file != NULL && strcmp(choices->prompt_file, "-") == 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "-f - and a conversation would both read standard input");
    if (!(conversation && no_prompt))
        error = entro_input_read(choices->prompt, choices->prompt_file, &prompt, message);
    if (error == ENTRO_OK && choices->prompt_file != NULL)
        entro_input_strip_newline(&prompt);
    if (error == ENTRO_OK && choices->escape)
        entro_input_unescape(&prompt);
    if (error == ENTRO_OK)
        error = entro_engine_open(&run.engine, &choices->engine, message);
    if (error == ENTRO_OK)
        error = create_sampler(&run, message);
    if (error == ENTRO_OK)
        error = conversation ? run_chat(&run, &prompt, message) : run_once(&run, &prompt, message);
    entro_sampler_free(run.sampler);
    entro_engine_close(&run.engine);
    entro_text_free(&prompt);
    return error;
}

static const char usage[] =
    "usage: entrorun run -m DIR [-p PROMPT | -f FILE | -cnv] [options]\n\n"
    "Generates text from a prompt, or holds a conversation. Text goes to standard output as it comes, "
    "figures to\nstandard error.\n\n"
    "  entrorun run -m /mnt/model -p \"What is the capital of France?\"\n"
    "  entrorun run -m /mnt/model -no-cnv -p \"Once upon a time\" -n 100 --temp 0\n"
    "  entrorun run -m /mnt/model                    a conversation, from a terminal\n\n"
    "In a conversation each line is a message (\\ at its end: it goes on in the next line). Ctrl-C "
    "stops an answer,\ntwice it ends the program, as does Ctrl-D.\n";

static const char notes[] =
    "\nEnvironment: ENTRORUN_KERNEL=portable|avx2|avx512|vnni|amx|neon forces the kernels.\n"
    "Exit codes: 0 done, 1 failure, 2 bad options or prompt, 3 no model that can be run,\n"
    "4 reading or writing failed, 130 interrupted.\n";

int entro_command_run(int argc, char **argv)
{
    struct run_choices choices = {.engine = ENTRO_ENGINE_DEFAULTS,
                                  .n_predict = -1,
                                  .seed = -1,
                                  .top_k = 40,
                                  .temperature = 0.8F,
                                  .top_p = 0.95F,
                                  .min_p = 0.05F,
                                  .repeat_penalty = 1,
                                  .repeat_last_n = 64,
                                  .figures = true};
    const struct entro_option options[] = {
        {ENTRO_OPTION_HEADING, NULL, NULL, "model and prompt", NULL, 0, 0},
        ENTRO_ENGINE_MODEL_ROW(choices.engine),
        {ENTRO_OPTION_TEXT, "-p, --prompt", "TEXT", "the prompt; with -cnv the first message",
         &choices.prompt, 0, 0},
        {ENTRO_OPTION_TEXT, "-f, --file", "FILE", "read the prompt from FILE; - is standard input",
         &choices.prompt_file, 0, 0},
        {ENTRO_OPTION_SET, "-e, --escape", NULL,
         "\\n, \\t and the like in the prompt are what they stand for", &choices.escape, 0, 0},
        {ENTRO_OPTION_CLEAR, "--no-escape", NULL, "they are not (default)", &choices.escape, 0, 0},
        {ENTRO_OPTION_TEXT, "-sys, --system-prompt", "TEXT", "what a chat begins with", &choices.system, 0,
         0},
        {ENTRO_OPTION_SET, "-cnv, --conversation", NULL,
         "a conversation: read messages from standard input\n(default without -p and -f, from a terminal)",
         &choices.conversation, 0, 0},
        {ENTRO_OPTION_SET, "-no-cnv, --no-chat, --no-conversation", NULL,
         "go on from the prompt as it stands, without a chat template\n(by default the model's own template "
         "is used, where it has one)",
         &choices.no_chat, 0, 0},
        {ENTRO_OPTION_TEXT, "--chat-template", "NAME", "use this chat template instead of the model's",
         &choices.chat_template, 0, 0},
        {ENTRO_OPTION_HEADING, NULL, NULL, "length", NULL, 0, 0},
        {ENTRO_OPTION_INTEGER, "-n, --predict, --n-predict", "N",
         "generate at most N tokens; -1: until the end (default)", &choices.n_predict, -1, INT32_MAX},
        {ENTRO_OPTION_INTEGER, "-c, --ctx-size", "N",
         "tokens that prompt and text may have together;\n0: what the model was made for (default)",
         &choices.engine.n_context, 0, 1 << 24},
        {ENTRO_OPTION_SET, "--ignore-eos", NULL, "do not stop at the model's end-of-text tokens",
         &choices.ignore_eos, 0, 0},
        {ENTRO_OPTION_HEADING, NULL, NULL, "choice of tokens", NULL, 0, 0},
        {ENTRO_OPTION_NUMBER, "--temp, --temperature", "T",
         "temperature (0.8); 0 or less: always the most likely token", &choices.temperature, -1000, 1000},
        {ENTRO_OPTION_INTEGER, "--top-k", "N", "only the N most likely tokens (40); 0: all", &choices.top_k,
         0, INT32_MAX},
        {ENTRO_OPTION_NUMBER, "--top-p", "P",
         "only the likeliest with this probability together (0.95);\n1: all", &choices.top_p, 0, 1},
        {ENTRO_OPTION_NUMBER, "--min-p", "P",
         "only those with this share of the likeliest one's\nprobability (0.05); 0: all", &choices.min_p, 0,
         1},
        {ENTRO_OPTION_NUMBER, "--repeat-penalty", "X",
         "make recent tokens less likely by this factor (1: not)", &choices.repeat_penalty, 0.01, 100},
        {ENTRO_OPTION_INTEGER, "--repeat-last-n", "N",
         "how many tokens are recent (64); -1: the whole context", &choices.repeat_last_n, -1, 1 << 24},
        {ENTRO_OPTION_INTEGER, "-s, --seed", "N", "the same seed gives the same text; -1: random (default)",
         &choices.seed, -1, 9007199254740992},
        {ENTRO_OPTION_HEADING, NULL, NULL, "other", NULL, 0, 0},
        ENTRO_ENGINE_ROWS(choices.engine),
        {ENTRO_OPTION_CLEAR, "--no-perf", NULL, "no figures", &choices.figures, 0, 0},
        {ENTRO_OPTION_SET, "-v, --verbose", NULL, "the model's shape, the seed and the prompt's tokens too",
         &choices.verbose, 0, 0},
        {ENTRO_OPTION_SET, "-h, --help", NULL, "this text", &choices.help, 0, 0},
    };
    const struct entro_command command = {
        .usage = usage,
        .notes = notes,
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .help = &choices.help,
        .run = run_model,
        .choices = &choices,
    };
    return entro_command_execute(&command, argc, argv);
}
