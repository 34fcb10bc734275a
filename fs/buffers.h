/*
 * Memory for decoded blocks, reused: the buffer given back last is taken first, since it is the one that is
 * still in a processor's cache. What whole blocks had is kept until the end, so that there is never more than
 * was in use at once. All functions are thread-safe.
 */
#ifndef ENTRO_FS_BUFFERS_H
#define ENTRO_FS_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

struct entro_buffers;

/* NULL where memory is short, as for take. */
struct entro_buffers *entro_buffers_create(void);
/* All buffers have been given back. NULL is allowed. */
void entro_buffers_free(struct entro_buffers *buffers);

/* size_bytes of memory for one block, aligned to a cache line. */
uint8_t *entro_buffer_take(struct entro_buffers *buffers, size_t size_bytes);
void entro_buffer_give(uint8_t *buffer); /* to those that it was taken from */

#endif
