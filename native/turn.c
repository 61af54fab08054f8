/* turn.c: see turn.h. */
#include "turn.h"
#include <time.h>

uint64_t blitz_monotonic_ns(void);

/* What others wait for guests in a pass, beside the slice that is running when it is used up. Thousands of
 * well-behaved calls fit. */
static const double BUDGET_NS = 1e6;
/* Both clocks are compared over this long before the budget is believed. */
static const uint64_t COMPARED_NS = 1000000;

static double cycles_per_ns(const blitz_turn *turn, uint64_t now_ns)
{
    uint64_t ns = now_ns - turn->first_ns;
    return ns < COMPARED_NS ? 0 : (double)(blitz_cycles() - turn->first_cycles) / (double)ns;
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t to_cycles(const blitz_turn *turn, uint64_t ns)
{
    return (uint64_t)((double)ns * (double)turn->budget / BUDGET_NS);
}

static void ask_clocks(blitz_turn *turn, uint64_t now_ns)
{
    turn->since_ns = now_ns;
    turn->since_cpu_ns = cpu_ns();
}

/* Take back of the slice that was just counted what the thread was away for since it was last asked. */
void blitz_turn_forgive(blitz_turn *turn, uint64_t cycles)
{
    blitz_turn before = *turn;
    ask_clocks(turn, blitz_monotonic_ns());
    if (before.since_ns == 0)
        return;
    uint64_t passed = turn->since_ns - before.since_ns, ran = turn->since_cpu_ns - before.since_cpu_ns;
    uint64_t away = passed > ran ? to_cycles(turn, passed - ran) : 0;
    turn->spent -= away < cycles ? away : cycles;
}

void blitz_turn_pass(blitz_turn *turn, uint64_t now_ns, bool held)
{
    if (turn->first_ns == 0) {
        turn->first_ns = now_ns;
        turn->first_cycles = blitz_cycles();
    }
    double rate = cycles_per_ns(turn, now_ns);
    if (rate > 0)
        turn->budget = (uint64_t)(rate * BUDGET_NS) + 1;
    if (turn->spent > 0)                         /* a loop in which no guest runs need not ask */
        ask_clocks(turn, now_ns);
    else
        turn->since_ns = 0;
    turn->spent = 0;
    turn->held = held;
}

void blitz_turn_charge(blitz_turn *turn, uint64_t ns)
{
    turn->spent += to_cycles(turn, ns);
}
