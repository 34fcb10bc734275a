/* The emulator's streams and graphs: what it does in which order, and what it refuses. */
#include <cstring>

#include "device_memory.h"

__global__ static void add_kernel(unsigned *target, unsigned value)
{
    target[threadIdx.x] += value;
}

static void a_captured_graph_runs_when_it_is_launched(void **state)
{
    (void)state;
    unsigned values[32] = {};
    unsigned *target = upload(values, 32);
    cudaStream_t stream, side;
    cudaEvent_t fork, join;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    assert_int_equal(cudaStreamCreate(&stream), cudaSuccess);
    assert_int_equal(cudaStreamCreate(&side), cudaSuccess);
    assert_int_equal(cudaEventCreate(&fork), cudaSuccess);
    assert_int_equal(cudaEventCreate(&join), cudaSuccess);
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    entro_emulated_launch(add_kernel, 1, 32, 0, stream, target, 1u);
    cudaEventRecord(fork, stream);
    cudaStreamWaitEvent(side, fork);
    entro_emulated_launch(add_kernel, 1, 32, 0, side, target, 10u);
    cudaEventRecord(join, side);
    cudaStreamWaitEvent(stream, join);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    download(values, target, 32);
    assert_int_equal(values[31], 0);
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(cudaGraphLaunch(exec, stream), cudaSuccess);
    entro_emulated_launch(add_kernel, 1, 32, 0, side, target, 100u); /* no longer captured */
    download(values, target, 32);
    assert_int_equal(values[0], 133);
    cudaGraphExecDestroy(exec);
    cudaEventDestroy(fork);
    cudaEventDestroy(join);
    cudaStreamDestroy(side);
    cudaStreamDestroy(stream);
    cudaFree(target);
}

/* A stream that does not wait for the default one, and another; the numbers are theirs. */
struct streams {
    cudaStream_t stream, side;
    cudaEvent_t event;
    unsigned *target;
};

static struct streams open_streams(enum entro_emulated_order order)
{
    struct streams s;
    unsigned values[32] = {};
    entro_emulator.order = ENTRO_EMULATED_NOW;
    s.target = upload(values, 32);
    entro_emulator.order = order;
    assert_int_equal(cudaStreamCreateWithFlags(&s.stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaStreamCreateWithFlags(&s.side, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreate(&s.event), cudaSuccess);
    return s;
}

static void close_streams(const struct streams *s)
{
    cudaEventDestroy(s->event);
    cudaStreamDestroy(s->side);
    cudaStreamDestroy(s->stream);
    cudaFree(s->target);
}

__global__ static void multiply_kernel(unsigned *target, unsigned value)
{
    target[threadIdx.x] *= value;
}

/* (0 + 3) * 2 where the order is kept. */
static unsigned add_and_multiply(enum entro_emulated_order order, bool ordered)
{
    struct streams s = open_streams(order);
    unsigned values[32];
    entro_emulated_launch(add_kernel, 1, 32, 0, s.side, s.target, 3u);
    if (ordered) {
        cudaEventRecord(s.event, s.side);
        cudaStreamWaitEvent(s.stream, s.event);
    }
    entro_emulated_launch(multiply_kernel, 1, 32, 0, s.stream, s.target, 2u);
    assert_int_equal(cudaStreamSynchronize(s.stream), cudaSuccess);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    download(values, s.target, 32);
    close_streams(&s);
    return values[7];
}

static void what_only_events_order_goes_wrong_without_them(void **state)
{
    (void)state;
    assert_int_equal(add_and_multiply(ENTRO_EMULATED_NOW, false), 6);
    assert_int_equal(add_and_multiply(ENTRO_EMULATED_LATE, false), 3);
    assert_int_equal(add_and_multiply(ENTRO_EMULATED_LATE, true), 6);
    assert_int_equal(add_and_multiply(ENTRO_EMULATED_APART, true), 6);
}

static void a_copy_on_the_default_stream_is_not_before_other_streams(void **state)
{
    (void)state;
    struct streams s = open_streams(ENTRO_EMULATED_LATE);
    unsigned values[32];
    for (unsigned &value : values)
        value = 5;
    assert_int_equal(cudaMemcpy(s.target, values, sizeof values, cudaMemcpyHostToDevice), cudaSuccess);
    memset(values, 0, sizeof values); /* it is pageable: CUDA has a copy */
    entro_emulated_launch(multiply_kernel, 1, 32, 0, s.stream, s.target, 2u);
    assert_int_equal(cudaStreamSynchronize(s.stream), cudaSuccess);
    download(values, s.target, 32);
    assert_int_equal(values[0], 5);
    close_streams(&s);
}

static void pinned_memory_is_read_when_the_copy_is_done(void **state)
{
    (void)state;
    struct streams s = open_streams(ENTRO_EMULATED_LATE);
    unsigned values[32], *pinned;
    assert_int_equal(cudaMallocHost(&pinned, sizeof values), cudaSuccess);
    memset(pinned, 0, sizeof values);
    cudaMemcpyAsync(s.target, pinned, sizeof values, cudaMemcpyHostToDevice, s.stream);
    pinned[0] = 9; /* too early */
    assert_int_equal(cudaStreamSynchronize(s.stream), cudaSuccess);
    download(values, s.target, 32);
    assert_int_equal(values[0], 9);
    cudaMemcpyAsync(s.target, pinned, sizeof values, cudaMemcpyHostToDevice, s.stream);
    cudaFreeHost(pinned); /* too early */
    assert_int_equal(cudaStreamSynchronize(s.stream), cudaErrorLaunchFailure);
    assert_non_null(strstr(entro_emulator_fault_text(), "memory is gone"));
    entro_emulator_reset();
    close_streams(&s);
}

/* Captures a launch on either stream: joined at the end, or not. */
static cudaError_t capture_both(const struct streams *s, bool joined, cudaGraph_t *graph)
{
    cudaEvent_t join;
    cudaEventCreate(&join);
    cudaStreamBeginCapture(s->stream, cudaStreamCaptureModeThreadLocal);
    cudaEventRecord(s->event, s->stream);
    cudaStreamWaitEvent(s->side, s->event);
    entro_emulated_launch(add_kernel, 1, 32, 0, s->side, s->target, 3u);
    cudaEventRecord(join, s->side);
    if (joined)
        cudaStreamWaitEvent(s->stream, join);
    entro_emulated_launch(multiply_kernel, 1, 32, 0, s->stream, s->target, 2u);
    cudaError_t error = cudaStreamEndCapture(s->stream, graph);
    if (joined) /* an event of a capture means nothing outside it */
        assert_int_equal(cudaEventSynchronize(join), cudaErrorCapturedEvent);
    cudaEventDestroy(join);
    return error;
}

static void captures_that_a_card_would_refuse_are_refused(void **state)
{
    (void)state;
    struct streams s = open_streams(ENTRO_EMULATED_LATE);
    unsigned values[32];
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    void *memory;
    assert_int_equal(capture_both(&s, false, &graph), cudaErrorStreamCaptureUnjoined);
    assert_int_equal(capture_both(&s, true, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(cudaGraphLaunch(exec, s.stream), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(s.stream), cudaSuccess);
    download(values, s.target, 32);
    assert_int_equal(values[0], ((0 + 3) * 2 + 3) * 2);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal);
    assert_int_equal(cudaMalloc(&memory, 1), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(s.stream, &graph), cudaErrorStreamCaptureInvalidated);
    cudaEventRecord(s.event, s.side);
    cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal);
    assert_int_equal(cudaStreamWaitEvent(s.stream, s.event), cudaErrorStreamCaptureIsolation);
    assert_int_equal(cudaStreamEndCapture(s.stream, &graph), cudaErrorStreamCaptureInvalidated);
    close_streams(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_captured_graph_runs_when_it_is_launched, reset),
        cmocka_unit_test_setup(what_only_events_order_goes_wrong_without_them, reset),
        cmocka_unit_test_setup(a_copy_on_the_default_stream_is_not_before_other_streams, reset),
        cmocka_unit_test_setup(pinned_memory_is_read_when_the_copy_is_done, reset),
        cmocka_unit_test_setup(captures_that_a_card_would_refuse_are_refused, reset),
    };
    return cmocka_run_group_tests_name("streams of the CUDA emulator", tests, nullptr, nullptr);
}
