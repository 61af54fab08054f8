/* waiting.c: see waiting.h. */
#include "waiting.h"
#include "store_call.h"

typedef wasmtime_val_raw_t raw;
/* An hour: nobody means more, and the plugin's wait_timeout is less. */
enum { MAX_SLEEP_MS = 3600 * 1000 };

void blitz_plugin_may_wait(blitz_plugin *plugin) { plugin->may_wait = true; }

/* Why this is no place to wait, or NULL. The allocator runs in the middle of other host functions; before and behind
 * the message hooks there is nobody whom it would be for. */
static const char *obstacle(const blitz_instance *instance)
{
    if (instance->exchange == NULL)
        return "a plugin waits in hooks of a message only";
    if (instance->nested != 1 || instance->allocating)
        return "a plugin cannot wait while it gives the host memory";
    if (!instance->plugin->may_wait)
        return "the plugin was not loaded as one that waits";
    return NULL;
}

wasm_trap_t *blitz_wait(blitz_call *call, int what, int64_t *result)
{
    blitz_instance *instance = call->instance;
    const char *why = obstacle(instance);
    if (why != NULL)
        return blitz_call_refuse(call, why);
    instance->waits = (uint8_t)what;
    if (!blitz_store_pause(instance))
        return blitz_store_trap(instance);
    *result = instance->answer;
    return NULL;
}

void blitz_call_answer(blitz_instance *instance, int64_t result)
{
    if (blitz_call_waits(instance) < BLITZ_WAITS_SLEEP)
        return;
    instance->answer = result;
    instance->waits = BLITZ_WAITS_SLICE;
}

uint32_t blitz_wait_ms(const blitz_instance *instance)
{
    return blitz_call_waits(instance) >= BLITZ_WAITS_SLEEP ? instance->wait_ms : 0;
}

wasm_trap_t *call_sleep_ms(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    int64_t nothing;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    if (slots[0].i32 < 0 || slots[0].i32 > MAX_SLEEP_MS)
        return blitz_call_refuse(&call, "ms must be 0 to 3600000 (an hour)");
    call.instance->wait_ms = (uint32_t)slots[0].i32;
    return blitz_wait(&call, BLITZ_WAITS_SLEEP, &nothing);
}
