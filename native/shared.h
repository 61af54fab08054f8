/* shared.h: what shared.c and the state door's operations on it share; the calls are in blitz_native.h. */
#ifndef BLITZ_SHARED_H
#define BLITZ_SHARED_H
#include "blitz_native.h"

extern const blitz_state_operations blitz_state_in_memory;
/* Whose state that is. */
blitz_shared *blitz_shared_of(blitz_state *state);
#endif
