/*
 * The golden image: one small image that has a bit of everything that the format has. Its contents follow
 * from formulas alone, which expected.py states a second time; the tests hold both, the committed image and
 * FORMAT.md's second reader against each other.
 */
#ifndef ENTRO_GOLDEN_H
#define ENTRO_GOLDEN_H

#include "codec/error.h"
#include "codec/pool.h"

/* Writes the golden image to `path`, replacing what is there. */
enum entro_error golden_write(const char *path, struct entro_pool *pool, struct entro_message *message);

#endif
