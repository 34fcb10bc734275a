/* Choosing a token; see sampler.h. */
#include "runner/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "runner/random.h"

struct candidate {
    float logit;
    uint32_t token;
};

struct entro_sampler {
    struct entro_sampling sampling;
    size_t n_vocabulary;
    struct entro_random random;
    struct candidate *candidates; /* [n_vocabulary] */
    double *probabilities;        /* [n_vocabulary] of the candidates */
    float *penalized;             /* [n_vocabulary] the logits with the penalty; NULL: there is none */
    uint32_t *recent;             /* [repeat_last_n] a ring of tokens */
    size_t n_accepted;            /* since the start; the ring holds the last of them */
};

enum entro_error entro_sampler_create(struct entro_sampler **out, const struct entro_sampling *sampling,
                                      size_t n_vocabulary)
{
    struct entro_sampler *sampler = calloc(1, sizeof *sampler);
    if (sampler == NULL)
        return ENTRO_ERROR_NO_MEMORY;
    sampler->sampling = *sampling;
    sampler->n_vocabulary = n_vocabulary;
    sampler->candidates = calloc(n_vocabulary, sizeof *sampler->candidates);
    sampler->probabilities = calloc(n_vocabulary, sizeof *sampler->probabilities);
    bool penalty =
        sampling->repeat_penalty > 0 && sampling->repeat_penalty != 1 && sampling->repeat_last_n > 0;
    if (penalty) {
        sampler->penalized = calloc(n_vocabulary, sizeof *sampler->penalized);
        sampler->recent = calloc(sampling->repeat_last_n, sizeof *sampler->recent);
    }
    if (sampler->candidates == NULL || sampler->probabilities == NULL ||
        (penalty && (sampler->penalized == NULL || sampler->recent == NULL))) {
        entro_sampler_free(sampler);
        return ENTRO_ERROR_NO_MEMORY;
    }
    sampler->random = entro_random_from(sampling->seed);
    *out = sampler;
    return ENTRO_OK;
}

void entro_sampler_free(struct entro_sampler *sampler)
{
    if (sampler == NULL)
        return;
    free(sampler->candidates);
    free(sampler->probabilities);
    free(sampler->penalized);
    free(sampler->recent);
    free(sampler);
}

/* Negative where a is the likelier one. */
static int compare(const struct candidate *a, const struct candidate *b)
{
    if (a->logit != b->logit)
        return a->logit > b->logit ? -1 : 1;
    return a->token < b->token ? -1 : a->token > b->token;
}

static int compare_for_qsort(const void *a, const void *b)
{
    return compare(a, b);
}

/* The heap's root is the least likely of the k candidates. */
static void sift_down(struct candidate *heap, size_t n, size_t i)
{
    for (;;) {
        size_t worst = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (compare(&heap[child], &heap[worst]) > 0)
                worst = child;
        if (worst == i)
            return;
        struct candidate other = heap[i];
        heap[i] = heap[worst];
        heap[worst] = other;
        i = worst;
    }
}

/* The k most likely tokens, likeliest first. A heap of k is far cheaper than sorting a vocabulary. */
static size_t select_top_k(struct entro_sampler *sampler, const float *logits)
{
    struct candidate *candidates = sampler->candidates;
    size_t k = sampler->sampling.top_k, n = sampler->n_vocabulary;
    if (k == 0 || k > n)
        k = n;
    for (size_t i = 0; i < k; i++)
        candidates[i] = (struct candidate){.logit = logits[i], .token = (uint32_t)i};
    if (k < n) {
        for (size_t i = k / 2; i-- > 0;)
            sift_down(candidates, k, i);
        for (size_t i = k; i < n; i++) {
            struct candidate next = {.logit = logits[i], .token = (uint32_t)i};
            if (compare(&next, &candidates[0]) < 0) {
                candidates[0] = next;
                sift_down(candidates, k, 0);
            }
        }
    }
    qsort(candidates, k, sizeof *candidates, compare_for_qsort);
    return k;
}

/* Probabilities of the first n candidates at this temperature. */
static void probabilities_at(struct entro_sampler *sampler, size_t n, double temperature)
{
    double sum = 0, largest = (double)sampler->candidates[0].logit;
    for (size_t i = 0; i < n; i++) {
        sampler->probabilities[i] = exp(((double)sampler->candidates[i].logit - largest) / temperature);
        sum += sampler->probabilities[i];
    }
    for (size_t i = 0; i < n; i++)
        sampler->probabilities[i] /= sum;
}

static size_t filter(struct entro_sampler *sampler, size_t n)
{
    const struct entro_sampling *sampling = &sampler->sampling;
    probabilities_at(sampler, n, 1.0);
    if (sampling->top_p < 1.0F) {
        double sum = 0;
        size_t kept = 0;
        while (kept < n && (kept == 0 || sum < (double)sampling->top_p))
            sum += sampler->probabilities[kept++];
        n = kept;
    }
    if (sampling->min_p > 0) {
        double smallest = (double)sampling->min_p * sampler->probabilities[0];
        size_t kept = 1;
        while (kept < n && sampler->probabilities[kept] >= smallest)
            kept++;
        n = kept;
    }
    return n;
}

static double draw_point(struct entro_sampler *sampler)
{
    return entro_random_point(&sampler->random);
}

static uint32_t draw(struct entro_sampler *sampler, size_t n)
{
    probabilities_at(sampler, n, (double)sampler->sampling.temperature);
    double point = draw_point(sampler), sum = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        sum += sampler->probabilities[i];
        if (point < sum)
            return sampler->candidates[i].token;
    }
    return sampler->candidates[n - 1].token;
}

void entro_sampler_accept(struct entro_sampler *sampler, uint32_t token)
{
    if (sampler->recent != NULL && token < sampler->n_vocabulary)
        sampler->recent[sampler->n_accepted++ % sampler->sampling.repeat_last_n] = token;
}

/* Keskar et al., arXiv 1909.05858, section 4.1: each recent token once, however often it came. */
static const float *penalize(struct entro_sampler *sampler, const float *logits)
{
    if (sampler->recent == NULL)
        return logits;
    float penalty = sampler->sampling.repeat_penalty;
    size_t n = sampler->n_accepted < sampler->sampling.repeat_last_n ? sampler->n_accepted
                                                                     : sampler->sampling.repeat_last_n;
    memcpy(sampler->penalized, logits, sampler->n_vocabulary * sizeof *logits);
    for (size_t i = 0; i < n; i++) {
        uint32_t token = sampler->recent[i];
        sampler->penalized[token] = logits[token] > 0 ? logits[token] / penalty : logits[token] * penalty;
    }
    return sampler->penalized;
}

enum entro_error entro_sampler_pick(struct entro_sampler *sampler, const float *logits, uint32_t *token,
                                    struct entro_message *message)
{
    size_t best = 0;
    logits = penalize(sampler, logits);
    for (size_t i = 0; i < sampler->n_vocabulary; i++) {
        if (!isfinite(logits[i]))
            return entro_fail(
                message, ENTRO_ERROR_FORMAT,
                "the logit of token %zu is no number: the weights hold NaN or infinity, or are damaged", i);
        if (logits[i] > logits[best])
            best = i;
    }
    if (sampler->sampling.temperature <= 0)
        *token = (uint32_t)best;
    else
        *token = draw(sampler, filter(sampler, select_top_k(sampler, logits)));
    return ENTRO_OK;
}

bool entro_sampler_can_delegate(const struct entro_sampler *sampler)
{
    const struct entro_sampling *sampling = &sampler->sampling;
    return sampler->recent == NULL &&
           (sampling->temperature <= 0 || (sampling->top_k > 0 && sampling->top_k <= ENTRO_MAX_PICK_TOP_K));
}

struct entro_pick entro_sampler_delegate(struct entro_sampler *sampler)
{
    const struct entro_sampling *sampling = &sampler->sampling;
    return (struct entro_pick){.temperature = sampling->temperature,
                               .top_k = sampling->top_k,
                               .top_p = sampling->top_p,
                               .min_p = sampling->min_p,
                               .point = sampling->temperature <= 0 ? 0 : draw_point(sampler)};
}
