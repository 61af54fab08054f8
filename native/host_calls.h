/* host_calls.h: what every host function needs: who called, the guest's memory as it is now, checked
 * access to arguments, results in the caller's spelling; and all of them. */
#ifndef BLITZ_HOST_CALLS_H
#define BLITZ_HOST_CALLS_H
#include "guest.h"
#include "head.h"
#include <string.h>

typedef struct {
    blitz_instance *instance;
    const blitz_binding *binding;
    uint8_t *memory;              /* base and size as of now; stale once guest code has run */
    size_t size;
    wasm_trap_t *trap;            /* what a failed check left: return it */
} blitz_call;

/* Begin a host function: false when the memory is not there (a start section without one). */
bool blitz_call_open(blitz_call *call, void *env, wasmtime_caller_t *caller);

static inline const char *blitz_call_name(const blitz_call *call) { return call->binding->function->row.name; }

/* Leave the trap that names function and argument. */
void blitz_call_outside(blitz_call *call, uint32_t pointer, uint64_t len, const char *argument);

/* [pointer, pointer + len) as host memory; false leaves a trap. Inline: each call of a guest does this several times. */
static inline bool blitz_call_bytes(blitz_call *call, wasmtime_val_raw_t pointer, wasmtime_val_raw_t len,
                                    const char *argument, blitz_text *out)
{
    uint32_t at = (uint32_t)pointer.i32, n = (uint32_t)len.i32;
    if (at > call->size || n > call->size - at) {
        blitz_call_outside(call, at, n, argument);
        return false;
    }
    *out = (blitz_text){call->memory + at, n};
    return true;
}

/* The writable area at pointer, or NULL with a trap. */
static inline uint8_t *blitz_call_area(blitz_call *call, uint32_t pointer, uint64_t len, const char *argument)
{
    blitz_text out;
    wasmtime_val_raw_t at = {.i64 = pointer}, n = {.i64 = (int64_t)len};
    return blitz_call_bytes(call, at, n, argument, &out) ? call->memory + pointer : NULL;
}

blitz_instance *blitz_call_instance(wasmtime_caller_t *caller);
/* A start section runs before the instance is complete: then its first host function looks for the exports.
 * Later the caller need not be the guest: an export may be a host function, and we its caller. */
wasm_trap_t *blitz_call_exports(blitz_instance *instance, wasmtime_caller_t *caller);
/* The trap that says: function: why. */
wasm_trap_t *blitz_call_refuse(blitz_call *call, const char *why);
/* Where the arguments begin: behind retptr in wasm-bindgen's spelling of a string result. */
static inline const wasmtime_val_raw_t *blitz_call_arguments(const blitz_call *call, const wasmtime_val_raw_t *slots)
{
    return call->binding->how == BLITZ_BIND_BINDGEN ? slots + 1 : slots;
}
/* Give a string result in the caller's spelling. value.ptr NULL: no such value. first: index of buf
 * among the plain arguments. */
wasm_trap_t *blitz_call_give(blitz_call *call, wasmtime_val_raw_t *slots, size_t first, blitz_text value);
wasm_trap_t *blitz_bindgen_give(blitz_call *call, uint32_t retptr, blitz_text value);

/* The head of the message in hand; NULL while there is none (init, cleanup). */
const blitz_head *blitz_call_head(const blitz_instance *instance);
blitz_text blitz_call_span(const blitz_head *head, blitz_span span);
/* The value of that key; ptr NULL: there is none. */
blitz_text blitz_pairs_value(const blitz_pairs *pairs, const uint8_t *key, size_t len);
/* Of CLOCK_REALTIME. */
int64_t blitz_now_ms(void);

/* Every function of the table; one may serve several rows. */
#define HOST(name, plain, bindgen, group, function) \
    wasm_trap_t *function(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *slots, size_t n);
#include "host_calls.def"
#undef HOST
#endif
