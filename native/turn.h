/* turn.h: how much of one pass of the event loop guests may take together.
 *
 * All guests of an engine share a thread with everything else that the worker does. Each call yields after a
 * time slice, but many that begin in the same pass would still take one slice each before anybody else runs.
 * So a pass has a budget: a call that would begin when it is used up does not; it is pending as if it had
 * yielded before its first instruction, and blitz_call_resume begins it. Whoever drives the passes says when
 * one begins (blitz_turn_pass); where nobody does, there is no budget.
 *
 * Time is counted in cycles of the processor's own counter: reading it costs a fraction of what a call does,
 * asking the kernel's clock twice a call would not. That counter goes on while the system runs somebody else in our
 * place, which is no guest's doing: after a slice that took suspiciously long the thread's own clock is asked how much
 * of it we were away.
 */
#ifndef BLITZ_TURN_H
#define BLITZ_TURN_H
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t budget;              /* cycles of a pass; 0: no bound */
    uint64_t spent;               /* cycles that guests have had in this pass */
    bool held;                    /* others stand in line: nothing begins but what they resume */
    uint64_t first_cycles, first_ns;   /* where both clocks stood at the first pass */
    uint64_t since_ns, since_cpu_ns;   /* the monotonic and the thread's, when last asked in this pass; 0: not yet */
} blitz_turn;

static inline uint64_t blitz_cycles(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t count;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
    return count;
#else
    uint64_t blitz_monotonic_ns(void);
    return blitz_monotonic_ns();
#endif
}

static inline bool blitz_turn_is_over(const blitz_turn *turn) { return turn->budget > 0 && turn->spent >= turn->budget; }

void blitz_turn_forgive(blitz_turn *turn, uint64_t cycles);
/* A guest has run for so many cycles. */
static inline void blitz_turn_spend(blitz_turn *turn, uint64_t cycles)
{
    turn->spent += cycles;
    if (cycles > turn->budget / 8 && turn->budget > 0)
        blitz_turn_forgive(turn, cycles);
}

/* A new pass of the event loop. now_ns: of the monotonic clock. */
void blitz_turn_pass(blitz_turn *turn, uint64_t now_ns, bool held);
/* Count time that the host spends on a guest's behalf once it has run. */
void blitz_turn_charge(blitz_turn *turn, uint64_t ns);
#endif
