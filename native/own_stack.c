/* own_stack.c: see own_stack.h. */
#define _GNU_SOURCE
#include "own_stack.h"
#include "stack_switch.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Who is on such a stack in this thread. */
static _Thread_local blitz_own_stack *occupied;

/* ---------------------------------------------------------------- what the address sanitizer is told */

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif

#ifdef HAS_ASAN
#include <sanitizer/common_interface_defs.h>
static void leave_for_guest(blitz_own_stack *stack)
{
    __sanitizer_start_switch_fiber(&stack->host_fake, stack->low, (size_t)(stack->high - stack->low));
}
static void back_in_host(blitz_own_stack *stack) { __sanitizer_finish_switch_fiber(stack->host_fake, NULL, NULL); }
static void leave_for_host(blitz_own_stack *stack)
{
    __sanitizer_start_switch_fiber(&stack->guest_fake, stack->host_low, stack->host_size);
}
static void back_in_guest(blitz_own_stack *stack)
{
    __sanitizer_finish_switch_fiber(stack->guest_fake, &stack->host_low, &stack->host_size);
}
#else
static void leave_for_guest(blitz_own_stack *stack) { (void)stack; }
static void back_in_host(blitz_own_stack *stack) { (void)stack; }
static void leave_for_host(blitz_own_stack *stack) { (void)stack; }
static void back_in_guest(blitz_own_stack *stack) { (void)stack; }
#endif

/* ---------------------------------------------------------------- the two sides */

void blitz_own_stack_park(blitz_own_stack *stack)
{
    leave_for_host(stack);
    blitz_stack_switch(&stack->guest, stack->host);
    back_in_guest(stack);
}

/* The first frame on the stack, for as long as there is one: a call after the other. */
static void serve(void)
{
    blitz_own_stack *stack = occupied;
    back_in_guest(stack);
    for (;;) {
        stack->run(stack->instance);
        stack->instance = NULL;
        blitz_own_stack_park(stack);
    }
}

bool blitz_own_stack_take(blitz_own_stack *stack, blitz_instance *instance)
{
    if (stack->low == NULL || stack->instance != NULL || occupied != NULL)
        return false;
    occupied = stack;
    stack->instance = instance;
    stack->occupied = &occupied;
    return true;
}

bool blitz_own_stack_is_elsewhere(const blitz_own_stack *stack)
{
    return stack->parked && stack->occupied != &occupied;
}

bool blitz_own_stack_run(blitz_own_stack *stack)
{
    leave_for_guest(stack);
    blitz_stack_switch(&stack->host, stack->guest);
    back_in_host(stack);
    stack->parked = stack->instance != NULL;
    if (!stack->parked)
        *stack->occupied = NULL;
    return !stack->parked;
}

/* ---------------------------------------------------------------- its memory */

void blitz_own_stack_open(blitz_own_stack *stack, size_t size, void (*run)(blitz_instance *))
{
    memset(stack, 0, sizeof *stack);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = size + 2 * page;
    if (!BLITZ_CAN_SWITCH || size % page != 0)
        return;
    uint8_t *memory = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED)
        return;
    if (mprotect(memory + page, size, PROT_READ | PROT_WRITE) != 0) {
        munmap(memory, whole);
        return;
    }
    *stack = (blitz_own_stack){.memory = memory, .size = whole, .low = memory + page, .high = memory + page + size};
    stack->run = run;
    stack->guest = blitz_stack_prepare(stack->high, serve);
}

void blitz_own_stack_close(blitz_own_stack *stack)
{
    if (stack->memory != NULL && stack->instance == NULL)
        munmap(stack->memory, stack->size);
    stack->memory = stack->low = stack->high = NULL;
}
