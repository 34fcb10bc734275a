/* Settings, errors and properties of the emulated device. */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulator_internal.h"

/* The oldest device that code is compiled for. */
static const int MIN_SM = 75;

static const struct entro_emulator_settings at_start = {
    1, cudaSuccess, 13000, 9, 0, (size_t)8 << 30, 227 << 10, -1, cudaSuccess, ENTRO_EMULATED_NOW, false};
struct entro_emulator_settings entro_emulator = at_start;

static cudaError_t last_error, sticky_error;
static char fault[600];

cudaError_t entro_emulated_fail(cudaError_t error)
{
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

void entro_emulated_note_fault(const char *text)
{
    snprintf(fault, sizeof fault, "%s", text);
}

cudaError_t entro_emulated_break(const char *text)
{
    entro_emulated_note_fault(text);
    fprintf(stderr, "CUDA emulator: %s\n", fault);
    sticky_error = cudaErrorLaunchFailure;
    return entro_emulated_fail(cudaErrorLaunchFailure);
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
    if ((text = getenv("ENTRO_EMULATED_THREADS")) != nullptr)
        entro_emulator.reversed = strcmp(text, "reversed") == 0;
    if ((text = getenv("ENTRO_EMULATED_STREAMS")) != nullptr)
        entro_emulator.order = strcmp(text, "late") == 0    ? ENTRO_EMULATED_LATE
                               : strcmp(text, "apart") == 0 ? ENTRO_EMULATED_APART
                                                            : ENTRO_EMULATED_NOW;
}

cudaError_t entro_emulated_check_device(void)
{
    read_environment();
    if (entro_emulator.driver == cudaSuccess && entro_emulator.driver_version < CUDART_VERSION / 1000 * 1000)
        return cudaErrorInsufficientDriver;
    if (entro_emulator.driver != cudaSuccess)
        return entro_emulator.driver;
    return entro_emulator.n_devices < 1 ? cudaErrorNoDevice : sticky_error;
}

bool entro_emulated_has_kernels(void)
{
    return entro_emulator.major * 10 + entro_emulator.minor >= MIN_SM;
}

void entro_emulator_reset(void)
{
    entro_emulator = at_start;
    last_error = sticky_error = cudaSuccess;
    fault[0] = '\0';
    entro_emulated_forget_captures();
    entro_emulated_forget_streams();
}

const char *entro_emulator_fault_text(void)
{
    return fault;
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
    ENTRO_CHECK_DEVICE();
    *n_devices = entro_emulator.n_devices;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    ENTRO_CHECK_DEVICE();
    return entro_emulated_fail(device < 0 || device >= entro_emulator.n_devices ? cudaErrorInvalidDevice
                                                                                : cudaSuccess);
}

cudaError_t cudaGetDevice(int *device)
{
    ENTRO_CHECK_DEVICE();
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    ENTRO_CHECK_DEVICE();
    if (device < 0 || device >= entro_emulator.n_devices)
        return entro_emulated_fail(cudaErrorInvalidDevice);
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
    return entro_emulated_fail(cudaErrorInvalidValue);
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

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *kernel)
{
    ENTRO_CHECK_DEVICE();
    memset(attributes, 0, sizeof *attributes);
    if (kernel == nullptr || !entro_emulated_has_kernels())
        return entro_emulated_fail(kernel == nullptr ? cudaErrorInvalidDeviceFunction
                                                     : cudaErrorNoKernelImageForDevice);
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 32;
    attributes->ptxVersion = attributes->binaryVersion = entro_emulator.major * 10 + entro_emulator.minor;
    attributes->maxDynamicSharedSizeBytes = 48 << 10;
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void)
{
    sticky_error = last_error = cudaSuccess;
    return cudaSuccess;
}
