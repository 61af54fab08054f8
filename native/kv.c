/* kv.c: small values and counters that every process of a host shares.
 *
 * The table lies in anonymous shared memory, mapped before fork (shared.c), and never grows: SETS sets of
 * WAYS slots. A key belongs to one set, and everything about it happens under the lock of that set, so a
 * counter is exact and a key is never twice. A page is touched when a key of it is used.
 *
 * Locks are robust mutexes: the kernel tells the next one that the holder died, even while it is a zombie
 * or its process id belongs to somebody else. Under a lock there are a few stores: no guest code, no
 * allocation, no call that waits. A holder that is stopped (a debugger, SIGSTOP) costs others LOCK_WAIT_MS
 * and their call, not their worker.
 *
 * What a dead holder left is sound at any instruction: a slot is EMPTY while its key or value is
 * written, and a counter changes with one store. So a death loses the one key it was writing at most.
 *
 * Keys are known by two SipHash-2-4 under two random secrets, 128 bits: nobody can aim at a set, or at
 * another's key. A full set gives up what has expired, then what expires first, then what was written
 * longest ago.
 */
#define _GNU_SOURCE
#include "guest.h"
#include "kv.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SETS = 256, WAYS = 16, LOCK_WAIT_MS = 100 };
enum { EMPTY = 0, TEXT, COUNTER };
static const uint64_t NEVER = UINT64_MAX;

typedef struct { uint64_t hash[2]; } fingerprint;

typedef struct {
    _Atomic uint32_t kind;
    uint32_t len;                    /* of a TEXT */
    fingerprint key;
    uint64_t expires, written;       /* microseconds of CLOCK_MONOTONIC */
    _Atomic int64_t counter;
    uint8_t text[BLITZ_KV_MAX_VALUE];
} slot;

struct blitz_kv {
    uint64_t secrets[2][2];
    pthread_mutex_t locks[SETS];     /* apart from the slots, which are not touched before they are used */
    slot slots[SETS][WAYS];
};

size_t blitz_kv_size(void) { return sizeof(blitz_kv); }

int blitz_kv_init(blitz_kv *kv)
{
    pthread_mutexattr_t how;
    if (blitz_random((uint8_t *)kv->secrets, sizeof kv->secrets) != 0 || pthread_mutexattr_init(&how) != 0)
        return BLITZ_E_NOMEM;
    bool failed = pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED) != 0 ||
                  pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST) != 0;
    for (size_t i = 0; i < SETS && !failed; i++)
        failed = pthread_mutex_init(&kv->locks[i], &how) != 0;
    pthread_mutexattr_destroy(&how);
    return failed ? BLITZ_E_NOMEM : 0;
}

/* ---------------------------------------------------------------- locks */

static int lock_slowly(pthread_mutex_t *lock)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOCK_WAIT_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    return pthread_mutex_timedlock(lock, &until);
}

static int lock_set(pthread_mutex_t *lock)
{
    int failed = pthread_mutex_trylock(lock);
    if (failed == EBUSY)
        failed = lock_slowly(lock);
    if (failed == EOWNERDEAD)        /* the slots are sound, see above */
        failed = pthread_mutex_consistent(lock);
    return failed == 0 ? 0 : BLITZ_E_STATE;
}

/* ---------------------------------------------------------------- slots, under the lock of their set */

static fingerprint fingerprint_of(const blitz_kv *kv, const uint8_t *key, size_t len)
{
    return (fingerprint){{blitz_siphash(kv->secrets[0], key, len), blitz_siphash(kv->secrets[1], key, len)}};
}

static uint32_t kind_of(slot *at) { return atomic_load_explicit(&at->kind, memory_order_acquire); }
static size_t set_of(fingerprint key) { return key.hash[0] % SETS; }
static bool is_live(slot *at, uint64_t now) { return kind_of(at) != EMPTY && at->expires > now; }

/* The live slot of that key, or NULL. */
static slot *find(slot *set, fingerprint key, uint64_t now)
{
    for (size_t i = 0; i < WAYS; i++)
        if (is_live(&set[i], now) && set[i].key.hash[0] == key.hash[0] && set[i].key.hash[1] == key.hash[1])
            return &set[i];
    return NULL;
}

static bool goes_before(const slot *a, const slot *b)
{
    return a->expires != b->expires ? a->expires < b->expires : a->written < b->written;
}

static slot *choose(slot *set, uint64_t now)
{
    slot *best = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (!is_live(&set[i], now))
            return &set[i];
        if (goes_before(&set[i], best))
            best = &set[i];
    }
    return best;
}

static uint64_t expiry_of(uint64_t now, int64_t ttl_ms)
{
    if (ttl_ms <= 0 || (uint64_t)ttl_ms >= (NEVER - now) / 1000)
        return NEVER;
    return now + (uint64_t)ttl_ms * 1000;
}

/* Between begin and finish a slot is EMPTY for whoever comes after a death. */
static void begin(slot *at, fingerprint key, uint64_t now, int64_t ttl_ms)
{
    atomic_store_explicit(&at->kind, EMPTY, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    at->key = key;
    at->expires = expiry_of(now, ttl_ms);
    at->written = now;
}

static void finish(slot *at, uint32_t kind) { atomic_store_explicit(&at->kind, kind, memory_order_release); }

/* ---------------------------------------------------------------- numbers */

static int64_t sum_of(int64_t a, int64_t b)
{
    int64_t sum;
    if (!__builtin_add_overflow(a, b, &sum))
        return sum;
    return b > 0 ? INT64_MAX : INT64_MIN;
}

/* -?[0-9]+ that fits 64 bits. */
static bool parse(const uint8_t *text, size_t len, int64_t *number)
{
    bool negative = len > 0 && text[0] == '-';
    int64_t value = 0;
    if (len == (negative ? 1u : 0u))
        return false;
    for (size_t i = negative ? 1 : 0; i < len; i++) {
        int digit = text[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *number = value;
    return true;
}

/* The number in a slot; false: its text is none. */
static bool number_in(slot *at, int64_t *number)
{
    if (kind_of(at) == TEXT)
        return parse(at->text, at->len, number);
    *number = atomic_load_explicit(&at->counter, memory_order_relaxed);
    return true;
}

/* ---------------------------------------------------------------- the three calls */

static int incr(slot *set, fingerprint key, int64_t delta, int64_t ttl_ms, uint64_t now, int64_t *sum)
{
    slot *at = find(set, key, now);
    int64_t before = 0;
    if (at != NULL && !number_in(at, &before))
        return BLITZ_E_SYNTAX;
    if (at == NULL) {
        at = choose(set, now);
        begin(at, key, now, ttl_ms);
    }
    *sum = sum_of(before, delta);
    at->written = now;
    atomic_store_explicit(&at->counter, *sum, memory_order_relaxed);
    finish(at, COUNTER);
    return 0;
}

int blitz_kv_incr(blitz_kv *kv, const uint8_t *key, size_t len, int64_t delta, int64_t ttl_ms, uint64_t now_us,
                  int64_t *sum)
{
    fingerprint known = fingerprint_of(kv, key, len);
    size_t set = set_of(known);
    if (lock_set(&kv->locks[set]) != 0)
        return BLITZ_E_STATE;
    int result = incr(kv->slots[set], known, delta, ttl_ms, now_us, sum);
    pthread_mutex_unlock(&kv->locks[set]);
    return result;
}

int blitz_kv_set(blitz_kv *kv, const uint8_t *key, size_t len, const uint8_t *value, size_t value_len,
                 int64_t ttl_ms, uint64_t now_us)
{
    if (value_len > BLITZ_KV_MAX_VALUE)
        return BLITZ_E_LIMIT;
    fingerprint known = fingerprint_of(kv, key, len);
    size_t set = set_of(known);
    if (lock_set(&kv->locks[set]) != 0)
        return BLITZ_E_STATE;
    slot *at = find(kv->slots[set], known, now_us);
    if (at == NULL)
        at = choose(kv->slots[set], now_us);
    begin(at, known, now_us, ttl_ms);
    if (value_len > 0)
        memcpy(at->text, value, value_len);
    at->len = (uint32_t)value_len;
    finish(at, TEXT);
    pthread_mutex_unlock(&kv->locks[set]);
    return 0;
}

static int get(slot *at, uint8_t value[BLITZ_KV_MAX_VALUE])
{
    if (at == NULL)
        return BLITZ_E_DECLINED;
    if (kind_of(at) == COUNTER)
        return snprintf((char *)value, BLITZ_KV_MAX_VALUE, "%" PRId64,
                        atomic_load_explicit(&at->counter, memory_order_relaxed));
    memcpy(value, at->text, at->len);
    return (int)at->len;
}

int blitz_kv_get(blitz_kv *kv, const uint8_t *key, size_t len, uint64_t now_us, uint8_t *value)
{
    fingerprint known = fingerprint_of(kv, key, len);
    size_t set = set_of(known);
    if (lock_set(&kv->locks[set]) != 0)
        return BLITZ_E_STATE;
    int n = get(find(kv->slots[set], known, now_us), value);
    pthread_mutex_unlock(&kv->locks[set]);
    return n;
}
