/* state.c: operations on state that have to be waited for. See state.h. */
#include "state.h"

int blitz_state_settle(blitz_state *state, int rc, blitz_state_result *result, blitz_state_wait wait, void *env)
{
    while (rc == BLITZ_PENDING) {
        uint64_t ticket = result->ticket;
        if (!wait(env, ticket)) {
            state->operations->forget(state, ticket);
            break;
        }
        rc = state->operations->resume(state, ticket, result);
        result->ticket = ticket;
    }
    return rc;
}
