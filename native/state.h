/* state.h: calls through the state door; the table of operations is in blitz_native.h. */
#ifndef BLITZ_STATE_H
#define BLITZ_STATE_H
#include "blitz_native.h"
#include <stdbool.h>

/* Wait until something may have become of the operation of that ticket. false: the wait is over, or there can be none. */
typedef bool (*blitz_state_wait)(void *env, uint64_t ticket);

/* Bring an operation that has returned rc to its end. -> what it comes to; BLITZ_PENDING when wait said false: the
 * operation is forgotten. */
int blitz_state_settle(blitz_state *state, int rc, blitz_state_result *result, blitz_state_wait wait, void *env);
#endif
