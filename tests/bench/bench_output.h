/*
 * How bench_codec tells its results: a table for people, an array of JSON objects for programs.
 */
#ifndef ENTRO_BENCH_OUTPUT_H
#define ENTRO_BENCH_OUTPUT_H

#include <stdbool.h>

#include "tests/bench/bench_timing.h"

/* Printed before the rows. JSON: nothing. */
void bench_print_head(bool as_json, const char *processor);

/* The figures of one request: a row for each of ours, with the others' beside it. JSON rows are kept until
 * bench_print_end. */
void bench_print_request(bool as_json, const struct bench_request *request,
                         const struct bench_figures *figures, const char *processor);

void bench_print_end(bool as_json);

/* The processor's name, as the system gives it. */
const char *bench_processor(void);

#endif
