/*
 * Times contenders against each other over one set: all in one process, a few megabytes each in turn, round
 * after round, so that what disturbs the machine disturbs all of them alike.
 */
#ifndef ENTRO_BENCH_TIMING_H
#define ENTRO_BENCH_TIMING_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/error.h"
#include "tests/bench/bench_contenders.h"
#include "tests/bench/bench_sets.h"

enum bench_destination {
    BENCH_REUSED, /* one buffer of a block's size, again and again */
    BENCH_FRESH   /* memory that was never touched: its page faults are in the time */
};

struct bench_request {
    const struct bench_set *set;
    const struct bench_contender *contenders;
    size_t n_contenders;
    size_t block_bytes;
    enum bench_destination destination;
    unsigned n_threads; /* one thread is pinned to the processor it is on */
    unsigned n_rounds;
};

struct bench_figures {
    double size_ratio;               /* to the set's order-0 entropy, with index and codebooks */
    double encode_gbps, decode_gbps; /* 10^9 bytes of the set a second, codebooks and plans in the time */
    double encode_plan_ms, decode_plan_ms; /* of it: histogram, lengths and plans; plans */
};

/*
 * Fills figures[n_contenders]. Every round's results are compared with what they should be, outside the
 * timed part. ENTRO_ERROR_NO_MEMORY, _IO (threads), _FORMAT (a contender coded wrongly).
 */
enum entro_error bench_time(const struct bench_request *request, struct bench_figures *figures,
                            struct entro_message *message);

#endif
