/*
 * Weights that are not in memory yet, read ahead: several large reads at a time, instead of the small ones
 * that page faults make one after another. What is in memory already is left as it is mapped.
 */
#ifndef ENTRO_RUNNER_PRELOAD_H
#define ENTRO_RUNNER_PRELOAD_H

#include <stdint.h>

#include "codec/error.h"
#include "runner/weights.h"

struct entro_preload_figures {
    uint64_t read_bytes; /* 0: all was in memory, or there is too little memory for it */
    double seconds;
};

/*
 * Looks which pieces of the mapped files are in the page cache and reads the others into it. A model that
 * does not fit the memory that is free is left to page faults. Blocks; its threads end with it.
 * ENTRO_ERROR_IO (a file cannot be read; the message names it), _NO_MEMORY.
 */
enum entro_error entro_preload(const struct entro_weights *weights, struct entro_preload_figures *figures,
                               struct entro_message *message);

#endif
