/* host_state.c: clock, chance, and state that outlives a call. */
#include "host_calls.h"
#include "kv.h"
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

/* ---------------------------------------------------------------- state that workers share */

typedef struct { uint8_t bytes[2 * MAX_KEY + 1]; size_t len; } own_key;

/* The plugin's namespace and a NUL, which no namespace contains, before the key. */
static bool open_key(blitz_call *call, void *env, wasmtime_caller_t *caller, const raw *slots, own_key *out)
{
    blitz_text key;
    if (!blitz_call_open(call, env, caller))
        return false;
    const raw *at = blitz_call_arguments(call, slots);
    if (!blitz_call_bytes(call, at[0], at[1], "key", &key))
        return false;
    const blitz_plugin *plugin = call->instance->plugin;
    size_t prefix = strlen(plugin->namespace) + 1;
    if (plugin->shared == NULL)
        call->trap = blitz_call_refuse(call, "the plugin was given no shared state");
    else if (key.len > MAX_KEY || prefix > MAX_KEY + 1)
        call->trap = blitz_call_refuse(call, "the key is longer than 256 bytes");
    if (call->trap != NULL)
        return false;
    memcpy(out->bytes, plugin->namespace, prefix);
    if (key.len > 0)
        memcpy(out->bytes + prefix, key.ptr, key.len);
    out->len = prefix + key.len;
    return true;
}

wasm_trap_t *call_rate_limit(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    if (!open_key(&call, env, caller, slots, &key))
        return call.trap;
    int32_t per_minute = slots[2].i32, burst = slots[3].i32;
    if (per_minute < 1 || burst < 1)
        return blitz_call_refuse(&call, "per_minute and burst must be at least 1");
    slots[0].i64 = (uint32_t)blitz_shared_rate_limit(call.instance->plugin->shared, key.bytes, key.len,
                                                     (uint32_t)per_minute, (uint32_t)burst,
                                                     blitz_monotonic_ns() / 1000);
    return NULL;
}

static blitz_kv *kv_of(const blitz_call *call) { return blitz_shared_kv(call->instance->plugin->shared); }

static wasm_trap_t *refuse_kv(blitz_call *call, int failed)
{
    if (failed == BLITZ_E_SYNTAX)
        return blitz_call_refuse(call, "the value of the key is no decimal number of 64 bits");
    if (failed == BLITZ_E_LIMIT)
        return blitz_call_refuse(call, "the value is longer than 256 bytes");
    return blitz_call_refuse(call, "another process holds the shared state and does not go on");
}

wasm_trap_t *call_kv_incr(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    int64_t sum = 0;
    if (!open_key(&call, env, caller, slots, &key))
        return call.trap;
    if (slots[3].i64 < 0)
        return blitz_call_refuse(&call, NEGATIVE_TTL);
    int failed = blitz_kv_incr(kv_of(&call), key.bytes, key.len, slots[2].i64, slots[3].i64,
                               blitz_monotonic_ns() / 1000, &sum);
    if (failed != 0)
        return refuse_kv(&call, failed);
    slots[0].i64 = sum;
    return NULL;
}

wasm_trap_t *call_kv_set(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    blitz_text value;
    if (!open_key(&call, env, caller, slots, &key) ||
        !blitz_call_bytes(&call, slots[2], slots[3], "value", &value))
        return call.trap;
    if (slots[4].i64 < 0)
        return blitz_call_refuse(&call, NEGATIVE_TTL);
    int failed = blitz_kv_set(kv_of(&call), key.bytes, key.len, value.ptr, value.len, slots[4].i64,
                              blitz_monotonic_ns() / 1000);
    return failed == 0 ? NULL : refuse_kv(&call, failed);
}

/* The value is copied out first: giving it may run the guest's allocator. */
wasm_trap_t *call_kv_get(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    own_key key;
    uint8_t value[BLITZ_KV_MAX_VALUE];
    if (!open_key(&call, env, caller, slots, &key))
        return call.trap;
    int len = blitz_kv_get(kv_of(&call), key.bytes, key.len, blitz_monotonic_ns() / 1000, value);
    if (len == BLITZ_E_DECLINED)
        return blitz_call_give(&call, slots, 2, (blitz_text){NULL, 0});
    return len < 0 ? refuse_kv(&call, len) : blitz_call_give(&call, slots, 2, (blitz_text){value, (size_t)len});
}
