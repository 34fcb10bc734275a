/* What memory can do: the measure beside which a generation's speed is put, since each token reads the
 * weights once. */
#ifndef ENTRO_RUNNER_BANDWIDTH_H
#define ENTRO_RUNNER_BANDWIDTH_H

#include "codec/error.h"
#include "codec/pool.h"

struct entro_bandwidth {
    double copy_bytes; /* a second, what is read and what is written together, by all threads of the pool */
    double read_bytes; /* a second, read alone */
};

/* The best of several passes over areas that no cache holds; a second or so, and up to 1 GiB for as long.
 * ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_bandwidth_measure(struct entro_pool *pool, struct entro_bandwidth *out,
                                         struct entro_message *message);

#endif
