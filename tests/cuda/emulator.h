/*
 * A CUDA device for tests: kernels compiled as C++17 by a host compiler, with tests/cuda/emulator before
 * CUDA's own headers, run here. It finds what a card would hide: barriers and collectives that not all
 * threads reach, shuffles from lanes outside the mask, copies beyond an allocation, shared memory that is
 * read before it is written; and, under AddressSanitizer, every access beyond an allocation and by the host
 * to the device's.
 *
 * And where streams' work is done late or apart: what is not ordered by streams and events, memory that is
 * reused before a copy is done with it, and captures that a card would refuse.
 *
 * What it is not: parallel. Blocks run one after another, a block's threads as fibers that change at barriers
 * and collectives, in one order or the reverse of it: of races within a launch it finds those whose result
 * differs between the two. A kernel whose threads wait for each other in a loop never ends.
 */
#ifndef ENTRO_CUDA_EMULATOR_H
#define ENTRO_CUDA_EMULATOR_H

#include <cuda_runtime.h>

/* When the work of streams is done. */
enum entro_emulated_order {
    ENTRO_EMULATED_NOW,  /* when it is issued */
    ENTRO_EMULATED_LATE, /* when somebody waits for it, and no more of other streams than that needs */
    ENTRO_EMULATED_APART /* likewise, but all that other streams can do comes first */
};

/* What the device is; a test may change it between its calls. The variables ENTRO_EMULATED_DEVICES, _DRIVER
 * (the version), _MEMORY (bytes), _SM (75, 90, ...), _STREAMS (late, apart) and _THREADS (reversed) of the
 * environment go before it. */
struct entro_emulator_settings {
    int n_devices;
    cudaError_t driver; /* what every call returns where there is no driver, or an old one */
    int driver_version;
    int major, minor;
    size_t memory_bytes;
    size_t max_shared_bytes; /* a block's, by cudaFuncSetAttribute */
    long fail_allocation;    /* the how many next allocation fails, 0 the next one; negative: none */
    cudaError_t launch;      /* what every launch returns: a card that no code was compiled for */
    enum entro_emulated_order order;
    bool reversed; /* blocks, warps and lanes run from the last to the first */
};
extern struct entro_emulator_settings entro_emulator;

/* Back to the settings of a program's start, and no error from before. Memory stays. */
void entro_emulator_reset(void);
/* Of the device, and pinned of the host: for a test that nothing is left. */
size_t entro_emulator_device_bytes(void);
size_t entro_emulator_pinned_bytes(void);
/* The most of the device's memory that was taken at a time since the peak was last forgotten. */
size_t entro_emulator_peak_bytes(void);
void entro_emulator_forget_peak(void);
/* What the last launch that failed had to say; "" where none did. */
const char *entro_emulator_fault_text(void);
/* Launches so far. */
uint64_t entro_emulator_n_launches(void);

#endif
