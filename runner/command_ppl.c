/* entrorun ppl: perplexity of a text, and divergence from another model. Options and output; the measure is
 * perplexity.h's. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/clock.h"
#include "runner/command.h"
#include "runner/commands.h"
#include "runner/engine.h"
#include "runner/input.h"
#include "runner/perplexity.h"
#include "runner/tokenizer.h"

struct ppl_choices {
    struct entro_engine_options engine;
    const char *text, *file, *convention, *base, *save;
    int64_t n_chunks;
    bool json, help;
};

/* llama-perplexity's window, and that of most papers. */
#define LLAMA_CPP_WINDOW ((size_t)512)
#define GPTQ_WINDOW      ((size_t)2048)

static enum entro_error read_convention(const char *name, enum entro_convention *out,
                                        struct entro_message *message)
{
    if (name == NULL || strcmp(name, "llama.cpp") == 0)
        *out = ENTRO_CONVENTION_LLAMA_CPP;
    else if (strcmp(name, "gptq") == 0)
        *out = ENTRO_CONVENTION_GPTQ;
    else
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "--convention %s: there are llama.cpp and gptq",
                          name);
    return ENTRO_OK;
}

static enum entro_error encode(const struct entro_model *model, const struct entro_text *text,
                               struct entro_tokens *tokens, struct entro_message *message)
{
    /* As llama-perplexity and the Python library read a plain text: what looks like a special token is
     * text. */
    return entro_tokenizer_encode(model->tokenizer, text->data, text->size, ENTRO_ENCODE_TEMPLATE, tokens,
                                  message);
}

/* The two models must mean the same by a token. */
static enum entro_error check_base(const struct entro_engine *engine, const struct entro_engine *base,
                                   const struct entro_text *text, const struct entro_tokens *tokens,
                                   struct entro_message *message)
{
    struct entro_tokens others = {0};
    if (engine->model.config.n_vocabulary != base->model.config.n_vocabulary)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "the base model has a vocabulary of %zu tokens, the model one of %zu: they cannot "
                          "be compared",
                          base->model.config.n_vocabulary, engine->model.config.n_vocabulary);
    enum entro_error error = encode(&base->model, text, &others, message);
    if (error == ENTRO_OK &&
        (others.n != tokens->n || memcmp(others.ids, tokens->ids, others.n * sizeof *others.ids) != 0))
        error = entro_fail(message, ENTRO_ERROR_ARGUMENT,
                           "the base model's tokenizer reads the text differently: they cannot be compared");
    entro_tokens_free(&others);
    return error;
}

/* A half-written file is not left behind: the end comes after the window that is being measured. */
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* What is known window by window: neighbouring tokens are not independent, windows nearly are. */
struct progress {
    double start;                    /* seconds */
    double sum_loss, sum_divergence; /* up to the last window */
    json_t *losses, *divergences;    /* means of each window */
};

/* Appends the mean of the tokens that came since the mean of all was *sum / (n - n_new). */
static bool append_window(json_t *array, const struct entro_mean *mean, size_t n_new, double *sum)
{
    double before = *sum;
    *sum = mean->mean * (double)mean->n;
    return json_array_append_new(array, json_real((*sum - before) / (double)n_new)) == 0;
}

static enum entro_error after_window(void *context, const struct entro_perplexity_result *so_far,
                                     size_t n_windows, struct entro_message *message)
{
    struct progress *progress = context;
    double seconds = entro_now_seconds() - progress->start;
    size_t n_new = so_far->n_scored / so_far->n_windows; /* all windows have the same number */
    if (interrupted != 0)
        return entro_fail(message, ENTRO_ERROR_CANCELLED, "interrupted");
    if (!append_window(progress->losses, &so_far->loss, n_new, &progress->sum_loss) ||
        (so_far->divergence.n > 0 &&
         !append_window(progress->divergences, &so_far->divergence, n_new, &progress->sum_divergence)))
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the figures of a window");
    if (!isatty(STDERR_FILENO))
        return ENTRO_OK;
    fprintf(stderr, "\r[%zu/%zu] PPL = %.4f, %.0f s to go \033[K%s", so_far->n_windows, n_windows,
            entro_perplexity_of(&so_far->loss),
            seconds / (double)so_far->n_windows * (double)(n_windows - so_far->n_windows),
            so_far->n_windows == n_windows ? "\n" : "");
    fflush(stderr);
    return ENTRO_OK;
}

static void print_text(const struct entro_perplexity *measure, const struct entro_perplexity_result *result,
                       double seconds)
{
    bool llama_cpp = measure->convention == ENTRO_CONVENTION_LLAMA_CPP;
    size_t n_scored = result->n_scored / result->n_windows;
    printf("convention: %s: %zu windows of %zu tokens, the last %zu of each scored, first token %s\n",
           llama_cpp ? "llama.cpp" : "gptq", result->n_windows, measure->n_window, n_scored,
           llama_cpp && measure->bos_id != ENTRO_TOKEN_NONE ? "replaced by BOS" : "as it is");
    printf("scored: %zu tokens in %.1f s\n", result->n_scored, seconds);
    printf("Final estimate: PPL = %.4f +/- %.5f\n", entro_perplexity_of(&result->loss),
           entro_perplexity_error_of(&result->loss));
    if (result->divergence.n == 0)
        return;
    printf("Base: PPL = %.4f +/- %.5f, the model's is %.4f times as large\n",
           entro_perplexity_of(&result->base_loss), entro_perplexity_error_of(&result->base_loss),
           entro_perplexity_of(&result->loss) / entro_perplexity_of(&result->base_loss));
    printf("Mean KL divergence: %.6f +/- %.6f\n", result->divergence.mean, result->divergence.error);
    printf("Same top token: %.3f +/- %.3f %%\n", 100 * result->same_top.mean, 100 * result->same_top.error);
}

static enum entro_error print_json(const struct entro_perplexity *measure,
                                   const struct entro_perplexity_result *result,
                                   const struct progress *progress, double seconds,
                                   struct entro_message *message)
{
    bool llama_cpp = measure->convention == ENTRO_CONVENTION_LLAMA_CPP;
    json_t *object = json_pack(
        "{s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:O}", "convention", llama_cpp ? "llama.cpp" : "gptq",
        "window", (json_int_t)measure->n_window, "windows", (json_int_t)result->n_windows, "scored",
        (json_int_t)result->n_scored, "seconds", seconds, "perplexity", entro_perplexity_of(&result->loss),
        "perplexity_error", entro_perplexity_error_of(&result->loss), "loss", result->loss.mean, "loss_error",
        result->loss.error, "window_loss", progress->losses);
    json_t *comparison =
        result->divergence.n == 0 || object == NULL
            ? json_object()
            : json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:O}", "base_perplexity",
                        entro_perplexity_of(&result->base_loss), "base_perplexity_error",
                        entro_perplexity_error_of(&result->base_loss), "kl", result->divergence.mean,
                        "kl_error", result->divergence.error, "same_top", result->same_top.mean,
                        "same_top_error", result->same_top.error, "window_kl", progress->divergences);
    bool written = object != NULL && json_object_update(object, comparison) == 0 &&
                   json_dumpf(object, stdout, JSON_REAL_PRECISION(10)) == 0;
    json_decref(comparison);
    json_decref(object);
    if (!written)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "the figures cannot be written as JSON");
    putchar('\n');
    return ENTRO_OK;
}

/* What --kl names: a file is one of saved logits. */
static void find_base(const struct ppl_choices *choices, const char **directory, const char **file)
{
    struct stat status;
    bool is_file = choices->base != NULL && stat(choices->base, &status) == 0 && !S_ISDIR(status.st_mode);
    *directory = is_file ? NULL : choices->base;
    *file = is_file ? choices->base : NULL;
}

/* Behind the text: both models opened, the measure, the figures. */
static enum entro_error measure_text(const struct ppl_choices *choices, const struct entro_text *text,
                                     struct entro_tokens *tokens, struct entro_message *message)
{
    /* static: the SIGBUS handler looks at the weights. */
    static struct entro_engine engine, base;
    struct entro_engine_options base_options = choices->engine;
    struct entro_perplexity_result result;
    struct entro_perplexity measure = {.max_windows = SIZE_MAX, .bos_id = ENTRO_TOKEN_NONE};
    struct progress progress = {.losses = json_array(), .divergences = json_array()};
    enum entro_error error;
    find_base(choices, &base_options.directory, &measure.base_file);
    const bool has_base_model = base_options.directory != NULL;
    if ((error = read_convention(choices->convention, &measure.convention, message)) != ENTRO_OK ||
        (error = entro_engine_open(&engine, &choices->engine, message)) != ENTRO_OK ||
        (has_base_model && (error = entro_engine_open(&base, &base_options, message)) != ENTRO_OK) ||
        (error = encode(&engine.model, text, tokens, message)) != ENTRO_OK ||
        (has_base_model && (error = check_base(&engine, &base, text, tokens, message)) != ENTRO_OK))
        goto close_engines;
    measure.n_window = measure.convention == ENTRO_CONVENTION_LLAMA_CPP ? LLAMA_CPP_WINDOW : GPTQ_WINDOW;
    if (choices->engine.n_context > 0 || engine.n_context < measure.n_window)
        measure.n_window = engine.n_context;
    if (tokens->n / 2 < measure.n_window) {
        error = entro_fail(message, ENTRO_ERROR_ARGUMENT,
                           "the text has %zu tokens: too few for two windows of %zu (-c makes them smaller)",
                           tokens->n, measure.n_window);
        goto close_engines;
    }
    if ((error = entro_engine_start(&engine, &choices->engine, measure.n_window, NULL, message)) !=
            ENTRO_OK ||
        (has_base_model && (error = entro_engine_start(&base, &base_options, measure.n_window, engine.pool,
                                                       message)) != ENTRO_OK))
        goto close_engines;
    progress.start = entro_now_seconds();
    measure.backend = engine.backend;
    measure.base = has_base_model ? base.backend : NULL;
    measure.save_file = choices->save;
    measure.pool = engine.pool;
    measure.n_vocabulary = engine.model.config.n_vocabulary;
    if (choices->n_chunks > 0)
        measure.max_windows = (size_t)choices->n_chunks;
    if (entro_tokenizer_adds_bos(engine.model.tokenizer))
        measure.bos_id = tokens->ids[0];
    if (choices->save != NULL)
        catch_signals();
    measure.progress = after_window;
    measure.progress_context = &progress;
    error = entro_perplexity_measure(&measure, tokens->ids, tokens->n, &result, message);
    if (error == ENTRO_OK && choices->json)
        error = print_json(&measure, &result, &progress, entro_now_seconds() - progress.start, message);
    else if (error == ENTRO_OK)
        print_text(&measure, &result, entro_now_seconds() - progress.start);
    if (error == ENTRO_OK)
        entro_command_print_device(&engine);
close_engines:
    json_decref(progress.losses);
    json_decref(progress.divergences);
    entro_engine_close(&base);
    entro_engine_close(&engine);
    return error;
}

static enum entro_error run(const void *context, struct entro_message *message)
{
    const struct ppl_choices *choices = context;
    struct entro_text text = {0};
    struct entro_tokens tokens = {0};
    enum entro_error error = entro_input_read(choices->text, choices->file, &text, message);
    if (error == ENTRO_OK)
        error = measure_text(choices, &text, &tokens, message);
    entro_tokens_free(&tokens);
    entro_text_free(&text);
    return error;
}

static const char usage[] =
    "usage: entrorun ppl -m DIR -f FILE [options]\n\n"
    "Measures how well a model predicts a text: its perplexity, with a standard error. With --kl also "
    "how "
    "far its\npredictions are from those of another model, usually the one it was made from.\n\n"
    "  entrorun ppl -m /mnt/model -f text.txt\n"
    "  entrorun ppl -m /mnt/u4 --kl /mnt/source -f text.txt\n"
    "  entrorun ppl -m /mnt/source --save-logits source.logits -f text.txt\n"
    "  entrorun ppl -m /mnt/u4 --kl source.logits -f text.txt\n\n"
    "Perplexities of different conventions, windows or tokenizers cannot be compared.\n";

int entro_command_ppl(int argc, char **argv)
{
    struct ppl_choices choices = {.engine = ENTRO_ENGINE_DEFAULTS};
    const struct entro_option options[] = {
        {ENTRO_OPTION_HEADING, NULL, NULL, "model and text", NULL, 0, 0},
        ENTRO_ENGINE_MODEL_ROW(choices.engine),
        {ENTRO_OPTION_TEXT, "-f, --file", "FILE", "the text; - is standard input", &choices.file, 0, 0},
        {ENTRO_OPTION_TEXT, "-p, --prompt", "TEXT", "the text itself", &choices.text, 0, 0},
        {ENTRO_OPTION_TEXT, "--kl", "BASE",
         "also compare with the model in this directory, or with the\npredictions in this file: mean "
         "Kullback-Leibler divergence,\nshare of the same top token",
         &choices.base, 0, 0},
        {ENTRO_OPTION_TEXT, "--save-logits", "FILE",
         "write the model's predictions, for --kl of others: two bytes\na scored token and token of the "
         "vocabulary",
         &choices.save, 0, 0},
        {ENTRO_OPTION_HEADING, NULL, NULL, "measure", NULL, 0, 0},
        {ENTRO_OPTION_TEXT, "--convention", "NAME",
         "llama.cpp (default): the second half of each window is\nscored; gptq: all of it but the first "
         "token",
         &choices.convention, 0, 0},
        {ENTRO_OPTION_INTEGER, "-c, --ctx, --ctx-size", "N",
         "tokens of a window (llama.cpp: 512, gptq: 2048, or what the\nmodel was made for)",
         &choices.engine.n_context, 0, 1 << 24},
        {ENTRO_OPTION_INTEGER, "--chunks", "N", "at most N windows; -1: all (default)", &choices.n_chunks, -1,
         INT32_MAX},
        {ENTRO_OPTION_HEADING, NULL, NULL, "other", NULL, 0, 0},
        ENTRO_ENGINE_ROWS(choices.engine),
        {ENTRO_OPTION_SET, "--json", NULL, "the figures as JSON", &choices.json, 0, 0},
        {ENTRO_OPTION_SET, "-h, --help", NULL, "this text", &choices.help, 0, 0},
    };
    const struct entro_command command = {
        .usage = usage,
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .help = &choices.help,
        .run = run,
        .choices = &choices,
    };
    return entro_command_execute(&command, argc, argv);
}
