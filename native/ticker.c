/* ticker.c: see ticker.h. */
#define _GNU_SOURCE
#include "ticker.h"
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Quiet ticks before the thread parks: long enough that steady traffic never meets a parked ticker
 * (a wake costs a system call), short enough that an idle gateway does not wake a core for long. */
enum { PARK_AFTER_TICKS = 50 };

static int membarrier(int command)
{
    return (int)syscall(__NR_membarrier, command, 0, 0);
}

static void futex_wait_while(_Atomic uint32_t *word, uint32_t value)
{
    while (atomic_load_explicit(word, memory_order_acquire) == value)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static bool is_quiet(blitz_ticker *ticker, uint32_t seen)
{
    return atomic_load_explicit(&ticker->polls, memory_order_relaxed) == seen &&
           !atomic_load_explicit(&ticker->running, memory_order_relaxed);
}

static void park(blitz_ticker *ticker, uint32_t seen)
{
    atomic_store_explicit(&ticker->parked, 1, memory_order_relaxed);
    if (ticker->own_fence)
        atomic_thread_fence(memory_order_seq_cst);
    else
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    /* From here on, a caller either sees parked or has already changed what is_quiet reads. */
    if (!is_quiet(ticker, seen) || atomic_load_explicit(&ticker->stop, memory_order_acquire)) {
        atomic_store_explicit(&ticker->parked, 0, memory_order_relaxed);
        return;
    }
    futex_wait_while(&ticker->parked, 1);
}

static void *run(void *argument)
{
    blitz_ticker *ticker = argument;
    struct timespec period = {.tv_sec = ticker->period_us / 1000000u,
                              .tv_nsec = (long)(ticker->period_us % 1000000u) * 1000};
    uint32_t seen = 0;
    int quiet = 0;
    while (!atomic_load_explicit(&ticker->stop, memory_order_acquire)) {
        nanosleep(&period, NULL);
        blitz_wt.wasmtime_engine_increment_epoch(ticker->engine);
        atomic_fetch_add_explicit(&ticker->ticks, 1, memory_order_relaxed);
        quiet = is_quiet(ticker, seen) ? quiet + 1 : 0;
        seen = atomic_load_explicit(&ticker->polls, memory_order_relaxed);
        if (quiet >= PARK_AFTER_TICKS) {
            park(ticker, seen);
            quiet = 0;
        }
    }
    return NULL;
}

int blitz_ticker_start(blitz_ticker *ticker, wasm_engine_t *engine, uint32_t period_us)
{
    ticker->engine = engine;
    ticker->period_us = period_us;
    ticker->own_fence = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0;
    /* Signals are Python's: none may land on this thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&ticker->thread, NULL, run, ticker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ticker->started = failed == 0;
    ticker->owner = getpid();
    return failed;
}

void blitz_ticker_wake(blitz_ticker *ticker)
{
    atomic_store_explicit(&ticker->parked, 0, memory_order_release);
    syscall(SYS_futex, &ticker->parked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void blitz_ticker_stop(blitz_ticker *ticker)
{
    if (!ticker->started || ticker->owner != getpid())
        return;
    atomic_store_explicit(&ticker->stop, 1, memory_order_release);
    blitz_ticker_wake(ticker);
    pthread_join(ticker->thread, NULL);
    ticker->started = false;
}
