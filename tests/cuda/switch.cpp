/* See switch.h. By the procedure call standards of x86-64 (System V) and aarch64 (AAPCS64). */
#include "switch.h"

#include <cstdint>

#if defined(__x86_64__)
asm(R"(
    .text
    .globl entro_switch
    .type entro_switch, @function
entro_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size entro_switch, .-entro_switch
    .globl entro_fiber_start
    .type entro_fiber_start, @function
entro_fiber_start:
    xorl %ebp, %ebp
    call entro_fiber_main
    ud2
    .size entro_fiber_start, .-entro_fiber_start
    .section .note.GNU-stack,"",@progbits
    .text
)");

void *entro_fiber_prepare(void *end)
{
    /* Six registers, the address to return to, and two words more: where a call is made, the stack's top is
     * a multiple of 16. */
    uint64_t *top = (uint64_t *)end - 9;
    for (unsigned i = 0; i < 9; i++)
        top[i] = 0;
    top[6] = (uint64_t)(uintptr_t)entro_fiber_start;
    return top;
}
#elif defined(__aarch64__)
asm(R"(
    .text
    .globl entro_switch
    .type entro_switch, %function
entro_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size entro_switch, .-entro_switch
    .globl entro_fiber_start
    .type entro_fiber_start, %function
entro_fiber_start:
    bl entro_fiber_main
    brk #1
    .size entro_fiber_start, .-entro_fiber_start
    .section .note.GNU-stack,"",%progbits
    .text
)");

void *entro_fiber_prepare(void *end)
{
    uint64_t *top = (uint64_t *)end - 20;
    for (unsigned i = 0; i < 20; i++)
        top[i] = 0;
    top[11] = (uint64_t)(uintptr_t)entro_fiber_start; /* x30 */
    return top;
}
#else
#error "the CUDA emulator has no context switch for this processor"
#endif
