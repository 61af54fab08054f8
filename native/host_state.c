/* host_state.c: clock, chance, and state that outlives a call. */
#include "host_calls.h"
#include "state.h"
#include <time.h>

typedef wasmtime_val_raw_t raw;
enum { MAX_RANDOM = 65536, MAX_KEY = 256 };
static const char NEGATIVE_TTL[] = "ttl_ms must be 0 (as long as there is room) or more";

/* ---------------------------------------------------------------- clock, chance, shared state */

int64_t blitz_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

wasm_trap_t *call_now_ms(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)env, (void)caller, (void)n;
    slots[0].i64 = blitz_now_ms();
    return NULL;
}

wasm_trap_t *call_random(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text area;
    if (!blitz_call_open(&call, env, caller) || !blitz_call_bytes(&call, slots[0], slots[1], "buf", &area))
        return call.trap;
    if (area.len > MAX_RANDOM)
        return blitz_call_refuse(&call, "more than 65536 bytes in one call");
    if (blitz_random(call.memory + (uint32_t)slots[0].i32, area.len) != 0)
        return blitz_call_refuse(&call, "the kernel gave no random bytes");
    return NULL;
}

/* ---------------------------------------------------------------- shared state: through its door */

typedef struct { uint8_t bytes[2 * MAX_KEY + 1]; size_t len; } own_key;

/* The plugin's namespace and a NUL, which no namespace contains, before the key. -> the plugin's state, or NULL. */
static blitz_state *open_key(blitz_call *call, void *env, wasmtime_caller_t *caller, const raw *slots, own_key *out)
{
    blitz_text key;
    if (!blitz_call_open(call, env, caller))
        return NULL;
    const raw *at = blitz_call_arguments(call, slots);
    if (!blitz_call_bytes(call, at[0], at[1], "key", &key))
        return NULL;
    const blitz_plugin *plugin = call->instance->plugin;
    size_t prefix = strlen(plugin->namespace) + 1;
    if (plugin->state == NULL)
        call->trap = blitz_call_refuse(call, "the plugin was given no shared state");
    else if (key.len > MAX_KEY || prefix > MAX_KEY + 1)
        call->trap = blitz_call_refuse(call, "the key is longer than 256 bytes");
    if (call->trap != NULL)
        return NULL;
    memcpy(out->bytes, plugin->namespace, prefix);
    if (key.len > 0)
        memcpy(out->bytes + prefix, key.ptr, key.len);
    out->len = prefix + key.len;
    return plugin->state;
}

/* A guest cannot be left in the middle of a host function: its call ends. */
static bool cannot_wait(void *env, uint64_t ticket)
{
    (void)env, (void)ticket;
    return false;
}

static uint64_t now_us(void) { return blitz_monotonic_ns() / 1000; }

static int settle(blitz_state *state, int rc, blitz_state_result *result)
{
    return blitz_state_settle(state, rc, result, cannot_wait, NULL);
}

static wasm_trap_t *refuse(blitz_call *call, int failed)
{
    switch (failed) {
    case BLITZ_E_SYNTAX:
        return blitz_call_refuse(call, "the value of the key is no decimal number of 64 bits");
    case BLITZ_E_LIMIT:
        return blitz_call_refuse(call, "the value is longer than 256 bytes");
    case BLITZ_PENDING:
        return blitz_call_refuse(call, "the shared state did not answer at once, and a plugin cannot wait for it");
    default:
        return blitz_call_refuse(call, "the shared state cannot be had now: another process holds it, or it is out of "
                                       "reach");
    }
}

wasm_trap_t *call_rate_limit(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    blitz_state_result result;
    blitz_state *state = open_key(&call, env, caller, slots, &key);
    if (state == NULL)
        return call.trap;
    int32_t per_minute = slots[2].i32, burst = slots[3].i32;
    if (per_minute < 1 || burst < 1)
        return blitz_call_refuse(&call, "per_minute and burst must be at least 1");
    int failed = settle(state, state->operations->take_token(state, key.bytes, key.len,
                                                             blitz_rate_interval((uint32_t)per_minute, 60), (uint32_t)burst, now_us(), &result), &result);
    if (failed != 0)
        return refuse(&call, failed);
    slots[0].i64 = (uint32_t)result.number;
    return NULL;
}

wasm_trap_t *call_kv_incr(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    blitz_state_result result;
    blitz_state *state = open_key(&call, env, caller, slots, &key);
    if (state == NULL)
        return call.trap;
    if (slots[3].i64 < 0)
        return blitz_call_refuse(&call, NEGATIVE_TTL);
    int failed = settle(state, state->operations->add(state, key.bytes, key.len, slots[2].i64, slots[3].i64, now_us(),
                                                      &result), &result);
    if (failed != 0)
        return refuse(&call, failed);
    slots[0].i64 = result.number;
    return NULL;
}

wasm_trap_t *call_kv_set(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    blitz_text value;
    blitz_state_result result;
    blitz_state *state = open_key(&call, env, caller, slots, &key);
    if (state == NULL || !blitz_call_bytes(&call, slots[2], slots[3], "value", &value))
        return call.trap;
    if (slots[4].i64 < 0)
        return blitz_call_refuse(&call, NEGATIVE_TTL);
    int failed = settle(state, state->operations->set(state, key.bytes, key.len, value.ptr, value.len, slots[4].i64,
                                                      now_us(), &result), &result);
    return failed == 0 ? NULL : refuse(&call, failed);
}

/* The value is copied out first: giving it may run the guest's allocator. */
wasm_trap_t *call_kv_get(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    blitz_state_result result;
    blitz_state *state = open_key(&call, env, caller, slots, &key);
    if (state == NULL)
        return call.trap;
    int failed = settle(state, state->operations->get(state, key.bytes, key.len, now_us(), &result), &result);
    if (failed == BLITZ_E_DECLINED)
        return blitz_call_give(&call, slots, 2, (blitz_text){NULL, 0});
    if (failed != 0 || result.len > sizeof result.value)
        return refuse(&call, failed);
    return blitz_call_give(&call, slots, 2, (blitz_text){result.value, result.len});
}
