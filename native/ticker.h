/* ticker.h: the thread that advances an engine's epoch, and its parking brake.
 *
 * While guests run, the epoch advances every period, so that a busy guest yields. While none runs, the
 * thread sleeps for good. The call path must not pay for that: it stores two words and loads one
 * (`parked`), without a fence. The fence that Dekker's protocol needs between "I am running" and "are
 * you parked?" is taken by the ticker instead, which parks seldom: membarrier(2) makes every running
 * thread of the process pass one. Where the kernel has no membarrier, the call path takes its own.
 */
#ifndef BLITZ_TICKER_H
#define BLITZ_TICKER_H
#include "wasmtime_api.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

typedef struct {
    wasm_engine_t *engine;
    uint32_t period_us;
    bool own_fence;               /* no membarrier: the call path fences */
    bool started;
    pid_t owner;                  /* after fork the thread is not there: never join it */
    pthread_t thread;
    _Atomic uint32_t parked;      /* futex word: 1 while the thread sleeps for good */
    _Atomic uint32_t stop;
    _Atomic uint32_t running;     /* a guest is being polled */
    _Atomic uint32_t polls;       /* polls so far; a change tells the ticker that it is needed */
    _Atomic uint64_t ticks;
} blitz_ticker;

/* 0, or the errno of pthread_create. */
int blitz_ticker_start(blitz_ticker *ticker, wasm_engine_t *engine, uint32_t period_us);
void blitz_ticker_stop(blitz_ticker *ticker);
void blitz_ticker_wake(blitz_ticker *ticker);

/* Around every poll, from the engine's thread. */
static inline void blitz_ticker_enter(blitz_ticker *ticker)
{
    uint32_t polls = atomic_load_explicit(&ticker->polls, memory_order_relaxed);
    atomic_store_explicit(&ticker->polls, polls + 1, memory_order_relaxed);
    atomic_store_explicit(&ticker->running, 1, memory_order_relaxed);
    if (ticker->own_fence)
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&ticker->parked, memory_order_relaxed))
        blitz_ticker_wake(ticker);
}

static inline void blitz_ticker_leave(blitz_ticker *ticker)
{
    atomic_store_explicit(&ticker->running, 0, memory_order_relaxed);
}
#endif
