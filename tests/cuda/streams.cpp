/*
 * Streams, events, copies and launches of the emulator. A stream's work waits in a queue. When it is done, a
 * setting says (enum entro_emulated_order): any order that streams and events allow is a card's right, so
 * what only works in one of them is wrong.
 */
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

#include "emulator_internal.h"

#include "block.h" /* last: CUDA's qualifiers are macros that the C++ library's headers do not bear */

static struct entro_emulated_stream default_stream;
static std::vector<struct entro_emulated_stream *> streams;
static std::map<const void *, int> shared_limits;
static uint64_t n_launches;

uint64_t entro_emulator_n_launches(void)
{
    return n_launches;
}

struct entro_emulated_stream *entro_emulated_stream_of(cudaStream_t stream)
{
    return stream != nullptr ? stream : &default_stream;
}

/* The first operation of a queue; false where it has to wait. */
static bool run_first(entro_queue *queue)
{
    if (queue->front().waits != nullptr && !queue->front().waits->is_done)
        return false;
    struct entro_operation operation = std::move(queue->front());
    queue->pop_front();
    if (operation.work != nullptr && entro_emulated_check_device() == cudaSuccess)
        operation.work();
    if (operation.sets != nullptr) {
        operation.sets->is_done = true;
        clock_gettime(CLOCK_MONOTONIC, &operation.sets->time);
    }
    return true;
}

static void run_others(const std::vector<entro_queue *> &all, const entro_queue *own)
{
    for (bool ran = true; ran;) {
        ran = false;
        for (entro_queue *other : all)
            while (other != own && !other->empty() && run_first(other))
                ran = true;
    }
}

static entro_queue *queue_that_sets(const std::vector<entro_queue *> &all, const struct entro_mark *mark)
{
    for (entro_queue *queue : all)
        for (const struct entro_operation &operation : *queue)
            if (operation.sets.get() == mark)
                return queue;
    return nullptr;
}

void entro_emulated_finish(const std::vector<entro_queue *> &all, entro_queue *own,
                           const struct entro_mark *until)
{
    while (!own->empty() && (until == nullptr || !until->is_done)) {
        if (entro_emulator.order == ENTRO_EMULATED_APART)
            run_others(all, own);
        if (run_first(own))
            continue;
        std::shared_ptr<struct entro_mark> waits = own->front().waits;
        entro_queue *other = queue_that_sets(all, waits.get());
        if (other == nullptr) { /* a capture's, of which only a part was captured */
            entro_emulated_break("a stream waits for an event that is never recorded");
            own->clear();
            return;
        }
        entro_emulated_finish(all, other, waits.get());
    }
}

static std::vector<entro_queue *> all_queues(void)
{
    std::vector<entro_queue *> all = {&default_stream.queue};
    for (struct entro_emulated_stream *stream : streams)
        all.push_back(&stream->queue);
    return all;
}

static void finish(struct entro_emulated_stream *stream)
{
    entro_emulated_finish(all_queues(), &stream->queue, nullptr);
}

void entro_emulated_finish_all(void)
{
    std::vector<entro_queue *> all = all_queues();
    for (entro_queue *queue : all)
        entro_emulated_finish(all, queue, nullptr);
}

/* What comes next in `stream` waits for all that is in `other`. */
static void follow(struct entro_emulated_stream *stream, struct entro_emulated_stream *other)
{
    if (other->queue.empty() || other == stream)
        return;
    std::shared_ptr<struct entro_mark> mark = std::make_shared<struct entro_mark>();
    other->queue.push_back({nullptr, nullptr, mark});
    stream->queue.push_back({mark, nullptr, nullptr});
}

static void follow_default_stream(struct entro_emulated_stream *stream)
{
    if (stream != &default_stream && stream->is_blocking)
        follow(stream, &default_stream);
    for (struct entro_emulated_stream *other : streams)
        if (stream == &default_stream && other->is_blocking)
            follow(stream, other);
}

static cudaError_t issue(cudaStream_t at, struct entro_operation operation)
{
    ENTRO_CHECK_DEVICE();
    struct entro_emulated_stream *stream = entro_emulated_stream_of(at);
    struct entro_capture *capture = entro_emulated_capturing(at);
    if (capture != nullptr)
        return entro_emulated_record(capture, stream, std::move(operation));
    cudaError_t error = at == nullptr ? entro_emulated_use_default() : cudaSuccess;
    if (error != cudaSuccess)
        return error;
    if (entro_emulator.order != ENTRO_EMULATED_NOW) {
        follow_default_stream(stream);
        stream->queue.push_back(std::move(operation));
        return cudaSuccess;
    }
    entro_emulated_finish_all(); /* of another setting's time */
    error = operation.work != nullptr ? operation.work() : cudaSuccess;
    if (operation.sets != nullptr) {
        operation.sets->is_done = true;
        clock_gettime(CLOCK_MONOTONIC, &operation.sets->time);
    }
    return error;
}

/* Copies. */

static cudaError_t check_copy(const void *target, const void *source, size_t size, enum cudaMemcpyKind kind)
{
    enum entro_place to = entro_emulated_place(target, size), from = entro_emulated_place(source, size);
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (to != entro_place::nowhere && from != entro_place::nowhere &&
        (kind == cudaMemcpyDefault ||
         (to_device == (to == entro_place::device) && from_device == (from == entro_place::device))))
        return cudaSuccess;
    char text[160];
    snprintf(text, sizeof text,
             "a copy of %zu bytes whose source or target is not what its kind says, or too small", size);
    entro_emulated_note_fault(text);
    return entro_emulated_fail(cudaErrorInvalidValue);
}

/* A copy that takes its bytes, or gives them, when its turn comes: what it was about must still be there. */
static std::function<cudaError_t()> copy_later(void *target, const void *source, size_t size)
{
    enum entro_place to = entro_emulated_place(target, size), from = entro_emulated_place(source, size);
    return [=] {
        if (entro_emulated_place(target, size) != to || entro_emulated_place(source, size) != from)
            return entro_emulated_break("memory is gone that a copy in a stream still needs");
        entro_emulated_move(target, source, size);
        return cudaSuccess;
    };
}

static std::function<cudaError_t()> copy_staged(void *target, const void *source, size_t size)
{
    const unsigned char *bytes = static_cast<const unsigned char *>(source);
    auto staged = std::make_shared<std::vector<unsigned char>>(bytes, bytes + size);
    return [=] {
        if (entro_emulated_place(target, size) != entro_place::device)
            return entro_emulated_break("memory is gone that a copy in a stream still needs");
        entro_emulated_move(target, staged->data(), size);
        return cudaSuccess;
    };
}

cudaError_t cudaMemcpyAsync(void *target, const void *source, size_t size, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    ENTRO_CHECK_DEVICE();
    if (size == 0)
        return cudaSuccess;
    cudaError_t error = check_copy(target, source, size, kind);
    if (error != cudaSuccess)
        return error;
    bool from_pageable = entro_emulated_place(source, size) == entro_place::host;
    bool to_pageable = entro_emulated_place(target, size) == entro_place::host;
    bool is_staged = from_pageable && !to_pageable && entro_emulated_capturing(stream) == nullptr;
    error = issue(
        stream,
        {nullptr, is_staged ? copy_staged(target, source, size) : copy_later(target, source, size), nullptr});
    if (error == cudaSuccess && to_pageable && entro_emulated_capturing(stream) == nullptr)
        finish(entro_emulated_stream_of(stream));
    return error;
}

/* One from pageable memory to the device returns when the bytes are in a buffer of CUDA's own, one within the
 * device at once: "API synchronization behavior" in the manual of CUDA's runtime. */
cudaError_t cudaMemcpy(void *target, const void *source, size_t size, enum cudaMemcpyKind kind)
{
    cudaError_t error = entro_emulated_unsafe();
    if (error == cudaSuccess)
        error = cudaMemcpyAsync(target, source, size, kind, nullptr);
    bool both_on_device = entro_emulated_place(target, size) == entro_place::device &&
                          entro_emulated_place(source, size) == entro_place::device;
    bool is_staged = entro_emulated_place(source, size) == entro_place::host &&
                     entro_emulated_place(target, size) == entro_place::device;
    if (error == cudaSuccess && !both_on_device && !is_staged)
        finish(&default_stream);
    return error;
}

cudaError_t cudaMemsetAsync(void *target, int value, size_t size, cudaStream_t stream)
{
    ENTRO_CHECK_DEVICE();
    if (size == 0)
        return cudaSuccess;
    if (entro_emulated_place(target, size) != entro_place::device)
        return entro_emulated_fail(cudaErrorInvalidValue);
    return issue(stream, {nullptr,
                          [=] {
                              if (entro_emulated_place(target, size) != entro_place::device)
                                  return entro_emulated_break("memory is gone that a stream still sets");
                              entro_emulated_fill(target, value, size);
                              return cudaSuccess;
                          },
                          nullptr});
}

cudaError_t cudaMemset(void *target, int value, size_t size)
{
    cudaError_t error = entro_emulated_unsafe();
    return error != cudaSuccess ? error : cudaMemsetAsync(target, value, size, nullptr);
}

/* Launches. */

cudaError_t entro_emulated_func_shared(const void *kernel, int bytes)
{
    ENTRO_CHECK_DEVICE();
    if (bytes < 0 || (size_t)bytes > entro_emulator.max_shared_bytes)
        return entro_emulated_fail(cudaErrorInvalidValue);
    shared_limits[kernel] = bytes;
    return cudaSuccess;
}

cudaError_t entro_emulated_issue(const void *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                                 cudaStream_t stream, std::function<void()> thread)
{
    ENTRO_CHECK_DEVICE();
    if (entro_emulator.launch != cudaSuccess || !entro_emulated_has_kernels())
        return entro_emulated_fail(entro_emulator.launch != cudaSuccess ? entro_emulator.launch
                                                                        : cudaErrorNoKernelImageForDevice);
    auto limit = shared_limits.find(kernel);
    size_t max_shared =
        limit != shared_limits.end() && limit->second > 48 << 10 ? (size_t)limit->second : (size_t)48 << 10;
    uint64_t n_threads = (uint64_t)block.x * block.y * block.z;
    if (n_threads == 0 || n_threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
        grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        return entro_emulated_fail(cudaErrorInvalidConfiguration);
    if (shared_bytes > max_shared)
        return entro_emulated_fail(cudaErrorInvalidValue);
    return issue(stream, {nullptr,
                          [=] {
                              char fault[600];
                              n_launches++;
                              entro_emulated_show(true);
                              if (entro_emulated_run(grid, block, shared_bytes, thread, fault, sizeof fault))
                                  return cudaSuccess;
                              return entro_emulated_break(fault);
                          },
                          nullptr});
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *user)
{
    return issue(stream, {nullptr,
                          [=] {
                              function(user);
                              return cudaSuccess;
                          },
                          nullptr});
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    return issue(stream, {nullptr, entro_emulated_replay(exec), nullptr});
}

/* Streams. */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    ENTRO_CHECK_DEVICE();
    *stream = new struct entro_emulated_stream();
    (*stream)->is_blocking = (flags & cudaStreamNonBlocking) == 0;
    streams.push_back(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, 0);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority)
{
    (void)priority;
    return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    finish(stream);
    streams.erase(std::remove(streams.begin(), streams.end(), stream), streams.end());
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    ENTRO_CHECK_DEVICE();
    if (entro_emulated_capturing(stream) != nullptr)
        return entro_emulated_unsafe();
    finish(entro_emulated_stream_of(stream));
    entro_emulated_show(false);
    ENTRO_CHECK_DEVICE();
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    return cudaStreamSynchronize(stream);
}

cudaError_t cudaDeviceSynchronize(void)
{
    ENTRO_CHECK_DEVICE();
    cudaError_t error = entro_emulated_unsafe();
    if (error != cudaSuccess)
        return error;
    entro_emulated_finish_all();
    entro_emulated_show(false);
    ENTRO_CHECK_DEVICE();
    return cudaSuccess;
}

/* Events. */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    ENTRO_CHECK_DEVICE();
    *event = new struct entro_emulated_event();
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    ENTRO_CHECK_DEVICE();
    event->mark = std::make_shared<struct entro_mark>();
    event->capture = nullptr;
    if (entro_emulated_capturing(stream) != nullptr)
        event->capture = entro_emulated_stream_of(stream)->capture;
    return issue(stream, {nullptr, nullptr, event->mark});
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)flags;
    ENTRO_CHECK_DEVICE();
    cudaError_t error = entro_emulated_join_capture(entro_emulated_stream_of(stream), event);
    if (error != cudaSuccess || event->mark == nullptr)
        return error;
    return issue(stream, {event->mark, nullptr, nullptr});
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    ENTRO_CHECK_DEVICE();
    if (event->capture != nullptr)
        return entro_emulated_fail(cudaErrorCapturedEvent);
    std::vector<entro_queue *> all = all_queues();
    entro_queue *queue = event->mark == nullptr ? nullptr : queue_that_sets(all, event->mark.get());
    if (queue != nullptr)
        entro_emulated_finish(all, queue, event->mark.get());
    ENTRO_CHECK_DEVICE();
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return cudaEventSynchronize(event);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    if (start->mark == nullptr || end->mark == nullptr)
        return entro_emulated_fail(cudaErrorInvalidResourceHandle);
    if (!start->mark->is_done || !end->mark->is_done)
        return entro_emulated_fail(cudaErrorNotReady);
    const struct timespec &from = start->mark->time, &to = end->mark->time;
    *milliseconds =
        (float)((double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) * 1e-6);
    return cudaSuccess;
}

void entro_emulated_forget_streams(void)
{
    default_stream.queue.clear();
    for (struct entro_emulated_stream *stream : streams)
        stream->queue.clear();
}
