/* parts.h: hooks on streams: parts of bodies as they pass, and the end of a stream. See parts.c. */
#ifndef BLITZ_PARTS_H
#define BLITZ_PARTS_H
#include "abi.h"

wasm_trap_t *blitz_run_part(blitz_instance *instance);
wasm_trap_t *blitz_run_end(blitz_instance *instance);

/* A call on the part in hand begins. */
void blitz_part_begin(blitz_instance *instance, const blitz_part_call *part);
/* The stream is over: big memory is given back. */
void blitz_part_forget(blitz_instance *instance);
/* The message hook in hand is of a plugin that may change the body part by part, and has not said that it will not. */
bool blitz_part_changes(const blitz_instance *instance);

/* guest.c: as the other calls; the exchange may be NULL. */
int blitz_call_stream(blitz_instance *instance, blitz_exchange *exchange, int hook, const blitz_part_call *part);
#endif
