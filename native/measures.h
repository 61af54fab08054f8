/* measures.h: the increments of figures; measures.c says where they live, blitz_native.h what they are.
 *
 * A worker's cells are written by its event loop alone, and read by other processes whenever they like: each is a
 * whole word that only one thread writes, so there is neither a lock nor an atomic read-modify-write.
 */
#ifndef BLITZ_MEASURES_H
#define BLITZ_MEASURES_H
#include "blitz_native.h"
#include <string.h>

/* Upper bounds of histograms are powers of two: of seconds for durations, of any unit for values. */
enum { SECONDS_FROM = -20, SECONDS_TO = 6, VALUES_FROM = -10, VALUES_TO = 30 };

static inline uint64_t measures_get(const uint64_t *cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }
static inline void measures_set(uint64_t *cell, uint64_t value) { __atomic_store_n(cell, value, __ATOMIC_RELAXED); }
static inline void measures_add(uint64_t *cell, uint64_t n) { measures_set(cell, measures_get(cell) + n); }

static inline uint64_t measures_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double measures_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Buckets of a histogram, the one without a bound included; its sum is the cell behind them. */
static inline uint32_t measures_buckets(int kind)
{
    return kind == BLITZ_MEASURE_SECONDS ? SECONDS_TO - SECONDS_FROM + 2 : VALUES_TO - VALUES_FROM + 2;
}

static inline void measures_observe(uint64_t *cells, int kind, double value)
{
    int from = kind == BLITZ_MEASURE_SECONDS ? SECONDS_FROM : VALUES_FROM;
    int last = (int)measures_buckets(kind) - 1;
    /* The exponent of what is a bit less than value: a bound is in its own bucket. */
    int at = value > 0 ? (int)((measures_bits(value) - 1) >> 52) - 1022 - from : 0;
    measures_add(&cells[at < 0 ? 0 : at > last ? last : at], 1);
    uint64_t *sum = &cells[last + 1];
    measures_set(sum, measures_bits(measures_double(measures_get(sum)) + value));
}

/* measures_exchange.c: as blitz_exchange_answered, at that moment. */
void blitz_exchange_answered_at(blitz_exchange *exchange, uint64_t now_ns);

static inline void measures_observe_ns(uint64_t *cells, uint64_t ns)
{
    measures_observe(cells, BLITZ_MEASURE_SECONDS, (double)ns * 1e-9);
}
#endif
