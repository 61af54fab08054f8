/* host_calls.c: what the functions that a guest imports have in common, and their table (host_calls.def).
 *
 * Two spellings share one function. A string result goes
 *   plain:         to a caller's buffer (.., buf, cap) -> full length, or -1 when there is no value;
 *   wasm-bindgen:  (retptr, ..): into memory of the guest's allocator, with pointer and length stored
 *                  at retptr and retptr + 4; no value is 0, 0 (None; the empty String).
 * A bad pointer or a value that may not leave the gateway traps with a sentence that names function and
 * argument: a guest cannot go on after it, and its edits are thrown away.
 */
#include "host_calls.h"
#include "store_call.h"

typedef wasmtime_val_raw_t raw;

/* ---------------------------------------------------------------- arguments and results */

blitz_instance *blitz_call_instance(wasmtime_caller_t *caller)
{
    return blitz_wt.wasmtime_context_get_data(blitz_wt.wasmtime_caller_context(caller));
}

wasm_trap_t *blitz_call_exports(blitz_instance *instance, wasmtime_caller_t *caller)
{
    if (!instance->has_exports && !blitz_store_find_exports(instance, caller))
        return blitz_trap(instance, BLITZ_FAULT_HOST, 0, "the guest called a host function before its exports are "
                          "there: call it from _initialize or init");
    instance->has_exports = true;
    return NULL;
}

bool blitz_call_open(blitz_call *call, void *env, wasmtime_caller_t *caller)
{
    call->instance = blitz_call_instance(caller);
    call->binding = env;
    call->trap = blitz_call_exports(call->instance, caller);
    call->memory = blitz_store_memory(call->instance);
    call->size = blitz_store_memory_size(call->instance);
    return call->trap == NULL;
}

void blitz_call_outside(blitz_call *call, uint32_t pointer, uint64_t len, const char *argument)
{
    call->trap = blitz_trap(call->instance, BLITZ_FAULT_HOST, 0,
                            "%s: %s (pointer %u, %llu bytes) is outside the memory of %zu bytes",
                            blitz_call_name(call), argument, pointer, (unsigned long long)len, call->size);
}

wasm_trap_t *blitz_call_refuse(blitz_call *call, const char *why)
{
    return blitz_trap(call->instance, BLITZ_FAULT_HOST, 0, "%s: %s", blitz_call_name(call), why);
}

/* buf and cap are slots[0] and slots[1]; the result goes to *result. */
static wasm_trap_t *give_plain(blitz_call *call, const raw *slots, raw *result, blitz_text value)
{
    blitz_text buffer;
    if (!blitz_call_bytes(call, slots[0], slots[1], "buf", &buffer))
        return call->trap;
    size_t n = value.len < buffer.len ? value.len : buffer.len;
    if (n > 0)
        memcpy(call->memory + (uint32_t)slots[0].i32, value.ptr, n);
    result->i64 = value.ptr == NULL ? (uint32_t)-1 : (int64_t)(uint32_t)value.len;
    return NULL;
}

wasm_trap_t *blitz_call_give(blitz_call *call, raw *slots, size_t first, blitz_text value)
{
    if (value.len > INT32_MAX)
        value.len = INT32_MAX;
    if (call->binding->how == BLITZ_BIND_BINDGEN)
        return blitz_bindgen_give(call, (uint32_t)slots[0].i32, value);
    return give_plain(call, slots + first, slots, value);
}

/* An import that a module links and need not call. */
wasm_trap_t *blitz_call_unserved(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)slots, (void)n;
    const blitz_binding *binding = env;
    blitz_instance *instance = blitz_call_instance(caller);
    blitz_import import = blitz_module_import(binding->plugin->module, binding->import);
    return blitz_trap(instance, BLITZ_FAULT_HOST, 0, "the guest called %.*s.%.*s, which this host does not serve",
                      (int)import.module.len, (const char *)import.module.ptr, (int)import.name.len,
                      (const char *)import.name.ptr);
}

/* ---------------------------------------------------------------- the table */

/* NULL: whatever the module is called, name and type decide; toolchains call it "env", "blitz", or what they like. */
#define MODULES_blitz NULL
#define MODULES_bindgen NULL
#define MODULES_runtime NULL
#define MODULES_wasi "wasi_snapshot_preview1 wasi_unstable"

static const blitz_host_function FUNCTIONS[] = {
#define HOST(name, plain, bindgen, group, function) {{#name, plain, bindgen, #group, MODULES_##group}, function},
#include "host_calls.def"
#undef HOST
};

uint32_t blitz_host_n(void) { return sizeof FUNCTIONS / sizeof *FUNCTIONS; }
const blitz_host_function *blitz_host_function_at(uint32_t index) { return &FUNCTIONS[index]; }
blitz_host_row blitz_host_at(uint32_t index) { return FUNCTIONS[index].row; }
