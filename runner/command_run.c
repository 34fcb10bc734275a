/* entrorun run: a prompt in, text out. Options, prompt, figures; the work is generate.h's. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "runner/bus_error.h"
#include "runner/commands.h"
#include "runner/generate.h"
#include "runner/model.h"
#include "runner/options.h"
#include "runner/prompt.h"

struct choices {
    const char *directory, *prompt, *prompt_file, *system, *chat_template;
    int64_t n_predict, n_context, n_threads, seed, top_k;
    float temperature, top_p, min_p;
    bool chat, ignore_eos, figures, help;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* The first SIGINT ends the generation after the current token; a second one has its default effect. */
static void catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* To the end; a file, a pipe or a terminal. */
static enum entro_error read_stream(FILE *stream, const char *name, struct entro_text *prompt,
                                    struct entro_message *message)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, stream)) > 0) {
        if (n > ENTRO_TOKENIZER_TEXT_LIMIT - prompt->size)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: longer than a prompt may be (%zu bytes)",
                              name, ENTRO_TOKENIZER_TEXT_LIMIT);
        enum entro_error error = entro_text_append(prompt, piece, n, message);
        if (error != ENTRO_OK)
            return error;
    }
    if (ferror(stream))
        return entro_fail(message, ENTRO_ERROR_IO, "%s: %s", name, strerror(errno));
    return ENTRO_OK;
}

static enum entro_error read_file(const char *path, struct entro_text *prompt, struct entro_message *message)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: %s", path, strerror(errno));
    enum entro_error error = read_stream(file, path, prompt, message);
    fclose(file);
    return error;
}

/* The text to go on from: -p, or what -f names, without the file's last newline, as llama.cpp has it. */
static enum entro_error read_prompt(const struct choices *choices, struct entro_text *prompt,
                                    struct entro_message *message)
{
    if (choices->prompt != NULL && choices->prompt_file != NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "-p and -f exclude each other");
    if (choices->prompt != NULL)
        return entro_text_append(prompt, choices->prompt, strlen(choices->prompt), message);
    if (choices->prompt_file == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "no prompt: -p TEXT gives one, -f FILE reads one");
    enum entro_error error = strcmp(choices->prompt_file, "-") == 0
                                 ? read_stream(stdin, "standard input", prompt, message)
                                 : read_file(choices->prompt_file, prompt, message);
    if (error == ENTRO_OK && prompt->size > 0 && prompt->data[prompt->size - 1] == '\n')
        prompt->size--;
    return error;
}

static enum entro_error print_text(void *context, const char *text, size_t size_bytes,
                                   struct entro_message *message)
{
    char *last = context;
    if (fwrite(text, 1, size_bytes, stdout) != size_bytes || fflush(stdout) != 0)
        return entro_fail(message, ENTRO_ERROR_IO, "cannot write the text: %s", strerror(errno));
    *last = text[size_bytes - 1];
    return ENTRO_OK;
}

static double rate(size_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

static void print_figures(const struct entro_model *model, const struct entro_backend *backend,
                          unsigned n_threads, double load_seconds,
                          const struct entro_generation_figures *figures)
{
    static const char *const stops[] = {
        [ENTRO_STOP_END_OF_TEXT] = "end of text",
        [ENTRO_STOP_LENGTH] = "-n reached",
        [ENTRO_STOP_CONTEXT] = "context full",
        [ENTRO_STOP_INTERRUPTED] = "interrupted",
    };
    fprintf(stderr, "load:       %.3f s, %.1f M parameters, %.1f MB mapped, %s, %u thread%s\n", load_seconds,
            (double)model->weights.n_parameters / 1e6, (double)model->weights.size_bytes / 1e6, backend->name,
            n_threads, n_threads == 1 ? "" : "s");
    fprintf(stderr, "prompt:     %zu tokens, %.3f s, %.1f tokens/s\n", figures->n_prompt,
            figures->prompt_seconds, rate(figures->n_prompt, figures->prompt_seconds));
    fprintf(stderr, "generation: %zu tokens, %.3f s, %.1f tokens/s (%s)\n", figures->n_generated,
            figures->generation_seconds, rate(figures->n_runs, figures->generation_seconds),
            stops[figures->stop]);
}

static enum entro_error choose_kernels(const struct entro_kernels **out, struct entro_message *message)
{
    const char *name = getenv("ENTRORUN_KERNEL");
    *out = name == NULL || name[0] == '\0' ? entro_kernels_best() : entro_kernels_by_name(name);
    if (*out == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "ENTRORUN_KERNEL=%s: not among portable, avx2 and avx512, or not for this machine",
                          name);
    return ENTRO_OK;
}

static enum entro_error create_pool(const struct choices *choices, struct entro_pool **out,
                                    struct entro_message *message)
{
    unsigned n_threads = choices->n_threads > 0 ? (unsigned)choices->n_threads : entro_pool_default_threads();
    enum entro_error error = entro_pool_create(out, n_threads);
    if (error != ENTRO_OK)
        entro_fail(message, error, "cannot start %u threads: %s", n_threads, entro_error_name(error));
    return error;
}

static enum entro_error create_sampler(const struct choices *choices, size_t n_vocabulary,
                                       struct entro_sampler **out, struct entro_message *message)
{
    struct entro_sampling sampling = {.temperature = choices->temperature,
                                      .top_k = (size_t)choices->top_k,
                                      .top_p = choices->top_p,
                                      .min_p = choices->min_p,
                                      .seed = (uint64_t)choices->seed};
    if (choices->seed < 0 &&
        getrandom(&sampling.seed, sizeof sampling.seed, 0) != (ssize_t)sizeof sampling.seed)
        return entro_fail(message, ENTRO_ERROR_IO, "no random numbers: %s", strerror(errno));
    enum entro_error error = entro_sampler_create(out, &sampling, n_vocabulary);
    if (error != ENTRO_OK)
        entro_fail(message, error, "no memory for the sampler");
    return error;
}

/* Everything behind the options. */
static enum entro_error run(const struct choices *choices, struct entro_message *message)
{
    /* static: the SIGBUS handler looks at the weights. */
    static struct entro_model model;
    struct entro_text prompt = {0};
    struct entro_tokens tokens = {0};
    struct entro_pool *pool = NULL;
    struct entro_backend *backend = NULL;
    struct entro_sampler *sampler = NULL;
    struct entro_generation_figures figures;
    const struct entro_kernels *kernels;
    char last = '\n';
    enum entro_error error;

    if ((error = choose_kernels(&kernels, message)) != ENTRO_OK ||
        (error = read_prompt(choices, &prompt, message)) != ENTRO_OK)
        goto free_prompt;
    double start = now_seconds();
    entro_bus_error_explain(&model.weights, "entrorun", ENTRO_EXIT_IO);
    if ((error = entro_model_open(&model, choices->directory, message)) != ENTRO_OK)
        goto free_prompt;
    size_t n_context = choices->n_context > 0 ? (size_t)choices->n_context : model.config.n_context;
    const struct entro_prompt request = {.text = prompt.data,
                                         .size_bytes = prompt.size,
                                         .chat = choices->chat,
                                         .chat_template = choices->chat_template,
                                         .system = choices->system};
    if ((error = entro_prompt_encode(&model, &request, &tokens, message)) != ENTRO_OK ||
        (error = create_pool(choices, &pool, message)) != ENTRO_OK ||
        (error = create_sampler(choices, model.config.n_vocabulary, &sampler, message)) != ENTRO_OK ||
        (error = entro_backend_cpu_create(&backend, &model.config, &model.weights, n_context, pool, kernels,
                                          message)) != ENTRO_OK)
        goto free_all;
    double load_seconds = now_seconds() - start;
    const struct entro_generation generation = {
        .backend = backend,
        .config = &model.config,
        .tokenizer = model.tokenizer,
        .sampler = sampler,
        .n_predict = choices->n_predict < 0 ? SIZE_MAX : (size_t)choices->n_predict,
        .ignore_eos = choices->ignore_eos,
        .sink = print_text,
        .sink_context = &last,
        .interrupted = &interrupted,
    };
    catch_interrupt();
    error = entro_generate(&generation, tokens.ids, tokens.n, &figures, message);
    if (last != '\n')
        putchar('\n');
    if (error == ENTRO_OK && fflush(stdout) != 0)
        error = entro_fail(message, ENTRO_ERROR_IO, "cannot write the text: %s", strerror(errno));
    if (choices->figures && error == ENTRO_OK)
        print_figures(&model, backend, entro_pool_threads(pool), load_seconds, &figures);
    if (error == ENTRO_OK && figures.stop == ENTRO_STOP_INTERRUPTED)
        error = entro_fail(message, ENTRO_ERROR_CANCELLED, "interrupted");

free_all:
    if (backend != NULL)
        backend->free(backend);
    entro_sampler_free(sampler);
    entro_pool_free(pool);
    entro_tokens_free(&tokens);
    entro_model_close(&model);
free_prompt:
    entro_text_free(&prompt);
    return error;
}

static void print_help(const struct entro_option *options, size_t n_options)
{
    printf("usage: entrorun run -m DIR -p PROMPT [options]\n\n"
           "Generates text from a prompt. Text goes to standard output as it comes, figures to standard "
           "error.\n\n"
           "  entrorun run -m /mnt/model -p \"What is the capital of France?\"\n"
           "  entrorun run -m /mnt/model --no-chat -p \"Once upon a time\" -n 100 --temp 0\n");
    entro_options_help(options, n_options, stdout);
    printf("\nEnvironment: ENTRORUN_KERNEL=portable|avx2|avx512 forces the kernels.\n"
           "Exit codes: 0 done, 1 failure, 2 bad options or prompt, 3 no model that can be run,\n"
           "4 reading or writing failed, 130 interrupted.\n");
}

int entro_command_run(int argc, char **argv)
{
    struct choices choices = {.n_predict = -1,
                              .seed = -1,
                              .top_k = 40,
                              .temperature = 0.8F,
                              .top_p = 0.95F,
                              .min_p = 0.05F,
                              .chat = true,
                              .figures = true};
    const struct entro_option options[] = {
        {ENTRO_OPTION_HEADING, NULL, NULL, "model and prompt", NULL, 0, 0},
        {ENTRO_OPTION_TEXT, "-m, --model", "DIR", "the model directory: a mounted image, or one extracted",
         &choices.directory, 0, 0},
        {ENTRO_OPTION_TEXT, "-p, --prompt", "TEXT", "the prompt", &choices.prompt, 0, 0},
        {ENTRO_OPTION_TEXT, "-f, --file", "FILE", "read the prompt from FILE; - is standard input",
         &choices.prompt_file, 0, 0},
        {ENTRO_OPTION_TEXT, "-sys, --system-prompt", "TEXT", "what a chat begins with", &choices.system, 0,
         0},
        {ENTRO_OPTION_CLEAR, "--no-chat, -no-cnv, --no-conversation", NULL,
         "go on from the prompt as it stands, without a chat template\n(by default the model's own template "
         "is used, where it has one)",
         &choices.chat, 0, 0},
        {ENTRO_OPTION_TEXT, "--chat-template", "NAME", "use this chat template instead of the model's",
         &choices.chat_template, 0, 0},
        {ENTRO_OPTION_HEADING, NULL, NULL, "length", NULL, 0, 0},
        {ENTRO_OPTION_INTEGER, "-n, --predict, --n-predict", "N",
         "generate at most N tokens; -1: until the end (default)", &choices.n_predict, -1, INT32_MAX},
        {ENTRO_OPTION_INTEGER, "-c, --ctx-size", "N",
         "tokens that prompt and text may have together;\n0: what the model was made for (default)",
         &choices.n_context, 0, 1 << 24},
        {ENTRO_OPTION_SET, "--ignore-eos", NULL, "do not stop at the model's end-of-text tokens",
         &choices.ignore_eos, 0, 0},
        {ENTRO_OPTION_HEADING, NULL, NULL, "choice of tokens", NULL, 0, 0},
        {ENTRO_OPTION_NUMBER, "--temp", "T", "temperature (0.8); 0: always the most likely token",
         &choices.temperature, 0, 1000},
        {ENTRO_OPTION_INTEGER, "--top-k", "N", "only the N most likely tokens (40); 0: all", &choices.top_k,
         0, INT32_MAX},
        {ENTRO_OPTION_NUMBER, "--top-p", "P",
         "only the likeliest with this probability together (0.95);\n1: all", &choices.top_p, 0, 1},
        {ENTRO_OPTION_NUMBER, "--min-p", "P",
         "only those with this share of the likeliest one's\nprobability (0.05); 0: all", &choices.min_p, 0,
         1},
        {ENTRO_OPTION_INTEGER, "-s, --seed", "N", "the same seed gives the same text; -1: random (default)",
         &choices.seed, -1, 9007199254740992},
        {ENTRO_OPTION_HEADING, NULL, NULL, "other", NULL, 0, 0},
        {ENTRO_OPTION_INTEGER, "-t, --threads", "N", "threads; 0: one a processor (default)",
         &choices.n_threads, 0, 1024},
        {ENTRO_OPTION_CLEAR, "--no-perf", NULL, "no figures", &choices.figures, 0, 0},
        {ENTRO_OPTION_SET, "-h, --help", NULL, "this text", &choices.help, 0, 0},
    };
    const size_t n_options = sizeof options / sizeof options[0];
    struct entro_message message;
    enum entro_error error = entro_options_parse(options, n_options, argc, argv, &message);
    if (error == ENTRO_OK && choices.help) {
        print_help(options, n_options);
        return ENTRO_EXIT_OK;
    }
    if (error == ENTRO_OK && choices.directory == NULL)
        error = entro_fail(&message, ENTRO_ERROR_ARGUMENT, "no model: -m DIR names its directory");
    if (error == ENTRO_OK)
        error = run(&choices, &message);
    if (error != ENTRO_OK)
        fprintf(stderr, "entrorun: %s\n", message.text);
    return entro_exit_code(error);
}
