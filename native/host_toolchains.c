/* host_toolchains.c: imports that toolchains emit by themselves. */
#include "host_calls.h"

typedef wasmtime_val_raw_t raw;

wasm_trap_t *call_nothing(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)env, (void)caller, (void)slots, (void)n;
    return NULL;
}

/* An AssemblyScript string: UTF-16, its size in bytes in the four bytes before it. Narrowed to ASCII,
 * which is what messages and file names of assertions are made of. */
static void narrow(const blitz_call *call, uint32_t at, char *out, size_t cap)
{
    uint32_t size = 0;
    size_t n = 0;
    if (at >= 4 && at <= call->size) {
        memcpy(&size, call->memory + at - 4, sizeof size);
        if (size > call->size - at)
            size = 0;
    }
    for (uint32_t i = 0; i + 1 < size && n + 1 < cap; i += 2)
        out[n++] = call->memory[at + i + 1] == 0 && call->memory[at + i] < 0x80 ? (char)call->memory[at + i] : '?';
    out[n] = 0;
}

/* AssemblyScript's abort(message, file, line, column). */
wasm_trap_t *call_abort(void *env, wasmtime_caller_t *caller, raw *slots, size_t n)
{
    (void)n;
    blitz_call call;
    char message[200], file[100];
    if (!blitz_call_open(&call, env, caller))
        return call.trap;
    narrow(&call, (uint32_t)slots[0].i32, message, sizeof message);
    narrow(&call, (uint32_t)slots[1].i32, file, sizeof file);
    return blitz_trap(call.instance, BLITZ_FAULT_TRAP, 0, "the guest aborted: %s (%s:%d:%d)", message, file,
                      slots[2].i32, slots[3].i32);
}
