/*
 * Graphs of the emulator: what is captured, and what a capture forbids. A graph keeps the order within each
 * stream and what waits for what; when it is launched, its streams' work is done in any order that this
 * allows, as that of real streams (streams.cpp).
 */
#include <algorithm>
#include <cstring>
#include <map>

#include "emulator_internal.h"

struct captured_operation {
    struct entro_emulated_stream *stream;
    struct entro_operation operation;
};

struct entro_capture {
    std::vector<struct captured_operation> operations;
    struct entro_emulated_stream *origin;
    enum cudaStreamCaptureMode mode;
    bool is_over, is_spoilt;
};

struct entro_emulated_graph {
    std::shared_ptr<struct entro_capture> capture;
};
struct entro_emulated_graph_exec {
    std::shared_ptr<struct entro_capture> capture;
};

static std::vector<std::shared_ptr<struct entro_capture>> active;

struct entro_capture *entro_emulated_capturing(cudaStream_t at)
{
    const auto &capture = entro_emulated_stream_of(at)->capture;
    return capture != nullptr && !capture->is_over ? capture.get() : nullptr;
}

cudaError_t entro_emulated_record(struct entro_capture *capture, struct entro_emulated_stream *stream,
                                  struct entro_operation operation)
{
    if (capture->is_spoilt)
        return entro_emulated_fail(cudaErrorStreamCaptureInvalidated);
    capture->operations.push_back({stream, std::move(operation)});
    return cudaSuccess;
}

cudaError_t entro_emulated_join_capture(struct entro_emulated_stream *stream,
                                        const struct entro_emulated_event *event)
{
    bool is_captured = event->capture != nullptr && !event->capture->is_over;
    bool captures = stream->capture != nullptr && !stream->capture->is_over;
    if (event->capture != nullptr && event->capture->is_over)
        return entro_emulated_fail(cudaErrorCapturedEvent);
    if (captures && event->mark != nullptr && stream->capture != event->capture) {
        stream->capture->is_spoilt = true;
        return entro_emulated_fail(cudaErrorStreamCaptureIsolation);
    }
    if (is_captured)
        stream->capture = event->capture;
    return cudaSuccess;
}

cudaError_t entro_emulated_unsafe(void)
{
    cudaError_t error = cudaSuccess;
    for (const auto &capture : active)
        if (capture->mode != cudaStreamCaptureModeRelaxed) {
            capture->is_spoilt = true;
            error = cudaErrorStreamCaptureUnsupported;
        }
    return entro_emulated_fail(error);
}

cudaError_t entro_emulated_use_default(void)
{
    cudaError_t error = cudaSuccess;
    for (const auto &capture : active)
        if (capture->origin->is_blocking) {
            capture->is_spoilt = true;
            error = cudaErrorStreamCaptureImplicit;
        }
    return entro_emulated_fail(error);
}

void entro_emulated_forget_captures(void)
{
    for (const auto &capture : active)
        capture->is_over = true;
    active.clear();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    ENTRO_CHECK_DEVICE();
    if (stream == nullptr || entro_emulated_capturing(stream) != nullptr)
        return entro_emulated_fail(cudaErrorStreamCaptureUnsupported);
    stream->capture = std::make_shared<struct entro_capture>();
    stream->capture->origin = stream;
    stream->capture->mode = mode;
    stream->capture->is_over = stream->capture->is_spoilt = false;
    active.push_back(stream->capture);
    return cudaSuccess;
}

/* Whether the end of the first stream waits for all work of the others. */
static bool is_joined(const struct entro_capture *capture)
{
    std::map<const struct entro_emulated_stream *, std::vector<size_t>>
        ends;                                                     /* work that is not waited for */
    std::map<const struct entro_mark *, std::vector<bool>> known; /* by a record: what is before it */
    std::map<const struct entro_emulated_stream *, std::vector<bool>> before;
    size_t n = capture->operations.size();
    for (size_t i = 0; i < n; i++) {
        const struct captured_operation &captured = capture->operations[i];
        std::vector<bool> &own = before[captured.stream];
        own.resize(n);
        auto waits = known.find(captured.operation.waits.get());
        for (size_t j = 0; waits != known.end() && j < n; j++)
            own[j] = own[j] || waits->second[j];
        own[i] = captured.operation.work != nullptr;
        if (captured.operation.sets != nullptr)
            known[captured.operation.sets.get()] = own;
    }
    std::vector<bool> &at_end = before[capture->origin];
    at_end.resize(n);
    for (size_t i = 0; i < n; i++)
        if (capture->operations[i].operation.work != nullptr && !at_end[i])
            return false;
    return true;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    *graph = nullptr;
    if (stream == nullptr || entro_emulated_capturing(stream) == nullptr || stream->capture->origin != stream)
        return entro_emulated_fail(cudaErrorStreamCaptureInvalidated);
    std::shared_ptr<struct entro_capture> capture = stream->capture;
    stream->capture = nullptr;
    capture->is_over = true;
    active.erase(std::remove(active.begin(), active.end(), capture), active.end());
    if (capture->is_spoilt)
        return entro_emulated_fail(cudaErrorStreamCaptureInvalidated);
    if (!is_joined(capture.get()))
        return entro_emulated_fail(cudaErrorStreamCaptureUnjoined);
    *graph = new entro_emulated_graph{capture};
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    ENTRO_CHECK_DEVICE();
    *exec = new entro_emulated_graph_exec{graph->capture};
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream)
{
    (void)exec, (void)stream;
    return cudaSuccess;
}

/* A queue for each stream, with marks of this time. */
static cudaError_t replay(const struct entro_capture *capture)
{
    std::map<const struct entro_emulated_stream *, entro_queue> queues;
    std::map<const struct entro_mark *, std::shared_ptr<struct entro_mark>> marks;
    for (const struct captured_operation &captured : capture->operations) {
        struct entro_operation operation = captured.operation;
        if (operation.waits != nullptr)
            operation.waits = marks[operation.waits.get()];
        if (operation.sets != nullptr)
            operation.sets = marks[operation.sets.get()] = std::make_shared<struct entro_mark>();
        if (entro_emulator.order == ENTRO_EMULATED_NOW) {
            cudaError_t error = operation.work != nullptr ? operation.work() : cudaSuccess;
            if (error != cudaSuccess)
                return error;
        } else
            queues[captured.stream].push_back(std::move(operation));
    }
    std::vector<entro_queue *> all;
    for (auto &queue : queues)
        all.push_back(&queue.second);
    for (entro_queue *queue : all)
        entro_emulated_finish(all, queue, nullptr);
    return cudaSuccess;
}

std::function<cudaError_t()> entro_emulated_replay(cudaGraphExec_t exec)
{
    std::shared_ptr<struct entro_capture> capture = exec->capture;
    return [capture] { return replay(capture.get()); };
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}
