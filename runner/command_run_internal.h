/* What the parts of entrorun run share: its options, and the way from tokens to text on standard output. */
#ifndef ENTRO_RUNNER_COMMAND_RUN_INTERNAL_H
#define ENTRO_RUNNER_COMMAND_RUN_INTERNAL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "runner/engine.h"
#include "runner/generate.h"

struct run_choices {
    struct entro_engine_options engine;
    const char *prompt, *prompt_file, *system, *chat_template;
    int64_t n_predict, seed, top_k, repeat_last_n;
    float temperature, top_p, min_p, repeat_penalty;
    bool no_chat, conversation, escape, ignore_eos, figures, verbose, help;
};

struct run {
    const struct run_choices *choices;
    struct entro_engine engine;
    struct entro_sampler *sampler;
    uint64_t seed;
    double
        start; /* seconds from the program's start to the first generation's; until run_start when that was */
};

/* Set by a SIGINT that run_catch_interrupt waits for. */
extern volatile sig_atomic_t run_interrupted;

/* The next SIGINT sets run_interrupted; one after it has its default effect. With `restart` calls that it
 * falls into go on, else they fail with EINTR. */
void run_catch_interrupt(bool restart);

/* Threads, weights and backend, when all that could be wrong with the prompt has been seen. With -v says what
 * the model is, and the tokens of the prompt. Errors of entro_engine_start. */
enum entro_error run_start(struct run *run, const struct entro_tokens *prompt, struct entro_message *message);

/*
 * Generates from `prompt` to standard output, the last line ended. `past` and `answer` (the text is appended)
 * may be NULL. An interruption is no error: figures->stop tells. `message` is filled on errors.
 */
enum entro_error run_generate(struct run *run, const struct entro_tokens *prompt, struct entro_tokens *past,
                              struct entro_text *answer, struct entro_generation_figures *figures,
                              struct entro_message *message);

/* Figures of a generation to standard error. */
void run_print_figures(const struct run *run, const struct entro_generation_figures *figures);

/* A conversation, of an engine not yet started: lines of standard input (after `first`, unless that is empty)
 * are the user's, answers go to standard output. _CANCELLED: interrupted while waiting for a line. */
enum entro_error run_chat(struct run *run, const struct entro_text *first, struct entro_message *message);

#endif
