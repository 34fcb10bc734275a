/* How often each byte value comes up. */
#ifndef ENTRO_HISTOGRAM_H
#define ENTRO_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "codec/lengths.h"

/* Adds to counts; n is less than 2^32. */
void entro_histogram(const uint8_t *bytes, size_t n, uint64_t counts[ENTRO_N_SYMBOLS]);

#endif
