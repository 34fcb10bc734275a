/*
 * From a prompt's tokens to text: runs the prompt, then samples and runs one token after the other, and hands
 * the text out as it comes.
 */
#ifndef ENTRO_RUNNER_GENERATE_H
#define ENTRO_RUNNER_GENERATE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "runner/backend.h"
#include "runner/config.h"
#include "runner/sampler.h"
#include "runner/tokenizer.h"

/* Takes a piece of text: whole UTF-8 characters, never empty. An error ends the generation with that error.
 */
typedef enum entro_error entro_text_sink(void *context, const char *text, size_t size_bytes,
                                         struct entro_message *message);

struct entro_generation {
    struct entro_backend *backend;
    const struct entro_config *config;
    const struct entro_tokenizer *tokenizer;
    struct entro_sampler *sampler;
    size_t n_predict; /* tokens at most; SIZE_MAX: until the context is full */
    size_t n_batch;   /* tokens of the prompt between two looks at an interruption; 0: the backend's */
    bool ignore_eos;  /* an end-of-text token is text like any other */
    entro_text_sink *sink;
    void *sink_context;
    /* The tokens that the backend has run, from position 0 on: what a prompt begins with in the same way is
     * not run again. Kept up to date; the caller's to free. NULL: nothing is known, nothing is kept. */
    struct entro_tokens *past;
    const volatile sig_atomic_t *interrupted; /* may be NULL; set to non-zero by a signal handler to end */
};

enum entro_stop {
    ENTRO_STOP_END_OF_TEXT,
    ENTRO_STOP_LENGTH,  /* n_predict */
    ENTRO_STOP_CONTEXT, /* no room for another token */
    ENTRO_STOP_INTERRUPTED,
};

struct entro_generation_figures {
    enum entro_stop stop;
    size_t n_prompt; /* tokens */
    size_t n_known;  /* of those, what had been run before */
    double prompt_seconds;
    double first_seconds; /* from the start until the first token was picked; 0: none was */
    size_t n_generated;   /* tokens sampled, an end of text among them */
    size_t n_runs;        /* tokens of those that were run through the model: what seconds counts */
    double generation_seconds;
};

/* Whether entro_generate would take a prompt of so many tokens; ENTRO_ERROR_ARGUMENT says why not. */
enum entro_error entro_generation_check(size_t n_prompt, size_t n_context, struct entro_message *message);

/*
 * Runs `prompt`, which starts at position 0, and generates. Blocks. An interruption is no error. *figures is
 * filled as far as it came, whatever happens. ENTRO_ERROR_ARGUMENT: an empty prompt, one that does not fit
 * the context, tokens the model does not have; _FORMAT: logits that are no numbers; _NO_MEMORY; whatever the
 * sink returns.
 */
enum entro_error entro_generate(const struct entro_generation *generation, const uint32_t *prompt,
                                size_t n_prompt, struct entro_generation_figures *figures,
                                struct entro_message *message);

#endif
