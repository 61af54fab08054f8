/* state_memory.c: the state door's operations in memory that the workers of a host share. None of them is ever pending.
 *
 * The table of operations is not in that memory: a worker that writes there cannot choose what others call. */
#include "kv.h"
#include "shared.h"

static blitz_kv *kv_of(blitz_state *state) { return blitz_shared_kv(blitz_shared_of(state)); }

static int take_token(blitz_state *state, const uint8_t *key, size_t len, uint64_t interval, uint32_t burst,
                      uint64_t now_us, blitz_state_result *result)
{
    result->number = blitz_shared_rate_limit(blitz_shared_of(state), key, len, interval, burst, now_us);
    return 0;
}

static int add(blitz_state *state, const uint8_t *key, size_t len, int64_t delta, int64_t ttl_ms, uint64_t now_us,
               blitz_state_result *result)
{
    return blitz_kv_incr(kv_of(state), key, len, delta, ttl_ms, now_us, &result->number);
}

static int set(blitz_state *state, const uint8_t *key, size_t len, const uint8_t *value, size_t value_len,
               int64_t ttl_ms, uint64_t now_us, blitz_state_result *result)
{
    (void)result;
    return blitz_kv_set(kv_of(state), key, len, value, value_len, ttl_ms, now_us);
}

static int get(blitz_state *state, const uint8_t *key, size_t len, uint64_t now_us, blitz_state_result *result)
{
    int got = blitz_kv_get(kv_of(state), key, len, now_us, result->value);
    if (got < 0)
        return got;
    result->len = (size_t)got;
    return 0;
}

const blitz_state_operations blitz_state_in_memory = {.take_token = take_token, .add = add, .set = set, .get = get};
