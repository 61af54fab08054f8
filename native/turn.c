/* turn.c: see turn.h. */
#include "turn.h"

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

void blitz_turn_pass(blitz_turn *turn, uint64_t now_ns, bool held)
{
    if (turn->first_ns == 0) {
        turn->first_ns = now_ns;
        turn->first_cycles = blitz_cycles();
    }
    double rate = cycles_per_ns(turn, now_ns);
    if (rate > 0)
        turn->budget = (uint64_t)(rate * BUDGET_NS) + 1;
    turn->spent = 0;
    turn->held = held;
}

void blitz_turn_charge(blitz_turn *turn, uint64_t ns)
{
    turn->spent += (uint64_t)((double)ns * (double)turn->budget / BUDGET_NS);
}
