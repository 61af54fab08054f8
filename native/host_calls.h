/* host_calls.h: what every host function needs: who called, the guest's memory as it is now, checked
 * access to arguments. */
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

/* [pointer, pointer + len) as host memory; false leaves a trap that names function and argument. */
bool blitz_call_bytes(blitz_call *call, wasmtime_val_raw_t pointer, wasmtime_val_raw_t len, const char *argument,
                      blitz_text *out);

/* The writable area at pointer, or NULL with a trap. */
static inline uint8_t *blitz_call_area(blitz_call *call, uint32_t pointer, uint64_t len, const char *argument)
{
    blitz_text out;
    wasmtime_val_raw_t at = {.i64 = pointer}, n = {.i64 = (int64_t)len};
    return blitz_call_bytes(call, at, n, argument, &out) ? call->memory + pointer : NULL;
}
#endif
