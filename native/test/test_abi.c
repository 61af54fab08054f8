/* The door between calls and plugin interfaces (abi.h), with an interface of its own: a hook that gets one number, the
 * status of the response or the number of fields of the request, and gives one back. wasmtime is stood in for: the
 * guest gives the number back, and its time slice is over where the test says so. */
#include "../abi.h"
#include "../store_call.h"
#include "guard.h"
#include <string.h>

enum { STORE = 7 };
static char anything;
static wasmtime_func_unchecked_callback_t entry;
static blitz_instance *instance;
static bool slice_over, called_guest;
static int ends;

/* ---------------------------------------------------------------- wasmtime, as far as a call needs it */

static wasmtime_store_t *store_new(wasm_engine_t *engine, void *data, void (*finalize)(void *))
{
    (void)engine, (void)data, (void)finalize;
    return (wasmtime_store_t *)&anything;
}
static wasmtime_context_t *store_context(wasmtime_store_t *store) { return (wasmtime_context_t *)store; }
static void store_limiter(wasmtime_store_t *store, int64_t memory, int64_t table, int64_t instances, int64_t tables,
                          int64_t memories)
{
    (void)store, (void)memory, (void)table, (void)instances, (void)tables, (void)memories;
}
static void epoch_callback(wasmtime_store_t *store,
                           wasmtime_error_t *(*func)(wasmtime_context_t *, void *, uint64_t *, uint8_t *), void *data,
                           void (*finalize)(void *))
{
    (void)store, (void)func, (void)data, (void)finalize;
}
static void func_new(wasmtime_context_t *context, const wasm_functype_t *type,
                     wasmtime_func_unchecked_callback_t callback, void *env, void (*finalize)(void *),
                     wasmtime_func_t *out)
{
    (void)context, (void)type, (void)env, (void)finalize;
    entry = callback;
    out->store_id = STORE;
}
static void set_deadline(wasmtime_context_t *context, uint64_t ticks) { (void)context, (void)ticks; }
static wasmtime_call_future_t *instantiate(const wasmtime_instance_pre_t *pre, wasmtime_context_t *context,
                                           wasmtime_instance_t *made, wasm_trap_t **trap, wasmtime_error_t **error)
{
    (void)pre, (void)context, (void)trap, (void)error;
    made->store_id = STORE;
    return (wasmtime_call_future_t *)&anything;
}
static wasmtime_call_future_t *call_async(wasmtime_context_t *context, const wasmtime_func_t *function,
                                          const wasmtime_val_t *arguments, size_t n, wasmtime_val_t *results, size_t m,
                                          wasm_trap_t **trap, wasmtime_error_t **error)
{
    (void)context, (void)function, (void)arguments, (void)n, (void)results, (void)m, (void)trap, (void)error;
    return (wasmtime_call_future_t *)&anything;
}
static bool poll_future(wasmtime_call_future_t *future)
{
    (void)future;
    if (slice_over)
        return false;
    if (instance->hook != BLITZ_HOOK_INSTANTIATE)
        instance->trap = entry(instance, NULL, NULL, 0);
    return true;
}
static void delete_future(wasmtime_call_future_t *future) { (void)future; }
static void delete_store(wasmtime_store_t *store) { (void)store; }
static wasmtime_error_t *call_guest(wasmtime_context_t *context, const wasmtime_func_t *function,
                                    wasmtime_val_raw_t *slots, size_t n, wasm_trap_t **trap)
{
    (void)context, (void)function, (void)slots, (void)n, (void)trap;
    called_guest = true;                          /* and its result is its argument */
    return NULL;
}

static void stand_in(void)
{
    blitz_wt.wasmtime_store_new = store_new;
    blitz_wt.wasmtime_store_context = store_context;
    blitz_wt.wasmtime_store_limiter = store_limiter;
    blitz_wt.wasmtime_store_epoch_deadline_callback = epoch_callback;
    blitz_wt.wasmtime_func_new_unchecked = func_new;
    blitz_wt.wasmtime_context_set_epoch_deadline = set_deadline;
    blitz_wt.wasmtime_instance_pre_instantiate_async = instantiate;
    blitz_wt.wasmtime_func_call_async = call_async;
    blitz_wt.wasmtime_call_future_poll = poll_future;
    blitz_wt.wasmtime_call_future_delete = delete_future;
    blitz_wt.wasmtime_store_delete = delete_store;
    blitz_wt.wasmtime_func_call_unchecked = call_guest;
}

/* ---------------------------------------------------------------- the interface */

static wasm_trap_t *give_number(blitz_instance *at)
{
    uint32_t number = at->hook == BLITZ_HOOK_RESPONSE ? at->exchange->response->status : at->exchange->request->n_fields;
    wasmtime_val_raw_t slot = {.i64 = number};
    return blitz_abi_call(at, at->hook == BLITZ_HOOK_RESPONSE ? BLITZ_X_RESPONSE : BLITZ_X_REQUEST, &slot, 1);
}
static bool needs_no_init(const blitz_plugin *plugin) { (void)plugin; return false; }
static int judge(const blitz_instance *at, char *why, size_t why_cap)
{
    if (at->result >= 400) {
        snprintf(why, why_cap, "%d is too much", at->result);
        return BLITZ_E_SYNTAX;
    }
    return at->result == 300 ? BLITZ_V_ERROR : at->result == 0 ? BLITZ_V_CONTINUE : BLITZ_V_STOP;
}
static int count(blitz_instance *at, int verdict, char *why, size_t why_cap)
{
    (void)at, (void)why, (void)why_cap;
    MUST(verdict == BLITZ_V_CONTINUE || verdict == BLITZ_V_STOP, "end after verdict %d", verdict);
    ends++;
    return BLITZ_R_EDITS;
}
static const char *const TYPES[BLITZ_X_COUNT][2] = {[BLITZ_X_REQUEST] = {"I:I"}, [BLITZ_X_RESPONSE] = {"I:I"}};
static const blitz_abi ABI = {
    .name = "test/1",
    .types = TYPES,
    .hooks = {[BLITZ_HOOK_REQUEST] = {BLITZ_X_REQUEST, give_number},
              [BLITZ_HOOK_RESPONSE] = {BLITZ_X_RESPONSE, give_number},
              [BLITZ_HOOK_CLEANUP] = {BLITZ_X_CLEANUP, NULL}},
    .needs_init = needs_no_init,
    .verdict = judge,
    .end = count,
};

static blitz_engine engine = {.options = {.max_instances = 1}};
static blitz_plugin plugin = {.engine = &engine, .abi = &ABI, .pre = (wasmtime_instance_pre_t *)&anything};

static void start(void)
{
    char error[100];
    memset(plugin.parts, 0, sizeof plugin.parts);
    instance = blitz_instance_new(&plugin, error, sizeof error);
    MUST(instance != NULL, "%s", error);
    MUST(blitz_call_start(instance) == BLITZ_V_CONTINUE, "start");
    instance->parts[BLITZ_X_REQUEST].store_id = instance->parts[BLITZ_X_RESPONSE].store_id = STORE;
    plugin.parts[BLITZ_X_REQUEST] = plugin.parts[BLITZ_X_RESPONSE] = (blitz_part){.used = true, .parameters = 1};
    ends = 0;
}

static void respond(blitz_exchange *exchange, int status)
{
    MUST(blitz_head_start_response(exchange->response, status, NULL, 0, 1) == 0, "response");
}

int main(void)
{
    stand_in();
    blitz_exchange *exchange = blitz_exchange_new();
    MUST(blitz_head_start_request(exchange->request, (const uint8_t *)"GET", 3, (const uint8_t *)"/", 1, 1) == 0, "request");

    start();                                      /* a hook is entered, judged and ended as its interface says */
    MUST(blitz_call_request(instance, exchange) == (BLITZ_V_CONTINUE | BLITZ_R_EDITS) && called_guest && ends == 1, "go on");
    respond(exchange, 200);
    MUST(blitz_call_response(instance, exchange) == (BLITZ_V_STOP | BLITZ_R_EDITS) && ends == 2, "stop");
    respond(exchange, 300);
    MUST(blitz_call_response(instance, exchange) == BLITZ_V_ERROR && ends == 2, "an error has no end");
    MUST(blitz_instance_fault(instance).kind == BLITZ_FAULT_VERDICT, "its reason");
    respond(exchange, 404);
    MUST(blitz_call_response(instance, exchange) == BLITZ_FAULT && ends == 2, "no verdict");
    MUST(strcmp(blitz_instance_fault(instance).message, "404 is too much") == 0, "in its words");
    MUST(blitz_call_request(instance, exchange) == BLITZ_E_STATE, "it is poisoned");
    blitz_instance_free(instance);

    start();                                      /* hooks that the module has not */
    plugin.parts[BLITZ_X_REQUEST].used = false;
    MUST(blitz_call_request(instance, exchange) == BLITZ_E_STATE, "no such hook");
    MUST(blitz_call_cleanup(instance) == BLITZ_V_CONTINUE, "nothing to clean up");
    blitz_instance_free(instance);

    start();                                      /* what a pending call waits for */
    MUST(blitz_call_waits(instance) == BLITZ_WAITS_NOTHING, "no call");
    engine.turn.held = true;
    MUST(blitz_call_request(instance, exchange) == BLITZ_PENDING, "held");
    MUST(blitz_call_waits(instance) == BLITZ_WAITS_TURN, "its turn");
    engine.turn.held = false;
    slice_over = true;
    MUST(blitz_call_resume(instance) == BLITZ_PENDING && blitz_call_waits(instance) == BLITZ_WAITS_SLICE, "its slice");
    slice_over = false;
    MUST(blitz_call_resume(instance) == (BLITZ_V_CONTINUE | BLITZ_R_EDITS), "it ends");
    MUST(blitz_call_waits(instance) == BLITZ_WAITS_NOTHING, "it has ended");
    blitz_instance_free(instance);

    plugin.abi = NULL;
    MUST(blitz_plugin_speak(&plugin, "test/1") == BLITZ_E_STATE, "an interface that nobody knows");
    MUST(blitz_plugin_speak(&plugin, "blitz/1") == 0 && plugin.abi == &blitz_abi_blitz, "the one that is known");
    blitz_exchange_free(exchange);
    puts("abi: calls are entered, judged and ended as their interface says");
    return 0;
}
