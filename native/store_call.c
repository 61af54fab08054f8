/* store_call.c: see store_call.h. */
#include "store_call.h"
#include "abi.h"
#include "fault.h"
#include <string.h>

/* A hook, and the guest's allocator on behalf of a host function that the hook called. */
enum { MOST_NESTED = 2 };
/* The start section or the hook, what it nests, and one allowance for our own frames. */
static_assert(BLITZ_FIBER_STACK >= (MOST_NESTED + 2) * BLITZ_WASM_STACK, "a stack holds what its calls nest");
/* The deadline of a slice after the first. */
enum { NEXT_SLICE_TICKS = 1 };

/* Handles of zeros are of no store: wasmtime counts them from 1. */
static bool is_ours(const blitz_instance *instance, uint64_t store_id)
{
    return store_id != 0 && store_id == instance->enter.store_id;
}

static bool is_in_progress(const blitz_instance *instance)
{
    return instance->future != NULL || instance->on_own_stack;
}

/* ---------------------------------------------------------------- exports */

static bool get_export(blitz_instance *instance, wasmtime_caller_t *caller, int part, wasmtime_extern_t *out)
{
    const blitz_plugin *plugin = instance->plugin;
    blitz_text name = blitz_module_export(plugin->module, plugin->parts[part].index).name;
    const char *text = (const char *)name.ptr;
    if (caller != NULL)
        return blitz_wt.wasmtime_caller_export_get(caller, text, name.len, out);
    return is_ours(instance, instance->instance.store_id) &&
           blitz_wt.wasmtime_instance_export_get(instance->context, &instance->instance, text, name.len, out);
}

static bool find_export(blitz_instance *instance, wasmtime_caller_t *caller, int part)
{
    wasmtime_extern_t found;
    if (!get_export(instance, caller, part, &found))
        return false;
    int wanted = part == BLITZ_X_MEMORY       ? WASMTIME_EXTERN_MEMORY
                 : part == BLITZ_X_EXTERNREFS ? WASMTIME_EXTERN_TABLE
                                              : WASMTIME_EXTERN_FUNC;
    if (found.kind != wanted)
        return false;
    if (wanted == WASMTIME_EXTERN_MEMORY)
        instance->memory = found.of.memory;
    else if (wanted == WASMTIME_EXTERN_TABLE)
        instance->externrefs = found.of.table;
    else
        instance->parts[part] = found.of.func;
    return true;
}

bool blitz_store_find_exports(blitz_instance *instance, wasmtime_caller_t *caller)
{
    for (int part = 0; part < BLITZ_X_COUNT; part++)
        if (instance->plugin->parts[part].used && !find_export(instance, caller, part))
            return false;
    if (is_ours(instance, instance->memory.of.store_id))
        instance->memory_base = blitz_wt.wasmtime_memory_data(instance->context, &instance->memory);
    return true;
}

/* ---------------------------------------------------------------- nested calls */

/* Why a part cannot be called now, or NULL. */
static const char *obstacle(const blitz_instance *instance, int part, size_t n)
{
    if (!is_ours(instance, instance->parts[part].store_id))
        return "a function of the guest cannot be called before the instance is complete";
    if (!instance->running)
        return "a function of the guest cannot be called while no call is in progress";
    if (instance->nested >= MOST_NESTED)
        return "calls of the guest's functions nest too deeply";
    if (n < instance->plugin->parts[part].parameters || n == 0)
        return "a function of the guest takes more arguments than there are";
    return NULL;
}

bool blitz_store_call(blitz_instance *instance, int part, wasmtime_val_raw_t *slots, size_t n)
{
    const char *why = obstacle(instance, part, n);
    if (why != NULL) {
        blitz_fault_set(instance, BLITZ_FAULT_HOST, 0, why);
        return false;
    }
    instance->nested++;
    instance->guest_error = blitz_wt.wasmtime_func_call_unchecked(instance->context, &instance->parts[part], slots,
                                                                  n, &instance->guest_trap);
    instance->nested--;
    return instance->guest_error == NULL && instance->guest_trap == NULL;
}

/* ---------------------------------------------------------------- waiting */

/* A fiber is left where a guest's deadline is looked at. A host function that wants to leave it sets the deadline to now
 * and calls a function of wasm that does nothing; this is it:
 *   (module (func (export "p"))) */
static const uint8_t PAUSE[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0,
                                7, 5, 1, 1, 'p', 0, 0, 10, 4, 1, 2, 0, 0x0b};

bool blitz_store_can_pause(blitz_engine *engine, char *error, size_t error_cap)
{
    if (engine->pause_pre != NULL)
        return true;
    wasmtime_error_t *failed = NULL;
    if (engine->pause == NULL)
        failed = blitz_wt.wasmtime_module_new(engine->wasm, PAUSE, sizeof PAUSE, &engine->pause);
    if (failed == NULL) {
        wasmtime_linker_t *linker = blitz_wt.wasmtime_linker_new(engine->wasm);
        failed = blitz_wt.wasmtime_linker_instantiate_pre(linker, engine->pause, &engine->pause_pre);
        blitz_wt.wasmtime_linker_delete(linker);
    }
    if (failed != NULL)
        blitz_wasmtime_explain(failed, error, error_cap);
    return failed == NULL;
}

bool blitz_store_add_pause(blitz_instance *instance)
{
    wasmtime_instance_t made;
    wasmtime_extern_t found;
    if (is_in_progress(instance) || instance->running)
        return false;
    wasmtime_error_t *error = blitz_wt.wasmtime_instance_pre_instantiate(instance->plugin->engine->pause_pre,
                                                                         instance->context, &made, &instance->trap);
    bool good = error == NULL && instance->trap == NULL &&
                blitz_wt.wasmtime_instance_export_get(instance->context, &made, "p", 1, &found);
    if (good)
        instance->pause = found.of.func;
    blitz_fault_drop(&instance->trap, &error);
    return good;
}

bool blitz_store_pause(blitz_instance *instance)
{
    wasmtime_val_raw_t slot;
    if (!instance->running || instance->on_own_stack || instance->nested != 1 ||
        !is_ours(instance, instance->pause.store_id)) {
        blitz_fault_set(instance, BLITZ_FAULT_HOST, 0, "this is no place to wait");
        return false;
    }
    blitz_wt.wasmtime_context_set_epoch_deadline(instance->context, 0);
    instance->nested++;
    instance->guest_error = blitz_wt.wasmtime_func_call_unchecked(instance->context, &instance->pause, &slot, 1,
                                                                  &instance->guest_trap);
    instance->nested--;
    return instance->guest_error == NULL && instance->guest_trap == NULL;
}

wasm_trap_t *blitz_store_trap(blitz_instance *instance)
{
    blitz_fault_from(instance, instance->guest_trap, instance->guest_error);
    blitz_fault_drop(&instance->guest_trap, &instance->guest_error);
    return blitz_wt.wasmtime_trap_new("", 0);
}

/* ---------------------------------------------------------------- memory and table */

/* The pooling allocator gives a memory its slot for good, and grows it in place: see engine.c. Each call of a guest
 * asks several times. */
uint8_t *blitz_store_memory(const blitz_instance *instance) { return instance->memory_base; }

size_t blitz_store_memory_size(const blitz_instance *instance)
{
    if (!is_ours(instance, instance->memory.of.store_id))
        return 0;
    return blitz_wt.wasmtime_memory_data_size(instance->context, &instance->memory);
}

bool blitz_store_grow_externrefs(blitz_instance *instance, uint64_t by)
{
    const wasmtime_val_t null = {.kind = WASMTIME_KIND_EXTERNREF};
    uint64_t before;
    if (!is_ours(instance, instance->externrefs.of.store_id))
        return false;
    wasmtime_error_t *failed = blitz_wt.wasmtime_table_grow(instance->context, &instance->externrefs, by, &null,
                                                            &before);
    if (failed != NULL)
        blitz_wt.wasmtime_error_delete(failed);
    return failed == NULL;
}

/* ---------------------------------------------------------------- the call in progress */

void blitz_store_run(blitz_instance *instance)
{
    const blitz_plugin *plugin = instance->plugin;
    if (instance->hook == BLITZ_HOOK_INSTANTIATE)
        instance->error = blitz_wt.wasmtime_instance_pre_instantiate(plugin->pre, instance->context,
                                                                     &instance->instance, &instance->trap);
    else
        instance->trap = plugin->abi->hooks[instance->hook].enter(instance);
}

static wasmtime_call_future_t *make_future(blitz_instance *instance)
{
    if (instance->hook == BLITZ_HOOK_INSTANTIATE)
        return blitz_wt.wasmtime_instance_pre_instantiate_async(instance->plugin->pre, instance->context,
                                                                &instance->instance, &instance->trap,
                                                                &instance->error);
    return blitz_wt.wasmtime_func_call_async(instance->context, &instance->enter, NULL, 0, NULL, 0, &instance->trap,
                                             &instance->error);
}

bool blitz_store_begin(blitz_instance *instance)
{
    bool instantiate = instance->hook == BLITZ_HOOK_INSTANTIATE;
    if (is_in_progress(instance) || instance->running || instance->broken ||
        instantiate == is_ours(instance, instance->instance.store_id))
        return false;
    instance->on_own_stack = !instance->plugin->may_wait && blitz_own_stack_take(&instance->plugin->engine->own_stack, instance);
    if (!instance->on_own_stack)
        instance->future = make_future(instance);
    return true;
}

wasmtime_error_t *blitz_store_slice_is_over(wasmtime_context_t *context, void *env, uint64_t *ticks, uint8_t *what)
{
    (void)context;
    blitz_instance *instance = env;
    if (instance->on_own_stack && !instance->ending)
        blitz_own_stack_park(&instance->plugin->engine->own_stack);
    if (instance->ending)
        return blitz_wt.wasmtime_error_new("");
    *ticks = NEXT_SLICE_TICKS;
    *what = instance->on_own_stack ? WASMTIME_UPDATE_DEADLINE_CONTINUE : WASMTIME_UPDATE_DEADLINE_YIELD;
    return NULL;
}

static bool go_on(blitz_instance *instance)
{
    if (instance->on_own_stack)
        return blitz_own_stack_run(&instance->plugin->engine->own_stack);
    return blitz_wt.wasmtime_call_future_poll(instance->future);
}

static bool is_elsewhere(const blitz_instance *instance)
{
    return instance->on_own_stack && blitz_own_stack_is_elsewhere(&instance->plugin->engine->own_stack);
}

bool blitz_store_poll(blitz_instance *instance)
{
    if (!is_in_progress(instance) || instance->running)
        return true;
    if (is_elsewhere(instance))
        return false;
    instance->running = true;
    bool ready = go_on(instance);
    instance->running = false;
    if (ready) {
        if (instance->future != NULL)
            blitz_wt.wasmtime_call_future_delete(instance->future);
        instance->future = NULL;
        instance->on_own_stack = false;
        instance->broken = instance->trap != NULL || instance->error != NULL;
    }
    return ready;
}

/* Once the guest is told that it ends, each loop and function that it enters ends it; our frames enter none, since
 * running says that no call is in progress. So the first time is the only one. */
static void unwind_own_stack(blitz_instance *instance)
{
    instance->ending = true;
    while (!blitz_own_stack_run(&instance->plugin->engine->own_stack))
        continue;
    instance->on_own_stack = false;
}

bool blitz_store_drop(blitz_instance *instance)
{
    if (instance->running || is_elsewhere(instance))
        return false;
    instance->broken |= is_in_progress(instance);
    if (instance->on_own_stack)
        unwind_own_stack(instance);
    if (instance->future != NULL)
        blitz_wt.wasmtime_call_future_delete(instance->future);
    instance->future = NULL;
    blitz_fault_drop(&instance->trap, &instance->error);
    blitz_fault_drop(&instance->guest_trap, &instance->guest_error);
    return true;
}

void blitz_store_delete(blitz_instance *instance)
{
    if (!is_in_progress(instance) && !instance->running)
        blitz_wt.wasmtime_store_delete(instance->store);
    instance->store = NULL;
}
