/* The emulator's memory: the device's, which the host cannot touch while no kernel runs (under
 * AddressSanitizer), and pinned memory of the host. */
#include <cstdlib>
#include <cstring>
#include <map>

#include "emulator_internal.h"
#include "with_asan.h"

struct region {
    size_t size;
    bool is_device;
    bool is_registered; /* the caller's own memory */
};
static std::map<uintptr_t, struct region> regions;
static size_t peak;

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

size_t entro_emulator_peak_bytes(void)
{
    return peak;
}

void entro_emulator_forget_peak(void)
{
    peak = count_bytes(true);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    ENTRO_CHECK_DEVICE();
    size_t used = entro_emulator_device_bytes();
    *total_bytes = entro_emulator.memory_bytes;
    *free_bytes = used < *total_bytes ? *total_bytes - used : 0;
    return cudaSuccess;
}

/* From a launch to the next call that waits for it, so that a pass of many launches pays for it once. */
static bool all_shown;

void entro_emulated_show(bool is_shown)
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

void entro_emulated_move(void *target, const void *source, size_t size)
{
    show_range(target, size, true);
    show_range(source, size, true);
    memmove(target, source, size);
    show_range(target, size, false);
    show_range(source, size, false);
}

void entro_emulated_fill(void *target, int value, size_t size)
{
    show_range(target, size, true);
    memset(target, value, size);
    show_range(target, size, false);
}

static cudaError_t take_memory(void **address, size_t size, bool is_device)
{
    ENTRO_CHECK_DEVICE();
    cudaError_t error = entro_emulated_unsafe();
    if (error != cudaSuccess)
        return error;
    if (address == nullptr)
        return entro_emulated_fail(cudaErrorInvalidValue);
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
    if (fails || posix_memalign(&memory, is_device ? 256 : 4096, size) != 0)
        return entro_emulated_fail(cudaErrorMemoryAllocation);
    memset(memory, 0xcd, size);
    regions[(uintptr_t)memory] = {size, is_device, false};
    peak = entro_emulator_device_bytes() > peak ? entro_emulator_device_bytes() : peak;
    show_range(memory, size, false);
    *address = memory;
    return cudaSuccess;
}

static cudaError_t drop_memory(void *address, bool is_device)
{
    if (address == nullptr)
        return cudaSuccess;
    cudaError_t error = entro_emulated_unsafe();
    if (error != cudaSuccess)
        return error;
    auto found = regions.find((uintptr_t)address);
    if (found == regions.end() || found->second.is_device != is_device || found->second.is_registered)
        return entro_emulated_fail(cudaErrorInvalidValue);
    if (is_device) /* as cudaFree does, and cudaFreeHost does not say that it did */
        entro_emulated_finish_all();
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
    ENTRO_CHECK_DEVICE();
    if (address == nullptr || size == 0 || regions.count((uintptr_t)address) != 0)
        return entro_emulated_fail(cudaErrorInvalidValue);
    regions[(uintptr_t)address] = {size, false, true};
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *address)
{
    auto found = regions.find((uintptr_t)address);
    if (found == regions.end() || !found->second.is_registered)
        return entro_emulated_fail(cudaErrorInvalidValue);
    regions.erase(found);
    return cudaSuccess;
}

enum entro_place entro_emulated_place(const void *address, size_t size)
{
    uintptr_t begin = (uintptr_t)address, end = begin + size;
    if (address == nullptr || end < begin)
        return entro_place::nowhere;
    auto next = regions.upper_bound(begin);
    if (next != regions.end() && next->second.is_device && next->first < end)
        return entro_place::nowhere;
    if (next == regions.begin())
        return entro_place::host;
    --next;
    uintptr_t region_end = next->first + next->second.size;
    if (begin >= region_end)
        return entro_place::host;
    if (next->second.is_registered)
        return end <= region_end ? entro_place::pinned : entro_place::host;
    if (end > region_end)
        return entro_place::nowhere;
    return next->second.is_device ? entro_place::device : entro_place::pinned;
}
