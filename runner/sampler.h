/*
 * The choice of the next token from the logits. Filters run in llama.cpp's order: repetition penalty, top-k,
 * top-p, min-p, then temperature.
 */
#ifndef ENTRO_RUNNER_SAMPLER_H
#define ENTRO_RUNNER_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "runner/backend.h"

struct entro_sampling {
    float temperature;    /* <= 0: always the most likely token, without the three filters below */
    size_t top_k;         /* only the k most likely tokens; 0: all */
    float top_p;          /* only the most likely ones that together have this probability; 1: all */
    float min_p;          /* only those with this share of the most likely one's probability; 0: all */
    float repeat_penalty; /* logits of recent tokens are divided by it (multiplied where negative); 0 and 1:
                             no penalty. Counts at temperature 0 too. */
    size_t repeat_last_n; /* how many tokens are recent */
    uint64_t seed;        /* the same seed and logits give the same tokens on every machine */
};

struct entro_sampler;

/* The caller frees. ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_sampler_create(struct entro_sampler **out, const struct entro_sampling *sampling,
                                      size_t n_vocabulary);
void entro_sampler_free(struct entro_sampler *sampler);

/* The text goes on with `token`, of the prompt or picked: it is recent from now on. */
void entro_sampler_accept(struct entro_sampler *sampler, uint32_t token);

/*
 * Picks a token; of equally likely ones the lowest id comes first. ENTRO_ERROR_FORMAT where a logit is no
 * number: such a model cannot be run. One thread at a time.
 */
enum entro_error entro_sampler_pick(struct entro_sampler *sampler, const float *logits, uint32_t *token,
                                    struct entro_message *message);

/* Whether a backend's `pick` can take the sampler's place: no penalty, and not too many candidates. */
bool entro_sampler_can_delegate(const struct entro_sampler *sampler);

/* What such a `pick` needs for the next token. Draws the random number that entro_sampler_pick would draw, so
 * the same seed gives the same text. */
struct entro_pick entro_sampler_delegate(struct entro_sampler *sampler);

#endif
