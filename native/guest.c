/* guest.c: instances and the calls into them, whatever interface they speak (abi.h). How a call runs: see guest.h.
 *
 * A start is two calls, one that instantiates and one of the hook init; every other hook is one.
 *
 * A call whose time slice is over makes the poll return false; the instance is then pending. The addresses
 * given to a future (instance->trap, ->error, ->enter) live in the instance.
 */
#include "abi.h"
#include "edits.h"
#include "fault.h"
#include "parts.h"
#include "store_call.h"
#include "waiting.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The deadline of the first slice: the running tick is already partly over, so two give one full period. */
enum { FIRST_SLICE_TICKS = 2 };
/* Log and edit buffers above this are given back between calls. */
enum { KEEP_LOG = 4096 };
/* Of a fiber's stack: more than wasmtime has above our first frame there, and what most guests need. Of how
 * many instances that end, one has its stack looked at. */
enum { STACK_ABOVE = 64 * 1024, STACK_KEPT = 64 * 1024, STACK_LOOK = 16 };

/* ---------------------------------------------------------------- the entry of a fiber */

static wasm_trap_t *enter(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *slots, size_t n)
{
    (void)caller, (void)slots, (void)n;
    blitz_instance *instance = env;
    instance->stack = (uintptr_t)__builtin_frame_address(0);
    return instance->plugin->abi->hooks[instance->hook].enter(instance);
}

/* ---------------------------------------------------------------- instances */

static void limit(blitz_instance *instance)
{
    const blitz_plugin_limits *limits = &instance->plugin->limits;
    int64_t instances = instance->plugin->may_wait ? 2 : 1;     /* blitz_store_pause's */
    blitz_wt.wasmtime_store_limiter(instance->store, (int64_t)limits->max_memory_size, limits->max_table_elements,
                                    instances, 4, 1);
}

blitz_instance *blitz_instance_new(blitz_plugin *plugin, char *error, size_t error_cap)
{
    blitz_engine *engine = plugin->engine;
    blitz_instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL || plugin->pre == NULL) {
        snprintf(error, error_cap, instance == NULL ? "out of memory" : "the plugin is not linked");
        free(instance);
        return NULL;
    }
    instance->plugin = plugin;
    plugin->made += plugin->made == UINT32_MAX ? 2 : 1;
    instance->id = plugin->made;
    instance->store = blitz_wt.wasmtime_store_new(engine->wasm, instance, NULL);
    instance->context = blitz_wt.wasmtime_store_context(instance->store);
    limit(instance);
    blitz_wt.wasmtime_store_epoch_deadline_callback(instance->store, blitz_store_slice_is_over, instance, NULL);
    blitz_wt.wasmtime_func_new_unchecked(instance->context, engine->enter_type, enter, instance, NULL,
                                         &instance->enter);
    instance->next = engine->instances;
    if (instance->next != NULL)
        instance->next->previous = instance;
    engine->instances = instance;
    engine->live++;
    engine->made++;
    return instance;
}

static void unlink_from_engine(blitz_instance *instance)
{
    blitz_engine *engine = instance->plugin->engine;
    if (instance->next != NULL)
        instance->next->previous = instance->previous;
    if (instance->previous != NULL)
        instance->previous->next = instance->next;
    else
        engine->instances = instance->next;
    engine->live--;
    engine->slots_taken -= instance->has_slot;
}

static bool is_deep(uintptr_t stack, uintptr_t page)
{
    unsigned char resident = 1;
    /* Frames lie page by page below each other (large ones are probed): one page tells about all below. */
    return mincore((void *)(((stack - STACK_KEPT) & ~(page - 1)) - page), page, &resident) != 0 || (resident & 1);
}

/* The engine's pool takes stacks back as they are: without this, each one that a guest has recursed through
 * would stay as large as it ever was. No fiber runs on it now; what is near its top stays warm. The engine's own
 * stack is one, is used again at once, and stays. Looking costs
 * as much as a short call, so plugins that never go deep are looked at now and then only. */
static void shrink_stack(const blitz_instance *instance)
{
    blitz_plugin *plugin = instance->plugin;
    bool look = plugin->goes_deep || instance->state == BLITZ_STATE_POISONED || plugin->freed++ % STACK_LOOK == 0;
    if (!look || instance->stack == 0)
        return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (!is_deep(instance->stack, page))
        return;
    plugin->goes_deep = true;
    uintptr_t high = (instance->stack - STACK_KEPT) & ~(page - 1);
    uintptr_t low = (instance->stack - BLITZ_FIBER_STACK + STACK_ABOVE + page - 1) & ~(page - 1);
    madvise((void *)low, high - low, MADV_DONTNEED);
}

void blitz_instance_free(blitz_instance *instance)
{
    if (instance == NULL || !blitz_store_drop(instance))
        return;
    shrink_stack(instance);
    unlink_from_engine(instance);
    blitz_store_delete(instance);
    blitz_fetch_free(instance);
    free(instance->part.own);
    free(instance->fault);
    free(instance->log);
    free(instance->stdio);
    free(instance);
}

uint32_t blitz_instance_id(const blitz_instance *instance) { return instance->id; }
uint64_t blitz_instance_calls(const blitz_instance *instance) { return instance->calls; }

uint64_t blitz_instance_memory_size(const blitz_instance *instance)
{
    if (!instance->has_exports || instance->running || instance->state == BLITZ_STATE_PENDING)
        return instance->memory_size;             /* a store with a call in it is not ours to look into */
    return blitz_store_memory_size(instance);
}

/* ---------------------------------------------------------------- calls */

static int fail(blitz_instance *instance)
{
    instance->state = BLITZ_STATE_POISONED;
    instance->exchange = NULL;
    blitz_fetch_forget(instance);
    blitz_log_end_call(instance);
    return BLITZ_FAULT;
}

static int fail_because(blitz_instance *instance, int kind, int code, const char *message)
{
    blitz_fault_set(instance, kind, code, message);
    return fail(instance);
}

static int begin(blitz_instance *instance, int hook);

/* Flags that go beside the verdict. */
static int done(blitz_instance *instance, int verdict, int flags)
{
    instance->state = instance->hook == BLITZ_HOOK_CLEANUP ? BLITZ_STATE_ENDED : BLITZ_STATE_READY;
    instance->calls += instance->hook == BLITZ_HOOK_REQUEST || instance->hook == BLITZ_HOOK_RESPONSE;
    instance->exchange = NULL;
    blitz_fetch_forget(instance);
    if (instance->stdio != NULL)
        blitz_log_end_call(instance);
    return verdict | flags | (instance->log_len > 0 ? BLITZ_R_LOGS : 0);
}

static void note_move(blitz_exchange *exchange, const blitz_plugin *plugin)
{
    uint8_t how = plugin->may_reroute ? BLITZ_MOVED_WITH_LEAVE : BLITZ_MOVED_WITHOUT;
    if (how < exchange->moved)
        return;
    exchange->moved = how;
    exchange->mover = (blitz_text){(const uint8_t *)plugin->name, plugin->name_len};
}

static int finish_message(blitz_instance *instance, int verdict)
{
    char why[160];
    if (verdict == BLITZ_V_ERROR) {
        blitz_fault_set(instance, BLITZ_FAULT_VERDICT, -1, "the hook returned -1 (error)");
        return done(instance, BLITZ_V_ERROR, 0);
    }
    int flags = instance->plugin->abi->end(instance, verdict, why, sizeof why);
    if (flags < 0)
        return fail_because(instance, BLITZ_FAULT_HOST, flags, why);
    if (flags & BLITZ_EDIT_MOVED)
        note_move(instance->exchange, instance->plugin);
    return done(instance, verdict, flags & ~BLITZ_EDIT_MOVED);
}

static int finish_instantiate(blitz_instance *instance)
{
    instance->has_exports = blitz_store_find_exports(instance, NULL);
    if (!instance->has_exports)
        return fail_because(instance, BLITZ_FAULT_ENGINE, 0, "an export that the module declares is not there");
    if (instance->plugin->may_wait && !blitz_store_add_pause(instance))
        return fail_because(instance, BLITZ_FAULT_ENGINE, 0, "there is no room for what a plugin that waits needs");
    instance->memory_size = blitz_store_memory_size(instance);
    if (instance->plugin->abi->needs_init(instance->plugin))
        return begin(instance, BLITZ_HOOK_INIT);
    return done(instance, BLITZ_V_CONTINUE, 0);
}

static int finish(blitz_instance *instance)
{
    if (instance->trap != NULL || instance->error != NULL) {
        blitz_fault_from(instance, instance->trap, instance->error);
        blitz_fault_drop(&instance->trap, &instance->error);
        return fail(instance);
    }
    if (instance->hook == BLITZ_HOOK_INSTANTIATE)
        return finish_instantiate(instance);
    char why[160];
    bool is_init = instance->hook == BLITZ_HOOK_INIT;
    int verdict = instance->plugin->abi->verdict(instance, why, sizeof why);
    if (verdict < 0)
        return fail_because(instance, is_init ? BLITZ_FAULT_INIT : BLITZ_FAULT_VERDICT, instance->result, why);
    if (is_init || instance->hook == BLITZ_HOOK_CLEANUP || instance->hook == BLITZ_HOOK_END)
        return done(instance, verdict, 0);
    return finish_message(instance, verdict);
}

/* -> whether the call has come to its end. */
static bool run_slice(blitz_instance *instance)
{
    blitz_engine *engine = instance->plugin->engine;
    uint64_t from = blitz_cycles();
    blitz_ticker_enter(&engine->ticker);
    bool ready = blitz_store_poll(instance);
    blitz_ticker_leave(&engine->ticker);
    blitz_turn_spend(&engine->turn, blitz_cycles() - from);
    return ready;
}

static int poll(blitz_instance *instance)
{
    if (run_slice(instance))
        return finish(instance);
    instance->state = BLITZ_STATE_PENDING;
    if (instance->waits < BLITZ_WAITS_SLEEP)
        instance->waits = BLITZ_WAITS_SLICE;
    instance->plugin->engine->pended++;
    return BLITZ_PENDING;
}

/* Begin the call of the hook and give it its first slice. */
static int first_slice(blitz_instance *instance)
{
    instance->waits = BLITZ_WAITS_NOTHING;
    blitz_wt.wasmtime_context_set_epoch_deadline(instance->context, FIRST_SLICE_TICKS);
    if (!blitz_store_begin(instance))
        return fail_because(instance, BLITZ_FAULT_ENGINE, 0, "the instance cannot take a call");
    return poll(instance);
}

/* Begin a hook, or let it wait for its turn. */
static int begin(blitz_instance *instance, int hook)
{
    const blitz_turn *turn = &instance->plugin->engine->turn;
    instance->hook = (uint8_t)hook;
    instance->result = 0;
    if (!turn->held && !blitz_turn_is_over(turn))
        return first_slice(instance);
    instance->waits = BLITZ_WAITS_TURN;
    instance->state = BLITZ_STATE_PENDING;
    return BLITZ_PENDING;
}

static void prepare(blitz_instance *instance)
{
    instance->plugin->engine->calls++;
    instance->memory_size = blitz_instance_memory_size(instance);
    instance->log_used = 0;
    instance->log_lines = 0;
    instance->log_len = 0;
    instance->faulted = false;
    if (instance->log_cap > KEEP_LOG) {
        free(instance->log);
        instance->log = NULL;
        instance->log_cap = 0;
    }
}

/* The engine's pool has more places than slots (INSTANCES in engine.c). */
static bool take_slot(blitz_instance *instance)
{
    blitz_engine *engine = instance->plugin->engine;
    if (engine->slots_taken < engine->options.max_instances) {
        engine->slots_taken++;
        instance->has_slot = true;
        return true;
    }
    char message[80];
    snprintf(message, sizeof message, "all %u slots for instances are taken", engine->options.max_instances);
    blitz_fault_set(instance, BLITZ_FAULT_ENGINE, 0, message);
    return false;
}

int blitz_call_start(blitz_instance *instance)
{
    if (instance->state != BLITZ_STATE_NEW)
        return BLITZ_E_STATE;
    prepare(instance);
    instance->hook = BLITZ_HOOK_INSTANTIATE;
    if (!take_slot(instance))
        return fail(instance);
    return begin(instance, BLITZ_HOOK_INSTANTIATE);
}

static bool has_hook(const blitz_instance *instance, int hook)
{
    const blitz_hook *found = &instance->plugin->abi->hooks[hook];
    return found->part < 0 || blitz_has_part(instance, found->part) ||
           (found->or_part != 0 && blitz_has_part(instance, found->or_part));
}

static int call_message(blitz_instance *instance, blitz_exchange *exchange, int hook)
{
    if (instance->state != BLITZ_STATE_READY || !has_hook(instance, hook))
        return BLITZ_E_STATE;
    prepare(instance);
    blitz_edits_clear(exchange->edits);
    instance->skips = false;
    instance->exchange = exchange;
    return begin(instance, hook);
}

int blitz_call_stream(blitz_instance *instance, blitz_exchange *exchange, int hook, const blitz_part_call *part)
{
    if (instance->state != BLITZ_STATE_READY || !has_hook(instance, hook))
        return BLITZ_E_STATE;
    prepare(instance);
    blitz_part_begin(instance, part);
    instance->exchange = exchange;
    return begin(instance, hook);
}

int blitz_call_request(blitz_instance *instance, blitz_exchange *exchange)
{
    return call_message(instance, exchange, BLITZ_HOOK_REQUEST);
}

int blitz_call_response(blitz_instance *instance, blitz_exchange *exchange)
{
    return call_message(instance, exchange, BLITZ_HOOK_RESPONSE);
}

int blitz_call_cleanup(blitz_instance *instance)
{
    if (instance->state != BLITZ_STATE_READY)
        return BLITZ_E_STATE;
    prepare(instance);
    instance->hook = BLITZ_HOOK_CLEANUP;
    if (!has_hook(instance, BLITZ_HOOK_CLEANUP))
        return done(instance, BLITZ_V_CONTINUE, 0);
    return begin(instance, BLITZ_HOOK_CLEANUP);
}

int blitz_call_resume(blitz_instance *instance)
{
    if (instance->state != BLITZ_STATE_PENDING)
        return BLITZ_E_STATE;
    if (instance->waits >= BLITZ_WAITS_SLEEP)
        return BLITZ_PENDING;
    if (instance->waits == BLITZ_WAITS_SLICE)
        return poll(instance);
    return blitz_turn_is_over(&instance->plugin->engine->turn) ? BLITZ_PENDING : first_slice(instance);
}

int blitz_call_waits(const blitz_instance *instance)
{
    return instance->state == BLITZ_STATE_PENDING ? instance->waits : BLITZ_WAITS_NOTHING;
}

static void set_cancelled(blitz_instance *instance)
{
    if (instance->state == BLITZ_STATE_PENDING)
        blitz_fault_set(instance, BLITZ_FAULT_CANCELLED, 0, "the call was cancelled before the guest returned");
}

/* Unwinding a hook's call ends the nested call that it is in, which tells the frames (blitz_store_trap). A start
 * section is nobody's nested call: the engine tells them only if the guest ends by itself. */
void blitz_call_time_out(blitz_instance *instance)
{
    if (instance->state == BLITZ_STATE_PENDING && instance->waits == BLITZ_WAITS_SLICE &&
        instance->hook == BLITZ_HOOK_INSTANTIATE) {
        set_cancelled(instance);
        instance->ending = true;
        if (run_slice(instance))
            blitz_fault_from(instance, instance->trap, instance->error);
    }
    blitz_call_cancel(instance);
}

void blitz_call_cancel(blitz_instance *instance)
{
    set_cancelled(instance);
    if (blitz_store_drop(instance) && instance->state != BLITZ_STATE_ENDED)
        fail(instance);
}
