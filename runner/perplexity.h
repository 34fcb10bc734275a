/*
 * How well a model predicts a text, and how far its predictions are from another's. Texts are tokens here;
 * windows, scores and standard errors are this file's, printing is a command's.
 */
#ifndef ENTRO_RUNNER_PERPLEXITY_H
#define ENTRO_RUNNER_PERPLEXITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/pool.h"
#include "runner/backend.h"

enum entro_convention {
    /* llama-perplexity's: windows side by side; the first token of each is replaced by the BOS token where
     * the model begins texts with one; what the second half of a window predicts is scored. */
    ENTRO_CONVENTION_LLAMA_CPP,
    /* That of GPTQ (Frantar et al., arXiv 2210.17323) and most papers after it: windows side by side, all
     * but the first token of each are scored, nothing is replaced. */
    ENTRO_CONVENTION_GPTQ,
};

/* A mean over scored tokens and its standard error, as if they were independent. */
struct entro_mean {
    double mean;
    double error;
    double squares; /* sum of squared distances from the mean */
    size_t n;
};

struct entro_perplexity_result {
    size_t n_windows;
    size_t n_scored;        /* tokens */
    struct entro_mean loss; /* -ln p of the token that came; the perplexity is exp of its mean */
    /* Only beside a base: */
    struct entro_mean base_loss;
    struct entro_mean divergence; /* Kullback-Leibler, of the base's distribution from the model's, in nats */
    struct entro_mean same_top;   /* 1 where both hold the same token for the likeliest, else 0 */
};

struct entro_perplexity {
    struct entro_backend *backend;
    struct entro_backend *base; /* of a model with the same vocabulary to compare with; NULL: none */
    const char *base_file;      /* instead of it what save_file was of such a model; NULL: none */
    const char *save_file;      /* where the model's predictions go (saved_logits.h); NULL: nowhere */
    struct entro_pool *pool;    /* that both backends use */
    size_t n_vocabulary;
    enum entro_convention convention;
    size_t n_window;
    size_t max_windows; /* SIZE_MAX: all */
    uint32_t bos_id;    /* ENTRO_TOKEN_NONE: the model begins no text with one */
    /* Called after each window; what it returns other than ENTRO_OK ends the work. May be NULL. */
    enum entro_error (*progress)(void *context, const struct entro_perplexity_result *so_far,
                                 size_t n_windows, struct entro_message *message);
    void *progress_context;
};

/*
 * Scores `tokens`; what does not fill a window is left out. Needs a few rows of logits of memory, whatever
 * the text's length. *result is filled as far as it came. ENTRO_ERROR_ARGUMENT (a window of fewer than 4
 * tokens or more than the contexts hold, a text shorter than two windows, tokens the model does not have),
 * _NO_MEMORY, and those of the backends, of `progress` and of saved_logits.h. save_file is there only when
 * all went well.
 */
enum entro_error entro_perplexity_measure(const struct entro_perplexity *measure, const uint32_t *tokens,
                                          size_t n_tokens, struct entro_perplexity_result *result,
                                          struct entro_message *message);

/* exp of the loss, and its standard error (to first order, as llama.cpp gives it). */
double entro_perplexity_of(const struct entro_mean *loss);
double entro_perplexity_error_of(const struct entro_mean *loss);

#endif
