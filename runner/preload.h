/*
 * Weights that are not in memory yet, read before they are used: several large requests at a time, instead of
 * the small ones that page faults make one after another. What is in memory already stays as it is mapped.
 */
#ifndef ENTRO_RUNNER_PRELOAD_H
#define ENTRO_RUNNER_PRELOAD_H

#include <stdint.h>

#include "codec/error.h"
#include "runner/weights.h"

enum entro_preload_mode {
    ENTRO_PRELOAD_CACHED, /* into the page cache, where the next program finds them */
    ENTRO_PRELOAD_DIRECT, /* files that are not wholly in the page cache: past it (O_DIRECT) into memory of
                             the process, which takes the place of the mapping. Fewer copies; but the
                             memory is neither shared nor given back, and the next program reads again. Where
                             the file system does not take O_DIRECT: as above. */
};

struct entro_preload_figures {
    uint64_t read_bytes; /* 0: all was in memory, or there is too little memory for it */
    double seconds;
};

/*
 * Looks what of the mapped files is in the page cache and reads the rest. A model that does not fit the
 * memory that the process may use is left to page faults. Blocks; its threads end with it. ENTRO_ERROR_IO (a
 * file cannot be read; the message names it), _NO_MEMORY.
 */
enum entro_error entro_preload(const struct entro_weights *weights, enum entro_preload_mode mode,
                               struct entro_preload_figures *figures, struct entro_message *message);

#endif
