/* stack_switch.c: see stack_switch.h.
 *
 * To the compiler this is a call like any other, so it counts with what the platform's C ABI lets a callee change, and
 * only the rest is kept. The rounding modes (MXCSR and the x87 control word, FPCR) are of that rest and still not kept:
 * neither guests nor we change them. wasmtime's own fibers switch the same way. A frame pointer of 0 and a return
 * address of 0 end the walks of debuggers and profilers at the bottom of the stack. */
#include "stack_switch.h"
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
/* System V ABI 3.2.1: rbx, rbp, r12 to r15. */
enum { KEPT = 6, RETURN = 6, FRAME = 8 };        /* words; two zeros above: the return address of entry, padding */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl blitz_stack_switch\n"
        ".hidden blitz_stack_switch\n"
        ".type blitz_stack_switch, @function\n"
        "blitz_stack_switch:\n"
        "    push %rbp\n"
        "    push %rbx\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbx\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size blitz_stack_switch, . - blitz_stack_switch\n");

#elif defined(__aarch64__)
/* AAPCS64 6.1: x19 to x28, the frame pointer x29, the lower halves of v8 to v15; the link register x30 says where. */
enum { RETURN = 11, FRAME = 20 };                /* words: x19 ... x29, x30, d8 ... d15 */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl blitz_stack_switch\n"
        ".hidden blitz_stack_switch\n"
        ".type blitz_stack_switch, %function\n"
        "blitz_stack_switch:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size blitz_stack_switch, . - blitz_stack_switch\n");

#else
enum { RETURN = 0, FRAME = 2 };
void blitz_stack_switch(void **from, void *to) { (void)from, (void)to; __builtin_trap(); }
#endif

void *blitz_stack_prepare(void *top, void (*entry)(void))
{
    uintptr_t *frame = (uintptr_t *)top - FRAME;
    memset(frame, 0, FRAME * sizeof *frame);
    frame[RETURN] = (uintptr_t)entry;
    return frame;
}
