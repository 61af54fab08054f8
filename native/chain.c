/* chain.c: the plugins of a route run over one exchange, as a machine that never waits.
 *
 * Hooks run one after the other until one of them is something else than finished and content: that is a step, and
 * whoever drives the exchange does what it asks for and goes on. What is decided here is decided nowhere else: the
 * order of the hooks, which instance runs them, what a verdict means, who keeps the instance. Faults, quarantine and
 * failure policies are Python's.
 *
 * Request hooks run first to last, response hooks last to first over the plugins that saw the request, each on the
 * instance that saw it: the first plugin of a chain sees the request as the client sent it and the response as the
 * client gets it (the order of Envoy, and of every onion of middleware).
 */
#include "edits.h"
#include "guest.h"
#include "head.h"
#include "measures.h"
#include "parts.h"
#include <stdlib.h>
#include <string.h>

enum { VERDICT = 3 };

static int make_room(blitz_chain *chain, uint32_t n)
{
    if (n <= chain->n_held)
        return 0;
    blitz_instance **held = realloc(chain->held, n * sizeof *held);
    if (held == NULL)
        return BLITZ_E_NOMEM;
    chain->held = held;
    uint8_t *passes = realloc(chain->passes, n);
    if (passes == NULL)
        return BLITZ_E_NOMEM;
    chain->passes = passes;
    memset(held + chain->n_held, 0, (n - chain->n_held) * sizeof *held);
    memset(passes + chain->n_held, 0, n - chain->n_held);
    chain->n_held = n;
    return 0;
}

int blitz_chain_begin(blitz_exchange *exchange, blitz_pool **pools, uint32_t n)
{
    blitz_chain *chain = &exchange->chain;
    chain->index = 0;
    chain->is_response = chain->body_ready = chain->body_seen = chain->starting = chain->told = chain->watched = 0;
    chain->kind = BLITZ_PARTS_REQUEST;
    chain->has_parts = exchange->request->body != BLITZ_BODY_NONE;
    chain->at = NULL;
    chain->lines = NULL;
    return blitz_chain_extend(exchange, pools, n);
}

int blitz_chain_extend(blitz_exchange *exchange, blitz_pool **pools, uint32_t n)
{
    blitz_chain *chain = &exchange->chain;
    if (make_room(chain, n) != 0)
        return BLITZ_E_NOMEM;
    chain->pools = pools;
    chain->n_pools = n;
    return 0;
}

void blitz_chain_begin_response(blitz_exchange *exchange)
{
    blitz_chain *chain = &exchange->chain;
    chain->index--;
    chain->is_response = 1;
    chain->body_ready = 0;
    chain->kind = BLITZ_PARTS_RESPONSE;
    chain->has_parts = exchange->response->body != BLITZ_BODY_NONE;
}

static blitz_pool *pool_in_hand(const blitz_chain *chain) { return chain->pools[chain->index]; }

static void step_on(blitz_chain *chain) { chain->index += chain->is_response ? -1 : 1; }

static bool is_over(const blitz_chain *chain)
{
    return chain->is_response ? chain->index < 0 : chain->index >= (int32_t)chain->n_pools;
}

static void give(blitz_chain *chain, uint32_t index, blitz_instance *instance)
{
    if (blitz_pool_give(chain->pools[index], instance))
        chain->told = 1;
}

static void hold(blitz_chain *chain)
{
    chain->held[chain->index] = chain->at;
    chain->at = NULL;
}

/* One that sees parts of the exchange's bodies stays with it to its end: they may still pass. */
void blitz_chain_put_down(blitz_exchange *exchange)
{
    blitz_chain *chain = &exchange->chain;
    if (pool_in_hand(chain)->parts != 0) {
        hold(chain);
        return;
    }
    give(chain, (uint32_t)chain->index, chain->at);
    chain->at = NULL;
}

/* ---------------------------------------------------------------- parts of bodies */

/* What the plugin in hand sees of the body of the message in hand. */
static uint8_t parts_seen(const blitz_chain *chain)
{
    return chain->has_parts ? pool_in_hand(chain)->parts & chain->kind : 0;
}

/* The plugin in hand lets the message pass: the body goes through it, and who comes behind it reads what comes out. */
static void join(blitz_chain *chain, bool skips)
{
    uint8_t seen = skips ? 0 : parts_seen(chain);
    if (seen == 0)
        return;
    chain->passes[chain->index] |= seen;
    chain->body_ready = 0;
}

/* The plugin in hand has no hook for the head. -> CONTINUE, or BLITZ_E_*. */
static int join_without_hook(blitz_exchange *exchange)
{
    blitz_chain *chain = &exchange->chain;
    int code = 0;
    if ((pool_in_hand(chain)->changes & chain->kind) != 0)
        code = blitz_edits_stream(chain->is_response ? exchange->response : exchange->request);
    if (chain->at != NULL) {
        join(chain, false);
        hold(chain);
    }
    return code;
}

/* ---------------------------------------------------------------- what calls take */

static blitz_hook_measures *hook_in_hand(blitz_chain *chain)
{
    return &pool_in_hand(chain)->measured[chain->is_response];
}

/* A hook is about to be called. Where one has just ended, no time has passed. */
static void begin_call(blitz_chain *chain, bool follows)
{
    if (hook_in_hand(chain)->seconds == NULL)
        chain->called_ns = 0;
    else
        chain->called_ns = follows ? chain->hooked_ns : blitz_monotonic_ns();
}

/* The call is over; how it ended, one of the hook's cells counts. */
static void end_call(blitz_chain *chain, uint64_t *ended)
{
    if (chain->called_ns == 0)
        return;
    chain->hooked_ns = blitz_monotonic_ns();
    uint64_t took = chain->hooked_ns - chain->called_ns;
    chain->hooks_ns += took;
    chain->called_ns = 0;
    measures_observe_ns(hook_in_hand(chain)->seconds, took);
    measures_add(ended, 1);
}

static void note_end(blitz_chain *chain, int rc)
{
    const blitz_hook_measures *hook = hook_in_hand(chain);
    int verdict = rc & VERDICT;
    end_call(chain, rc < 0                         ? hook->faulted
                    : verdict == BLITZ_V_CONTINUE ? hook->passed
                    : verdict == BLITZ_V_STOP     ? hook->stopped
                                                  : hook->failed);
}

void blitz_chain_forget(blitz_exchange *exchange)
{
    blitz_chain *chain = &exchange->chain;
    if (chain->at != NULL && !chain->starting)
        end_call(chain, hook_in_hand(chain)->cut);   /* it is pending: nobody waits for it any more */
    chain->at = NULL;
}

/* The plugin in hand has given the message a body: parts of the one before are nobody's any more. */
static void note_new_body(blitz_exchange *exchange)
{
    blitz_chain *chain = &exchange->chain;
    for (uint32_t i = 0; i < chain->n_held; i++)
        chain->passes[i] &= (uint8_t)~chain->kind;
    chain->has_parts = !chain->is_response || blitz_may_get_content(exchange);
}

/* The hook came to an end with "continue" or "stop". -> CONTINUE: the next one. */
static int take_verdict(blitz_exchange *exchange)
{
    blitz_chain *chain = &exchange->chain;
    int verdict = chain->rc & VERDICT;
    if (chain->rc & BLITZ_R_BODY)
        note_new_body(exchange);
    if (verdict == BLITZ_V_CONTINUE || chain->is_response)
        join(chain, chain->at->skips);
    if (!chain->is_response && verdict == BLITZ_V_CONTINUE && pool_in_hand(chain)->has_response)
        hold(chain);
    else
        blitz_chain_put_down(exchange);
    if (verdict == BLITZ_V_STOP && !chain->is_response)
        return BLITZ_CHAIN_ANSWER;
    if (verdict == BLITZ_V_STOP)
        chain->index = 0;                        /* the others are left out */
    step_on(chain);
    return BLITZ_CHAIN_CONTINUE;
}

/* -> CONTINUE: the next one. */
static int settle(blitz_exchange *exchange, int rc)
{
    blitz_chain *chain = &exchange->chain;
    chain->rc = rc;
    if (rc == BLITZ_PENDING)
        return BLITZ_CHAIN_PENDING;
    note_end(chain, rc);
    if (rc < 0)
        return BLITZ_CHAIN_RETURNED;
    pool_in_hand(chain)->calls++;
    if ((rc & BLITZ_R_LOGS) && chain->lines != NULL && blitz_log_lines_collect(chain->lines, chain->at, exchange))
        chain->rc = rc &= ~BLITZ_R_LOGS;
    if (chain->watched || (rc & BLITZ_R_LOGS) || (rc & VERDICT) == BLITZ_V_ERROR)
        return BLITZ_CHAIN_RETURNED;
    return take_verdict(exchange);
}

/* Parts of the message in hand are to pass through plugins that have seen its head. */
static bool has_stages(const blitz_chain *chain)
{
    uint8_t seen = 0;
    for (uint32_t i = 0; i < chain->n_held; i++)
        seen |= chain->passes[i];
    return (seen & chain->kind) != 0;
}

/* Take an instance in hand. -> CONTINUE: it is there. */
static int take_instance(const blitz_exchange *exchange, blitz_chain *chain, blitz_pool *pool, bool has_hook)
{
    /* What a plugin has put in the place of a body is there, if nobody has yet to see its parts. */
    bool is_there = chain->body_ready || (exchange->body_edited && !has_stages(chain));
    if (has_hook && (chain->is_response ? pool->needs_response_body : pool->reads_body) && !is_there)
        return BLITZ_CHAIN_NEED_BODY;
    chain->body_seen |= has_hook && !chain->is_response && pool->reads_body;
    chain->at = chain->held[chain->index];
    chain->held[chain->index] = NULL;
    if (chain->at != NULL)
        return BLITZ_CHAIN_CONTINUE;
    if (pool->suspended)
        return BLITZ_CHAIN_SUSPENDED;
    if (pool->n == 0)
        return BLITZ_CHAIN_NEED_INSTANCE;
    chain->at = pool->idle[--pool->n];
    return BLITZ_CHAIN_CONTINUE;
}

int blitz_chain_go(blitz_exchange *exchange)
{
    blitz_chain *chain = &exchange->chain;
    int step = BLITZ_CHAIN_CONTINUE;
    bool follows = false;
    while (step == BLITZ_CHAIN_CONTINUE && !is_over(chain)) {
        blitz_pool *pool = pool_in_hand(chain);
        bool has_hook = chain->is_response ? pool->has_response : pool->has_request;
        if (chain->at == NULL && (has_hook || parts_seen(chain) != 0))
            step = take_instance(exchange, chain, pool, has_hook);
        if (step != BLITZ_CHAIN_CONTINUE)
            break;
        if (!has_hook) {
            if (join_without_hook(exchange) < 0)
                return BLITZ_E_LIMIT;
            step_on(chain);
            continue;
        }
        begin_call(chain, follows);
        follows = chain->called_ns != 0;
        step = settle(exchange, chain->is_response ? blitz_call_response(chain->at, exchange)
                                                   : blitz_call_request(chain->at, exchange));
    }
    return step;
}

static int go_on(blitz_exchange *exchange, int step)
{
    return step == BLITZ_CHAIN_CONTINUE ? blitz_chain_go(exchange) : step;
}

int blitz_chain_resume(blitz_exchange *exchange)
{
    blitz_chain *chain = &exchange->chain;
    int rc = blitz_call_resume(chain->at);
    if (!chain->starting || rc == BLITZ_PENDING)
        return go_on(exchange, settle(exchange, rc));
    chain->starting = 0;
    chain->rc = rc;
    return rc < 0 || (rc & BLITZ_R_LOGS) ? BLITZ_CHAIN_STARTED : blitz_chain_go(exchange);
}

int blitz_chain_accept(blitz_exchange *exchange) { return go_on(exchange, take_verdict(exchange)); }

int blitz_chain_skip(blitz_exchange *exchange)
{
    step_on(&exchange->chain);
    return blitz_chain_go(exchange);
}

int blitz_chain_release(blitz_exchange *exchange)
{
    blitz_chain *chain = &exchange->chain;
    if (chain->at != NULL && !chain->starting && chain->rc >= 0)
        blitz_chain_put_down(exchange);          /* its log was about to be taken */
    for (uint32_t i = 0; i < chain->n_pools; i++)
        if (chain->held[i] != NULL) {
            blitz_part_forget(chain->held[i]);
            give(chain, i, chain->held[i]);
            chain->held[i] = NULL;
        }
    if (chain->n_held > 0)
        memset(chain->passes, 0, chain->n_held);
    int told = chain->told;
    chain->told = 0;
    return told;
}
