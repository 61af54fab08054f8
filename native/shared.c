/* shared.c: rate limits as one truth for every process of a host, and the mapping that kv.c lives in too.
 *
 * The state is a table in anonymous shared memory, mapped before fork and used without locks. Each slot
 * is a GCRA bucket: the fingerprint of its key, the rate that it was last used under, and the theoretical
 * arrival time (TAT) of the next request in nanoseconds of CLOCK_MONOTONIC, which all processes of a host
 * share. A slot whose TAT has passed says nothing any more (a fresh bucket would behave alike), so it may
 * be taken by another key.
 *
 * Taking over:  TAT is set to BUSY by compare-and-swap, then fingerprint and rate, then the new TAT.
 * Spending:     TAT is read, then fingerprint and rate; a compare-and-swap from the TAT read commits. A new
 *               owner always leaves a larger TAT than the expired one it replaced, so a swap that
 *               succeeds was made on the bucket whose fingerprint was seen.
 * New settings: a TAT is a time, and means tokens only together with the rate that it was reckoned with. A
 *               bucket that was left under another rate, or with more tokens spent than the burst now is,
 *               is first rewritten, as in taking over: so many tokens are spent as were, and all of
 *               them at most. It is exact from the first request on, in whatever order processes change.
 * BUSY carries the time: a process that died in between blocks its slot for a moment only.
 *
 * Races that remain cost at most one request of one bucket: two processes that enter the same new key
 * at the same instant with slots expiring in between may use two slots.
 *
 * Keys are hashed with SipHash-2-4 under a random secret, so nobody can aim at another key's slot. A
 * neighbourhood full of live buckets gives up the one nearest to its expiry.
 */
#define _GNU_SOURCE
#include "guest.h"
#include "kv.h"
#include "shared.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct { _Atomic uint64_t fingerprint, tat, interval; } slot;

typedef struct {                     /* what is mapped */
    uint64_t secret[2];
    uint32_t mask;
    slot slots[];
} table;

struct blitz_shared {                /* this process's own */
    blitz_state state;               /* first: see blitz_shared_of */
    table *table;
    size_t size;                     /* of the mapping */
    blitz_kv *kv;                    /* behind the slots */
};

enum { NEIGHBOURHOOD = 16, MAX_ATTEMPTS = 64, BUSY_SPINS = 16 };
static const uint64_t BUSY = (uint64_t)1 << 63;
static const uint64_t BUSY_FOR_NS = 50u * 1000 * 1000;
static const uint32_t MIN_SLOTS = 64, MAX_SLOTS = 1u << 26;

blitz_shared *blitz_shared_new(uint32_t slots)
{
    uint32_t n = MIN_SLOTS;
    while (n < slots && n < MAX_SLOTS)
        n *= 2;
    size_t kv_at = (sizeof(table) + (size_t)n * sizeof(slot) + 63) & ~(size_t)63;
    size_t size = kv_at + blitz_kv_size();
    blitz_shared *shared = malloc(sizeof *shared);
    table *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == NULL || mapped == MAP_FAILED) {
        if (mapped != MAP_FAILED)
            munmap(mapped, size);
        free(shared);
        return NULL;
    }
    blitz_kv *kv = (blitz_kv *)(void *)((uint8_t *)mapped + kv_at);
    mapped->mask = n - 1;
    *shared = (blitz_shared){{&blitz_state_in_memory}, mapped, size, kv};
    if (blitz_random((uint8_t *)mapped->secret, sizeof mapped->secret) != 0 || blitz_kv_init(kv) != 0) {
        blitz_shared_free(shared);
        return NULL;
    }
    return shared;
}

void blitz_shared_free(blitz_shared *shared)
{
    if (shared == NULL)
        return;
    munmap(shared->table, shared->size);
    free(shared);
}

blitz_kv *blitz_shared_kv(blitz_shared *shared) { return shared->kv; }
blitz_state *blitz_shared_state(blitz_shared *shared) { return &shared->state; }
blitz_shared *blitz_shared_of(blitz_state *state) { return (blitz_shared *)(void *)state; }

/* ---------------------------------------------------------------- SipHash-2-4 (Aumasson, Bernstein) */

static uint64_t rotate(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

static void sip_round(uint64_t v[4])
{
    v[0] += v[1]; v[1] = rotate(v[1], 13); v[1] ^= v[0]; v[0] = rotate(v[0], 32);
    v[2] += v[3]; v[3] = rotate(v[3], 16); v[3] ^= v[2];
    v[0] += v[3]; v[3] = rotate(v[3], 21); v[3] ^= v[0];
    v[2] += v[1]; v[1] = rotate(v[1], 17); v[1] ^= v[2]; v[2] = rotate(v[2], 32);
}

static uint64_t load64(const uint8_t *bytes, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

uint64_t blitz_siphash(const uint64_t secret[2], const uint8_t *bytes, size_t len)
{
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575u, secret[1] ^ 0x646f72616e646f6du,
                     secret[0] ^ 0x6c7967656e657261u, secret[1] ^ 0x7465646279746573u};
    size_t left = len;
    for (; left >= 8; left -= 8, bytes += 8) {
        uint64_t word = load64(bytes, 8);
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = load64(bytes, left) | (uint64_t)len << 56;
    v[3] ^= last;
    sip_round(v);
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---------------------------------------------------------------- the bucket (GCRA, integers only) */

typedef struct { uint64_t now, interval, tolerance; uint32_t burst; } bucket;

uint64_t blitz_rate_interval(uint32_t count, uint32_t seconds)
{
    uint64_t whole = count > 0 ? count : 1;
    return (seconds * (uint64_t)1000000000 + whole - 1) / whole;
}

static bucket bucket_of(uint64_t interval, uint32_t burst, uint64_t now_us)
{
    const uint64_t longest = BUSY / 4;               /* 73 years: keeps every sum below BUSY */
    interval = interval > longest ? longest : interval > 0 ? interval : 1;
    uint64_t most = longest / interval;
    uint32_t whole = burst < most ? burst : (uint32_t)most;
    return (bucket){now_us * 1000, interval, interval * (whole - 1), whole};
}

static uint64_t start_of(const bucket *bucket, uint64_t tat) { return tat > bucket->now ? tat : bucket->now; }
static bool allows(const bucket *bucket, uint64_t tat) { return start_of(bucket, tat) - bucket->now <= bucket->tolerance; }

/* The TAT under these settings of a bucket that was left with that TAT under another rate. */
static uint64_t under_these(const bucket *bucket, uint64_t tat, uint64_t interval)
{
    if (tat <= bucket->now)
        return bucket->now;
    uint64_t full = bucket->tolerance + bucket->interval;
    uint64_t spent = (tat - bucket->now) / interval, part = (tat - bucket->now) % interval;
    if (spent >= bucket->burst)
        return bucket->now + full;
    uint64_t left = spent * bucket->interval + (uint64_t)((double)part / (double)interval * (double)bucket->interval);
    return bucket->now + (left < full ? left : full);
}

static bool is_under_these(const bucket *bucket, uint64_t tat, uint64_t interval)
{
    return interval == bucket->interval && tat <= bucket->now + bucket->tolerance + bucket->interval;
}

/* Whole requests that could follow at once. */
static int32_t tokens_left(const bucket *bucket, uint64_t tat)
{
    uint64_t used = tat - bucket->now;               /* > 0: one was just taken */
    uint64_t full = bucket->tolerance + bucket->interval;
    uint64_t left = used >= full ? 0 : (full - used) / bucket->interval;
    return left > INT32_MAX ? INT32_MAX : (int32_t)left;
}

static int32_t milliseconds_to_wait(const bucket *bucket, uint64_t tat)
{
    uint64_t wait = (tat - bucket->tolerance - bucket->now + 999999u) / 1000000u;
    return wait > INT32_MAX ? -INT32_MAX : -(int32_t)wait;
}

/* ---------------------------------------------------------------- the table */

static bool is_free(uint64_t tat, uint64_t now)
{
    return tat & BUSY ? (tat & ~BUSY) + BUSY_FOR_NS < now : tat <= now;
}

/* The bucket of that fingerprint near home, or NULL. *tat is what was read before the fingerprint; it is BUSY
 * while somebody rewrites the bucket. */
static slot *find(table *table, uint64_t fingerprint, uint64_t now, uint64_t *tat)
{
    for (uint32_t i = 0; i < NEIGHBOURHOOD; i++) {
        slot *at = &table->slots[(fingerprint + i) & table->mask];
        *tat = atomic_load_explicit(&at->tat, memory_order_acquire);
        if (atomic_load_explicit(&at->fingerprint, memory_order_acquire) != fingerprint)
            continue;
        if (!(*tat & BUSY) || !is_free(*tat, now))
            return at;
    }
    return NULL;
}

/* A slot for a new bucket: the first that is free, else the one that expires first. */
static slot *choose(table *table, uint64_t fingerprint, uint64_t now, uint64_t *tat)
{
    slot *best = NULL;
    for (uint32_t i = 0; i < NEIGHBOURHOOD; i++) {
        slot *at = &table->slots[(fingerprint + i) & table->mask];
        uint64_t seen = atomic_load_explicit(&at->tat, memory_order_acquire);
        if (is_free(seen, now)) {
            *tat = seen;
            return at;
        }
        if (!(seen & BUSY) && (best == NULL || seen < *tat)) {
            best = at;
            *tat = seen;
        }
    }
    return best;
}

/* false: somebody else was faster; look again. */
static bool take_over(slot *at, uint64_t seen, uint64_t fingerprint, uint64_t tat, const bucket *bucket)
{
    if (!atomic_compare_exchange_strong_explicit(&at->tat, &seen, BUSY | bucket->now, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return false;
    atomic_store_explicit(&at->fingerprint, fingerprint, memory_order_release);
    atomic_store_explicit(&at->interval, bucket->interval, memory_order_release);
    atomic_store_explicit(&at->tat, tat, memory_order_release);
    return true;
}

int32_t blitz_shared_rate_limit(blitz_shared *shared, const uint8_t *key, size_t len,
                                uint64_t interval, uint32_t burst, uint64_t now_us)
{
    bucket bucket = bucket_of(interval, burst > 0 ? burst : 1, now_us);
    uint64_t fingerprint = blitz_siphash(shared->table->secret, key, len);
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        uint64_t seen = 0;
        slot *at = find(shared->table, fingerprint, bucket.now, &seen);
        if (at == NULL) {
            at = choose(shared->table, fingerprint, bucket.now, &seen);
            uint64_t first = bucket.now + bucket.interval;
            if (at != NULL && take_over(at, seen, fingerprint, first, &bucket))
                return tokens_left(&bucket, first);
            continue;
        }
        uint64_t interval = atomic_load_explicit(&at->interval, memory_order_acquire);
        if (seen & BUSY || !is_under_these(&bucket, seen, interval)) {
            if (!(seen & BUSY))
                take_over(at, seen, fingerprint, under_these(&bucket, seen, interval), &bucket);
            else if (attempt >= BUSY_SPINS)
                sched_yield();                       /* whoever rewrites it was interrupted */
            continue;
        }
        if (!allows(&bucket, seen))
            return milliseconds_to_wait(&bucket, seen);
        uint64_t next = start_of(&bucket, seen) + bucket.interval;
        if (atomic_compare_exchange_strong_explicit(&at->tat, &seen, next, memory_order_acq_rel, memory_order_relaxed))
            return tokens_left(&bucket, next);
    }
    return -1;                                       /* fierce contention: come back in a millisecond */
}
