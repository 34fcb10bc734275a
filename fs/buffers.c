/*
 * Stacks of free buffers, each preceded by a line that says whose and how large it is; see buffers.h.
 *
 * Whole blocks, nearly all there are, are carved out of slabs that the kernel may back by huge pages: a new
 * buffer of small ones costs more in page faults than decoding a block into it does. Other sizes come from
 * malloc.
 */
#include "fs/buffers.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "codec/format.h"

#define LINE_BYTES ((size_t)64)
#define SLAB_BYTES ((size_t)2 << 20) /* a huge page of most processors */

/* Blocks of slabs have 2^15 bytes to the most that there are. */
#define MIN_BYTES_LOG2 15
#define N_STACKS       (ENTRO_BLOCK_LOG2_MAX - MIN_BYTES_LOG2 + 1)
#define NO_STACK       N_STACKS

struct line {
    struct entro_buffers *owner;
    struct line *next; /* in the stack */
    unsigned stack;    /* NO_STACK: the buffer is malloc's */
};
static_assert(sizeof(struct line) <= LINE_BYTES, "it fits before the bytes");

struct slab {
    struct slab *next;
};
static_assert(sizeof(struct slab) <= LINE_BYTES, "it is a line too");

/* Buffers of one size. */
struct stack {
    struct line *newest;
    char *rest; /* what has not been carved out of the last slab yet */
    size_t rest_bytes;
};

struct entro_buffers {
    pthread_mutex_t mutex; /* protects what follows */
    struct stack stacks[N_STACKS];
    struct slab *slabs;
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
    while (buffers->slabs != NULL) {
        struct slab *next = buffers->slabs->next;
        free(buffers->slabs);
        buffers->slabs = next;
    }
    pthread_mutex_destroy(&buffers->mutex);
    free(buffers);
}

static size_t bytes_of_stack(unsigned stack)
{
    return (size_t)1 << (MIN_BYTES_LOG2 + stack);
}

/* The sanitizer sees the ends of what is malloc's. */
#if defined(__SANITIZE_ADDRESS__)
#define ALL_BY_MALLOC true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALL_BY_MALLOC true
#endif
#endif
#ifndef ALL_BY_MALLOC
#define ALL_BY_MALLOC false
#endif

/* NO_STACK for what would waste much of a buffer there. */
static unsigned stack_of(size_t size_bytes)
{
    unsigned stack = 0;
    while (stack < N_STACKS && bytes_of_stack(stack) < size_bytes)
        stack++;
    bool fits = stack < N_STACKS && size_bytes >= bytes_of_stack(stack) / 4 * 3;
    return fits && !ALL_BY_MALLOC ? stack : NO_STACK;
}

/* A new buffer. With the mutex held. NULL where memory is short. */
static struct line *carve(struct entro_buffers *buffers, struct stack *stack, size_t size_bytes)
{
    if (stack->rest_bytes < LINE_BYTES + size_bytes) {
        struct slab *slab = aligned_alloc(SLAB_BYTES, SLAB_BYTES);
        if (slab == NULL)
            return NULL;
        madvise(slab, SLAB_BYTES, MADV_HUGEPAGE); /* a wish: kernels may not know it */
        slab->next = buffers->slabs;
        buffers->slabs = slab;
        stack->rest = (char *)slab + LINE_BYTES;
        stack->rest_bytes = SLAB_BYTES - LINE_BYTES;
    }
    struct line *line = (struct line *)(void *)stack->rest;
    stack->rest += LINE_BYTES + size_bytes;
    stack->rest_bytes -= LINE_BYTES + size_bytes;
    return line;
}

static struct line *pop(struct entro_buffers *buffers, unsigned index)
{
    struct stack *stack = &buffers->stacks[index];
    pthread_mutex_lock(&buffers->mutex);
    struct line *line = stack->newest;
    if (line != NULL)
        stack->newest = line->next;
    else
        line = carve(buffers, stack, bytes_of_stack(index));
    pthread_mutex_unlock(&buffers->mutex);
    return line;
}

static struct line *allocate(size_t size_bytes)
{
    if (size_bytes > SIZE_MAX - 2 * LINE_BYTES)
        return NULL;
    return aligned_alloc(LINE_BYTES, LINE_BYTES + (size_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES);
}

uint8_t *entro_buffer_take(struct entro_buffers *buffers, size_t size_bytes)
{
    unsigned stack = stack_of(size_bytes);
    struct line *line = stack == NO_STACK ? allocate(size_bytes) : pop(buffers, stack);
    if (line == NULL)
        return NULL;
    *line = (struct line){.owner = buffers, .stack = stack};
    return (uint8_t *)line + LINE_BYTES;
}

void entro_buffer_give(uint8_t *buffer)
{
    struct line *line = (struct line *)(void *)(buffer - LINE_BYTES);
    struct entro_buffers *buffers = line->owner;
    if (line->stack == NO_STACK) {
        free(line);
        return;
    }
    struct stack *stack = &buffers->stacks[line->stack];
    pthread_mutex_lock(&buffers->mutex);
    line->next = stack->newest;
    stack->newest = line;
    pthread_mutex_unlock(&buffers->mutex);
}
