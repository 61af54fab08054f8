/* A call on the own stack goes on exactly where it was left, with its registers; who else wants one is told so; and
 * nobody goes on with it from another thread. Two engines' stacks in one thread count as one. */
#include "../own_stack.h"
#include "../stack_switch.h"
#include "guard.h"
#include <pthread.h>
#include <string.h>

enum { SIZE = 256 * 1024, PARKS = 1000 };
static blitz_own_stack one, other;
/* The stack takes instances for names only. */
static char names[2];
#define FIRST ((blitz_instance *)&names[0])
#define SECOND ((blitz_instance *)&names[1])

static int parks;
static double sum;
static uint64_t mixed;

/* Values that live across the switch, more than there are registers, of both kinds. */
static void count(blitz_instance *instance)
{
    MUST(instance == FIRST || instance == SECOND, "an unknown instance");
    uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
    double s = 0, t = 1, u = 2, v = 3;
    for (int i = 0; i < parks; i++) {
        blitz_own_stack_park(&one);
        a += b ^ (uint64_t)i, b += c, c ^= d << 1, d += e, e ^= f >> 1, f += g, g ^= h, h += a;
        s += t, t += 0.5, u += s * 0.25, v += u;
    }
    mixed = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
    sum = s + t + u + v;
}

static void test_registers_stay(void)
{
    blitz_own_stack_open(&one, SIZE, count);
    MUST(one.low != NULL, "no stack");
    for (int round = 0; round < 3; round++) {
        uint64_t a = 11, b = 12, c = 13, d = 14, e = 15, f = 16, g = 17, h = 18;
        double s = 1.5, t = 2.5, u = 3.5, v = 4.5;
        parks = PARKS;
        MUST(blitz_own_stack_take(&one, FIRST), "free, and not taken");
        for (int i = 0; i < PARKS; i++) {
            MUST(!blitz_own_stack_run(&one), "ended at %d", i);
            a += b, b ^= c, c += d, d ^= e, e += f, f ^= g, g += h, h ^= a, s += t, t += 1, u += s, v -= u;
        }
        MUST(blitz_own_stack_run(&one), "not at its end");
        uint64_t mixed_there = mixed;
        double sum_there = sum;
        static uint64_t host_mix;
        static double host_sum;
        MUST(round == 0 || (host_mix == (a ^ b ^ c ^ d ^ e ^ f ^ g ^ h) && host_sum == s + t + u + v), "ours changed");
        host_mix = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
        host_sum = s + t + u + v;
        static uint64_t mix;
        static double total;
        MUST(round == 0 || (mix == mixed_there && total == sum_there), "theirs changed");
        mix = mixed_there;
        total = sum_there;
    }
    blitz_own_stack_close(&one);
}

static void test_who_comes_second(void)
{
    parks = 1;
    blitz_own_stack_open(&one, SIZE, count);
    blitz_own_stack_open(&other, SIZE, count);
    MUST(blitz_own_stack_take(&one, FIRST), "free");
    MUST(!blitz_own_stack_take(&one, SECOND), "taken twice");
    MUST(!blitz_own_stack_take(&other, SECOND), "two in one thread");
    MUST(!blitz_own_stack_run(&one), "parked");
    MUST(!blitz_own_stack_take(&other, SECOND), "two in one thread");
    MUST(blitz_own_stack_run(&one), "ended");
    MUST(blitz_own_stack_take(&other, SECOND), "free again");
    other.instance = NULL;                       /* it never ran */
    *other.occupied = NULL;
    blitz_own_stack_close(&one);
    blitz_own_stack_close(&other);
}

static void *look(void *parked_here)
{
    bool *found = parked_here;
    found[0] = blitz_own_stack_is_elsewhere(&one);
    found[1] = blitz_own_stack_take(&one, SECOND);
    return NULL;
}

static void test_threads(void)
{
    parks = 1;
    bool found[2];
    pthread_t thread;
    blitz_own_stack_open(&one, SIZE, count);
    MUST(blitz_own_stack_take(&one, FIRST) && !blitz_own_stack_run(&one), "parked");
    MUST(!blitz_own_stack_is_elsewhere(&one), "it is here");
    MUST(pthread_create(&thread, NULL, look, found) == 0 && pthread_join(thread, NULL) == 0, "thread");
    MUST(found[0] && !found[1], "another thread may go on with it");
    MUST(blitz_own_stack_run(&one), "ended");
    blitz_own_stack_close(&one);
}

static void fill(blitz_instance *instance)
{
    (void)instance;
    char room[SIZE / 2];
    memset(room, 1, sizeof room);
    blitz_own_stack_park(&one);
    for (size_t i = 0; i < sizeof room; i++)
        MUST(room[i] == 1, "its stack was changed");
}

static void test_its_memory(void)
{
    blitz_own_stack_open(&one, SIZE, fill);
    MUST(blitz_own_stack_take(&one, FIRST) && !blitz_own_stack_run(&one) && blitz_own_stack_run(&one), "filled");
    blitz_own_stack_close(&one);
    MUST(!blitz_own_stack_take(&one, FIRST), "there is none");
    blitz_own_stack_open(&one, SIZE + 1, fill);
    MUST(!blitz_own_stack_take(&one, FIRST), "no whole pages");
}

int main(void)
{
    if (!BLITZ_CAN_SWITCH) {
        blitz_own_stack_open(&one, SIZE, count);
        MUST(!blitz_own_stack_take(&one, FIRST), "there is none on this machine");
        return 0;
    }
    test_registers_stay();
    test_who_comes_second();
    test_threads();
    test_its_memory();
    puts("own_stack: left and gone on with, by one at a time");
    return 0;
}
