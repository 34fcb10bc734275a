/* entrorun imatrix: an importance matrix of a model, from a text or from random tokens. Options and output;
 * imatrix_collect.h does the work. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "codec/output_file.h"
#include "runner/clock.h"
#include "runner/command.h"
#include "runner/commands.h"
#include "runner/engine.h"
#include "runner/imatrix_collect.h"
#include "runner/input.h"
#include "runner/random.h"
#include "runner/tokenizer.h"

/* llama-imatrix's window. */
#define DEFAULT_WINDOW ((size_t)512)
/* Windows of random tokens where nobody says how many. */
#define DEFAULT_RANDOM_WINDOWS 32

struct imatrix_choices {
    struct entro_engine_options engine;
    const char *text, *file, *output;
    int64_t n_chunks, seed;
    bool random, force, with_output, without_directions, help;
};

/* The tokens that are text, of which random ones are drawn. */
static enum entro_error find_usable(const struct entro_model *model, struct entro_tokens *usable,
                                    struct entro_message *message)
{
    const struct entro_tokenizer *tokenizer = model->tokenizer;
    size_t n = entro_tokenizer_n_tokens(tokenizer), size;
    n = n < model->config.n_vocabulary ? n : model->config.n_vocabulary;
    enum entro_error error = ENTRO_OK;
    for (uint32_t id = 0; id < n && error == ENTRO_OK; id++)
        if (entro_tokenizer_token_text(tokenizer, id, &size) != NULL &&
            !entro_tokenizer_is_special(tokenizer, id))
            error = entro_tokens_append(usable, id, message);
    if (error == ENTRO_OK && usable->n == 0)
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "the vocabulary has no token that is text");
    return error;
}

/* Appends n tokens, each as likely as the other. */
static enum entro_error draw_tokens(const struct entro_model *model, uint64_t seed, size_t n,
                                    struct entro_tokens *out, struct entro_message *message)
{
    struct entro_tokens usable = {0};
    struct entro_random random = entro_random_from(seed);
    enum entro_error error = find_usable(model, &usable, message);
    for (size_t i = 0; i < n && error == ENTRO_OK; i++) {
        size_t which = (size_t)(entro_random_point(&random) * (double)usable.n);
        error = entro_tokens_append(out, usable.ids[which], message);
    }
    entro_tokens_free(&usable);
    return error;
}

static enum entro_error after_window(void *context, size_t n_done, size_t n_windows,
                                     struct entro_message *message)
{
    const double *start = context;
    (void)message;
    if (!isatty(STDERR_FILENO))
        return ENTRO_OK;
    fprintf(stderr, "\r[%zu/%zu] %.0f s to go \033[K%s", n_done, n_windows,
            (entro_now_seconds() - *start) / (double)n_done * (double)(n_windows - n_done),
            n_done == n_windows ? "\n" : "");
    fflush(stderr);
    return ENTRO_OK;
}

/* Fails where the file could not be written in the end, while that costs nothing yet. */
static enum entro_error try_output(const struct imatrix_choices *choices, struct entro_message *message)
{
    struct entro_output output;
    if (choices->output == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "no output: -o FILE names it");
    enum entro_error error = entro_output_create(&output, choices->output, choices->force, message);
    entro_output_free(&output);
    if (error == ENTRO_ERROR_EXISTS)
        entro_message_set(message, "%s: exists already (--force replaces it)", choices->output);
    return error;
}

/* What is run, and the token that each window begins with. */
static enum entro_error make_tokens(const struct imatrix_choices *choices, const struct entro_model *model,
                                    size_t n_window, struct entro_tokens *tokens, uint32_t *bos_id,
                                    struct entro_message *message)
{
    struct entro_text text = {0};
    enum entro_error error = ENTRO_OK;
    *bos_id = ENTRO_TOKEN_NONE;
    if (!choices->random)
        error = entro_input_read(choices->text, choices->file, &text, message);
    /* As llama-imatrix reads a text: what looks like a special token is text. */
    if (error == ENTRO_OK)
        error = entro_tokenizer_encode(model->tokenizer, text.data, text.size, ENTRO_ENCODE_TEMPLATE, tokens,
                                       message);
    if (error == ENTRO_OK && tokens->n > 0 && entro_tokenizer_adds_bos(model->tokenizer))
        *bos_id = tokens->ids[0];
    if (error == ENTRO_OK && choices->random) {
        size_t n_windows = choices->n_chunks > 0 ? (size_t)choices->n_chunks : DEFAULT_RANDOM_WINDOWS;
        entro_tokens_free(tokens);
        error = draw_tokens(model, (uint64_t)choices->seed, (n_windows < 2 ? 2 : n_windows) * n_window,
                            tokens, message);
    }
    entro_text_free(&text);
    return error;
}

static void describe_dataset(const struct imatrix_choices *choices, char *out, size_t out_bytes)
{
    if (choices->random)
        snprintf(out, out_bytes, "random tokens (seed %" PRId64 ")", choices->seed);
    else
        snprintf(out, out_bytes, "%s", choices->file != NULL ? choices->file : "text");
}

static enum entro_error collect_and_write(const struct imatrix_choices *choices,
                                          const struct entro_engine *engine, size_t n_window,
                                          const struct entro_tokens *tokens, uint32_t bos_id,
                                          struct entro_message *message)
{
    struct entro_imatrix_collection collection;
    double start = entro_now_seconds();
    const struct entro_imatrix_run collect = {
        .backend = engine->backend,
        .weights = &engine->model.weights,
        .n_vocabulary = engine->model.config.n_vocabulary,
        .pool = engine->pool,
        .n_window = n_window,
        .max_windows = choices->n_chunks > 0 ? (size_t)choices->n_chunks : SIZE_MAX,
        .bos_id = bos_id,
        .with_output = choices->with_output,
        /* Those of random tokens were measured to bring nothing. */
        .with_directions = !choices->without_directions && !choices->random,
        .progress = after_window,
        .progress_context = &start,
    };
    enum entro_error error = entro_imatrix_collect(&collection, &collect, tokens->ids, tokens->n, message);
    if (error != ENTRO_OK)
        return error;
    char dataset[ENTRO_IMATRIX_MAX_DATASET];
    describe_dataset(choices, dataset, sizeof dataset);
    const struct entro_imatrix_origin origin = {
        .dataset = dataset, .n_chunks = (uint32_t)collection.n_windows, .chunk_size = (uint32_t)n_window};
    error = entro_imatrix_write(choices->output, choices->force, collection.entries, collection.n_entries,
                                &origin, message);
    if (error == ENTRO_OK)
        fprintf(stderr, "%s: %zu tensors, %zu windows of %zu tokens, %.1f s\n", choices->output,
                collection.n_entries, collection.n_windows, n_window, entro_now_seconds() - start);
    entro_imatrix_collection_free(&collection);
    return error;
}

static enum entro_error check_choices(const struct imatrix_choices *choices, struct entro_message *message)
{
    bool has_text = choices->text != NULL || choices->file != NULL;
    if (choices->random && has_text)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "--random takes the place of a text: give one of them");
    if (!choices->random && !has_text)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "no text: -f FILE names one, --random makes do without");
    return try_output(choices, message);
}

static bool is_auto(const char *choice)
{
    return choice == NULL || strcmp(choice, "auto") == 0;
}

static enum entro_error run(const void *context, struct entro_message *message)
{
    const struct imatrix_choices *choices = context;
    struct entro_engine_options options = choices->engine;
    /* static: the SIGBUS handler looks at the weights. */
    static struct entro_engine engine;
    struct entro_tokens tokens = {0};
    uint32_t bos_id;
    size_t n_window = DEFAULT_WINDOW;
    if (is_auto(options.device) && is_auto(options.gpu_layers))
        options.device = "cpu"; /* only its inputs can be seen */
    enum entro_error error = entro_engine_open(&engine, &options, message);
    if (error == ENTRO_OK)
        error = check_choices(choices, message);
    if (error != ENTRO_OK)
        goto clean_up;
    if (options.n_context > 0 || engine.n_context < n_window)
        n_window = engine.n_context;
    if ((error = make_tokens(choices, &engine.model, n_window, &tokens, &bos_id, message)) != ENTRO_OK ||
        (error = entro_engine_start(&engine, &options, n_window, NULL, message)) != ENTRO_OK)
        goto clean_up;
    error = collect_and_write(choices, &engine, n_window, &tokens, bos_id, message);

clean_up:
    entro_tokens_free(&tokens);
    entro_engine_close(&engine);
    return error;
}

static const char usage[] =
    "usage: entrorun imatrix -m DIR -f FILE -o FILE [options]\n\n"
    "Makes an importance matrix: how large the inputs of every linear layer are on a text, column by "
    "column,\nand in which directions they mostly lie. mkentrofs --imatrix and llama.cpp's llama-quantize "
    "read it, to\nbe more exact where that matters.\n\n"
    "  entrorun imatrix -m /mnt/source -f text.txt -o model.imatrix.gguf\n"
    "  entrorun imatrix -m /mnt/source --random -o model.imatrix.gguf\n\n"
    "DIR holds the model in its source precision (mkentrofs --scheme lossless), FILE a text of the kind that "
    "the\nmodel is for, of some ten thousand words.\n";

int entro_command_imatrix(int argc, char **argv)
{
    struct imatrix_choices choices = {.engine = ENTRO_ENGINE_DEFAULTS, .n_chunks = -1, .seed = 1};
    const struct entro_option options[] = {
        {ENTRO_OPTION_HEADING, NULL, NULL, "model, text and matrix", NULL, 0, 0},
        ENTRO_ENGINE_MODEL_ROW(choices.engine),
        {ENTRO_OPTION_TEXT, "-f, --file", "FILE", "the text; - is standard input", &choices.file, 0, 0},
        {ENTRO_OPTION_TEXT, "-p, --prompt", "TEXT", "the text itself", &choices.text, 0, 0},
        {ENTRO_OPTION_SET, "--random", NULL, "no text: random tokens of the vocabulary", &choices.random, 0,
         0},
        {ENTRO_OPTION_INTEGER, "-s, --seed", "N", "what the random tokens depend on (1)", &choices.seed, 0,
         INT32_MAX},
        {ENTRO_OPTION_TEXT, "-o, --output, --output-file", "FILE", "where the matrix goes, a GGUF file",
         &choices.output, 0, 0},
        {ENTRO_OPTION_SET, "--force", NULL, "replace that file", &choices.force, 0, 0},
        {ENTRO_OPTION_HEADING, NULL, NULL, "collection", NULL, 0, 0},
        {ENTRO_OPTION_INTEGER, "-c, --ctx, --ctx-size", "N",
         "tokens of a window (512, or what the model was made for)", &choices.engine.n_context, 0, 1 << 24},
        {ENTRO_OPTION_INTEGER, "--chunks", "N",
         "at most N windows; -1: all of the text (default), 32 of\nrandom tokens", &choices.n_chunks, -1,
         1 << 20},
        {ENTRO_OPTION_SET, "--process-output", NULL, "the output head too", &choices.with_output, 0, 0},
        {ENTRO_OPTION_SET, "--no-directions", NULL,
         "leave out the inputs' leading directions, as --random\ndoes: the file as llama-imatrix writes it",
         &choices.without_directions, 0, 0},
        {ENTRO_OPTION_HEADING, NULL, NULL, "other", NULL, 0, 0},
        ENTRO_ENGINE_ROWS(choices.engine),
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
