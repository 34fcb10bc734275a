/*
 * mkentrofs: signals, messages and exit codes. The work is build.h's.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "codec/pivot.h"
#include "codec/standard_files.h"
#include "mkentrofs/build.h"
#include "mkentrofs/options.h"
#include "mkentrofs/page.h"
#include "mkentrofs/plan.h"
#include "mkentrofs/report.h"

/* Part of the interface: see the man page. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_RUNTIME = 1,
    EXIT_USAGE = 2,
    EXIT_BAD_SOURCE = 3,
    EXIT_INTERRUPTED = 130,
};

/* Fewer bits a weight get a warning. */
#define LOW_BPW 3.5

static atomic_bool interrupted;

static void handle_signal(int signal_number)
{
    (void)signal_number;
    atomic_store_explicit(&interrupted, true, memory_order_relaxed);
}

static void set_up_signals(void)
{
    struct sigaction stop = {.sa_handler = handle_signal};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction hangup;
    sigemptyset(&stop.sa_mask);
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    /* nohup asks that this one be ignored */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &stop, NULL);
    /* Writes then fail with an error, which is told, instead of ending the program with its temporary file
     * left behind. */
    sigaction(SIGXFSZ, &ignore, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

/* One line, whatever bytes a file brought into the text. */
static void print_line(const char *kind, const char *text)
{
    fprintf(stderr, "mkentrofs: %s", kind);
    for (const char *c = text; *c; c++)
        fputc((unsigned char)*c < 32 || *c == 127 ? '?' : *c, stderr);
    fputc('\n', stderr);
}

struct console {
    bool quiet;
    struct entro_progress progress;
};

static void print_note(void *context, bool is_warning, const char *text)
{
    struct console *console = context;
    if (console->quiet)
        return;
    entro_progress_clear(&console->progress);
    print_line(is_warning ? "warning: " : "", text);
}

static enum exit_code exit_code_of(enum entro_error error)
{
    switch (error) {
    case ENTRO_OK:
        return EXIT_OK;
    case ENTRO_ERROR_FORMAT:
    case ENTRO_ERROR_UNSUPPORTED:
    case ENTRO_ERROR_NOT_FOUND:
    case ENTRO_ERROR_CHECKSUM:
        return EXIT_BAD_SOURCE;
    case ENTRO_ERROR_ARGUMENT:
        return EXIT_USAGE;
    case ENTRO_ERROR_CANCELLED:
        return EXIT_INTERRUPTED;
    case ENTRO_ERROR_NO_MEMORY:
    case ENTRO_ERROR_IO:
    case ENTRO_ERROR_EXISTS:
        break;
    }
    return EXIT_RUNTIME;
}

static enum entro_error print_report(const struct entro_mkentrofs_options *options,
                                     const struct entro_report *report, struct entro_message *message)
{
    if (options->report == ENTRO_REPORT_JSON) {
        if (entro_report_json(stdout, report))
            return entro_fail(message, ENTRO_ERROR_NO_MEMORY,
                              "out of memory for the report; the image is complete");
    } else if (!options->quiet) {
        entro_report_table(stdout, report);
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        return entro_fail(message, ENTRO_ERROR_IO, "cannot write the report; the image is complete");
    return ENTRO_OK;
}

static enum entro_error print_plan(const struct entro_mkentrofs_options *options,
                                   const struct entro_plan *plan, struct entro_message *message)
{
    if (options->report == ENTRO_REPORT_JSON) {
        if (entro_plan_json(stdout, plan))
            return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for the plan");
    } else if (!options->quiet && entro_plan_table(stdout, plan)) {
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for the plan");
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        return entro_fail(message, ENTRO_ERROR_IO, "cannot write the plan");
    return ENTRO_OK;
}

static enum entro_error run_plan(const struct entro_mkentrofs_options *options,
                                 const struct entro_source_tree *tree, struct entro_pool *pool,
                                 const struct entro_monitor *monitor, struct entro_message *message)
{
    struct entro_plan plan;
    enum entro_error error = entro_plan_make(&plan, tree, &options->plan, pool, monitor, message);
    if (error)
        return error;
    entro_progress_clear(monitor->progress);
    if (options->page_path)
        error =
            entro_plan_page_write(options->page_path, options->replace, options->source_path, &plan, message);
    if (!error)
        error = print_plan(options, &plan, message);
    entro_plan_free(&plan);
    return error;
}

static enum entro_error run(const struct entro_mkentrofs_options *options,
                            const struct entro_monitor *monitor, struct entro_message *message)
{
    double start_seconds = entro_seconds();
    bool plans = options->action == ENTRO_MKENTROFS_PLAN;
    struct entro_code_counts codes = {0};
    struct entro_build_options build = {.image_path = options->image_path,
                                        .replace = options->replace,
                                        .block_log2 = options->block_log2,
                                        .plan = options->plan};
    struct entro_source_options source = {.path = options->source_path,
                                          .image_path = options->image_path,
                                          .n_excludes = options->n_excludes,
                                          .excludes = options->excludes};
    if (!plans && !options->replace && access(options->image_path, F_OK) == 0)
        return entro_fail(message, ENTRO_ERROR_EXISTS, "%s exists already: --force replaces it",
                          options->image_path);
    if (options->page_path && !options->replace && access(options->page_path, F_OK) == 0)
        return entro_fail(message, ENTRO_ERROR_EXISTS, "%s exists already: --force replaces it",
                          options->page_path);
    if (build.plan.treatment == ENTRO_TREATMENT_MIXED && build.plan.bits == 4)
        entro_monitor_warn(
            monitor, "--bits 4 with --scheme mixed destroys the quality of most models: look at the SNR, and "
                     "at what the model writes");
    if (!plans && build.plan.treatment == ENTRO_TREATMENT_BALANCED && build.plan.bpw < LOW_BPW)
        entro_monitor_warn(monitor, "under %.1f bits a weight most models lose much: look at what it writes",
                           LOW_BPW);
    struct entro_pool *pool;
    enum entro_error error = entro_pool_create(&pool, options->n_threads);
    if (error)
        return entro_fail(message, error, "cannot start %u threads: %s", options->n_threads,
                          entro_error_name(error));
    struct entro_source_tree tree;
    if ((error = entro_source_open(&tree, &source, monitor, message)))
        goto free_pool;
    if (plans) {
        error = run_plan(options, &tree, pool, monitor, message);
        goto free_tree;
    }
    if (options->page_path && !entro_code_counts_create(&codes, &tree)) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto free_tree;
    }
    build.codes = options->page_path ? &codes : NULL;
    struct entro_build_result result;
    if ((error = entro_build(&result, &tree, &build, pool, monitor, message)))
        goto free_codes;
    entro_progress_clear(monitor->progress);
    struct entro_report report = {.source_path = options->source_path,
                                  .image_path = options->image_path,
                                  .tree = &tree,
                                  .options = &build,
                                  .result = &result,
                                  .n_threads = options->n_threads,
                                  .seconds = entro_seconds() - start_seconds};
    if (options->page_path)
        error = entro_page_write(options->page_path, options->replace, &report, message);
    if (!error)
        error = print_report(options, &report, message);
    entro_build_result_free(&result);

free_codes:
    entro_code_counts_free(&codes);
free_tree:
    entro_source_free(&tree);
free_pool:
    entro_pool_free(pool);
    return error;
}

int main(int argc, char **argv)
{
    if (!entro_keep_standard_files())
        return EXIT_RUNTIME;
    struct entro_mkentrofs_options options;
    struct entro_message message = {""};
    enum entro_error error = entro_mkentrofs_options_parse(&options, argc, argv, &message);
    if (error) {
        print_line("", message.text);
        if (error == ENTRO_ERROR_ARGUMENT)
            fputs(entro_mkentrofs_usage, stderr);
        return exit_code_of(error);
    }
    if (!entro_mkentrofs_has_source(options.action)) {
        fputs(options.action == ENTRO_MKENTROFS_HELP ? entro_mkentrofs_help : "mkentrofs " ENTRO_VERSION "\n",
              stdout);
        entro_mkentrofs_options_free(&options);
        return fflush(stdout) == 0 ? EXIT_OK : EXIT_RUNTIME;
    }
    set_up_signals();
    struct console console = {.quiet = options.quiet};
    entro_progress_init(&console.progress, !options.quiet && isatty(STDERR_FILENO) ? stderr : NULL);
    struct entro_monitor monitor = {
        .cancelled = &interrupted, .progress = &console.progress, .context = &console, .note = print_note};
    error = entro_pivot_check_kernel(&message);
    if (!error)
        error = run(&options, &monitor, &message);
    entro_progress_clear(&console.progress);
    if (error)
        print_line("", message.text[0] ? message.text : entro_error_name(error));
    entro_progress_destroy(&console.progress);
    entro_mkentrofs_options_free(&options);
    return exit_code_of(error);
}
