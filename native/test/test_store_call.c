/* What a call into wasmtime stands on is checked before it is made: each precondition, broken alone, keeps the call
 * from being made and leaves a reason. The address table holds stand-ins that count. */
#include "../abi.h"
#include "../fault.h"
#include "../store_call.h"
#include "guard.h"
#include <pthread.h>
#include <string.h>

enum { STORE = 7, OTHER = 8 };
static int made;                                 /* calls that reached wasmtime */
static char anything;

static wasmtime_error_t *call(wasmtime_context_t *context, const wasmtime_func_t *function, wasmtime_val_raw_t *slots,
                              size_t n, wasm_trap_t **trap)
{
    (void)context, (void)function, (void)slots, (void)n, (void)trap;
    made++;
    return NULL;
}
static uint8_t *data(const wasmtime_context_t *context, const wasmtime_memory_t *memory)
{
    (void)context, (void)memory;
    made++;
    return (uint8_t *)&anything;
}
static size_t data_size(const wasmtime_context_t *context, const wasmtime_memory_t *memory)
{
    (void)context, (void)memory;
    made++;
    return 1;
}
static wasmtime_error_t *grow(wasmtime_context_t *context, const wasmtime_table_t *table, uint64_t by,
                              const wasmtime_val_t *value, uint64_t *before)
{
    (void)context, (void)table, (void)by, (void)value, (void)before;
    made++;
    return NULL;
}
static wasmtime_call_future_t *begin_call(wasmtime_context_t *context, const wasmtime_func_t *function,
                                          const wasmtime_val_t *arguments, size_t n, wasmtime_val_t *results, size_t m,
                                          wasm_trap_t **trap, wasmtime_error_t **error)
{
    (void)context, (void)function, (void)arguments, (void)n, (void)results, (void)m, (void)trap, (void)error;
    made++;
    return (wasmtime_call_future_t *)&anything;
}
static wasmtime_call_future_t *begin_instance(const wasmtime_instance_pre_t *pre, wasmtime_context_t *context,
                                              wasmtime_instance_t *instance, wasm_trap_t **trap,
                                              wasmtime_error_t **error)
{
    (void)pre, (void)context, (void)instance, (void)trap, (void)error;
    made++;
    return (wasmtime_call_future_t *)&anything;
}
static bool poll_future(wasmtime_call_future_t *future) { (void)future; made++; return true; }
static void delete_future(wasmtime_call_future_t *future) { (void)future; made++; }
static void set_deadline(wasmtime_context_t *context, uint64_t ticks) { (void)context, (void)ticks; }
static void delete_store(wasmtime_store_t *store) { (void)store; made++; }
static void delete_frames(wasm_frame_vec_t *frames) { MUST(frames->size == 0, "frames from nowhere"); }
static wasm_trap_t *trap_new(const char *message, size_t len)
{
    (void)message, (void)len;
    return (wasm_trap_t *)&anything;
}

static blitz_engine engine;
static blitz_plugin plugin;
static blitz_instance instance;
static wasmtime_val_raw_t slots[4];

/* One that is complete and whose call is in progress: everything may be done. */
static void begin(void)
{
    free(instance.fault);
    memset(&instance, 0, sizeof instance);
    instance.plugin = &plugin;
    instance.enter.store_id = instance.instance.store_id = instance.memory.of.store_id = STORE;
    instance.memory_base = (uint8_t *)&anything;
    instance.externrefs.of.store_id = instance.parts[BLITZ_X_ALLOC].store_id = STORE;
    instance.hook = BLITZ_HOOK_REQUEST;
    instance.running = true;
    made = 0;
}

static bool call_alloc(size_t n) { return blitz_store_call(&instance, BLITZ_X_ALLOC, slots, n); }

static void must_be_refused(bool called, const char *reason);

static void test_waiting(void)
{
    begin();
    instance.nested = 1;
    instance.pause.store_id = STORE;
    MUST(blitz_store_pause(&instance) && made == 1 && instance.nested == 1, "a pause that may be made");
    begin();
    instance.nested = 1;
    instance.pause.store_id = OTHER;
    must_be_refused(blitz_store_pause(&instance), "no place to wait");
    begin();
    instance.nested = 1;
    must_be_refused(blitz_store_pause(&instance), "no place to wait");
    begin();
    instance.nested = 2;                          /* in the allocator, which a host function called */
    instance.pause.store_id = STORE;
    must_be_refused(blitz_store_pause(&instance), "no place to wait");
    begin();
    instance.nested = 1;
    instance.pause.store_id = STORE;
    instance.on_own_stack = true;
    must_be_refused(blitz_store_pause(&instance), "no place to wait");
    begin();
    instance.nested = 1;
    instance.pause.store_id = STORE;
    instance.running = false;
    must_be_refused(blitz_store_pause(&instance), "no place to wait");
    begin();
    MUST(!blitz_store_add_pause(&instance) && made == 0, "something was put into a store that runs");
}

static void must_be_refused(bool called, const char *reason)
{
    MUST(!called && made == 0, "it was called: %s", reason);
    MUST(instance.faulted && strstr(instance.fault->message, reason) != NULL, "no reason, wanted %s", reason);
    MUST(blitz_store_trap(&instance) == (wasm_trap_t *)&anything, "no trap for %s", reason);
}

static void test_nested_calls(void)
{
    begin();
    MUST(call_alloc(2) && made == 1 && instance.nested == 0, "a call that may be made");
    begin();
    instance.parts[BLITZ_X_ALLOC].store_id = 0;
    must_be_refused(call_alloc(2), "before the instance is complete");
    begin();
    instance.parts[BLITZ_X_ALLOC].store_id = OTHER;
    must_be_refused(call_alloc(2), "before the instance is complete");
    begin();
    instance.running = false;
    must_be_refused(call_alloc(2), "no call is in progress");
    begin();
    instance.nested = 2;
    must_be_refused(call_alloc(2), "too deeply");
    begin();
    must_be_refused(call_alloc(1), "more arguments");
}

/* Look up the exports of a module that has none. */
static bool find_nothing(void)
{
    blitz_part allocator = plugin.parts[BLITZ_X_ALLOC];
    plugin.parts[BLITZ_X_ALLOC].used = false;
    bool found = blitz_store_find_exports(&instance, NULL);
    plugin.parts[BLITZ_X_ALLOC] = allocator;
    return found;
}

static void test_handles(void)
{
    begin();
    instance.memory_base = NULL;
    MUST(find_nothing() && blitz_store_memory(&instance) != NULL && made == 1, "memory");
    begin();
    MUST(blitz_store_memory(&instance) != NULL && blitz_store_memory_size(&instance) == 1 && made == 1, "memory");
    MUST(blitz_store_grow_externrefs(&instance, 4) && made == 2, "table");
    for (uint64_t wrong = 0; wrong <= OTHER; wrong += OTHER) {
        begin();
        instance.memory.of.store_id = instance.externrefs.of.store_id = wrong;
        instance.memory_base = NULL;
        MUST(find_nothing() && blitz_store_memory(&instance) == NULL, "memory");
        MUST(blitz_store_memory_size(&instance) == 0, "its size");
        MUST(!blitz_store_grow_externrefs(&instance, 4) && made == 0, "table");
    }
}

static bool may_begin(int hook)
{
    instance.hook = (uint8_t)hook;
    made = 0;
    bool began = blitz_store_begin(&instance);
    MUST(made == began, "made %d", made);
    return began;
}

static void test_futures(void)
{
    begin();
    instance.running = false;
    MUST(may_begin(BLITZ_HOOK_REQUEST), "a call");
    MUST(!may_begin(BLITZ_HOOK_REQUEST), "a second call");
    begin();
    MUST(!may_begin(BLITZ_HOOK_REQUEST), "a call inside a call");
    begin();
    instance.running = false;
    MUST(!may_begin(BLITZ_HOOK_INSTANTIATE), "a second instance");
    begin();
    instance.running = false;
    instance.instance.store_id = 0;
    MUST(!may_begin(BLITZ_HOOK_REQUEST), "a call before the instance");
    MUST(may_begin(BLITZ_HOOK_INSTANTIATE), "an instance");
    MUST(blitz_store_poll(&instance) && instance.future == NULL && made == 3, "polled and deleted");
    MUST(blitz_store_poll(&instance) && made == 3, "polled after its end");
    begin();
    instance.running = false;
    instance.broken = true;
    MUST(!may_begin(BLITZ_HOOK_REQUEST), "a call after a fault");
    begin();
    instance.future = (wasmtime_call_future_t *)&anything;
    MUST(!blitz_store_drop(&instance) && made == 0, "dropped from inside");
    blitz_store_delete(&instance);
    MUST(made == 0, "deleted from inside");
}

/* ---------------------------------------------------------------- on the own stack */

static int entered;
static bool leaves;
static wasm_trap_t *enter_hook(blitz_instance *one)
{
    entered++;
    if (leaves) {
        uint64_t ticks;
        uint8_t what = 9;
        wasmtime_error_t *error = blitz_store_slice_is_over(NULL, one, &ticks, &what);
        MUST((error != NULL) == one->ending && (one->ending || what == WASMTIME_UPDATE_DEADLINE_CONTINUE), "what");
        MUST(!one->ending || !blitz_store_call(one, BLITZ_X_ALLOC, slots, 2), "a call while it is unwound");
    }
    return NULL;
}
static const blitz_abi abi = {.hooks = {[BLITZ_HOOK_REQUEST] = {-1, enter_hook}}};

static wasmtime_error_t *new_error(const char *message) { (void)message; return (wasmtime_error_t *)&anything; }

static void *from_elsewhere(void *unused)
{
    (void)unused;
    MUST(!blitz_store_poll(&instance) && !blitz_store_drop(&instance), "another thread went on with it");
    return NULL;
}

static void test_own_stack(void)
{
    blitz_own_stack_open(&engine.own_stack, BLITZ_FIBER_STACK, blitz_store_run);
    if (engine.own_stack.low == NULL)
        return;
    plugin.abi = &abi;
    leaves = false;
    begin();
    instance.running = false;
    instance.hook = BLITZ_HOOK_REQUEST;
    MUST(blitz_store_begin(&instance) && instance.on_own_stack && made == 0, "no future is made");
    MUST(!blitz_store_begin(&instance), "a second call");
    MUST(blitz_store_poll(&instance) && entered == 1 && !instance.on_own_stack, "ended");

    leaves = true;
    MUST(blitz_store_begin(&instance) && !blitz_store_poll(&instance), "left");
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, from_elsewhere, NULL) == 0 && pthread_join(thread, NULL) == 0, "thread");
    blitz_instance second = instance;
    second.on_own_stack = false;
    MUST(blitz_store_begin(&second) && second.future != NULL && made == 1, "the second has a fiber");
    MUST(blitz_store_poll(&second) && made == 3, "polled and deleted");
    MUST(blitz_store_poll(&instance) && entered == 2 && !instance.broken, "ended");

    MUST(blitz_store_begin(&instance) && !blitz_store_poll(&instance), "left");
    MUST(blitz_store_drop(&instance) && instance.broken && !instance.on_own_stack, "unwound");
    MUST(blitz_own_stack_take(&engine.own_stack, &second), "the stack is free again");
    engine.own_stack.instance = NULL;
    *engine.own_stack.occupied = NULL;
    blitz_own_stack_close(&engine.own_stack);
}

int main(void)
{
    plugin.engine = &engine;
    blitz_wt.wasmtime_func_call_unchecked = call;
    blitz_wt.wasmtime_memory_data = data;
    blitz_wt.wasmtime_memory_data_size = data_size;
    blitz_wt.wasmtime_table_grow = grow;
    blitz_wt.wasmtime_func_call_async = begin_call;
    blitz_wt.wasmtime_instance_pre_instantiate_async = begin_instance;
    blitz_wt.wasmtime_call_future_poll = poll_future;
    blitz_wt.wasmtime_call_future_delete = delete_future;
    blitz_wt.wasmtime_store_delete = delete_store;
    blitz_wt.wasmtime_context_set_epoch_deadline = set_deadline;
    blitz_wt.wasmtime_trap_new = trap_new;
    blitz_wt.wasmtime_error_new = new_error;
    blitz_wt.wasm_frame_vec_delete = delete_frames;
    plugin.parts[BLITZ_X_ALLOC] = (blitz_part){.used = true, .parameters = 2};
    test_nested_calls();
    test_handles();
    test_futures();
    test_own_stack();
    test_waiting();
    free(instance.fault);
    puts("store_call: what a call stands on is checked first");
    return 0;
}
