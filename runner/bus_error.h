/*
 * A mapped weight that cannot be read (a damaged block on the mount, a file cut short) arrives as SIGBUS.
 * This turns it into one line that names the file, and an exit code.
 */
#ifndef ENTRO_RUNNER_BUS_ERROR_H
#define ENTRO_RUNNER_BUS_ERROR_H

#include "runner/weights.h"

/* A model, and one that it is compared with. */
#define ENTRO_BUS_ERROR_MAX_WEIGHTS 2

/*
 * From now on a SIGBUS inside a mapping of `weights` (which may still be filled) writes "PROGRAM: FILE: ..."
 * to standard error and ends the process with `exit_code`; one elsewhere has its default effect. `program`
 * and `weights` must stay valid. For ENTRO_BUS_ERROR_MAX_WEIGHTS sets of weights in the
 * process (more are not explained), from one thread.
 */
void entro_bus_error_explain(const struct entro_weights *weights, const char *program, int exit_code);

#endif
