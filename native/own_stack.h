/* own_stack.h: a stack of our own, on which one guest at a time runs.
 *
 * wasmtime runs a call that may be suspended on a fiber, which costs several times what a short call does. Nothing but
 * the switch of stacks is needed for it, though: a call that runs on a stack of ours can be left in the middle of the
 * guest, in the callback of its deadline, and gone on with later (stack_switch.h).
 *
 * One rule comes with it. wasmtime keeps a list, for each thread, of the guests that are in progress there, and takes
 * them off it in the reverse order; two guests that are left on two such stacks and go on in the wrong order end the
 * process. So in a thread one guest at most is on a stack like this, whatever engines there are, and it goes on in that
 * thread only. As long as it is there, all other calls run on wasmtime's fibers, which take themselves off the list
 * when they are suspended.
 *
 * No frame of Python ever stands on it: C does not call Python. */
#ifndef BLITZ_OWN_STACK_H
#define BLITZ_OWN_STACK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct blitz_instance blitz_instance;
typedef struct blitz_own_stack blitz_own_stack;
struct blitz_own_stack {
    uint8_t *memory;              /* what is mapped: a page that nobody may touch, the stack, such a page again */
    size_t size;
    uint8_t *low, *high;          /* the stack between them; NULL: there is none, every call runs on a fiber */
    void *guest, *host;           /* where each side was left */
    void (*run)(blitz_instance *instance);
    blitz_instance *instance;     /* whose call is on it; NULL: free */
    bool parked;                  /* it has left it in the middle */
    blitz_own_stack **occupied;   /* of the thread that it is on it in: who is on such a stack there */
    const void *host_low;         /* of the host's stack, for the address sanitizer */
    size_t host_size;
    void *guest_fake, *host_fake;
};

/* Map a stack of that size. run: what a call does, from its beginning to its end. Where this machine or its memory has
 * no room for one, there is none. Zeroed memory is a stack that is not there. */
void blitz_own_stack_open(blitz_own_stack *stack, size_t size, void (*run)(blitz_instance *));
/* No call is on it any more; one that still is keeps its memory for good. */
void blitz_own_stack_close(blitz_own_stack *stack);
/* The next blitz_own_stack_run begins this instance's call. false: somebody is on such a stack in this thread. */
bool blitz_own_stack_take(blitz_own_stack *stack, blitz_instance *instance);
/* In the thread that took it. -> whether run has come to its end; the stack is free then. */
bool blitz_own_stack_run(blitz_own_stack *stack);
/* Somebody is parked on it, and this is not the thread that took it. */
bool blitz_own_stack_is_elsewhere(const blitz_own_stack *stack);
/* On the stack: leave it, until the next blitz_own_stack_run. */
void blitz_own_stack_park(blitz_own_stack *stack);
#endif
