/* The speed of a model: prompts and generation without text or sampling, as llama-bench measures them. */
#ifndef ENTRO_RUNNER_MEASURE_H
#define ENTRO_RUNNER_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "runner/engine.h"

/* One test: n_prompt tokens in one go, or n_generate one by one, the other is 0. */
struct entro_speed_test {
    size_t n_prompt;
    size_t n_generate;
    size_t n_repetitions;
};

struct entro_speed {
    double mean_seconds, deviation_seconds; /* of a repetition; the sample's standard deviation */
    double mean_rate, deviation_rate;       /* tokens a second */
    double bytes_per_token; /* read from memory for one token: weights, and keys and values on average */
};

/*
 * Runs the test, each repetition from an empty context, with tokens that are the same every time. The
 * repetitions' times go to seconds[n_repetitions]. Before the first a run that does not count: of a prompt as
 * long, or of one token. Errors of the backend; _NO_MEMORY.
 */
enum entro_error entro_speed_measure(const struct entro_engine *engine, const struct entro_speed_test *test,
                                     double *seconds, struct entro_speed *out, struct entro_message *message);

#endif
