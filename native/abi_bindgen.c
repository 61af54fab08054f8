/* abi_bindgen.c: what wasm-bindgen adds to the Blitz ABI: its spelling of string results, and its own imports. */
#include "host_calls.h"
#include "store_call.h"

typedef wasmtime_val_raw_t raw;

/* ---------------------------------------------------------------- string results */

static void store_u32(uint8_t *at, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    memcpy(at, bytes, sizeof bytes);
}

wasm_trap_t *blitz_bindgen_give(blitz_call *call, uint32_t retptr, blitz_text value)
{
    blitz_instance *instance = call->instance;
    uint32_t at = value.ptr == NULL ? 0 : 1, size = (uint32_t)blitz_utf8_size(value);
    if (blitz_call_area(call, retptr, 8, "retptr") == NULL)
        return call->trap;
    if (size > 0) {
        wasm_trap_t *trap = blitz_guest_alloc(instance, size, blitz_call_name(call), &at);
        if (trap != NULL)
            return trap;
        call->memory = blitz_store_memory(instance);
        blitz_write_text(call->memory + at, size, value);
    }
    store_u32(call->memory + retptr, at);
    store_u32(call->memory + retptr + 4, size);
    return NULL;
}

/* ---------------------------------------------------------------- wasm-bindgen's own imports */

wasm_trap_t *call_bindgen_throw(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    blitz_text message;
    if (!blitz_call_open(&call, env, caller) || !blitz_call_bytes(&call, slots[0], slots[1], "message", &message))
        return call.trap;
    int shown = message.len < 512 ? (int)message.len : 512;
    return blitz_trap(call.instance, BLITZ_FAULT_TRAP, 0, "the guest threw: %.*s", shown, (const char *)message.ptr);
}

wasm_trap_t *call_bindgen_rethrow(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)slots, (void)n;
    blitz_call call;
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    return blitz_trap(call.instance, BLITZ_FAULT_TRAP, 0, "the guest threw a JavaScript value");
}

/* Handles of JavaScript values are never given out, so there is nothing to drop. */
wasm_trap_t *call_bindgen_drop(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)env, (void)caller, (void)slots, (void)n;
    return NULL;
}

/* __wbindgen_init_externref_table: four slots for undefined, null, true, false. No JavaScript value is
 * ever passed, so null stands for all of them. */
wasm_trap_t *blitz_call_externref_table(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)slots, (void)n;
    const blitz_binding *binding = env;
    blitz_instance *instance = blitz_call_instance(caller);
    if (!binding->plugin->parts[BLITZ_X_EXTERNREFS].used)
        return NULL;
    wasm_trap_t *trap = blitz_call_exports(instance, caller);
    if (trap != NULL || blitz_store_grow_externrefs(instance, 4))
        return trap;
    return blitz_trap(instance, BLITZ_FAULT_MEMORY, 0, "the table of externrefs cannot grow");
}


/* JavaScript's Date.now(). */
wasm_trap_t *call_date_now(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)env, (void)caller, (void)n;
    slots[0].f64 = (double)blitz_now_ms();
    return NULL;
}
