/* stack_switch.h: leave one stack and go on where another one was left. x86_64 and aarch64; elsewhere
 * BLITZ_CAN_SWITCH is 0 and nobody calls it. */
#ifndef BLITZ_STACK_SWITCH_H
#define BLITZ_STACK_SWITCH_H

#if defined(__x86_64__) || defined(__aarch64__)
enum { BLITZ_CAN_SWITCH = 1 };
#else
enum { BLITZ_CAN_SWITCH = 0 };
#endif

/* Keep what a callee must keep on the running stack, its pointer in *from, and go on where to was left. */
void blitz_stack_switch(void **from, void *to);
/* A stack that nobody has run on, as one that was left at the beginning of entry, which never returns.
 * top: its end, a multiple of 16. -> what blitz_stack_switch takes. */
void *blitz_stack_prepare(void *top, void (*entry)(void));
#endif
