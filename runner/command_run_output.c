/* From tokens to text on standard output and figures on standard error; see command_run_internal.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/clock.h"
#include "runner/command.h"
#include "runner/command_run_internal.h"

volatile sig_atomic_t run_interrupted;

static void on_interrupt(int number)
{
    (void)number;
    run_interrupted = 1;
}

void run_catch_interrupt(bool restart)
{
    struct sigaction action = {.sa_handler = on_interrupt,
                               .sa_flags = (int)SA_RESETHAND | (restart ? SA_RESTART : 0)};
    sigemptyset(&action.sa_mask);
    run_interrupted = 0;
    sigaction(SIGINT, &action, NULL);
}

struct output {
    struct entro_text *answer; /* may be NULL */
    char last;
};

static enum entro_error print_text(void *context, const char *text, size_t size_bytes,
                                   struct entro_message *message)
{
    struct output *output = context;
    if (fwrite(text, 1, size_bytes, stdout) != size_bytes || fflush(stdout) != 0)
        return entro_fail(message, ENTRO_ERROR_IO, "cannot write the text: %s", strerror(errno));
    output->last = text[size_bytes - 1];
    return output->answer == NULL ? ENTRO_OK : entro_text_append(output->answer, text, size_bytes, message);
}

enum entro_error run_generate(struct run *run, const struct entro_tokens *prompt, struct entro_tokens *past,
                              struct entro_text *answer, struct entro_generation_figures *figures,
                              struct entro_message *message)
{
    struct output output = {.answer = answer, .last = '\n'};
    const struct run_choices *choices = run->choices;
    const struct entro_generation generation = {
        .backend = run->engine.backend,
        .config = &run->engine.model.config,
        .tokenizer = run->engine.model.tokenizer,
        .sampler = run->sampler,
        .n_predict = choices->n_predict < 0 ? SIZE_MAX : (size_t)choices->n_predict,
        .n_batch = run->engine.n_batch,
        .ignore_eos = choices->ignore_eos,
        .sink = print_text,
        .sink_context = &output,
        .past = past,
        .interrupted = &run_interrupted,
    };
    run_catch_interrupt(true);
    enum entro_error error = entro_generate(&generation, prompt->ids, prompt->n, figures, message);
    if (output.last != '\n')
        putchar('\n');
    if (fflush(stdout) != 0 && error == ENTRO_OK)
        error = entro_fail(message, ENTRO_ERROR_IO, "cannot write the text: %s", strerror(errno));
    return error;
}

static double rate(size_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

void run_print_figures(const struct run *run, const struct entro_generation_figures *figures)
{
    static const char *const stops[] = {
        [ENTRO_STOP_END_OF_TEXT] = "end of text",
        [ENTRO_STOP_LENGTH] = "-n reached",
        [ENTRO_STOP_CONTEXT] = "context full",
        [ENTRO_STOP_INTERRUPTED] = "interrupted",
    };
    const struct entro_engine *engine = &run->engine;
    unsigned n_threads = entro_pool_threads(engine->pool);
    size_t n_run = figures->n_prompt - figures->n_known;
    entro_command_print_device(engine);
    fprintf(stderr, "load:       %.3f s, %.1f M parameters, %.1f MB mapped, %s, %u thread%s\n",
            engine->open_seconds, (double)engine->model.weights.n_parameters / 1e6,
            (double)engine->model.weights.size_bytes / 1e6, engine->backend->name, n_threads,
            n_threads == 1 ? "" : "s");
    if (engine->preload.read_bytes > 0)
        fprintf(stderr, "            of that %.3f s to read %.1f MB ahead, %.2f GB/s\n",
                engine->preload.seconds, (double)engine->preload.read_bytes / 1e6,
                (double)engine->preload.read_bytes / 1e9 / engine->preload.seconds);
    fprintf(stderr, "prompt:     %zu tokens, %.3f s, %.1f tokens/s", figures->n_prompt,
            figures->prompt_seconds, rate(n_run, figures->prompt_seconds));
    if (figures->n_known > 0)
        fprintf(stderr, ", %zu known from before", figures->n_known);
    fprintf(stderr, "\ngeneration: %zu tokens, %.3f s, %.1f tokens/s (%s)\n", figures->n_generated,
            figures->generation_seconds, rate(figures->n_runs, figures->generation_seconds),
            stops[figures->stop]);
    if (figures->n_generated > 0)
        fprintf(stderr, "first token %.3f s after the start\n", figures->first_seconds + run->start);
}
