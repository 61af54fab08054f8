/* The budget of a pass: what guests ran counts, what the system ran in our place does not. */
#include "../turn.h"
#include "guard.h"
#include <time.h>

uint64_t blitz_monotonic_ns(void);
enum { MS = 1000000 };

static uint64_t cpu(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000 * MS + (uint64_t)now.tv_nsec;
}

/* A slice in which the thread is away for ms and then runs for ms of its own clock. */
static void slice(blitz_turn *turn, unsigned away, unsigned run)
{
    uint64_t from = blitz_cycles();
    if (away > 0)
        nanosleep(&(struct timespec){.tv_nsec = (long)away * MS}, NULL);
    for (uint64_t begin = cpu(); cpu() - begin < (uint64_t)run * MS;) {
    }
    blitz_turn_spend(turn, blitz_cycles() - from);
}

static blitz_turn begun(void)
{
    blitz_turn turn = {0};
    blitz_turn_pass(&turn, blitz_monotonic_ns(), false);
    nanosleep(&(struct timespec){.tv_nsec = 5 * MS}, NULL);      /* both clocks are compared over some time */
    blitz_turn_pass(&turn, blitz_monotonic_ns(), false);
    slice(&turn, 0, 1);
    blitz_turn_pass(&turn, blitz_monotonic_ns(), false);
    MUST(turn.spent == 0 && turn.budget > 0 && !blitz_turn_is_over(&turn), "a new pass");
    return turn;
}

int main(void)
{
    blitz_turn turn = begun();
    slice(&turn, 0, 3);
    MUST(blitz_turn_is_over(&turn), "a guest that ran for 3 ms has had the pass");
    blitz_turn_pass(&turn, blitz_monotonic_ns(), false);
    slice(&turn, 30, 0);
    MUST(!blitz_turn_is_over(&turn), "%llu of %llu were spent while the thread was away",
         (unsigned long long)turn.spent, (unsigned long long)turn.budget);
    slice(&turn, 10, 3);
    MUST(blitz_turn_is_over(&turn), "what was away is no excuse for what ran");
    turn = begun();                               /* nor is what came before the pass, a sleeping loop say */
    nanosleep(&(struct timespec){.tv_nsec = 30 * MS}, NULL);
    blitz_turn_pass(&turn, blitz_monotonic_ns(), false);
    slice(&turn, 0, 3);
    MUST(blitz_turn_is_over(&turn), "the loop slept before");
    puts("turn: what guests ran counts, and nothing else");
    return 0;
}
