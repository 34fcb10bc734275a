/* A stack of free buffers; each is preceded by a line that says whose and how large it is. See buffers.h. */
#include "fs/buffers.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define LINE_BYTES 64

/* More free buffers than this are given back to the system: they are not in a cache any more. */
#define MAX_FREE 16

struct line {
    struct entro_buffers *owner;
    size_t size_bytes;
    struct line *next; /* in the stack */
};
static_assert(sizeof(struct line) <= LINE_BYTES, "it fits before the bytes");

struct entro_buffers {
    pthread_mutex_t mutex; /* protects what follows */
    struct line *newest;
    size_t n_free;
};

struct entro_buffers *entro_buffers_create(void)
{
    struct entro_buffers *buffers = calloc(1, sizeof *buffers);
    if (buffers != NULL)
        pthread_mutex_init(&buffers->mutex, NULL);
    return buffers;
}

void entro_buffers_free(struct entro_buffers *buffers)
{
    if (buffers == NULL)
        return;
    while (buffers->newest != NULL) {
        struct line *next = buffers->newest->next;
        free(buffers->newest);
        buffers->newest = next;
    }
    pthread_mutex_destroy(&buffers->mutex);
    free(buffers);
}

/* Blocks of an image have one size but for the last of a plane, so that the newest buffer nearly always fits.
 */
uint8_t *entro_buffer_take(struct entro_buffers *buffers, size_t size_bytes)
{
    pthread_mutex_lock(&buffers->mutex);
    struct line *line = buffers->newest;
    if (line != NULL) {
        buffers->newest = line->next;
        buffers->n_free--;
    }
    pthread_mutex_unlock(&buffers->mutex);
    if (line != NULL && line->size_bytes < size_bytes) {
        free(line);
        line = NULL;
    }
    if (line == NULL) {
        size_t rounded = (size_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
        line = aligned_alloc(LINE_BYTES, LINE_BYTES + rounded);
        if (line == NULL)
            return NULL;
        *line = (struct line){.owner = buffers, .size_bytes = rounded};
    }
    return (uint8_t *)line + LINE_BYTES;
}

void entro_buffer_give(uint8_t *buffer)
{
    struct line *line = (struct line *)(void *)(buffer - LINE_BYTES);
    struct entro_buffers *buffers = line->owner;
    pthread_mutex_lock(&buffers->mutex);
    if (buffers->n_free < MAX_FREE) {
        line->next = buffers->newest;
        buffers->newest = line;
        buffers->n_free++;
        line = NULL;
    }
    pthread_mutex_unlock(&buffers->mutex);
    free(line);
}
