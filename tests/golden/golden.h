/*
 * The golden image: one small image that has a bit of everything that the format has. Its contents follow
 * from formulas alone, which expected.py states a second time; the tests hold both, the committed image and
 * FORMAT.md's second reader against each other.
 */
#ifndef ENTRO_GOLDEN_H
#define ENTRO_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/pool.h"

/* Writes the golden image to `path`, replacing what is there. */
enum entro_error golden_write(const char *path, struct entro_pool *pool, struct entro_message *message);

/* What the golden frame holds: a coded block, a constant one and a raw one. */
#define GOLDEN_FRAME_CONTENT_BYTES ((size_t)2 * 65536 + 3000)
void golden_frame_content(uint8_t target[GOLDEN_FRAME_CONTENT_BYTES]);

#endif
