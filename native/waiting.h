/* waiting.h: a host function that must wait for something outside: sleep, a fetch, state that is elsewhere.
 *
 * The guest sees a call that takes a while. Whoever drives the instance sees a call that is pending, asks what it waits for
 * (blitz_call_waits), sees to that, and answers (blitz_call_answer); then blitz_call_resume goes on in the host function,
 * behind its blitz_wait. C waits for nothing itself.
 *
 * Plugins whose functions may wait run on fibers always (blitz_plugin_may_wait): one that waits for long would keep the
 * engine's own stack from everybody else. */
#ifndef BLITZ_WAITING_H
#define BLITZ_WAITING_H
#include "host_calls.h"

/* Leave the guest until it is answered. what: BLITZ_WAITS_SLEEP or one behind it. -> NULL and *result, or the trap to
 * return: this is no place to wait, or the call is unwound meanwhile. What was found out about the guest's memory stays
 * true: nobody runs the guest. */
wasm_trap_t *blitz_wait(blitz_call *call, int what, int64_t *result);
/* What a call has fetched is nobody's any more. */
void blitz_fetch_forget(blitz_instance *instance);
void blitz_fetch_free(blitz_instance *instance);
#endif
