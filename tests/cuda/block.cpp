/*
 * Blocks of threads as fibers. A warp goes in rounds: each lane that can runs to its next collective, barrier
 * or end; then collectives that are complete release their lanes. Threads without barriers end one after
 * another on one stack, at the price of two switches of some nanoseconds.
 */
#include "block.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <vector>

#include "emulator.h"
#include "switch.h"
#include "with_asan.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace
{

#ifdef WITH_ASAN
const size_t STACK_BYTES = 256 << 10;
#else
const size_t STACK_BYTES = 64 << 10;
#endif
const size_t GUARD_BYTES = 4096;

enum class state { not_started, runnable, in_collective, at_barrier, done };

struct thread {
    enum state state = state::not_started;
    uint3 index{};
    void *stack = nullptr; /* lowest address; nullptr: none, before and after */
    void *top = nullptr;
    /* In a collective, or at a barrier: */
    unsigned mask = 0;
    enum entro_collective kind = ENTRO_COLLECTIVE_SYNC;
    uint64_t value = 0;
    const uint64_t *all = nullptr;
    const char *file = nullptr;
    int line = 0;
};

struct warp {
    unsigned n_lanes = 0, first = 0, round = 0;
    uint64_t values[2][32] = {};
};

const std::function<void()> *body;
std::vector<struct thread> threads;
std::vector<struct warp> warps;
std::vector<void *> free_stacks;
std::vector<unsigned char> shared_memory;
unsigned char *shared_start;
struct thread *current;
void *scheduler_top;
int barrier_result;
char fault_text[512];
bool has_fault;
#ifdef WITH_ASAN
void *scheduler_fake;
const void *scheduler_stack;
size_t scheduler_stack_bytes;
#endif

void *take_stack()
{
    if (!free_stacks.empty()) {
        void *stack = free_stacks.back();
        free_stacks.pop_back();
        return stack;
    }
    void *memory = mmap(nullptr, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD_BYTES, PROT_NONE) != 0) {
        perror("CUDA emulator: a fiber's stack");
        abort();
    }
    return (char *)memory + GUARD_BYTES;
}

void give_stack(struct thread *thread)
{
#ifdef WITH_ASAN
    __asan_unpoison_memory_region(thread->stack, STACK_BYTES);
#endif
    free_stacks.push_back(thread->stack);
    thread->stack = nullptr;
}

void resume(struct thread *thread)
{
    if (thread->state == state::not_started) {
        thread->stack = take_stack();
        thread->top = entro_fiber_prepare((char *)thread->stack + STACK_BYTES);
    }
    thread->state = state::runnable;
    current = thread;
    threadIdx = thread->index;
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&scheduler_fake, thread->stack, STACK_BYTES);
#endif
    entro_switch(&scheduler_top, thread->top);
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr);
#endif
    current = nullptr;
    if (thread->state == state::done && thread->stack != nullptr)
        give_stack(thread);
}

/* From the fiber back to the scheduler; returns when the fiber goes on. */
void leave(bool for_good)
{
    struct thread *self = current;
#ifdef WITH_ASAN
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake, scheduler_stack, scheduler_stack_bytes);
#else
    (void)for_good;
#endif
    entro_switch(&self->top, scheduler_top);
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

__attribute__((format(printf, 1, 2))) void set_fault(const char *format, ...)
{
    if (has_fault)
        return;
    has_fault = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault_text, sizeof fault_text, format, arguments);
    va_end(arguments);
}

void name_thread(const struct thread *thread, char text[96])
{
    snprintf(text, 96, "thread (%u,%u,%u) of block (%u,%u,%u)", thread->index.x, thread->index.y,
             thread->index.z, blockIdx.x, blockIdx.y, blockIdx.z);
}

/* Releases the lanes of collectives that all lanes of the mask have reached; false where one never will be.
 */
bool resolve(struct warp *warp)
{
    bool released = false, waiting = false;
    struct thread *lanes = &threads[warp->first];
    for (unsigned lane = 0; lane < warp->n_lanes; lane++) {
        struct thread *thread = &lanes[lane];
        if (thread->state != state::in_collective || thread->all != nullptr)
            continue;
        bool complete = true;
        for (unsigned other = 0; other < 32 && complete; other++) {
            if (thread->mask >> other & 1)
                complete = other < warp->n_lanes && lanes[other].state == state::in_collective &&
                           lanes[other].all == nullptr && lanes[other].mask == thread->mask &&
                           lanes[other].kind == thread->kind;
        }
        waiting = waiting || !complete;
        if (!complete)
            continue;
        uint64_t *values = warp->values[warp->round & 1];
        for (unsigned other = 0; other < 32; other++) {
            if (thread->mask >> other & 1) {
                values[other] = lanes[other].value;
                lanes[other].all = values;
            }
        }
        released = true;
    }
    warp->round++;
    return released || !waiting;
}

bool can_run(const struct thread *thread)
{
    return thread->state == state::not_started || thread->state == state::runnable ||
           (thread->state == state::in_collective && thread->all != nullptr);
}

/* The i-th of n blocks, warps or lanes: what only works in one order lacks a barrier. */
unsigned in_order(unsigned i, unsigned n)
{
    return entro_emulator.reversed ? n - 1 - i : i;
}

/* Until all lanes are at the barrier or done. */
bool run_warp(struct warp *warp)
{
    for (;;) {
        bool ran = false;
        for (unsigned i = 0; i < warp->n_lanes; i++) {
            struct thread *thread = &threads[warp->first + in_order(i, warp->n_lanes)];
            if (!can_run(thread))
                continue;
            ran = true;
            resume(thread);
            if (has_fault)
                return false;
        }
        if (!ran)
            return true;
        if (!resolve(warp)) {
            for (unsigned lane = 0; lane < warp->n_lanes; lane++) {
                const struct thread *thread = &threads[warp->first + lane];
                if (thread->state != state::in_collective)
                    continue;
                char name[96];
                name_thread(thread, name);
                set_fault("%s waits at %s:%d for lanes of the mask %08x that do not come", name, thread->file,
                          thread->line, thread->mask);
            }
            return false;
        }
    }
}

/* All at the same barrier, or all done. */
bool check_barrier(bool *is_done)
{
    const struct thread *first = &threads[0];
    int sum = 0;
    for (const struct thread &thread : threads) {
        bool same = thread.state == first->state &&
                    (thread.state == state::done ||
                     (thread.line == first->line && strcmp(thread.file, first->file) == 0));
        if (!same) {
            const struct thread *waits = thread.state == state::at_barrier ? &thread : first;
            const struct thread *other = waits == first ? &thread : first;
            char name[96], other_name[96];
            name_thread(waits, name);
            name_thread(other, other_name);
            if (other->state == state::done)
                set_fault("diverged barrier: %s waits at %s:%d, %s has ended", name, waits->file, waits->line,
                          other_name);
            else
                set_fault("diverged barrier: %s waits at %s:%d, %s at %s:%d", name, waits->file, waits->line,
                          other_name, other->file, other->line);
            return false;
        }
        sum += thread.state == state::at_barrier && thread.value != 0;
    }
    barrier_result = sum;
    *is_done = first->state == state::done;
    return true;
}

/* The block's threads, in the order of their numbers, as warps of 32. */
void set_up(dim3 block)
{
    unsigned n = block.x * block.y * block.z;
    threads.assign(n, {});
    for (unsigned i = 0; i < n; i++)
        threads[i].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    warps.assign((n + 31) / 32, {});
    for (unsigned i = 0; i < warps.size(); i++) {
        warps[i].first = 32 * i;
        warps[i].n_lanes = n - 32 * i < 32 ? n - 32 * i : 32;
    }
}

bool run_block()
{
    for (bool is_done = false; !is_done;) {
        unsigned n_warps = (unsigned)warps.size();
        for (unsigned i = 0; i < n_warps; i++) {
            if (!run_warp(&warps[in_order(i, n_warps)]))
                return false;
        }
        if (!check_barrier(&is_done))
            return false;
        for (struct thread &thread : threads) {
            if (thread.state == state::at_barrier)
                thread.state = state::runnable;
        }
    }
    return true;
}

/* Shared memory as large as was asked for, full of garbage: a sanitizer sees what is beyond it. */
void set_shared(size_t bytes)
{
    shared_memory.assign(bytes + 32, 0xcb);
    shared_start = shared_memory.data() + (16 - (uintptr_t)shared_memory.data() % 16) % 16;
#ifdef WITH_ASAN
    __asan_poison_memory_region(shared_start + bytes,
                                (size_t)(shared_memory.data() + shared_memory.size() - shared_start) - bytes);
#endif
}

void drop_shared()
{
#ifdef WITH_ASAN
    __asan_unpoison_memory_region(shared_memory.data(), shared_memory.size());
#endif
}

} // namespace

extern "C" void entro_fiber_main(void)
{
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
    (*body)();
    current->state = state::done;
    leave(true);
    abort();
}

void *entro_emulated_shared(void)
{
    return shared_start;
}

unsigned entro_emulated_lane(void)
{
    return (unsigned)(current - threads.data()) % 32;
}

const uint64_t *entro_emulated_exchange(unsigned mask, uint64_t value, enum entro_collective kind,
                                        const char *file, int line)
{
    if ((mask >> entro_emulated_lane() & 1) == 0)
        entro_emulated_fault("%s:%d: lane %u is not in its mask %08x", file, line, entro_emulated_lane(),
                             mask);
    current->mask = mask;
    current->value = value;
    current->kind = kind;
    current->file = file;
    current->line = line;
    current->all = nullptr;
    current->state = state::in_collective;
    leave(false);
    current->state = state::runnable;
    return current->all;
}

int entro_emulated_barrier(int value, const char *file, int line)
{
    current->value = value != 0;
    current->file = file;
    current->line = line;
    current->state = state::at_barrier;
    leave(false);
    return barrier_result;
}

void entro_emulated_fault(const char *format, ...)
{
    if (current == nullptr) {
        fputs("CUDA emulator: device code is called by the host\n", stderr);
        abort();
    }
    va_list arguments;
    char text[384], name[96];
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    name_thread(current, name);
    set_fault("%s: %s", name, text);
    leave(false);
    abort();
}

bool entro_emulated_run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread,
                        char *fault, size_t fault_size)
{
    has_fault = false;
    body = &thread;
    gridDim = grid;
    blockDim = block;
    for (unsigned z = 0; z < grid.z && !has_fault; z++) {
        for (unsigned y = 0; y < grid.y && !has_fault; y++) {
            for (unsigned x = 0; x < grid.x && !has_fault; x++) {
                blockIdx = {in_order(x, grid.x), in_order(y, grid.y), in_order(z, grid.z)};
                set_shared(shared_bytes);
                set_up(block);
                run_block();
                drop_shared();
            }
        }
    }
    for (struct thread &t : threads) { /* of a block that was given up */
        if (t.stack != nullptr)
            give_stack(&t);
    }
    threads.clear();
    snprintf(fault, fault_size, "%s", has_fault ? fault_text : "");
    return !has_fault;
}
