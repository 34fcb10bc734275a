/* Loading weights; see loader.h. */
#include "runner/cuda/loader.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* One request: a mount decodes many blocks for it, and a copy of this size runs at the bus's speed. */
#define PIECE_BYTES ((size_t)4 << 20)
#define MAX_THREADS 16U

enum buffer_state { BUFFER_FREE, BUFFER_FILLING, BUFFER_FULL, BUFFER_COPYING };

struct buffer {
    enum buffer_state state; /* under lock */
    uint8_t *bytes;          /* pinned, PIECE_BYTES */
    uint8_t *target;
    size_t size_bytes;
    cudaEvent_t copied;
};

struct entro_gpu_loader {
    struct buffer buffers[2 * MAX_THREADS]; /* two a thread: one is copied while the other is filled */
    unsigned n_buffers;
    unsigned n_threads;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Of a run: */
    const struct entro_gpu_load *loads;
    size_t n_loads;
    entro_cuda_fill *fill;
    /* Under lock: */
    size_t next_load;
    uint64_t next_offset;
    unsigned n_reading; /* threads that have not ended */
    int status;         /* the first failure ends all */
    struct entro_cuda_message *message;
};

/* The next piece and a buffer for it; false where there is no more to do. Called and returns under the lock.
 */
static bool take_piece(struct entro_gpu_loader *self, struct buffer **buffer,
                       const struct entro_gpu_load **load, uint64_t *offset)
{
    for (;;) {
        while (self->next_load < self->n_loads &&
               self->next_offset >= self->loads[self->next_load].size_bytes) {
            self->next_load++;
            self->next_offset = 0;
        }
        if (self->status != ENTRO_CUDA_OK || self->next_load == self->n_loads)
            return false;
        for (unsigned i = 0; i < self->n_buffers; i++) {
            if (self->buffers[i].state != BUFFER_FREE)
                continue;
            *buffer = &self->buffers[i];
            *load = &self->loads[self->next_load];
            *offset = self->next_offset;
            uint64_t left = (*load)->size_bytes - *offset;
            (*buffer)->size_bytes = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
            (*buffer)->target = (*load)->target + *offset;
            (*buffer)->state = BUFFER_FILLING;
            self->next_offset += (*buffer)->size_bytes;
            return true;
        }
        pthread_cond_wait(&self->changed, &self->lock);
    }
}

static void *read_pieces(void *context)
{
    struct entro_gpu_loader *self = static_cast<struct entro_gpu_loader *>(context);
    struct buffer *buffer;
    const struct entro_gpu_load *load;
    uint64_t offset;
    pthread_mutex_lock(&self->lock);
    while (take_piece(self, &buffer, &load, &offset)) {
        struct entro_cuda_message message;
        pthread_mutex_unlock(&self->lock);
        int failed = self->fill(load->source, offset, buffer->size_bytes, buffer->bytes, &message);
        pthread_mutex_lock(&self->lock);
        buffer->state = failed != 0 ? BUFFER_FREE : BUFFER_FULL;
        if (failed != 0 && self->status == ENTRO_CUDA_OK) {
            self->status = ENTRO_CUDA_SOURCE;
            *self->message = message;
        }
        pthread_cond_broadcast(&self->changed);
    }
    self->n_reading--;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static void fail(struct entro_gpu_loader *self, cudaError_t error)
{
    if (self->status != ENTRO_CUDA_OK)
        return;
    self->status = ENTRO_CUDA_FAILED;
    snprintf(self->message->text, sizeof self->message->text, "copying weights to the GPU failed: %s",
             cudaGetErrorString(error));
}

/* Starts the copies of what is full, and frees what is copied. Under the lock, which it gives up to wait. */
static void copy_buffers(struct entro_gpu_loader *self, cudaStream_t stream)
{
    for (;;) {
        bool any = false, copying = false;
        for (unsigned i = 0; i < self->n_buffers; i++) {
            struct buffer *buffer = &self->buffers[i];
            if (buffer->state != BUFFER_FULL)
                continue;
            cudaError_t error = cudaMemcpyAsync(buffer->target, buffer->bytes, buffer->size_bytes,
                                                cudaMemcpyHostToDevice, stream);
            if (error == cudaSuccess)
                error = cudaEventRecord(buffer->copied, stream);
            if (error != cudaSuccess)
                fail(self, error);
            buffer->state = BUFFER_COPYING;
            any = true;
        }
        for (unsigned i = 0; i < self->n_buffers && !any; i++) {
            struct buffer *buffer = &self->buffers[i];
            if (buffer->state != BUFFER_COPYING)
                continue;
            copying = true;
            pthread_mutex_unlock(&self->lock);
            cudaError_t error = cudaEventSynchronize(buffer->copied);
            pthread_mutex_lock(&self->lock);
            if (error != cudaSuccess)
                fail(self, error);
            buffer->state = BUFFER_FREE;
            pthread_cond_broadcast(&self->changed);
            break;
        }
        if (any || copying)
            continue;
        if (self->n_reading == 0)
            return;
        pthread_cond_wait(&self->changed, &self->lock);
    }
}

static int create_buffers(struct entro_gpu_loader *self, struct entro_cuda_message *message)
{
    for (; self->n_buffers < 2 * self->n_threads; self->n_buffers++) {
        struct buffer *buffer = &self->buffers[self->n_buffers];
        if (cudaMallocHost(reinterpret_cast<void **>(&buffer->bytes), PIECE_BYTES) != cudaSuccess) {
            cudaGetLastError();
            snprintf(message->text, sizeof message->text,
                     "no pinned memory for loading weights (%u buffers of %zu MiB)", 2 * self->n_threads,
                     PIECE_BYTES >> 20);
            return ENTRO_CUDA_NO_MEMORY;
        }
        /* Who waits for it leaves the processor to those who read. */
        if (cudaEventCreateWithFlags(&buffer->copied, cudaEventDisableTiming | cudaEventBlockingSync) !=
            cudaSuccess) {
            cudaGetLastError();
            cudaFreeHost(buffer->bytes);
            snprintf(message->text, sizeof message->text, "the GPU gives no events for loading weights");
            return ENTRO_CUDA_FAILED;
        }
    }
    return ENTRO_CUDA_OK;
}

int entro_gpu_loader_create(struct entro_gpu_loader **out, unsigned n_threads,
                            struct entro_cuda_message *message)
{
    *out = NULL;
    struct entro_gpu_loader *self = static_cast<struct entro_gpu_loader *>(calloc(1, sizeof *self));
    if (self == NULL) {
        snprintf(message->text, sizeof message->text, "no memory for loading weights");
        return ENTRO_CUDA_NO_MEMORY;
    }
    self->n_threads = n_threads < 1 ? 1 : n_threads > MAX_THREADS ? MAX_THREADS : n_threads;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    int status = create_buffers(self, message);
    if (status != ENTRO_CUDA_OK) {
        entro_gpu_loader_free(self);
        return status;
    }
    *out = self;
    return ENTRO_CUDA_OK;
}

void entro_gpu_loader_free(struct entro_gpu_loader *self)
{
    if (self == NULL)
        return;
    for (unsigned i = 0; i < self->n_buffers; i++) {
        cudaEventDestroy(self->buffers[i].copied);
        cudaFreeHost(self->buffers[i].bytes);
    }
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

int entro_gpu_load_all(struct entro_gpu_loader *self, const struct entro_gpu_load *loads, size_t n_loads,
                       entro_cuda_fill *fill, cudaStream_t stream, struct entro_cuda_message *message)
{
    pthread_t threads[MAX_THREADS];
    unsigned n_started = 0;
    self->loads = loads;
    self->n_loads = n_loads;
    self->fill = fill;
    self->message = message;
    self->next_load = 0;
    self->next_offset = 0;
    self->status = ENTRO_CUDA_OK;
    self->n_reading = self->n_threads;
    for (; n_started < self->n_threads; n_started++)
        if (pthread_create(&threads[n_started], NULL, read_pieces, self) != 0)
            break;
    pthread_mutex_lock(&self->lock);
    self->n_reading -= self->n_threads - n_started;
    if (n_started == 0) {
        self->status = ENTRO_CUDA_NO_MEMORY;
        snprintf(message->text, sizeof message->text, "no thread can be started for loading weights");
    }
    copy_buffers(self, stream);
    int status = self->status;
    pthread_mutex_unlock(&self->lock);
    for (unsigned i = 0; i < n_started; i++)
        pthread_join(threads[i], NULL);
    return status;
}
