/* Device properties, errors, memory, streams, events and graphs of the emulator. Work is done when it is
 * issued; a stream that is being captured keeps it for later instead. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <vector>

#include "block.h"
#include "emulator.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

/* The oldest device that code is compiled for. */
static const int MIN_SM = 75;

typedef std::vector<std::function<cudaError_t()>> job_list;

struct capture {
    job_list jobs;
    bool is_over;
};
struct entro_emulated_stream {
    std::shared_ptr<struct capture> captured; /* null, or one that is over: not capturing */
    bool is_origin;                           /* where the capture began */
};
struct entro_emulated_event {
    std::weak_ptr<struct capture> captured;
    bool is_recorded;
    struct timespec time;
};
struct entro_emulated_graph {
    std::shared_ptr<struct capture> capture;
};
struct entro_emulated_graph_exec {
    job_list jobs;
};

static const struct entro_emulator_settings at_start = {
    1, cudaSuccess, 13000, 9, 0, (size_t)8 << 30, 227 << 10, -1, cudaSuccess};
struct entro_emulator_settings entro_emulator = at_start;

struct region {
    size_t size;
    bool is_device;
    bool is_registered; /* the caller's own memory */
};
static std::map<uintptr_t, struct region> regions;
static std::map<const void *, int> shared_limits;
static cudaError_t last_error, sticky_error;
static char fault[600];
static uint64_t n_launches;
static struct entro_emulated_stream default_stream;

static cudaError_t fail(cudaError_t error)
{
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

/* The environment goes before the settings: for a program as a whole. */
static void read_environment(void)
{
    const char *text;
    if ((text = getenv("ENTRO_EMULATED_DEVICES")) != nullptr)
        entro_emulator.n_devices = atoi(text);
    if ((text = getenv("ENTRO_EMULATED_DRIVER")) != nullptr)
        entro_emulator.driver_version = atoi(text);
    if ((text = getenv("ENTRO_EMULATED_MEMORY")) != nullptr)
        entro_emulator.memory_bytes = (size_t)strtoull(text, nullptr, 10);
    if ((text = getenv("ENTRO_EMULATED_SM")) != nullptr) {
        entro_emulator.major = atoi(text) / 10;
        entro_emulator.minor = atoi(text) % 10;
    }
}

/* Before anything else: no driver, an old one, or a device that has been lost. */
static cudaError_t check_device(void)
{
    read_environment();
    if (entro_emulator.driver == cudaSuccess && entro_emulator.driver_version < CUDART_VERSION / 1000 * 1000)
        return cudaErrorInsufficientDriver;
    if (entro_emulator.driver != cudaSuccess)
        return entro_emulator.driver;
    return entro_emulator.n_devices < 1 ? cudaErrorNoDevice : sticky_error;
}

#define CHECK_DEVICE()                                                                                       \
    do {                                                                                                     \
        cudaError_t device_error = check_device();                                                           \
        if (device_error != cudaSuccess)                                                                     \
            return fail(device_error);                                                                       \
    } while (0)

void entro_emulator_reset(void)
{
    entro_emulator = at_start;
    last_error = sticky_error = cudaSuccess;
    fault[0] = '\0';
    default_stream.captured = nullptr;
}

static size_t count_bytes(bool is_device)
{
    size_t sum = 0;
    for (const auto &region : regions)
        sum += region.second.is_device == is_device && !region.second.is_registered ? region.second.size : 0;
    return sum;
}

size_t entro_emulator_device_bytes(void)
{
    return count_bytes(true);
}

size_t entro_emulator_pinned_bytes(void)
{
    return count_bytes(false);
}

const char *entro_emulator_fault_text(void)
{
    return fault;
}

uint64_t entro_emulator_n_launches(void)
{
    return n_launches;
}

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
#define NAME(name, number, text)                                                                             \
    case name:                                                                                               \
        return #name;
        ENTRO_CUDA_ERRORS(NAME)
#undef NAME
    }
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
#define TEXT(name, number, text)                                                                             \
    case name:                                                                                               \
        return text;
        ENTRO_CUDA_ERRORS(TEXT)
#undef TEXT
    }
    return "unrecognized error code";
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    last_error = sticky_error;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

cudaError_t cudaGetDeviceCount(int *n_devices)
{
    *n_devices = 0;
    CHECK_DEVICE();
    *n_devices = entro_emulator.n_devices;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    CHECK_DEVICE();
    return fail(device < 0 || device >= entro_emulator.n_devices ? cudaErrorInvalidDevice : cudaSuccess);
}

cudaError_t cudaGetDevice(int *device)
{
    CHECK_DEVICE();
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    CHECK_DEVICE();
    if (device < 0 || device >= entro_emulator.n_devices)
        return fail(cudaErrorInvalidDevice);
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "emulated device");
    properties->totalGlobalMem = entro_emulator.memory_bytes;
    properties->sharedMemPerBlock = 48 << 10;
    properties->sharedMemPerBlockOptin = entro_emulator.max_shared_bytes;
    properties->sharedMemPerMultiprocessor = entro_emulator.max_shared_bytes + 1024;
    properties->major = entro_emulator.major;
    properties->minor = entro_emulator.minor;
    properties->multiProcessorCount = 4;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->maxThreadsPerMultiProcessor = 2048;
    properties->regsPerBlock = 65536;
    properties->l2CacheSize = 4 << 20;
    properties->memoryBusWidth = 128;
    properties->asyncEngineCount = 1;
    properties->concurrentKernels = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    struct cudaDeviceProp properties;
    cudaError_t error = cudaGetDeviceProperties(&properties, device);
    if (error != cudaSuccess)
        return error;
    switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
        *value = properties.multiProcessorCount;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
        *value = properties.major;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
        *value = properties.minor;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)properties.sharedMemPerBlockOptin;
        return cudaSuccess;
    }
    return fail(cudaErrorInvalidValue);
}

cudaError_t cudaDriverGetVersion(int *version)
{
    read_environment();
    *version = entro_emulator.driver == cudaErrorNoDevice ? 0 : entro_emulator.driver_version;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

static void show(bool is_shown);

cudaError_t cudaDeviceSynchronize(void)
{
    CHECK_DEVICE();
    show(false);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    CHECK_DEVICE();
    size_t used = entro_emulator_device_bytes();
    *total_bytes = entro_emulator.memory_bytes;
    *free_bytes = used < *total_bytes ? *total_bytes - used : 0;
    return cudaSuccess;
}

/* Memory. The device's cannot be touched by the host while no kernel runs (under AddressSanitizer). */

/* From a launch to the next call that waits for it, so that a pass of many launches pays for it once. */
static bool all_shown;

static void show(bool is_shown)
{
    if (is_shown == all_shown)
        return;
    all_shown = is_shown;
#ifdef WITH_ASAN
    for (const auto &region : regions) {
        if (!region.second.is_device)
            continue;
        if (is_shown)
            __asan_unpoison_memory_region((void *)region.first, region.second.size);
        else
            __asan_poison_memory_region((void *)region.first, region.second.size);
    }
#else
    (void)is_shown;
#endif
}

static void show_range(const void *address, size_t size, bool is_shown)
{
    if (all_shown && !is_shown)
        return;
#ifdef WITH_ASAN
    auto next = regions.upper_bound((uintptr_t)address);
    if (next == regions.begin())
        return;
    --next;
    if (!next->second.is_device || (uintptr_t)address + size > next->first + next->second.size)
        return;
    /* Poison has a granularity: the whole allocation. */
    if (is_shown)
        __asan_unpoison_memory_region((void *)next->first, next->second.size);
    else
        __asan_poison_memory_region((void *)next->first, next->second.size);
#else
    (void)address, (void)size, (void)is_shown;
#endif
}

static cudaError_t take_memory(void **address, size_t size, bool is_device)
{
    CHECK_DEVICE();
    if (address == nullptr)
        return fail(cudaErrorInvalidValue);
    *address = nullptr;
    if (size == 0)
        return cudaSuccess;
    bool fails = entro_emulator.fail_allocation == 0;
    if (entro_emulator.fail_allocation >= 0)
        entro_emulator.fail_allocation--;
    if (is_device) {
        size_t used = entro_emulator_device_bytes();
        fails = fails || used > entro_emulator.memory_bytes || size > entro_emulator.memory_bytes - used;
    }
    void *memory = nullptr;
    if (fails || posix_memalign(&memory, 256, size) != 0)
        return fail(cudaErrorMemoryAllocation);
    memset(memory, 0xcd, size);
    regions[(uintptr_t)memory] = {size, is_device, false};
    show_range(memory, size, false);
    *address = memory;
    return cudaSuccess;
}

static cudaError_t drop_memory(void *address, bool is_device)
{
    if (address == nullptr)
        return cudaSuccess;
    auto found = regions.find((uintptr_t)address);
    if (found == regions.end() || found->second.is_device != is_device || found->second.is_registered)
        return fail(cudaErrorInvalidValue);
    show_range(address, found->second.size, true);
    regions.erase(found);
    free(address);
    return cudaSuccess;
}

cudaError_t entro_emulated_malloc(void **address, size_t size)
{
    return take_memory(address, size, true);
}

cudaError_t entro_emulated_malloc_host(void **address, size_t size)
{
    return take_memory(address, size, false);
}

cudaError_t cudaFree(void *address)
{
    return drop_memory(address, true);
}

cudaError_t cudaFreeHost(void *address)
{
    return drop_memory(address, false);
}

cudaError_t cudaHostRegister(void *address, size_t size, unsigned flags)
{
    (void)flags;
    CHECK_DEVICE();
    if (address == nullptr || size == 0 || regions.count((uintptr_t)address) != 0)
        return fail(cudaErrorInvalidValue);
    regions[(uintptr_t)address] = {size, false, true};
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *address)
{
    auto found = regions.find((uintptr_t)address);
    if (found == regions.end() || !found->second.is_registered)
        return fail(cudaErrorInvalidValue);
    regions.erase(found);
    return cudaSuccess;
}

/* Where `size` bytes from here on lie: within the device's memory, elsewhere, or partly. */
enum class where { host, device, nowhere };

static enum where where_is(const void *address, size_t size)
{
    uintptr_t begin = (uintptr_t)address, end = begin + size;
    if (address == nullptr || end < begin)
        return where::nowhere;
    auto next = regions.upper_bound(begin);
    if (next != regions.end() && next->second.is_device && next->first < end)
        return where::nowhere;
    if (next == regions.begin())
        return where::host;
    --next;
    uintptr_t region_end = next->first + next->second.size;
    if (!next->second.is_device)
        return begin >= region_end || end <= region_end || next->second.is_registered ? where::host
                                                                                      : where::nowhere;
    return begin >= region_end ? where::host : end <= region_end ? where::device : where::nowhere;
}

static cudaError_t copy(void *target, const void *source, size_t size, enum cudaMemcpyKind kind)
{
    CHECK_DEVICE();
    if (size == 0)
        return cudaSuccess;
    enum where to = where_is(target, size), from = where_is(source, size);
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (to == where::nowhere || from == where::nowhere ||
        (kind != cudaMemcpyDefault &&
         (to_device != (to == where::device) || from_device != (from == where::device)))) {
        snprintf(fault, sizeof fault,
                 "a copy of %zu bytes whose source or target is not what its kind says, or too small", size);
        return fail(cudaErrorInvalidValue);
    }
    show_range(target, size, true);
    show_range(source, size, true);
    memmove(target, source, size);
    show_range(target, size, false);
    show_range(source, size, false);
    return cudaSuccess;
}

static cudaError_t set(void *target, int value, size_t size)
{
    CHECK_DEVICE();
    if (size == 0)
        return cudaSuccess;
    if (where_is(target, size) != where::device)
        return fail(cudaErrorInvalidValue);
    show_range(target, size, true);
    memset(target, value, size);
    show_range(target, size, false);
    return cudaSuccess;
}

/* Streams. */

static struct entro_emulated_stream *stream_of(cudaStream_t stream)
{
    return stream != nullptr ? stream : &default_stream;
}

static bool is_capturing(cudaStream_t stream)
{
    const auto &captured = stream_of(stream)->captured;
    return captured != nullptr && !captured->is_over;
}

static cudaError_t issue(cudaStream_t stream, std::function<cudaError_t()> job)
{
    CHECK_DEVICE();
    if (!is_capturing(stream))
        return job();
    stream_of(stream)->captured->jobs.push_back(std::move(job));
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *target, const void *source, size_t size, enum cudaMemcpyKind kind)
{
    return copy(target, source, size, kind);
}

cudaError_t cudaMemcpyAsync(void *target, const void *source, size_t size, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return issue(stream, [=] { return copy(target, source, size, kind); });
}

cudaError_t cudaMemset(void *target, int value, size_t size)
{
    return set(target, value, size);
}

cudaError_t cudaMemsetAsync(void *target, int value, size_t size, cudaStream_t stream)
{
    return issue(stream, [=] { return set(target, value, size); });
}

cudaError_t entro_emulated_func_shared(const void *kernel, int bytes)
{
    CHECK_DEVICE();
    if (bytes < 0 || (size_t)bytes > entro_emulator.max_shared_bytes)
        return fail(cudaErrorInvalidValue);
    shared_limits[kernel] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *kernel)
{
    CHECK_DEVICE();
    memset(attributes, 0, sizeof *attributes);
    if (kernel == nullptr || entro_emulator.major * 10 + entro_emulator.minor < MIN_SM)
        return fail(kernel == nullptr ? cudaErrorInvalidDeviceFunction : cudaErrorNoKernelImageForDevice);
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 32;
    attributes->ptxVersion = attributes->binaryVersion = entro_emulator.major * 10 + entro_emulator.minor;
    attributes->maxDynamicSharedSizeBytes = 48 << 10;
    return cudaSuccess;
}

cudaError_t entro_emulated_issue(const void *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                                 cudaStream_t stream, std::function<void()> thread)
{
    CHECK_DEVICE();
    if (entro_emulator.launch != cudaSuccess || entro_emulator.major * 10 + entro_emulator.minor < MIN_SM)
        return fail(entro_emulator.launch != cudaSuccess ? entro_emulator.launch
                                                         : cudaErrorNoKernelImageForDevice);
    auto limit = shared_limits.find(kernel);
    size_t max_shared =
        limit != shared_limits.end() && limit->second > 48 << 10 ? (size_t)limit->second : (size_t)48 << 10;
    uint64_t n_threads = (uint64_t)block.x * block.y * block.z;
    if (n_threads == 0 || n_threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
        grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        return fail(cudaErrorInvalidConfiguration);
    if (shared_bytes > max_shared)
        return fail(cudaErrorInvalidValue);
    return issue(stream, [=] {
        n_launches++;
        show(true);
        bool is_good = entro_emulated_run(grid, block, shared_bytes, thread, fault, sizeof fault);
        if (is_good)
            return cudaSuccess;
        fprintf(stderr, "CUDA emulator: %s\n", fault);
        sticky_error = cudaErrorLaunchFailure;
        return fail(cudaErrorLaunchFailure);
    });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    CHECK_DEVICE();
    *stream = new struct entro_emulated_stream();
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
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    CHECK_DEVICE();
    show(false);
    return fail(is_capturing(stream) ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    return cudaStreamSynchronize(stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)flags;
    CHECK_DEVICE();
    /* A stream that waits for a captured event takes part in the capture. */
    std::shared_ptr<struct capture> captured = event->captured.lock();
    if (captured != nullptr && !captured->is_over)
        stream_of(stream)->captured = captured;
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *user)
{
    return issue(stream, [=] {
        function(user);
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    CHECK_DEVICE();
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
    CHECK_DEVICE();
    event->captured = stream_of(stream)->captured;
    event->is_recorded = true;
    clock_gettime(CLOCK_MONOTONIC, &event->time);
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    CHECK_DEVICE();
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return cudaEventSynchronize(event);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    if (!start->is_recorded || !end->is_recorded)
        return fail(cudaErrorInvalidResourceHandle);
    *milliseconds = (float)((double)(end->time.tv_sec - start->time.tv_sec) * 1e3 +
                            (double)(end->time.tv_nsec - start->time.tv_nsec) * 1e-6);
    return cudaSuccess;
}

/* Graphs. */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)mode;
    CHECK_DEVICE();
    if (stream == nullptr || is_capturing(stream))
        return fail(cudaErrorStreamCaptureUnsupported);
    stream->captured = std::make_shared<struct capture>();
    stream->is_origin = true;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    *graph = nullptr;
    if (stream == nullptr || !is_capturing(stream) || !stream->is_origin)
        return fail(cudaErrorStreamCaptureInvalidated);
    *graph = new entro_emulated_graph{stream->captured};
    stream->captured->is_over = true;
    stream->captured = nullptr;
    stream->is_origin = false;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    CHECK_DEVICE();
    *exec = new entro_emulated_graph_exec{graph->capture->jobs};
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream)
{
    (void)exec, (void)stream;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    return issue(stream, [exec] {
        for (auto &job : exec->jobs) {
            cudaError_t error = job();
            if (error != cudaSuccess)
                return error;
        }
        return cudaSuccess;
    });
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

cudaError_t cudaDeviceReset(void)
{
    sticky_error = last_error = cudaSuccess;
    return cudaSuccess;
}
