/* The change from one fiber to another: what swapcontext does, without its system calls. */
#ifndef ENTRO_CUDA_SWITCH_H
#define ENTRO_CUDA_SWITCH_H

extern "C" {
/* Saves the registers that a call keeps on this stack, and its top in *from; goes on with that of `to`. */
void entro_switch(void **from, void *to);
/* Where a new fiber begins; calls entro_fiber_main. */
void entro_fiber_start(void);
void entro_fiber_main(void);
}

/* The first `to` of a fiber whose stack ends at `end`, which is a multiple of 16. */
void *entro_fiber_prepare(void *end);

#endif
