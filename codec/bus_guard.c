/* One guard a thread, and a handler that jumps back to it; see bus_guard.h. */
#include "codec/bus_guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <ucontext.h>

struct guard {
    uintptr_t begin;
    size_t size_bytes;
    sigjmp_buf back;
};

/* Of this thread alone: the fault is taken on the thread that causes it. */
static _Thread_local struct guard *volatile active;

static atomic_bool is_installed;

static void handle(int number, siginfo_t *info, void *context)
{
    struct guard *guard = active;
    if (guard != NULL && (uintptr_t)info->si_addr - guard->begin < guard->size_bytes) {
        /* The jump leaves the handler without a return: what a return would do to the mask is done here, so
         * that guards need not save it. */
        const ucontext_t *interrupted = context;
        pthread_sigmask(SIG_SETMASK, &interrupted->uc_sigmask, NULL);
        siglongjmp(guard->back, 1);
    }
    signal(number, SIG_DFL); /* not ours: the instruction faults again, with the default effect */
}

bool entro_bus_guard_install(void)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, NULL) != 0)
        return false;
    atomic_store(&is_installed, true);
    return true;
}

bool entro_bus_guard_is_installed(void)
{
    return atomic_load(&is_installed);
}

bool entro_bus_guard_run(const void *begin, size_t size_bytes, void (*function)(void *context), void *context)
{
    struct guard guard = {.begin = (uintptr_t)begin, .size_bytes = size_bytes};
    if (sigsetjmp(guard.back, 0) != 0) {
        active = NULL;
        return false;
    }
    active = &guard;
    atomic_signal_fence(memory_order_seq_cst);
    function(context);
    atomic_signal_fence(memory_order_seq_cst);
    active = NULL;
    return true;
}
