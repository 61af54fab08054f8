/* fault.h: why a call failed, in words, with the guest's frames. */
#ifndef BLITZ_FAULT_H
#define BLITZ_FAULT_H
#include "guest.h"

/* Record a reason (the first of a call stays). message is escaped. */
void blitz_fault_set(blitz_instance *instance, int kind, int code, const char *message);
/* Read the reason and the frames out of what wasmtime gave. Both stay the caller's; either may be NULL. */
void blitz_fault_from(blitz_instance *instance, const wasm_trap_t *trap, const wasmtime_error_t *error);
/* Free both and set them NULL. */
void blitz_fault_drop(wasm_trap_t **trap, wasmtime_error_t **error);
#endif
