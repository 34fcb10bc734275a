/* entrorun bench: the speed of a model, in the manner and with the options of llama-bench. Options and
 * output; measure.h and bandwidth.h do the work. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/bandwidth.h"
#include "runner/clock.h"
#include "runner/command.h"
#include "runner/commands.h"
#include "runner/engine.h"
#include "runner/measure.h"

#define MAX_REPETITIONS 1000

struct bench_choices {
    struct entro_engine_options engine;
    int64_t n_prompt, n_generate, n_repetitions;
    const char *output;
    bool help;
};

struct bench {
    struct bench_choices choices;
    struct entro_engine engine;
    struct entro_bandwidth bandwidth;
    double first_seconds; /* from opening the model to the first token of a one-token prompt */
    char type[48];        /* "llama u8" */
    char processor[128];
    json_t *rows;
};

/* The architecture, and how most bytes of the weights are stored. */
static void describe_type(const struct entro_model *model, char *out, size_t out_bytes)
{
    const struct entro_manifest *manifest = &model->manifest;
    const char *best = "";
    uint64_t best_bytes = 0;
    for (size_t i = 0; i < manifest->n_tensors; i++) {
        const struct entro_manifest_tensor *tensor = &manifest->tensors[i];
        uint64_t bytes = 0;
        for (size_t j = 0; j < manifest->n_tensors; j++)
            if (manifest->tensors[j].bits == tensor->bits &&
                (tensor->bits != 0 || manifest->tensors[j].dtype == tensor->dtype))
                bytes += manifest->tensors[j].size_bytes;
        if (bytes > best_bytes) {
            best_bytes = bytes;
            best = tensor->bits == 8 ? "u8" : tensor->bits == 4 ? "u4" : tensor->dtype_name;
        }
    }
    snprintf(out, out_bytes, "%.24s %.20s", model->config.architecture->name, best);
}

static void read_processor(char *out, size_t out_bytes)
{
    char line[256];
    snprintf(out, out_bytes, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *value = strncmp(line, "model name", 10) == 0 ? strstr(line, ": ") : NULL;
        if (value == NULL)
            continue;
        snprintf(out, out_bytes, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
        break;
    }
    if (file != NULL)
        fclose(file);
}

static void print_md_row(const struct bench *bench, const char *name, const struct entro_speed *speed)
{
    char rate[48], bytes[24] = "";
    snprintf(rate, sizeof rate, "%.2f ± %.2f", speed->mean_rate, speed->deviation_rate);
    if (speed->bytes_per_token > 0)
        snprintf(bytes, sizeof bytes, "%.2f", speed->bytes_per_token * speed->mean_rate / 1e9);
    printf("| %-20s | %6.2f MiB | %8.2f M | %-12s | %7u | %8s | %19s | %6s |\n", bench->type,
           (double)bench->engine.model.weights.size_bytes / 1048576,
           (double)bench->engine.model.weights.n_parameters / 1e6, bench->engine.backend->name,
           entro_pool_threads(bench->engine.pool), name, rate, bytes);
    fflush(stdout);
}

static json_t *row_json(const struct bench *bench, const struct entro_speed_test *test,
                        const struct entro_speed *speed, const double *seconds)
{
    const struct entro_engine *engine = &bench->engine;
    size_t n = test->n_prompt + test->n_generate;
    json_t *times = json_array(), *rates = json_array();
    for (size_t i = 0; i < test->n_repetitions; i++) {
        json_array_append_new(times, json_integer((json_int_t)(seconds[i] * 1e9)));
        json_array_append_new(rates, json_real((double)n / (seconds[i] > 0 ? seconds[i] : 1e-9)));
    }
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:o, s:o, s:f, "
        "s:f, s:f, "
        "s:f}",
        "version", ENTRO_VERSION, "cpu_info", bench->processor, "backends", engine->backend->name,
        "model_filename", bench->choices.engine.directory, "model_type", bench->type, "model_size",
        (json_int_t)engine->model.weights.size_bytes, "model_n_params",
        (json_int_t)engine->model.weights.n_parameters, "n_batch", (json_int_t)engine->n_batch, "n_ubatch",
        (json_int_t)engine->backend->n_batch, "n_threads", (json_int_t)entro_pool_threads(engine->pool),
        "n_prompt", (json_int_t)test->n_prompt, "n_gen", (json_int_t)test->n_generate, "avg_ns",
        (json_int_t)(speed->mean_seconds * 1e9), "stddev_ns", (json_int_t)(speed->deviation_seconds * 1e9),
        "avg_ts", speed->mean_rate, "stddev_ts", speed->deviation_rate, "samples_ns", times, "samples_ts",
        rates, "read_gbps", speed->bytes_per_token * speed->mean_rate / 1e9, "memory_copy_gbps",
        bench->bandwidth.copy_bytes / 1e9, "memory_read_gbps", bench->bandwidth.read_bytes / 1e9,
        "first_token_seconds", bench->first_seconds);
}

static enum entro_error run_test(struct bench *bench, size_t n_prompt, size_t n_generate,
                                 struct entro_message *message)
{
    double seconds[MAX_REPETITIONS];
    char name[32];
    const struct entro_speed_test test = {.n_prompt = n_prompt,
                                          .n_generate = n_generate,
                                          .n_repetitions = (size_t)bench->choices.n_repetitions};
    struct entro_speed speed;
    enum entro_error error = entro_speed_measure(&bench->engine, &test, seconds, &speed, message);
    if (error != ENTRO_OK)
        return error;
    snprintf(name, sizeof name, "%s%zu", n_prompt > 0 ? "pp" : "tg", n_prompt + n_generate);
    if (bench->rows == NULL)
        print_md_row(bench, name, &speed);
    else if (json_array_append_new(bench->rows, row_json(bench, &test, &speed, seconds)) != 0)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the figures");
    return ENTRO_OK;
}

/* The time that a user waits: one token through all weights, wherever they are. */
static enum entro_error run_first_token(struct bench *bench, double start, struct entro_message *message)
{
    const uint32_t token = 0;
    float *logits = calloc(bench->engine.model.config.n_vocabulary, sizeof *logits);
    if (logits == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the logits");
    enum entro_error error =
        bench->engine.backend->forward(bench->engine.backend, &token, 1, 0, logits, message);
    bench->first_seconds = entro_now_seconds() - start;
    free(logits);
    return error;
}

static enum entro_error run_tests(struct bench *bench, struct entro_message *message)
{
    const struct bench_choices *choices = &bench->choices;
    enum entro_error error = entro_bandwidth_measure(bench->engine.pool, &bench->bandwidth, message);
    describe_type(&bench->engine.model, bench->type, sizeof bench->type);
    read_processor(bench->processor, sizeof bench->processor);
    if (error == ENTRO_OK && bench->rows == NULL)
        printf("| %-20s | %10s | %10s | %-12s | threads | %8s | %19s | %6s |\n"
               "| -------------------- | ---------: | ---------: | ------------ | ------: | -------: | "
               "------------------: | -----: |\n",
               "model", "size", "params", "backend", "test", "t/s", "GB/s");
    if (error == ENTRO_OK && choices->n_prompt > 0)
        error = run_test(bench, (size_t)choices->n_prompt, 0, message);
    if (error == ENTRO_OK && choices->n_generate > 0)
        error = run_test(bench, 0, (size_t)choices->n_generate, message);
    if (error != ENTRO_OK)
        return error;
    if (bench->rows != NULL) {
        if (json_dumpf(bench->rows, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(8)) != 0)
            return entro_fail(message, ENTRO_ERROR_IO, "the figures cannot be written");
        putchar('\n');
        return ENTRO_OK;
    }
    printf("\nmemory, %u threads: copying moves %.2f GB/s (read and written), reading %.2f GB/s; GB/s above: "
           "weights, keys and values read\nfirst token %.3f s after the start, of which %.3f s to read %.1f "
           "MB ahead; %s\n",
           entro_pool_threads(bench->engine.pool), bench->bandwidth.copy_bytes / 1e9,
           bench->bandwidth.read_bytes / 1e9, bench->first_seconds, bench->engine.preload.seconds,
           (double)bench->engine.preload.read_bytes / 1e6, bench->processor);
    return ENTRO_OK;
}

static enum entro_error run(const void *context, struct entro_message *message)
{
    const struct bench_choices *choices = context;
    /* static: the SIGBUS handler looks at the weights. */
    static struct bench bench;
    double start = entro_now_seconds();
    int64_t n_tokens = choices->n_prompt > choices->n_generate ? choices->n_prompt : choices->n_generate;
    enum entro_error error;
    bench.choices = *choices;
    if (n_tokens == 0)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "-p 0 and -n 0: nothing to measure");
    if (strcmp(choices->output, "json") == 0) {
        if ((bench.rows = json_array()) == NULL)
            return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the figures");
    } else if (strcmp(choices->output, "md") != 0) {
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "-o %s: there are md and json", choices->output);
    }
    bench.choices.engine.n_context = n_tokens;
    if ((error = entro_engine_open(&bench.engine, &bench.choices.engine, message)) == ENTRO_OK &&
        (error = entro_engine_start(&bench.engine, &bench.choices.engine, (size_t)n_tokens, NULL, message)) ==
            ENTRO_OK &&
        (error = run_first_token(&bench, start, message)) == ENTRO_OK)
        error = run_tests(&bench, message);
    if (error == ENTRO_OK)
        entro_command_print_device(&bench.engine);
    entro_engine_close(&bench.engine);
    json_decref(bench.rows);
    return error;
}

static const char usage[] =
    "usage: entrorun bench -m DIR [options]\n\n"
    "Measures tokens a second, as llama-bench does: pp512 is a prompt of 512 tokens in one go, tg128 "
    "128 tokens "
    "one by one.\nA run that does not count comes first. GB/s is what a generation reads; below the "
    "table is "
    "what memory can do.\n\n"
    "  entrorun bench -m /mnt/model\n"
    "  entrorun bench -m /mnt/model -p 0 -n 64 -r 3 -o json\n";

int entro_command_bench(int argc, char **argv)
{
    struct bench_choices choices = {.engine = ENTRO_ENGINE_DEFAULTS,
                                    .n_prompt = 512,
                                    .n_generate = 128,
                                    .n_repetitions = 5,
                                    .output = "md"};
    const struct entro_option options[] = {
        {ENTRO_OPTION_HEADING, NULL, NULL, "options", NULL, 0, 0},
        ENTRO_ENGINE_MODEL_ROW(choices.engine),
        {ENTRO_OPTION_INTEGER, "-p, --n-prompt", "N", "tokens of the prompt (512); 0: not that test",
         &choices.n_prompt, 0, 1 << 20},
        {ENTRO_OPTION_INTEGER, "-n, --n-gen", "N", "tokens to generate (128); 0: not that test",
         &choices.n_generate, 0, 1 << 20},
        {ENTRO_OPTION_INTEGER, "-r, --repetitions", "N", "how many times (5)", &choices.n_repetitions, 1,
         MAX_REPETITIONS},
        {ENTRO_OPTION_TEXT, "-o, --output", "FORMAT", "md (default) or json", &choices.output, 0, 0},
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
